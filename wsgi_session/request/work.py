"""One request's view of one session: what was loaded, and what is to change. ``saving`` puts it into the store."""

from __future__ import annotations

from typing import Any

from wsgi_session.backends.base import Backend, Bearer, Loaded
from wsgi_session.codec.packing import CorruptData, Packed, pack, unpack
from wsgi_session.cookies import tokens
from wsgi_session.errors import ConfigError
from wsgi_session.owner import logged_in, owner_of
from wsgi_session.request.data import Values
from wsgi_session.request.records import Login, touched_times
from wsgi_session.stores.contract import SWEEP_GRACE, Record

#: The record key of the owner's readable form; what the store files by is a hash of it.
OWNER = b"owner"


class Draft:
    """What one request knows of its session, and what it is about to make of it."""

    #: Make a record even if nothing is in it: somebody was given a CSRF token.
    wanted = False
    #: Whether the headers are out: no cookie can go with what is saved now.
    late = False
    #: Whether the cookie is to outlive the browser, where somebody asked for that apart from a login.
    remember: bool | None = None
    #: The keys that say who logged in: with the login they belong to the commit.
    login_keys: tuple[str | bytes, ...] = ("user", OWNER)
    #: Whether the request is outside of ``cookie_path``: a new session's cookie would not come back.
    outside = False
    #: Whether ``atomic`` moved the cookie's life: it goes out only if the session is still there at the commit.
    unconfirmed: bool | None = None
    #: The handle of the session that ended elsewhere.
    lost: str | None = None
    # The session that could not be read: it is left as it is, unless it is to end.
    _unread: tuple[Bearer | None, Record | None] = (None, None)
    # What the request brought, where that opens nothing (any more).
    _presented: Bearer | None = None

    def __init__(self, backend: Backend, now: float, loaded: Loaded) -> None:
        self.backend = backend
        self.loaded_at = now
        self.state, self.bearer, self.record, packed = loaded
        if self.state == "unknown":
            self._presented, self.bearer = self.bearer, None
        self.values = Values(packed, backend.settings.max_size)
        # In every instance what every request asks for, which is the faster: the rest has its default on the class.
        #: Whether this request counts as activity.
        self.touching = True
        self.login: Login | None = None
        #: What the session will be borne by after a rotation, or once it exists.
        self.next_bearer: Bearer | None = None
        #: Whether the answer has to set (True) or remove (False) the cookie; None: neither.
        self.cookie_due: bool | None = None
        #: The session ended elsewhere: what is written is dropped. Only a login makes a new one.
        self.dead = self.state == "rotated"

    # What it will be once this request is saved.

    @property
    def handle(self) -> str | None:
        if self.login is not None:
            return self.login.handle
        return None if self.record is None else self.record.handle

    @property
    def created(self) -> float | None:
        if self.login is not None:
            return self.login.created
        return None if self.record is None else self.record.created

    @property
    def expires(self) -> float | None:
        now = self.backend.settings.clock()
        if self.login is not None:
            return self.backend.settings.expires(now, self.login.created, self.login.idle)
        if self.record is None:
            return None
        active = self.active_at(self.record, now)
        touched, expires = touched_times(self.record, active, self.backend.settings, touching=self.touching)
        # The current settings may be shorter than those it was written under.
        return min(expires, self.backend.settings.expires(touched, self.record.created, self.record.idle))

    @property
    def persistent(self) -> bool:
        """Whether the cookie outlives the browser."""
        if self.remember is not None:
            return self.remember
        if self.login is not None:
            return self.login.persistent
        return self.backend.settings.persistent if self.record is None else self.record.persistent

    @property
    def owned(self) -> bool:
        """Whether somebody logged in with ``login()``."""
        return self.login is not None or (self.record is not None and self.record.owner is not None)

    @property
    def refresh_due(self) -> bool:
        """Whether a request that changed nothing has something to note all the same."""
        record, bearer = self.record, self.bearer
        if record is None or bearer is None:
            return False
        settings = self.backend.settings
        if not bearer.current or self.unconfirmed:
            return True
        return self.touching and settings.touch_due(record, settings.clock())

    # Until when.

    def judged_at(self, now: float) -> float | None:
        """Return the time by which the store is to judge whether the session is alive; ``None`` if it is over.

        What was live when the request looked is live for that request, until an hour after its end by the idle timeout:
        so long a store that sweeps keeps the record. (Redis keeps it for five minutes.) The absolute limit ends it
        at once.
        """
        record, settings = self.record, self.backend.settings
        assert record is not None
        ends = settings.expires(record.touched, record.created, record.idle)
        if record.expires < ends:
            ends = record.expires
        if now < ends:
            return now
        if now >= ends + SWEEP_GRACE or (settings.absolute is not None and now >= record.created + settings.absolute):
            return None
        return self.loaded_at

    # Changes.

    def keep_nothing(self, *, unless: bool) -> None:
        """Make no session for this request, not by a login either: it is outside of ``cookie_path``."""
        if not unless:
            self.outside = self.dead = True

    def rotate(self) -> None:
        """Take a new token with the save. Nothing to do while there is none yet."""
        if self.record is not None and self.next_bearer is None:
            self.next_bearer = self.backend.draw()

    def persist(self, remember: bool) -> None:
        """Let the cookie outlive the browser, or not, from the save on: under a new token if there is one by now."""
        another = remember != self.persistent
        self.remember = remember
        if another:
            self.rotate()

    def log_in(self, user: dict[str, Any], *, persistent: bool | None, idle: float | None) -> None:
        """File the session under the user with the save, under a new token, handle and time of creation."""
        owner = owner_of(user)
        packed = pack(user, "user", self.values.limit)
        if self._is_somebody_elses(owner):
            # CVE-2014-0482: what belonged to one user is none of the next one's business.
            self.values.clear(own=True)
        self.values.put("user", user, packed)
        self.values.put(OWNER, owner, pack(owner, "user"))
        self.next_bearer = self.next_bearer or self.backend.draw()
        self.login = Login(
            owner=owner,
            handle=tokens.draw_names()[0],
            created=self.backend.settings.clock(),
            persistent=self.backend.settings.persistent if persistent is None else persistent,
            idle=None if idle is None else min(idle, self.backend.settings.idle),
        )
        if persistent is not None:
            self.remember = None
        self.dead = self.outside

    def _is_somebody_elses(self, owner: str) -> bool:
        if self.login is not None and self.login.owner != owner:
            return True
        filed = None if self.record is None else self.record.owner
        if self.login is None and filed not in (None, tokens.owner_key(self.backend.settings.namespace, owner)):
            return True
        # Put there by hand: filed under nobody, or under another, and somebody's all the same.
        try:
            user = self.values.peek("user") if "user" in self.values else None
        except CorruptData:
            if not self.owned:
                self.corrupt()
            return False
        if not isinstance(user, dict) or not user:
            return False
        try:
            return owner_of(user) != owner
        except ConfigError:
            # One without a name: whose it is filed under counts, if it is filed.
            return not self.owned

    def tell_unfiled_user(self, packed: Packed, record: Record) -> None:
        """Say, once, that a user was put into the session by hand: the administrator's view does not find it."""
        given = packed.get("user")
        if given is None or given == self.values.stored.get("user"):
            return
        events = self.backend.settings.events
        if events.has_told("unfiled_user"):
            return
        user = logged_in(unpack(given))
        if user is None or self.backend.stateless:
            return
        try:
            expected = tokens.owner_key(record.namespace, owner_of(user))
            filed = record.owner == expected
        except ConfigError:
            filed = record.owner is not None
        if not filed:
            advice = "call login(request, user): sessions.of(), revoke() and revoke_all() do not find this session"
            events.once("unfiled_user", handle=record.handle, advice=advice)

    def destroy(self) -> None:
        """End each session that a cookie of the request opens, or did before a rotation; forget what is to be saved."""
        moved = self.bearer if self.record is None else None
        brought = (self.bearer, self._presented, self._unread[0])
        others = [other for bearer in brought for other in getattr(bearer, "others", ())]
        self.end()
        for bearer in (moved, *others):
            ended = None if bearer is None else self.backend.end(bearer, self.backend.settings.clock())
            if ended is not None:
                self.backend.settings.events("destroyed", handle=ended.handle)

    def end(self, event: str = "destroyed") -> None:
        """Delete the record, now, and forget all that was to be saved."""
        for bearer, record in (self._unread, (self.bearer, self.record)):
            if record is not None and bearer is not None:
                self.backend.delete(bearer, record, self.backend.settings.clock())
                self.backend.settings.events(event, handle=record.handle)
        self.forget_presented()
        self._forget()
        if self.dead:
            # The browser has been given another cookie by now: removing it would log the visitor out of that one.
            return
        self.state = "destroyed"
        self.cookie_due = False

    def forget_presented(self) -> None:
        """Delete what the store may still have under a token that opened nothing when the request looked.

        Without this a slow request that looked while that session was alive would save it after this logout or login.
        """
        if self._presented is not None:
            self.backend.forget(self._presented)
            self._presented = None

    def corrupt(self) -> None:
        """A value cannot be read: the session is unknown, what this request wrote goes into a new one."""
        if self.record is not None:
            self._unread = self.bearer, self.record
            self.backend.settings.events("corrupt", handle=self.record.handle)
            if self.late:
                # No other session can take what this request wrote: there is no cookie for it any more.
                self.lost, self.dead = self.record.handle, True
        self.state = "unknown"
        self.record = self.bearer = None
        self.values.rebase({})

    def active_at(self, record: Record, now: float) -> float:
        """Return the moment that is noted as activity: late, so far back that the next request notes it again.

        Then the cookie is renewed with it. It would run out under an active visitor if late changes moved the session's
        life all the way, without a cookie, each time.
        """
        return now - self.backend.settings.interval(record.idle) if self.late else now

    def _forget(self) -> None:
        self.record = self.bearer = self.next_bearer = self.login = None
        self._unread = (None, None)
        self.wanted = False
        self.values = Values({}, self.backend.settings.max_size)
