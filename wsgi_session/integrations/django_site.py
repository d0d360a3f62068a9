"""The objects that a Django site has once: its store and options, the administrator's view, the helpers' middleware."""

from __future__ import annotations

from threading import Lock
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

from wsgi_session.admin import Sessions
from wsgi_session.backends.server import StoreBackend
from wsgi_session.config.naming import nearest
from wsgi_session.config.options import MAX_SECONDS
from wsgi_session.errors import ConfigError
from wsgi_session.middleware import SessionMiddleware, internals_of

# The options of SessionMiddleware that WSGI_SESSION_OPTIONS may contain: Django's own settings provide the others.
_OPTIONS = ("anonymous_timeout", "absolute_timeout", "max_size", "max_sessions", "describe", "on_event", "clock")
_SETTINGS = ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "SESSION_COOKIE_NAME", "WSGI_SESSION_STORE", "WSGI_SESSION_OPTIONS")

# The site's only middleware, if it was made. It is never called: the site uses its checks, store, tokens and view.
_middlewares: list[SessionMiddleware] = []
_lock = Lock()


def sessions() -> Sessions:
    """Return the administrator's view of this site's sessions, an object like ``SessionMiddleware.sessions``.

    ::

        sessions().of({"id": user.pk})  # on which devices
        sessions().revoke_all({"id": user.pk}, keep=request.session.handle)  # log out everywhere else
    """
    return _middleware().sessions


def backend() -> StoreBackend:
    """Return the backend of this site's sessions."""
    backend = internals_of(_middleware()).backend
    assert isinstance(backend, StoreBackend)
    return backend


class HelpersMiddleware(MiddlewareMixin):
    """Lets the helpers find ``request.user``: ``user_email_or_none(request)``, ``redirect_if_anonymous(request)``.

    Put it below ``AuthenticationMiddleware`` in MIDDLEWARE. Use ``django.contrib.auth`` to log users in and out.
    """

    def process_request(self, request: HttpRequest) -> None:
        # An existing entry is the session of a SessionMiddleware around all of Django, which the helpers use then.
        request.META.setdefault("session", _UserSession(request))


class _UserSession:
    """The session that the helpers find: ``request.session``, with ``request.user`` under the key ``user``."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def get(self, key: str, default: object = None) -> Any:
        user = getattr(self._request, "user", None)
        if key != "user" or user is None:
            return self._request.session.get(key, default)
        if not user.is_authenticated:
            return default
        name = user.get_full_name() if hasattr(user, "get_full_name") else ""
        email = getattr(user, user.get_email_field_name(), None)
        return {"id": user.pk, "name": name or user.get_username(), "email": email}

    @property
    def confirm(self) -> Any:
        """The method of ``request.session``; ``None`` if that is another engine's."""
        return getattr(self._request.session, "confirm", None)

    @property
    def is_fresh(self) -> Any:
        """The method of ``request.session``; ``None`` if that is another engine's."""
        return getattr(self._request.session, "is_fresh", None)

    @property
    def set_provider_session(self) -> Any:
        """The method of ``request.session``; ``None`` if that is another engine's."""
        return getattr(self._request.session, "set_provider_session", None)


def _middleware() -> SessionMiddleware:
    if not _middlewares:
        with _lock:
            # Check again with the lock: if two threads each made a store in memory, the sessions in one would be lost.
            if not _middlewares:
                _middlewares.append(_make_middleware())
    return _middlewares[0]


def _make_middleware() -> SessionMiddleware:
    options = getattr(settings, "WSGI_SESSION_OPTIONS", {})
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        near = nearest(unknown[0], _OPTIONS)
        hint = f" Did you mean {near}?" if near else ""
        raise ImproperlyConfigured(
            f"WSGI_SESSION_OPTIONS has unknown options: {', '.join(unknown)}. Give only {', '.join(_OPTIONS)}.{hint} "
            "(Django's own settings, such as SESSION_COOKIE_AGE, provide the others.)"
        )
    try:
        middleware = SessionMiddleware(
            lambda environ, start_response: [],  # Never called: Django's own SessionMiddleware handles the requests.
            secret=[settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS],
            store=getattr(settings, "WSGI_SESSION_STORE", ""),
            cookie_name=settings.SESSION_COOKIE_NAME,
            # Django sets the cookie, so every name must be accepted here, even "__Host-sessionid".
            cookie_secure=True,
            # No limit here, because each save sets its session's own idle timeout.
            idle_timeout=MAX_SECONDS,
            **{"absolute_timeout": None, **options},
        )
    except ConfigError as error:
        raise ImproperlyConfigured(
            f"{error} (The store is set by WSGI_SESSION_STORE, the secret by SECRET_KEY and SECRET_KEY_FALLBACKS.)"
        ) from error
    if not internals_of(middleware).backend.compares:
        raise ImproperlyConfigured(
            "WSGI_SESSION_STORE is cookie://, but Django's cookie can contain only a key. Give a store that keeps "
            'sessions, such as "sqlite:///sessions.db".'
        )
    return middleware


@receiver(setting_changed)
def _close_middleware(*, setting: str, **kwargs: object) -> None:
    """Close the middleware when a test overrides a setting from which it was made."""
    if setting in _SETTINGS and _middlewares:
        _middlewares.pop().close()
