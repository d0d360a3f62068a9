"""The demo, as its visitors meet it: started by its own command line, driven by curl."""

# First of all: it imports WebOb without the warnings that WebOb alone gives on Python 3.11 and 3.12.
import wsgi_session  # noqa: F401
