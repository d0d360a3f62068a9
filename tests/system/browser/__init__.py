"""The demo in a real browser: Debian's Chromium without a window, driven by Playwright. ``tox -e browser`` runs it."""

# First of all: it imports WebOb without the warnings that WebOb alone gives on Python 3.11 and 3.12.
import wsgi_session  # noqa: F401
