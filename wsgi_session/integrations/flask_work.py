"""The unit of work of a Flask request, which adds Flask-Login's user and ``session.permanent``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.codec.packing import Packed
from wsgi_session.errors import HeadersAlreadySent
from wsgi_session.integrations.flask_logins import current_user, follow_stored_user, stored_user
from wsgi_session.request.data import Data
from wsgi_session.request.states import OPEN, Cookie
from wsgi_session.request.work import Work
from wsgi_session.stores.contract import Record


class FlaskWork(Work):
    """A unit of work whose user may also come from Flask-Login."""

    #: The value that ``session.permanent`` was set to before the session was loaded.
    permanent: bool | None = None
    #: Whether the session was saved in this request.
    saved = False
    #: Whether Flask-Login is loading its user at the moment.
    asks_flask_login = False

    def load(self) -> Data:
        data = super().load()
        if self.permanent is not None and self.phase is OPEN:
            self.set_persistent(self.permanent)
        return data

    def adopt(self, record: Record, packed: Packed, cookie: Cookie) -> None:
        super().adopt(record, packed, cookie)
        self.saved = True

    def data_to_save(self, data: Data) -> Data:
        follow_stored_user(self)
        return self.data or data

    def user(self) -> Mapping[str, Any] | None:
        return super().user() or stored_user(self)

    def current_user(self) -> Mapping[str, Any] | None:
        if user := super().user():
            return user
        if self.asks_flask_login:
            # The application's own user_loader calls this: Flask-Login would call it again, without end.
            return stored_user(self)
        self.asks_flask_login = True
        try:
            return current_user(self)
        finally:
            self.asks_flask_login = False


class EventWork(FlaskWork):
    """A unit of work in an event of Flask-SocketIO, which has no response, and so cannot create a session."""

    has_response = False

    def load(self) -> Data:
        # FlaskWork.load() would set whether the cookie is permanent, but no cookie can be set here.
        data = Work.load(self)
        self.late = True
        self._forbid_new_session()
        return data

    def destroy(self) -> None:
        super().destroy()
        self._forbid_new_session()

    def _forbid_new_session(self) -> None:
        """Drop changes if no session is stored."""
        self.ended = self.record is None

    def writable(self, *, needs_cookie: bool = False) -> Data:
        if needs_cookie:
            raise HeadersAlreadySent(
                "This change needs a cookie, but an event of Flask-SocketIO has no response that could set it. Make it "
                "in an HTTP request, and let the client connect again."
            )
        return super().writable()
