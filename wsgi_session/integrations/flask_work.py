"""What a request of Flask's knows of its session beyond that of any other framework: its user, its permanence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.errors import HeadersAlreadySent
from wsgi_session.integrations.flask_logins import current_user, stored_user
from wsgi_session.request.data import Data
from wsgi_session.request.states import OPEN
from wsgi_session.request.work import Work


class FlaskWork(Work):
    """A unit of work whose user is Flask-Login's as well."""

    #: What ``session.permanent`` was set to before the session was loaded.
    permanent: bool | None = None
    #: Whether Flask-Login is being asked for its user.
    asks_flask_login = False

    def load(self) -> Data:
        data = super().load()
        if self.permanent is not None and self.phase is OPEN:
            self.set_persistent(self.permanent)
        return data

    def user(self) -> Mapping[str, Any] | None:
        return super().user() or stored_user(self)

    def current_user(self) -> Mapping[str, Any] | None:
        return super().user() or current_user(self)


class EventWork(FlaskWork):
    """A unit of work in an event of Flask-SocketIO, which has no response: it can make no new session."""

    def load(self) -> Data:
        # Not FlaskWork's: whether the cookie outlives the browser cannot be said here.
        data = Work.load(self)
        self.late = True
        self.make_no_session()
        return data

    def make_no_session(self) -> None:
        """Drop what is written if no session is stored."""
        self.ended = self.record is None

    def writable(self, *, needs_cookie: bool = False) -> Data:
        if needs_cookie:
            raise HeadersAlreadySent(
                "This change needs a cookie, and an event of Flask-SocketIO has no response to send it with: make it "
                "in an HTTP request, and let the client connect again."
            )
        return super().writable()
