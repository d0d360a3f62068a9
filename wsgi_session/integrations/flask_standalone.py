"""A session outside of the middleware: in ``test_request_context`` and the test client's ``session_transaction``.

Over https the cookie has another name (``__Host-session``), and ``session_transaction`` opens its session over http.
Flask's test client does not separate the two schemes, so neither does such a session: it is loaded from either cookie,
and both cookies are set. Otherwise a test would have to pass ``base_url`` to ``session_transaction`` as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask.wrappers import Response
from werkzeug.datastructures import Headers

from wsgi_session.backends.base import Backend
from wsgi_session.integrations.flask_session import FlaskSession
from wsgi_session.integrations.flask_work import FlaskWork
from wsgi_session.integrations.standalone import StandAlone
from wsgi_session.middleware import SessionMiddleware
from wsgi_session.request.data import Data
from wsgi_session.request.states import KEEP, OPEN, REMOVE
from wsgi_session.request.work import Work
from wsgi_session.session import work_of


class StandAloneWork(FlaskWork):
    """A unit of work over http that also accepts the cookie of an https request."""

    def __init__(self, backend: Backend, environ: Mapping[str, Any]) -> None:
        super().__init__(backend, environ)
        cookies = environ.get("HTTP_COOKIE", "")
        self._https = _over_https(environ) if "__Host-" in cookies or "__Secure-" in cookies else None

    def load(self) -> Data:
        http, https = self.environ, self._https
        data = super().load()
        if https is None or self.phase is not OPEN or self.outage is not None:
            return data
        # If the other cookie is of no use either, the cookie of the request's own scheme counts.
        for environ in (https, http):
            if self.record is None:
                self.unload()
                self.environ = environ
                data = super().load()
        return data


def make_standalone_session(middleware: SessionMiddleware, environ: dict[str, Any]) -> FlaskSession:
    """Return a session whose ``save_into`` saves it, and adds its cookies to the response."""
    request = StandAlone(middleware, environ, StandAloneWork)

    def save_into(response: Response) -> None:
        headers = request.finish(response.status, response.headers.to_wsgi_list())
        names = {_name_of(value) for name, value in headers if name == "Set-Cookie"}
        cookies = _https_cookies(work_of(request.session), environ)
        response.headers = Headers(headers + [("Set-Cookie", it) for it in cookies if _name_of(it) not in names])

    session = request.session
    assert isinstance(session, FlaskSession)
    session.save_into = save_into
    return session


def _over_https(environ: Mapping[str, Any]) -> dict[str, Any]:
    return {**environ, "wsgi.url_scheme": "https"}


def _name_of(cookie: str) -> str:
    return cookie.partition("=")[0]


def _https_cookies(work: Work, environ: Mapping[str, Any]) -> list[str]:
    """Return the Set-Cookie values for https requests, if the session's cookie was set or removed."""
    backend = work.backend
    if not backend.browser_sends:
        return []
    if work.cookie is REMOVE:
        return backend.remove_cookies(_over_https(environ))
    if work.cookie is KEEP:
        return []
    record, credential = work.record, work.credential
    assert record is not None and credential is not None
    settings = backend.settings
    max_age = settings.lifetime.end_of(record) - settings.clock() if record.persistent else None
    return backend.set_cookies(_over_https(environ), credential, max_age)
