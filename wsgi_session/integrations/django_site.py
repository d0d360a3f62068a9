"""The objects that a Django site has once: its store and options, the administrator's view, the helpers' middleware."""

from __future__ import annotations

import os
from threading import Lock
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.deprecation import MiddlewareMixin

from wsgi_session.admin import Sessions
from wsgi_session.backends.server import StoreBackend
from wsgi_session.backends.transactions import StoreTransactions
from wsgi_session.config.naming import nearest
from wsgi_session.config.options import MAX_SECONDS
from wsgi_session.config.secrets import hide
from wsgi_session.cookies.cookie import may_lack_cookie
from wsgi_session.cookies.transaction import TransactionCookies
from wsgi_session.errors import ConfigError, StoreUnavailable
from wsgi_session.integrations.django_keys import KeyBackend
from wsgi_session.middleware import SessionMiddleware, internals_of
from wsgi_session.stores import Store, Sweeps, open_store

# The options of SessionMiddleware that WSGI_SESSION_OPTIONS may contain: Django's own settings provide the others.
_OPTIONS = (
    "anonymous_timeout",
    "absolute_timeout",
    "max_size",
    "max_sessions",
    "describe",
    "on_event",
    "report_store_calls",
    "adopt",
    "experimental_device_bound",
    "encrypt",
    "clock",
)
# The settings from which the site's objects are made.
_SETTINGS = (
    *(f"SESSION_COOKIE_{name}" for name in ("NAME", "SECURE", "PATH", "DOMAIN", "SAMESITE")),
    "MIDDLEWARE",
    "WSGI_SESSION_STORE",
    "WSGI_SESSION_OPTIONS",
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
)
_BOUND = "experimental_device_bound"
# The maximum number of records that sweep_all() removes in one step.
_SWEEP_BATCH = 1000


class _Site(NamedTuple):
    #: The administrator's view.
    sessions: Sessions
    backend: KeyBackend


# Each has one element or none. The store outlives the site when a test overrides another setting.
_sites: list[_Site] = []
_stores: list[Store] = []
_lock = Lock()


def sessions() -> Sessions:
    """Return the administrator's view of this site's sessions, an object like ``SessionMiddleware.sessions``.

    ::

        sessions().of({"id": user.pk})  # on which devices
        sessions().revoke_all({"id": user.pk}, keep=request.session.handle)  # log out everywhere else
    """
    return _site().sessions


def backend() -> KeyBackend:
    """Return the backend of this site's sessions."""
    return _site().backend


def sweep_all() -> None:
    """Remove every record of the site's store that expired more than an hour ago."""
    store, clock = backend().store, backend().settings.clock
    while isinstance(store, Sweeps) and store.sweep(_SWEEP_BATCH, clock()):
        pass


class HelpersMiddleware(MiddlewareMixin):
    """Lets the helpers find ``request.user``: ``user_email_or_none(request)``, ``redirect_if_anonymous(request)``.

    Put it below ``AuthenticationMiddleware`` in MIDDLEWARE. Use ``django.contrib.auth`` to log users in and out.
    """

    def process_request(self, request: HttpRequest) -> None:
        # An existing entry is the session of a SessionMiddleware around all of Django, which the helpers use then.
        request.META.setdefault("session", _UserSession(request))
        session: Any = getattr(request, "session", None)
        if hasattr(session, "cross_site") and settings.SESSION_COOKIE_NAME not in request.COOKIES:
            session.cross_site = may_lack_cookie(request.META, settings.SESSION_COOKIE_SAMESITE)

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        session = request.META.get("session")
        if isinstance(session, _UserSession) and session.accessed:
            patch_vary_headers(response, ("Cookie",))
            for _, cookie in session.more_headers:
                response.cookies.load(cookie)
                patch_cache_control(response, private=True)
        return response


