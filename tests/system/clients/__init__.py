"""Programs that keep cookies, each in its own way: they log in, stay logged in, and are logged out."""

# First of all: it imports WebOb without the warnings that WebOb alone gives on Python 3.11 and 3.12.
import wsgi_session  # noqa: F401
