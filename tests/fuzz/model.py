"""The rules of a session, as a short model: what requests must see, in whatever order things happen.

The model has no stores, versions or retries: a request saves all of its changes in one moment. If the effect of a step
is unknown (no answer came, or two steps ran at once), the model continues with several worlds. Each later observation
keeps the worlds that agree with it. If none is left, a promise was broken.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

#: Seconds: the settings of the middleware that is compared with this.
IDLE, ABSOLUTE, INTERVAL, TOMBSTONE = 1_000.0, 5_000.0, 100.0, 120.0
#: Seconds for which a request may continue past the end of a session that was live when the request loaded it, and for
#: which a store keeps ended sessions.
GRACE = 3_600.0
#: Seconds by which the clocks of two machines may differ.
CLOCK_SKEW = 60.0

#: Strings are the application's keys. Numbers stand for flash messages, which are not keys of the mapping.
Data = dict["str | int", Any]


@dataclass
class Login:
    """The effect that ``login()`` has when the session is saved."""

    user: int
    handle: str
    created: float
    idle: float | None


@dataclass
class Stored:
    """A stored session."""

    data: Data
    created: float
    touched: float
    #: The user who has logged in to the session.
    user: int | None = None
    handle: str | None = None
    idle: float | None = None
    #: How often it was saved.
    saves: int = 0

    def ends(self) -> float:
        return min(self.touched + min(IDLE, self.idle or IDLE), self.created + ABSOLUTE)

    def over(self, now: float) -> bool:
        """Whether it has ended for every request, including those that loaded it while it was live."""
        return now >= min(self.ends() + GRACE, self.created + ABSOLUTE)

    def due(self, now: float) -> bool:
        """Whether activity has to be noted by now."""
        return now - self.touched >= (INTERVAL if self.idle is None else min(INTERVAL, self.idle / 30))


@dataclass
class Request:
    """What one request knows of its session, and the changes that it is about to save."""

    #: The token of its cookie, or the one it has been given since; ``None`` for no cookie.
    token: str | None
    came_with_cookie: bool = False
    state: str = "not looked"
    looked_at: float = 0.0
    #: The token that it came with, if that opened no session.
    stale: str | None = None
    #: The session as it was loaded, or as this request last saved it.
    record: Stored | None = None
    base: Data = field(default_factory=dict)
    #: What the application sees: the base with its changes.
    view: Data = field(default_factory=dict)
    #: The keys that it assigned or deleted, even if the value stayed the same.
    written: set[str | int] = field(default_factory=set)
    #: The values that ``setdefault`` found.
    defaults: Data = field(default_factory=dict)
    #: Its changes that ``atomic`` has saved already. A login that has to begin a new session takes them along.
    carried: Data = field(default_factory=dict)
    #: Whether it drops all keys that are stored at the time of the save, and all flash messages.
    cleared: bool = False
    cleared_flashes: bool = False
    login: Login | None = None
    #: The keys that it assigned or deleted since the login: they are saved with the login, and not before.
    since_login: set[str | int] = field(default_factory=set)
    rotating: bool = False
    #: Whether a session is made even if it is empty, because the visitor got a form's token.
    wanted: bool = False
    touching: bool = True
    #: Whether the session ended elsewhere, so that writes are dropped.
    dead: bool = False
    #: What the answer must do with the cookie: "new", "remove", "again" (for a longer life), or ``None`` for nothing.
    cookie: str | None = None

    def write(self, *keys: str | int) -> None:
        """Note that the keys were assigned or deleted."""
        self.written.update(keys)
        if self.login is not None:
            self.since_login.update(keys)

    def on_top_of(self, stored: Data) -> Data:
        """Return ``stored`` with the keys that this request assigned, and none of the others that it saw."""
        result = {key: value for key, value in stored.items() if not self.drops(key)}
        for key, value in self.defaults.items():
            result.setdefault(key, value)
        for key in self.written:
            if key in self.view:
                result[key] = self.view[key]
            else:
                result.pop(key, None)
        return deepcopy(result)

    def changed(self) -> bool:
        """Whether its data differs from what it loaded. If not, there is nothing to save."""
        if any(self.drops(key) for key in self.base):
            return True
        return any(self.view.get(key) != self.base.get(key) for key in self.written)

    def begin_anew(self) -> None:
        """Handle that the session ended elsewhere. A login begins a new one, with what this request wrote only."""
        self.record, self.state, self.dead = None, "unknown", self.login is None
        if self.login is not None:
            self.view = self.on_top_of(self.carried)
            self.written |= self.carried.keys()
            self.base, self.cleared, self.cleared_flashes = {}, False, False

    def forget(self) -> None:
        """Forget all changes that are not saved."""
        self.base, self.view, self.carried = {}, {}, {}
        self.record = self.login = None
        self.rotating = self.wanted = False
        self.settle()

    def settle(self) -> None:
        """Note that the base now contains all changes."""
        self.written, self.defaults = set(), {}
        self.cleared = self.cleared_flashes = False

    def drops(self, key: str | int) -> bool:
        return self.cleared_flashes or (self.cleared and isinstance(key, str))


class World:
    """All sessions, and all requests that are under way."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.sessions: dict[str, Stored] = {}
        #: For each token that was rotated away, the time until which it is reported as rotated.
        self.rotated: dict[str, float] = {}
        #: For each of them, the token that replaced it, which a logout follows.
        self.moved: dict[str, str] = {}
        #: The tokens that a login replaced: their successors open another session.
        self.begun: set[str] = set()
        self.requests: dict[int, Request] = {}
        #: The sessions that a revocation under way has ended so far.
        self.revoked: list[str] = []
        self._tokens = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, World) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"World({vars(self)})"

    # Looking.

    def find(self, token: str | None) -> Stored | None:
        """Return the session that a token opens: never one that has ended, and never another."""
        stored = self.sessions.get(token or "")
        return stored if stored is not None and self.now < stored.ends() else None

    def found_by(self, request: Request) -> Stored | None:
        """Return the session that a request has loaded, unless it was ended. A session that was live when the request
        loaded it stays live for it. Other requests may have saved or touched it since."""
        stored = self.sessions.get(request.token or "") if request.record else None
        return stored if stored is not None and not stored.over(self.now) else None

    def look(self, number: int) -> str:
        """Load the session of a request, and return its state."""
        request = self.requests[number]
        request.looked_at = self.now
        stored = self.find(request.token)
        if stored is not None:
            request.state, request.record = "live", deepcopy(stored)
            request.base, request.view = deepcopy(stored.data), deepcopy(stored.data)
        elif request.token is None:
            request.state = "new"
        elif self.now < self.rotated.get(request.token, 0):
            request.state, request.dead = "rotated", True
        else:
            request.state, request.stale = "unknown", request.token
        return request.state

    def of(self, user: int) -> set[str | None]:
        """Return the handles of a user's sessions."""
        return {one.handle for token, one in self.sessions.items() if one.user == user and self.find(token)}

    # The actions of an application. Each returns what the application sees.

    def read(self, request: Request) -> Any:
        user = request.view.get("user")
        data = {key: value for key, value in request.view.items() if isinstance(key, str)}
        return data, None if user is None else f"id:{user['id']}", request.record is None

    def put(self, request: Request, key: str, value: int) -> Any:
        request.view[key] = value
        request.write(key)

    def put_again(self, request: Request, key: str) -> Any:
        if key in request.view:
            request.write(key)

    def there_and_back(self, request: Request, key: str, value: int) -> Any:
        request.write(key)

    def append_and_back(self, request: Request, value: int) -> Any:
        if "list" in request.view:
            request.write("list")

    def default(self, request: Request, key: str, value: int) -> Any:
        """Keep the value that is there, even if the stored record lacks it. Never overwrite another request's value."""
        if key not in request.view:
            self.put(request, key, value)
        elif key not in request.written:
            request.defaults[key] = request.view[key]
        return request.view[key]

    def delete(self, request: Request, key: str) -> Any:
        if key in request.view:
            request.write(key)
        return request.view.pop(key, None)

    def append(self, request: Request, value: int) -> Any:
        items = request.view.setdefault("list", [])
        items.append(value)
        request.write("list")
        return items

    def flash(self, request: Request, value: int) -> Any:
        request.view[value] = f"message {value}"
        request.write(value)

    def flashes(self, request: Request) -> Any:
        numbers = [key for key in request.view if isinstance(key, int)]
        request.write(*numbers)
        return sorted(request.view.pop(number) for number in numbers)

    def csrf(self, request: Request) -> Any:
        request.wanted = request.record is None

    def no_touch(self, request: Request) -> Any:
        request.touching = False

    def rotate(self, request: Request) -> Any:
        request.rotating = request.record is not None

    def log_in(self, request: Request, user: int, idle: float | None, handle: str) -> Any:
        """Log in. The data of a previous user is dropped; an anonymous visitor's cart is kept."""
        before = request.login.user if request.login else request.record.user if request.record else None
        if before not in (None, user):
            request.settle()
            request.view, request.cleared, request.cleared_flashes = {}, True, True
        request.view["user"] = {"id": user}
        request.written.add("user")
        if request.login is None:
            request.since_login = {"user"}
        request.login = Login(user, handle, self.now, idle)
        request.rotating, request.dead = True, False
        return "taken" if any(one.handle == handle for one in self.sessions.values()) else handle

    def log_out(self, request: Request) -> Any:
        """End the session, even if it has a new token by now. It is found by its handle if a user is logged in,
        otherwise by following the old token. A login in the meantime made another session, which stays. A session that
        was over for this request ends as well, since it may be live for one that loaded it earlier."""
        self._forget_stale(request)
        record = request.record
        if request.state == "rotated" and record is None:
            # The request only knows the token's successor.
            moved = self._led_to(request.token or "", also_to_logins=False)
            if self.find(moved) is not None:
                del self.sessions[moved]
        if record is not None:
            moved = self._led_to(request.token or "", late=GRACE)
            for token, one in list(self.sessions.items()):
                same = one.handle == record.handle if record.user is not None else token == moved and one.user is None
                if token == request.token or same:
                    del self.sessions[token]
        if not request.dead:
            request.state, request.cookie = "destroyed", "remove"
        request.forget()

    def _forget_stale(self, request: Request) -> None:
        self.sessions.pop(request.stale or "", None)
        request.stale = None

    def _led_to(self, token: str, also_to_logins: bool = True, late: float = 0.0) -> str:
        while token not in self.sessions and self.now < self.rotated.get(token, 0) + late:
            if token in self.begun and not also_to_logins:
                break
            token = self.moved[token]
        return token

    def clear(self, request: Request) -> Any:
        """Drop every key, including those that other requests add meanwhile; end the session of a logged-in user."""
        if request.login or (request.record and request.record.user is not None):
            self.log_out(request)
        else:
            request.view = {key: value for key, value in request.view.items() if isinstance(key, int)}
            request.written = {key for key in request.written if isinstance(key, int)}
            request.defaults, request.cleared = {}, True

    def add(self, request: Request) -> Any:
        """Add 1 to the stored number (``atomic``). Return the result, or "gone" if the session has ended.

        A rotation and a login wait for the commit. A login that leads to a new session has no stored data yet.
        """
        if request.record is not None and self.found_by(request) is None and not request.cleared_flashes:
            request.begin_anew()
        if request.dead:
            return "gone"
        if request.login is not None and (request.record is None or request.cleared_flashes):
            request.view["count"] = request.view.get("count", 0) + 1
            request.write("count")
            return request.view["count"]
        results: list[int] = []

        def change(data: Data) -> None:
            data["count"] = data.get("count", 0) + 1
            results.append(data["count"])

        self._save(request, change, at_commit=False)
        return results[-1]

    def revoke_others(self, request: Request) -> Any:
        """End every session of the user who is logged in here, except this one."""
        user = request.view.get("user")
        if user is None:
            return None
        kept = {one.handle for one in (request.login, request.record) if one is not None}
        return len(self.revoke(self.sessions_of(user["id"], kept)))

    # The administrator.

    def sessions_of(self, user: int, kept: set[str | None]) -> list[str]:
        return [token for token, one in self.sessions.items() if one.user == user and one.handle not in kept]

    def revoke(self, tokens: list[str]) -> list[str]:
        ended = [token for token in tokens if self._may_live(self.sessions[token])]
        for token in tokens:
            del self.sessions[token]
        return ended

    def _may_live(self, one: Stored) -> bool:
        """Whether it may still be live by the clock of another machine, so that a revocation counts it."""
        return self.now - CLOCK_SKEW < one.ends()

    # The end of a request.

    def commit(self, number: int, saved: bool) -> Request:
        """Save a request's changes, unless it failed, and return it: its ``cookie`` says what the answer must send."""
        request = self.requests.pop(number)
        if not saved or request.state == "not looked":
            return request
        if request.record is None and request.dead:
            return request
        wanted = request.wanted and request.record is None
        if request.changed() or self._clears(request) or request.rotating or request.login or wanted:
            self._save(request)
        elif request.record is not None:
            self._note_activity(request, request.record)
        return request

    def _clears(self, request: Request) -> bool:
        """Whether the session was cleared, and may hold keys by now even if it looked empty."""
        return request.cleared and request.record is not None

    def _note_activity(self, request: Request, loaded: Stored) -> None:
        stored = self.found_by(request)
        if stored is not None and request.touching and loaded.due(self.now):
            stored.touched = self.now
            self._renew_cookie(request, loaded, stored)

    def _renew_cookie(self, request: Request, loaded: Stored, stored: Stored) -> None:
        if request.cookie is None and stored.ends() > loaded.ends():
            request.cookie = "again"

    def _save(self, request: Request, change: Any = lambda data: None, at_commit: bool = True) -> bool:
        """Merge a request's changes into the stored data. Return false if the session has ended, and stays ended."""
        stored = self.found_by(request)
        if stored is None and request.record is not None:
            request.begin_anew()
        if request.dead:
            return False
        before = stored.data if stored else {}
        # No other request may remove a key before the login is stored: put back what atomic() saved for this one.
        kept = request.carried if request.login is not None and at_commit else {}
        merged = request.on_top_of({**kept, **before})
        data = deepcopy(merged)
        change(data)
        login = request.login
        withheld = request.since_login if login is not None and not at_commit else set[str | int]()
        shown = deepcopy(data)
        for key in withheld:
            # The store learns of the login, and of what follows it, at the commit only.
            data.pop(key, None)
            data.update({key: before[key]} if key in before else {})
        moves = stored is None or (at_commit and request.rotating)
        if stored is None:
            stored = Stored(data, self.now, self.now)
        else:
            del self.sessions[request.token or ""]
            # A request judges by what it loaded, if no other request saved since.
            known = request.record if request.record and request.record.saves == stored.saves else deepcopy(stored)
            if request.touching and known.due(self.now):
                stored.touched = self.now
            elif moves:
                # The session moves as it was loaded, without the activity that other requests noted meanwhile.
                stored.touched = known.touched
            stored.data, stored.saves = data, stored.saves + 1
            self._renew_cookie(request, known, stored)
        if login is not None and at_commit:
            self._forget_stale(request)
            stored.user, stored.handle, stored.idle = login.user, login.handle, login.idle
            stored.created, stored.touched = login.created, self.now
        if moves:
            self._tokens += 1
            if request.record is not None:
                # A request without touching may move a session that is over by now: no new cookie needs protection.
                since = self.now if self.now < stored.ends() else max(request.looked_at, stored.touched)
                self.rotated[request.token or ""] = since + TOMBSTONE
                self.moved[request.token or ""] = f"new {self._tokens}"
                if request.login is not None:
                    self.begun.add(request.token or "")
            request.token, request.cookie = f"new {self._tokens}", "new"
        self.sessions[request.token or ""] = stored
        request.carried = self._carried(request, merged, data)
        request.record, request.base, request.view = deepcopy(stored), deepcopy(data), shown
        request.settle()
        request.wanted = False
        if at_commit:
            request.rotating, request.login = False, None
        request.written.update(withheld)
        return True

    def _carried(self, request: Request, merged: Data, saved: Data) -> Data:
        """Return what a request has written so far, to take along into a new session."""
        result = {key: value for key, value in request.carried.items() if not request.drops(key)}
        changed = {key for key in {*merged, *saved} if merged.get(key) != saved.get(key)}
        for key in (changed | request.written | request.defaults.keys()) - {"user"} - request.since_login:
            if isinstance(key, int):
                # A saved flash message belongs to that session, and to the request that shows it first.
                continue
            result.pop(key, None)
            result.update({key: saved[key]} if key in saved else {})
        return deepcopy(result)

    # Names.

    def rename(self, old: str, new: str) -> None:
        """Replace a token that this model made up with the real one."""
        if old in self.sessions:
            self.sessions[new] = self.sessions.pop(old)
        if old in self.rotated:
            self.rotated[new] = self.rotated.pop(old)
            self.moved[new] = self.moved.pop(old)
            self.begun = {new if token == old else token for token in self.begun}
        self.moved = {token: new if led_to == old else led_to for token, led_to in self.moved.items()}
        for request in self.requests.values():
            request.token = new if request.token == old else request.token

    def forget_unreachable(self) -> None:
        """Drop sessions that cannot be reached: the answers with their tokens were lost, and no list has them."""
        held = {request.token for request in self.requests.values()}
        for token, one in list(self.sessions.items()):
            # An ended session may be live for a request that loaded it earlier.
            lost = token.startswith("new ") and one.user is None
            if token not in held and (lost or not self._may_live(one)):
                del self.sessions[token]
        self.rotated = {token: until for token, until in self.rotated.items() if until + GRACE > self.now}
        self.moved = {token: led_to for token, led_to in self.moved.items() if token in self.rotated}
