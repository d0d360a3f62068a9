"""One request's view of one session: what was loaded, what is to change, and how that is saved.

Everything that could come between a load and a save (another request's write, a rotation, a logout, a lost answer) is
handled here, once, for ordinary changes, ``atomic``, ``rotate`` and ``login`` alike.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from wsgi_session import tokens
from wsgi_session.backend import Backend, Bearer, Loaded
from wsgi_session.codec import CorruptData, Packed, check_key, pack, unpack
from wsgi_session.errors import ConfigError, SessionGone, StoreUnavailable, Unsupported
from wsgi_session.owner import owner_of
from wsgi_session.records import Login, changed_record, first_record, join_within, login_record, touched_times
from wsgi_session.stores import Outcome, Record
from wsgi_session.values import Values

#: A save that meets other writers merges and tries again, so often or so long (seconds) at most.
MAX_TRIES = 100
MAX_SECONDS = 5.0
#: The record key of the owner's readable form; what the store files by is a hash of it.
OWNER = b"owner"

T = TypeVar("T")
Merge = Callable[[Packed], Packed]


class Draft:
    """What one request knows of its session, and what it is about to make of it."""

    # Defaults on the class: what a request does not do costs it nothing.

    #: Make a record even if nothing is in it: somebody was given a CSRF token.
    wanted = False
    #: Whether this request counts as activity.
    touching = True
    #: Whether the headers are out: no cookie can go with what is saved now.
    late = False
    login: Login | None = None
    #: What the session will be borne by after a rotation, or once it exists.
    next_bearer: Bearer | None = None
    #: Whether the answer has to set (True) or remove (False) the cookie; None: neither.
    cookie_due: bool | None = None
    #: The session ended elsewhere: what is written is dropped. Only a login makes a new one.
    dead = False
    # The handle of the session that ended elsewhere.
    _lost: str | None = None
    # The session that could not be read: it is left as it is, unless it is to end.
    _unread: tuple[Bearer | None, Record | None] = (None, None)

    def __init__(self, backend: Backend, now: float, loaded: Loaded) -> None:
        self._backend = backend
        self._loaded_at = now
        self.state, self.bearer, self.record, packed = loaded
        self.values = Values(packed)
        if self.state == "rotated":
            self.dead = True

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
        now = self._backend.settings.clock()
        if self.login is not None:
            return self._backend.settings.expires(now, self.login.created, self.login.idle)
        if self.record is None:
            return None
        active = self._active_at(self.record, now)
        touched, expires = touched_times(self.record, active, self._backend.settings, touching=self.touching)
        # The current settings may be shorter than those it was written under.
        return min(expires, self._backend.settings.expires(touched, self.record.created, self.record.idle))

    @property
    def owned(self) -> bool:
        """Whether somebody logged in with ``login()``."""
        return self.login is not None or (self.record is not None and self.record.owner is not None)

    # Changes.

    def rotate(self) -> None:
        """Take a new token with the save. Nothing to do while there is none yet."""
        if self.record is not None and self.next_bearer is None:
            self.next_bearer = self._backend.draw()

    def log_in(self, user: dict[str, Any], *, persistent: bool | None, idle: float | None) -> None:
        """File the session under the user with the save, under a new token, handle and time of creation."""
        owner = owner_of(user)
        packed = pack(user, "user")
        if self._is_somebody_elses(owner):
            # CVE-2014-0482: what belonged to one user is none of the next one's business.
            self.values.clear(own=True)
        self.values.put("user", user, packed)
        self.values.put(OWNER, owner, pack(owner, "user"))
        self.next_bearer = self.next_bearer or self._backend.draw()
        self.login = Login(
            owner=owner,
            handle=tokens.draw_names()[0],
            created=self._backend.settings.clock(),
            persistent=self._backend.settings.persistent if persistent is None else persistent,
            idle=None if idle is None else min(idle, self._backend.settings.idle),
        )
        self.dead = False

    def _is_somebody_elses(self, owner: str) -> bool:
        if self.login is not None and self.login.owner != owner:
            return True
        filed = None if self.record is None else self.record.owner
        if self.login is None and filed not in (None, tokens.owner_key(self._backend.settings.namespace, owner)):
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

    def destroy(self, event: str = "destroyed") -> None:
        """Delete the record, now, and forget all that was to be saved."""
        for bearer, record in (self._unread, (self.bearer, self.record)):
            if record is not None and bearer is not None:
                self._backend.delete(bearer, record, self._backend.settings.clock())
                self._backend.settings.events(event, handle=record.handle)
        self._forget()
        if self.dead:
            # The browser has been given another cookie by now: removing it would log the visitor out of that one.
            return
        self.state = "destroyed"
        self.cookie_due = False

    def corrupt(self) -> None:
        """A value cannot be read: the session is unknown, what this request wrote goes into a new one."""
        if self.record is not None:
            self._unread = self.bearer, self.record
            self._backend.settings.events("corrupt", handle=self.record.handle)
        self.state = "unknown"
        self.record = self.bearer = None
        self.values.rebase({})

    # Saving.

    def save(self) -> bool:
        """Save what changed; return whether anything was, or had to be dropped."""
        changed = self.values.collect()
        if self.record is None:
            if self.dead:
                if changed:
                    self._drop()
                return True
            if not (changed or self.wanted or self.login is not None):
                return False
            self._create(self.values.applied_to, self._backend.settings.clock())
            return True
        if not changed and self.next_bearer is None:
            return False
        if not self._save(self.values.applied_to, self._backend.settings.clock()) and changed:
            self._drop()
        return True

    @property
    def refresh_due(self) -> bool:
        """Whether a request that changed nothing has something to note all the same."""
        if self.record is None or self.bearer is None:
            return False
        if not self.bearer.current:
            return True
        return self.touching and self._backend.settings.touch_due(self.record, self._loaded_at)

    def refresh(self) -> None:
        """Note the activity, and renew a cookie that an older secret signed. Never harms the answer."""
        record, bearer = self.record, self.bearer
        assert record is not None and bearer is not None
        now = self._backend.settings.clock()
        touched, expires = touched_times(record, now, self._backend.settings, touching=self.touching)
        try:
            # Asked also where only the signature is old and no time moves: whether it has ended meanwhile.
            alive = not self._is_over(record, now) and self._backend.touch(bearer, touched, expires, now)
        except StoreUnavailable as error:
            self._backend.settings.events("touch_failed", handle=record.handle, error=str(error))
            return
        if not alive:
            # Ended a moment ago: a cookie now would come after the one that removed or replaced it.
            self.cookie_due = None
            return
        self.record = record._replace(touched=touched, expires=expires)
        if not bearer.current or self._backend.stateless or (record.persistent and expires > record.expires):
            self.cookie_due = True

    def atomic(self, function: Callable[[dict[str, Any]], T]) -> T:
        """Apply ``function`` to the newest data and save the outcome at once; ``SessionGone`` if it has ended."""
        if self._backend.stateless:
            raise Unsupported(
                "a session in the cookie has no newest data: two requests never see each other's. Use a store that "
                "keeps sessions, such as sqlite:///sessions.db.",
                operation="atomic",
            )
        results: list[T] = []

        def merge(base: Packed) -> Packed:
            packed = self.values.applied_to(base)
            own = {key: value for key, value in packed.items() if type(key) is bytes}
            data = {key: unpack(value) for key, value in packed.items() if type(key) is str}
            results.append(function(data))
            return own | {check_key(key): pack(value, key) for key, value in data.items()}

        self.values.collect()
        now = self._backend.settings.clock()
        if self.dead:
            raise self._gone()
        try:
            if self.record is None:
                packed = merge(self.values.stored)
                if packed or self.wanted:
                    self._create(lambda base: packed, now)
                else:
                    self.values.saved(packed)
            elif not self._save(merge, now):
                raise self._gone()
        except CorruptData:
            self.corrupt()
            raise self._gone() from None
        return results[-1]

    def _save(self, merge: Merge, now: float) -> bool:
        """Replace or rotate, merging with whoever wrote first. False: the session ended elsewhere."""
        version = tokens.draw_version()
        clock = self._backend.settings.clock
        for tries in range(MAX_TRIES):
            outcome = self._try(merge, version, now)
            if outcome is Outcome.SAVED:
                return True
            if outcome is Outcome.GONE or not self._reload(now):
                return self._ended_elsewhere(merge, now)
            if clock() - now >= MAX_SECONDS:
                break
            if tries > 2:
                # Writers who step out of each other's way all get through sooner.
                time.sleep(random.uniform(0, min(0.0005 * 2**tries, 0.02)))  # noqa: S311  (no secret)
        raise StoreUnavailable(
            f"other requests wrote to this session first, {tries + 1} times in a row: nothing was saved. Write to it "
            "less often, or in fewer requests at once."
        )

    def _try(self, merge: Merge, version: bytes, now: float) -> Outcome:
        before, bearer = self.record, self.bearer
        assert before is not None and bearer is not None
        if self._is_over(before, now):
            return Outcome.GONE
        packed = merge(self.values.stored)
        record = self._next_record(before, join_within(packed, self._backend.settings.max_size), version, now)
        if self.next_bearer is None:
            outcome = self._backend.replace(bearer, record, before.version, now)
        else:
            outcome, bearer = self._backend.rotate(bearer, self.next_bearer, record, before.version, now)
        if outcome is not Outcome.SAVED:
            return outcome
        rotated = self.next_bearer is not None
        moved = record.persistent and record.expires > before.expires
        if rotated or moved or not bearer.current or self._backend.stateless:
            self.cookie_due = True
        self._saved(packed, record, bearer)
        if rotated:
            self._backend.settings.events("rotated", handle=record.handle)
        return outcome

    def _create(self, merge: Merge, now: float) -> None:
        settings = self._backend.settings
        packed = merge(self.values.stored)
        data = join_within(packed, settings.max_size)
        handle, version = tokens.draw_names()
        if self.login is None:
            record = first_record(handle, data, version, now, settings)
        else:
            record = login_record(self.login, data, version, now, settings)
        bearer = self._backend.create(self.next_bearer or self._backend.draw(), record, now)
        self.cookie_due = True
        self._saved(packed, record, bearer)
        settings.events("created", handle=record.handle)

    def _saved(self, packed: Packed, record: Record, bearer: Bearer) -> None:
        if self.login is not None:
            self._backend.settings.events("logged_in", handle=record.handle)
        self.record = record
        self.bearer = bearer
        self.login = self.next_bearer = None
        self.wanted = False
        self.values.saved(packed)

    def _reload(self, now: float) -> bool:
        """Take what another request stored as the base. False: it ended meanwhile."""
        assert self.bearer is not None
        _, _, record, packed = self._backend.look_up(self.bearer, now)
        if record is None:
            return False
        self._backend.settings.events("conflict", handle=record.handle)
        self.record = record
        self.values.stored = packed
        return True

    def _ended_elsewhere(self, merge: Merge, now: float) -> bool:
        self._lost = None if self.record is None else self.record.handle
        self.state = "unknown"
        self.record = self.bearer = None
        self.values.stored = {}
        if self.login is None:
            self.dead = True
            return False
        # Two logins at once from one token: the second carries only what its own request wrote.
        self._create(merge, now)
        return True

    def drop_changes(self) -> bool:
        """Say what changed after the answer was out: without a store, there is nothing to put it into any more."""
        changed = self.values.collect()
        if changed:
            self._lost = self.handle
            self._drop()
        return changed

    def _drop(self) -> None:
        keys = sorted(key for key in self.values.changed if isinstance(key, str))
        self._backend.settings.events("dropped", handle=self._lost, keys=keys)
        self.values.changed = {}

    def _is_over(self, record: Record, now: float) -> bool:
        """Whether it died since it was loaded: the store may still have it, under settings that were longer once."""
        return now >= self._backend.settings.expires(record.touched, record.created, record.idle)

    def _forget(self) -> None:
        self.record = self.bearer = self.next_bearer = self.login = None
        self._unread = (None, None)
        self.wanted = False
        self.values = Values({})

    def _gone(self) -> SessionGone:
        return SessionGone(
            "the session has ended: nothing was saved. Ask the visitor to log in again.", handle=self._lost
        )

    def _next_record(self, before: Record, data: bytes, version: bytes, now: float) -> Record:
        if self.login is not None:
            return login_record(self.login, data, version, now, self._backend.settings)
        active = self._active_at(before, now)
        return changed_record(before, data, version, active, self._backend.settings, touching=self.touching)

    def _active_at(self, record: Record, now: float) -> float:
        """Return the moment that is noted as activity: late, so far back that the next request notes it again.

        Then the cookie is renewed with it. It would run out under an active visitor if late changes moved the session's
        life all the way, without a cookie, each time.
        """
        return now - self._backend.settings.interval(record.idle) if self.late else now
