"""What a Django site has one of: the store and its options, by its settings; the administrator's view; the helpers."""

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
from wsgi_session.middleware import SessionMiddleware

# The options of SessionMiddleware that WSGI_SESSION_OPTIONS may hold: Django has settings of its own for the others.
_OPTIONS = ("absolute_timeout", "max_size", "on_event", "clock")
_SETTINGS = ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "SESSION_COOKIE_NAME", "WSGI_SESSION_STORE", "WSGI_SESSION_OPTIONS")

# The one middleware. The site uses all of it but its WSGI part: the options' checks, the store, the tokens, the view.
_made: list[SessionMiddleware] = []
_making = Lock()


def sessions() -> Sessions:
    """Return the administrator's view of this site's sessions, as ``SessionMiddleware.sessions`` is.

    ::

        sessions().of({"id": user.pk})  # on which devices
        sessions().revoke_all({"id": user.pk}, keep=request.session.handle)  # log out everywhere else
    """
    return _middleware().sessions


def backend() -> StoreBackend:
    """Return what knows the sessions of this site."""
    made = _middleware()._backend
    assert isinstance(made, StoreBackend)
    return made


class HelpersMiddleware(MiddlewareMixin):
    """Lets the helpers say who a request is from: ``user_email_or_none(request)``, ``redirect_if_anonymous(request)``.

    Put it below ``AuthenticationMiddleware`` in MIDDLEWARE. To log in and out is for ``django.contrib.auth``.
    """

    def process_request(self, request: HttpRequest) -> None:
        # What is there already is the session of a SessionMiddleware around all of Django.
        request.META.setdefault("session", _Visitor(request))


class _Visitor:
    """What the helpers find: ``request.session``, with ``request.user`` as its ``user``."""

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


def _middleware() -> SessionMiddleware:
    if not _made:
        with _making:
            # Once more: of two threads' stores in memory, one would be lost.
            if not _made:
                _made.append(_from_settings())
    return _made[0]


def _from_settings() -> SessionMiddleware:
    options = getattr(settings, "WSGI_SESSION_OPTIONS", {})
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        near = nearest(unknown[0], _OPTIONS)
        hint = f" Did you mean {near}?" if near else ""
        raise ImproperlyConfigured(
            f"WSGI_SESSION_OPTIONS has {', '.join(unknown)}: give {', '.join(_OPTIONS)} only.{hint} "
            "(Django's own settings say the rest, such as SESSION_COOKIE_AGE.)"
        )
    try:
        middleware = SessionMiddleware(
            lambda environ, start_response: [],  # Django's own does that part.
            secret=[settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS],
            store=getattr(settings, "WSGI_SESSION_STORE", ""),
            cookie_name=settings.SESSION_COOKIE_NAME,
            # Django writes the cookie: no name is to be refused here, "__Host-sessionid" neither.
            cookie_secure=True,
            # Each save says how long its session lives.
            idle_timeout=MAX_SECONDS,
            **{"absolute_timeout": None, **options},
        )
    except ConfigError as error:
        raise ImproperlyConfigured(
            f"{error} (The store is WSGI_SESSION_STORE; the secret SECRET_KEY, then SECRET_KEY_FALLBACKS.)"
        ) from error
    if middleware._backend.stateless:
        raise ImproperlyConfigured(
            "WSGI_SESSION_STORE is cookie://, and Django's cookie holds a key and no data: give a store that keeps "
            'sessions, such as "sqlite:///sessions.db".'
        )
    return middleware


@receiver(setting_changed)
def _begin_again(*, setting: str, **kwargs: object) -> None:
    """Forget the middleware when a test overrides what it was made of."""
    if setting in _SETTINGS and _made:
        _made.pop().close()
