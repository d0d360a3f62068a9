"""Django: take over the sessions of Django's own engines, so that nobody is logged out.

::

    from wsgi_session.moving import DjangoSessions

    OLD_SESSIONS = DjangoSessions("db", SECRET_KEY, "postgresql://db/shop")
    WSGI_SESSION_OPTIONS = {"adopt": OLD_SESSIONS}

This works without anything else if SESSION_COOKIE_NAME stays as it was. If it changes, as it must for
``Adopt(..., keep_old=True)``, put :class:`AdoptMiddleware` directly below ``SessionMiddleware`` in MIDDLEWARE.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from wsgi_session.backends.base import Loaded
from wsgi_session.integrations.django_site import backend
from wsgi_session.request.work import Work
from wsgi_session.session import work_of


class AdoptMiddleware(MiddlewareMixin):
    """Lets the session engine read, and removes, an old cookie with another name than SESSION_COOKIE_NAME."""

    def process_request(self, request: HttpRequest) -> None:
        request.session.environ = request.META  # type: ignore[attr-defined]

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        adoption = backend().adoption
        # The attribute is Django's. It exists if the session was used.
        loaded = vars(request.session).get("_session_cache")
        if adoption is None or loaded is None:
            return response
        work = work_of(loaded)
        if work.state == "destroyed" or (work.record is not None and adoption.must_remove(request.META)):
            for reader in adoption.readers_of(request.META, settings.SESSION_COOKIE_NAME):
                response.delete_cookie(reader.cookie_name, reader.path, reader.domain)
        return response


def adopted_work(session: Any, work: Work) -> Work:
    """Return the unit of work of the session that is adopted in place of the one in ``work``, or ``work`` itself."""
    site = backend()
    if site.adoption is None:
        return work
    environ = getattr(session, "environ", None)
    if environ is None:
        environ = {"HTTP_COOKIE": f"{settings.SESSION_COOKIE_NAME}={session.session_key or ''}"}
    stored = (work.data or work.load()).stored
    loaded: Loaded = work.state, work.credential or work.refused, work.record, stored
    found = site.adoption.apply(loaded, environ, work.loaded_at)
    if found is loaded:
        return work
    adopted = Work(work.backend, {})
    adopted.start(found, work.loaded_at)
    if adopted.record is not None and adopted.credential is not None:
        session._session_key = site.session_key_of(adopted.credential)  # noqa: SLF001  (Django's own name)
        # Otherwise Django would not set the cookie.
        session.modified = session.modified or not adopted.credential.current
    return adopted
