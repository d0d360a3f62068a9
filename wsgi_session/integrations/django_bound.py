"""What the session engine needs for device-bound logins: their keys, and whether a request may use the session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from wsgi_session.backends.base import Loaded
from wsgi_session.backends.binding import Binding
from wsgi_session.backends.device_bound import only_with_proof
from wsgi_session.config.options import check_device_bound
from wsgi_session.cookies.cookie import SchemeCookies, SessionCookie
from wsgi_session.errors import ConfigError
from wsgi_session.events import Events
from wsgi_session.integrations.django_keys import KeyBackend
from wsgi_session.integrations.django_times import started_work
from wsgi_session.request.work import Work

_MIDDLEWARE = "wsgi_session.integrations.django_device.DeviceBoundMiddleware"


def bound_work(session: Any, site: KeyBackend, work: Work) -> Work:
    """Return ``work``, or one without a session if that is bound and the request lacks the second cookie.

    Outside of a request (a command, a job), a session key is enough.
    """
    environ = getattr(session, "environ", None)
    if site.binding is None or environ is None or work.record is None:
        return work
    loaded: Loaded = work.state, work.credential, work.record, (work.data or work.load()).stored
    found = only_with_proof(site, loaded, environ, work.loaded_at)
    return work if found is loaded else started_work(work.backend, found, work.loaded_at)


def make_binding(option: object, events: Events) -> Binding:
    """Return what binds this site's sessions. Raises ``ImproperlyConfigured`` for settings that cannot work."""
    try:
        prefix = check_device_bound(option, settings.SESSION_COOKIE_DOMAIN, partitioned=False)
    except ConfigError as error:
        raise ImproperlyConfigured(f"{error} (The domain is SESSION_COOKIE_DOMAIN.)") from error
    assert prefix is not None
    if _MIDDLEWARE not in settings.MIDDLEWARE:
        raise ImproperlyConfigured(
            f"experimental_device_bound needs {_MIDDLEWARE!r} in MIDDLEWARE, directly below SessionMiddleware."
        )
    cookie = SessionCookie(
        settings.SESSION_COOKIE_NAME,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        samesite=settings.SESSION_COOKIE_SAMESITE or "None",
    )
    secrets: Sequence[Any] = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    keys = [key if isinstance(key, bytes) else str(key).encode() for key in secrets]
    return Binding(keys, settings.SESSION_COOKIE_NAME, SchemeCookies(cookie, cookie, events), events, prefix)
