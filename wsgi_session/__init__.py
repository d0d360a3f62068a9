"""Sessions for any WSGI application: nothing is lost, nothing comes back, and you pay for what you touch."""

from wsgi_session.admin import SessionInfo
from wsgi_session.apps import require_login, session_info
from wsgi_session.csrf import check_csrf
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
from wsgi_session.helpers import get_session, login, logout, user_email_or_none, user_or_none
from wsgi_session.middleware import SessionMiddleware
from wsgi_session.redirects import next_url, redirect_if_anonymous
from wsgi_session.session import Session

__all__ = [
    "ConfigError",
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
    "check_csrf",
    "get_session",
    "login",
    "logout",
    "next_url",
    "redirect_if_anonymous",
    "require_login",
    "session_info",
    "user_email_or_none",
    "user_or_none",
]