class _UserSession:
    """The session that the helpers find: ``request.session``, with ``request.user`` under the key ``user``."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        #: The Set-Cookie values of transactions, and whether the request used any.
        self.more_headers: tuple[tuple[str, str], ...] = ()
        self.accessed = False

    @property
    def backend(self) -> KeyBackend:
        return backend()

    def note_outage(self, error: StoreUnavailable) -> None:
        """Do nothing: Django sends its own page for the error."""

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


def _site() -> _Site:
    if not _sites:
        with _lock:
            # Check again with the lock: if two threads each made a store in memory, the sessions in one would be lost.
            if not _sites:
                _sites.append(_make_site())
    return _sites[0]


def _make_site() -> _Site:
    options = getattr(settings, "WSGI_SESSION_OPTIONS", {})
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        near = nearest(unknown[0], _OPTIONS)
        hint = f" Did you mean {near}?" if near else ""
        raise ImproperlyConfigured(
            f"WSGI_SESSION_OPTIONS has unknown options: {', '.join(unknown)}. Give only {', '.join(_OPTIONS)}.{hint} "
            "(Django's own settings, such as SESSION_COOKIE_AGE, provide the others.)"
        )
    try:
        # Never called, because Django's own SessionMiddleware handles the requests: it checks the options, and makes
        # the administrator's view. It signs nothing either, so it needs the site's secret only for encryption.
        middleware = SessionMiddleware(
            lambda environ, start_response: [],
            secret=_secrets() if options.get("encrypt") else os.urandom(32),
            store=_open_store(),
            cookie_name=settings.SESSION_COOKIE_NAME,
            # Django sets the cookie, so every name must be accepted here, even "__Host-sessionid".
            cookie_secure=True,
            # No limit here, because each save sets its session's own idle timeout.
            idle_timeout=MAX_SECONDS,
            **{"absolute_timeout": None, **options},
        )
    except ConfigError as error:
        raise ImproperlyConfigured(f"{error} (The store is set by WSGI_SESSION_STORE.)") from error
    backend = internals_of(middleware).backend
    if not isinstance(backend, StoreBackend):
        raise ImproperlyConfigured(
            "WSGI_SESSION_STORE is cookie://, but Django's cookie can contain only a key. Give a store that keeps "
            'sessions, such as "sqlite:///sessions.db".'
        )
    cookies = TransactionCookies(
        settings.SESSION_COOKIE_NAME,
        secure=settings.SESSION_COOKIE_SECURE,
        path=settings.SESSION_COOKIE_PATH,
        domain=settings.SESSION_COOKIE_DOMAIN,
    )
    transactions = StoreTransactions(backend.store, cookies, backend.settings)
    return _Site(middleware.sessions, _key_backend(backend, transactions, options))


def _key_backend(backend: StoreBackend, transactions: StoreTransactions, options: dict[str, Any]) -> KeyBackend:
    if "adopt" in options:
        # Imported here, because few sites have sessions of another library.
        from wsgi_session.integrations.django_foreign import AdoptingKeyBackend

        adopt, age = options["adopt"], settings.SESSION_COOKIE_AGE
        keys: KeyBackend = AdoptingKeyBackend(backend.store, transactions, backend.settings, adopt, age)
    else:
        keys = KeyBackend(backend.store, transactions, backend.settings)
    if options.get(_BOUND):
        from wsgi_session.integrations.django_bound import make_binding

        keys.binding = make_binding(options[_BOUND], backend.settings.events)
    return keys


def _secrets() -> Any:
    return hide([settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS])


def _open_store() -> Any:
    """Return the setting's store, which the middleware checks; a URL is opened once."""
    given = getattr(settings, "WSGI_SESSION_STORE", "")
    if not isinstance(given, str):
        return given
    if not _stores:
        _stores.append(open_store(given))
    return _stores[0]


@receiver(setting_changed)
def _forget_site(*, setting: str, **kwargs: object) -> None:
    """Make the site's objects anew when a test overrides a setting; the store stays open unless that is overridden."""
    if setting in _SETTINGS:
        _sites.clear()
    if setting == "WSGI_SESSION_STORE" and _stores:
        _stores.pop().close()
