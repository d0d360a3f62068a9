"""The unit of work: what one request knows of its session, and what it intends to do to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.backends.base import Backend, Credential, Loaded, State
from wsgi_session.codec.packing import CorruptData, Packed
from wsgi_session.cookies.caching import Headers
from wsgi_session.errors import HeadersAlreadySent, StoreUnavailable
from wsgi_session.owner import logged_in
from wsgi_session.request.data import Data
from wsgi_session.request.ending import closed_error, destroy
from wsgi_session.request.loading import NO_ENVIRON, load, unload
from wsgi_session.request.login import OWNER, Login
from wsgi_session.request.states import CLOSED, KEEP, OPEN, SET, Cookie
from wsgi_session.stores.contract import Record


class Work:
    """What one request knows of its session, and what it intends. Loads nothing until it is asked for.

    The commit (``commit.py``) saves it, and hands back what came of that: see :meth:`adopt`.
    """

    # What few requests set has its default on the class. What every request reads is set in each object, where it is
    # read in a fifth of the instructions (measured: 3 % of a request that reads).

    #: The scheme of the request when the session was loaded: a rewritten environ does not change the cookie's name.
    scheme: str | None = None
    #: The outage that loading the session, or a call that acts immediately, ended with.
    outage: StoreUnavailable | None = None
    #: Whether the application was told of it.
    outage_raised = False

    # What was loaded.

    #: See ``Session.state``.
    state: State
    credential: Credential | None
    record: Record | None
    #: Whether the session ended in another request: what is written is dropped. Only a login makes a new session.
    ended = False
    #: The handle of the session that ended.
    ended_handle: str | None = None

    # What the request intends.

    #: The keys that say who logged in: they are stored with the login, and not before.
    login_keys: tuple[str | bytes, ...] = ("user", OWNER)
    #: Whether the cookie shall outlive the browser, where that was asked for apart from a login.
    remember: bool | None = None
    #: Store a session even if it is empty: a CSRF token was given to the visitor.
    create_if_empty = False
    #: Whether the request is outside of ``cookie_path``: the browser would not send a new session's cookie back.
    outside_path = False

    #: A session that could not be read: it is left as it is, unless the request ends it.
    unread: tuple[Credential | None, Record | None] = (None, None)
    #: The credential of the request that was not accepted.
    refused: Credential | None = None
    #: The headers that were passed to the server. Only the exchange writes it.
    sent_headers: Headers = []  # noqa: RUF012  (only ever replaced)
    #: Cookie header and scheme, for a session that is loaded after the response.
    kept: tuple[str, str | None] | None = None

    def __init__(self, backend: Backend, environ: Mapping[str, Any]) -> None:
        self.backend = backend
        self.environ = environ
        #: How far the response is. Only the exchange writes it.
        self.phase = OPEN
        #: Whether the session was asked for, even if loading it failed: the response depends on the cookie then.
        self.accessed = False
        #: What the response does to the cookie.
        self.cookie = KEEP
        #: ``None`` until the session is loaded.
        self.data: Data | None = None

    # Loading.

    #: Load the session and return its data, once in a request; ``StoreUnavailable`` in an outage, each time.
    load = load

    def open(self) -> Work:
        """Load the session unless it is loaded, and return this object; see :meth:`load`."""
        if self.data is None:
            self.load()
        return self

    def start(self, loaded: Loaded, now: float) -> Data:
        """Begin with what was loaded at ``now``."""
        self.loaded_at = now
        self.state, self.credential, self.record, packed = loaded
        if self.state == "unknown":
            self.refused, self.credential = self.credential, None
        elif self.state == "rotated":
            self.ended = True
        self.login: Login | None = None
        #: The credential after a rotation, or of a session that is not stored yet.
        self.next_credential: Credential | None = None
        #: Whether this request counts as activity.
        self.touching = True
        #: Whether something is written after the headers: no cookie can go with what is saved then.
        self.late = False
        #: Whether ``atomic`` wanted the cookie to be set: the commit asks whether the session is still there.
        self.cookie_unconfirmed = False
        data = self.data = Data(packed, self.backend.settings.max_size)
        return data

    def writable(self, *, needs_cookie: bool = False) -> Data:
        """Return the data for a change that can still be saved (or dropped), else raise why it cannot.

        ``StoreUnavailable`` in an outage; ``HeadersAlreadySent`` if the change comes too late, or would need a cookie
        that cannot be set any more.
        """
        data = self.data or self.load()
        if self.state == "unavailable":
            raise self.unavailable()
        if self.phase is OPEN:
            return data
        if self.phase is CLOSED:
            raise closed_error()
        stored = self.record is not None and self.next_credential is None
        if needs_cookie or self.backend.change_needs_cookie or not (stored or self.ended):
            raise HeadersAlreadySent(
                "This change needs a cookie, and the headers were sent: make it before the response's first byte."
            )
        self.late = True
        return data

    def unavailable(self) -> StoreUnavailable:
        """Return the outage of this request again: it is found once, not at each access."""
        first = self.outage
        assert first is not None
        self.outage_raised = True
        again = StoreUnavailable(str(first), retry_after=first.retry_after)
        again.__cause__ = first
        return again

    def note_outage(self, error: StoreUnavailable) -> None:
        """Remember an outage that the application was told of by a call that acts immediately."""
        self.outage, self.outage_raised = error, True

    # What the session will be once this request is saved.

    @property
    def handle(self) -> str | None:
        if self.login is not None:
            return self.login.handle
        return None if self.record is None else self.record.handle

    @property
    def handles(self) -> set[str]:
        """The public names: between a login and its commit there are two."""
        stored = None if self.record is None else self.record.handle
        return {name for name in (self.handle, stored) if name is not None}

    @property
    def created(self) -> float | None:
        if self.login is not None:
            return self.login.created
        return None if self.record is None else self.record.created

    @property
    def persistent(self) -> bool:
        """Whether the cookie outlives the browser."""
        if self.remember is not None:
            return self.remember
        if self.login is not None:
            return self.login.persistent
        return self.backend.settings.persistent if self.record is None else self.record.persistent

    @property
    def has_owner(self) -> bool:
        """Whether a user logged in with ``login()``."""
        return self.login is not None or (self.record is not None and self.record.owner is not None)

    # Reading for the package itself.

    def peek(self, key: str | bytes, default: Any = None) -> Any:
        """Return a value that is only looked at: it is not watched for changes, and must not be passed on."""
        data = self.data or self.load()
        try:
            return data.peek(key)
        except KeyError:
            return default
        except CorruptData:
            self.mark_corrupt()
            return default

    def user(self) -> Mapping[str, Any] | None:
        """Return the user who is logged in by what is stored, only to be looked at: see :meth:`peek`."""
        return logged_in(self.peek("user"))

    def current_user(self) -> Mapping[str, Any] | None:
        """Return the user who is logged in by what the framework around this request says: see :meth:`peek`."""
        return self.user()

    # Intentions, but for one change that is made immediately.

    #: End the session in the store, and forget what was to be saved.
    destroy = destroy

    def rotate(self) -> None:
        """Take a new token with the commit, if the session is stored and none is taken yet."""
        if self.record is not None and self.next_credential is None:
            self.next_credential = self.backend.draw()

    def renew(self) -> Credential:
        """Take a new token with the commit in any case, also for an empty session; return its credential."""
        credential = self.next_credential = self.backend.draw()
        self.create_if_empty = True
        return credential

    def intend_login(self, login: Login, keys: tuple[str | bytes, ...]) -> None:
        """Store the session as ``login`` with the commit; see ``login.py``."""
        # A framework's login and ``login()`` in one request: neither user may be stored before the commit.
        self.login_keys = keys if self.login is None else (*self.login_keys, *keys)
        self.login = login
        self.next_credential = self.next_credential or self.backend.draw()
        self.ended = self.outside_path

    def persist(self, remember: bool) -> None:
        """Let the cookie outlive the browser, or not, from the commit on. A stored session takes a new token for it."""
        changes = remember != self.persistent
        self.remember = remember
        if changes:
            self.rotate()

    def forget(self) -> None:
        """Forget what was loaded and what was to be saved: the session was ended."""
        self.record = self.credential = self.next_credential = self.login = None
        self.unread = (None, None)
        self.create_if_empty = False
        self.data = Data({}, self.backend.settings.max_size)

    def mark_corrupt(self) -> None:
        """Take a session with an unreadable value for unknown: what this request writes goes into a new session."""
        if self.record is not None:
            self.unread = self.credential, self.record
            self.backend.settings.events("corrupt", handle=self.record.handle)
            if self.late:
                # There is no cookie any more for another session.
                self.ended_handle, self.ended = self.record.handle, True
        self.state = "unknown"
        self.record = self.credential = None
        (self.data or self.load()).rebase({})

    def begin_again(self, environ: Mapping[str, Any]) -> None:
        """Forget what was loaded and intended. What acted immediately (``destroy``, ``atomic``) stays done."""
        unload(self)
        self.outage, self.outage_raised, self.environ = None, False, environ

    # What the exchange tells.

    def leave(self, headers: Headers) -> None:
        """Take note that the response is complete, and that the session was never asked for: let go of the environ."""
        self.phase = CLOSED
        self.sent_headers = headers
        environ = self.environ
        self.kept = environ.get("HTTP_COOKIE", ""), environ.get("wsgi.url_scheme")
        self.environ = NO_ENVIRON

    # What the commit hands back.

    def adopt(self, record: Record, packed: Packed, cookie: Cookie) -> None:
        """Take over what was stored in the same record."""
        self.record = record
        if cookie is SET:
            self.cookie = SET
        (self.data or self.load()).saved(packed)

    def adopt_new(self, credential: Credential, record: Record, packed: Packed) -> None:
        """Take over what was stored under a new credential: all that was intended is done."""
        self.credential = credential
        self.login = self.next_credential = None
        self.create_if_empty = False
        self.adopt(record, packed, SET)

    def adopt_times(self, record: Record, cookie: Cookie) -> None:
        """Take over the times of a recorded activity."""
        self.record = record
        if cookie is SET:
            self.cookie = SET

    def note_end(self) -> None:
        """Take note that the session ended in another request: what is written is dropped, unless a login follows."""
        self.ended_handle = None if self.record is None else self.record.handle
        self.state = "unknown"
        self.record = self.credential = None
        data = self.data or self.load()
        data.stored = {}
        if self.login is not None:
            data.keep_written()
        self.ended = self.login is None
