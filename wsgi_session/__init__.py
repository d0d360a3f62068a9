"""Sessions for any WSGI application.

No update is lost, no session comes back after a logout, and a request that does not use its session costs nothing.
"""

from sys import implementation as _implementation

from wsgi_session.admin import SessionInfo
from wsgi_session.errors import (
    ConfigError,
    HeadersAlreadySent,
    KeyExists,
    SessionError,
    SessionGone,
    SessionMissing,
    SessionTooLarge,
    StoreUnavailable,
    Unsupported,
    UnsupportedValue,
)
from wsgi_session.helpers.apps import require_login, session_info
from wsgi_session.helpers.csrf import check_csrf, protect_from_csrf
from wsgi_session.helpers.devices import describe_device
from wsgi_session.helpers.fresh import confirm, redirect_unless_fresh
from wsgi_session.helpers.providers import set_provider_session
from wsgi_session.helpers.redirects import next_url, redirect_if_anonymous
from wsgi_session.helpers.transaction import begin_transaction, end_transaction
from wsgi_session.helpers.typed import typed
from wsgi_session.helpers.users import get_session, login, logout, user_email_or_none, user_or_none
from wsgi_session.middleware import SessionMiddleware
from wsgi_session.request.confirmation import Confirmation
from wsgi_session.session import Session

# On PyPy 3.11, sqlite3 keeps a statement open after its rows were read, so that commits fail, and with `text_factory`
# set to `str` it returns "b''" for an empty text, so that a token would be accepted again after a rotation.
if _implementation.name != "cpython":
    raise ImportError(
        f"wsgi-session supports CPython only, and this is {_implementation.name}: on PyPy, its stores would mix up "
        "sessions. Run the application with CPython 3.10 or newer."
    )

__all__ = [
    "ConfigError",
    "Confirmation",
    "HeadersAlreadySent",
    "KeyExists",
    "Session",
    "SessionError",
    "SessionGone",
    "SessionInfo",
    "SessionMiddleware",
    "SessionMissing",
    "SessionTooLarge",
    "StoreUnavailable",
    "Unsupported",
    "UnsupportedValue",
    "begin_transaction",
    "check_csrf",
    "confirm",
    "describe_device",
    "end_transaction",
    "get_session",
    "login",
    "logout",
    "next_url",
    "protect_from_csrf",
    "redirect_if_anonymous",
    "redirect_unless_fresh",
    "require_login",
    "session_info",
    "set_provider_session",
    "typed",
    "user_email_or_none",
    "user_or_none",
]
