"""The unit of work: what one request knows of its session, and what it will change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.backends.base import Credential
from wsgi_session.codec.packing import Packed
from wsgi_session.cookies.caching import Headers
from wsgi_session.errors import StoreUnavailable
from wsgi_session.request.data import Data
from wsgi_session.request.ending import closed_error, end, report
from wsgi_session.request.fields import NO_ENVIRON
from wsgi_session.request.loading import LazyWork
from wsgi_session.request.records import Login
from wsgi_session.request.states import CLOSED, SET, Cookie
from wsgi_session.stores.contract import Record


class Work(LazyWork):
    """What one request knows of its session, and what it will change. Loads nothing before the first access.

    The commit (``commit.py``) saves it, and passes the result back: see :meth:`adopt`.
    """

    def open(self) -> Work:
        """Load the session unless it is loaded, and return this object; see :meth:`load`."""
        if self.data is None:
            self.load()
        return self

    # What the request intends. Only destroy() acts immediately.

    def destroy(self) -> None:
        """End the session of each session cookie of the request, and discard the changes that were not saved yet.

        Raises ``StoreUnavailable`` if the store is down; ``HeadersAlreadySent`` if the response is closed, or if the
        session is in the cookie and the headers were sent.
        """
        self.open()
        if self.phase is CLOSED:
            raise closed_error()
        if self.state == "unavailable":
            raise self.unavailable()
        if self.backend.change_needs_cookie:
            self.writable(needs_cookie=True)
        try:
            self._end_all()
        except StoreUnavailable as error:
            self.note_outage(error)
            raise

    def rotate(self) -> None:
        """Let the commit replace the token, if the session is stored and the token is not being replaced already."""
        if self.record is not None and self.next_credential is None:
            self.next_credential = self.backend.new_credential()

    def renew(self) -> Credential:
        """Let the commit store the session under a new token, even if it is empty; return the new credential."""
        credential = self.next_credential = self.backend.new_credential()
        self.create_if_empty = True
        return credential

    def intend_login(self, login: Login, keys: tuple[str | bytes, ...]) -> None:
        """Let the commit store the session as ``login``; see ``login.py``."""
        # A framework's login and ``login()`` in one request: neither user may be stored before the commit.
        if self.login is None:
            self.login_keys, self.changed_before_login = keys, dict((self.data or self.load()).changed)
        else:
            self.login_keys = (*self.login_keys, *keys)
        self.login = login
        self.next_credential = self.next_credential or self.backend.new_credential()
        self.ended = self.outside_path

    def set_persistent(self, remember: bool) -> None:
        """Let the commit set whether the browser keeps the cookie after it closes; this rotates a stored session."""
        changes = remember != self.persistent
        self.remember = remember
        if changes:
            self.rotate()

    def reset(self, environ: Mapping[str, Any]) -> None:
        """Forget what was loaded and intended. What ``destroy`` and ``atomic`` did immediately is not undone."""
        self.unload()
        self.outage, self.outage_raised, self.environ = None, False, environ

    # Called by the exchange.

    def close_unused(self, headers: Headers) -> None:
        """Close the response of a request that did not use its session, and release the environ."""
        self.phase = CLOSED
        self.sent_headers = headers
        environ = self.environ
        self.cookie_and_scheme = environ.get("HTTP_COOKIE", ""), environ.get("wsgi.url_scheme")
        self.environ = NO_ENVIRON

    # Called by the commit.

    def data_to_save(self, data: Data) -> Data:
        """Return the data whose changes are saved: ``data``, unless an integration saves only on request."""
        return data

    def adopt(self, record: Record, packed: Packed, cookie: Cookie) -> None:
        """Take over the record and the values that were stored under the same token."""
        self.record = record
        if cookie is SET:
            self.cookie = SET
        (self.data or self.load()).adopt(packed)

    def adopt_new(self, credential: Credential, record: Record, packed: Packed) -> None:
        """Take over what was stored under a new token: the login, the rotation or the new session is complete."""
        self.credential = credential
        self.login = self.next_credential = None
        self.create_if_empty = False
        self.adopt(record, packed, SET)

    def adopt_times(self, record: Record, cookie: Cookie) -> None:
        """Take over the times after a touch."""
        self.record = record
        if cookie is SET:
            self.cookie = SET

    def _end_all(self) -> None:
        """End the session, also if another request has rotated it, and the sessions of the request's other cookies."""
        backend = self.backend
        rotated = self.credential if self.record is None else None
        # A session that this request has found ended may only have been rotated.
        ended = self.ended_credential
        credentials = (self.credential, self.refused, self.unread[0], ended)
        others = [other for credential in credentials for other in getattr(credential, "others", ())]
        end(self)
        for credential in (rotated, ended, *others):
            if credential is None:
                continue
            record = backend.end(credential, backend.settings.clock())
            if record is not None:
                report(backend, record, "destroyed")
            elif credential in others:
                # By another machine's clock, it may not have expired.
                backend.forget(credential)
