"""What must be seen, whatever happens in whatever order: the rules of a session, in as few words as they can be said.

It knows nothing of stores, versions or retries: what a request saves, it saves in one moment, and all of what it saves.
Where it cannot be known what came of something (no answer came, or two things happened at once), there are several
worlds, and each later look leaves those that agree with it. None left: a promise was broken.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

#: Seconds: the settings of the middleware that is compared with this.
IDLE, ABSOLUTE, INTERVAL, TOMBSTONE = 1_000.0, 5_000.0, 100.0, 120.0
#: Seconds for which a request may go on past the end of the session that was live when it looked, and for which a store
#: has what is dead.
GRACE = 3_600.0
#: Seconds by which the clocks of two machines may differ.
CLOCK_SKEW = 60.0

#: Text for the application's keys, numbers for flash messages, which are not keys of the mapping.
Data = dict["str | int", Any]


@dataclass
class Login:
    """What ``login()`` makes of a session, with the save."""

    user: int
    handle: str
    created: float
    idle: float | None


@dataclass
class Stored:
    """A session as it is kept."""

    data: Data
    created: float
    touched: float
    #: Of a session that somebody has logged in to.
    user: int | None = None
    handle: str | None = None
    idle: float | None = None
    #: How often it was saved.
    saves: int = 0

    def ends(self) -> float:
        return min(self.touched + min(IDLE, self.idle or IDLE), self.created + ABSOLUTE)

    def over(self, now: float) -> bool:
        """Whether it has ended for every request, also for one that looked while it was live."""
        return now >= min(self.ends() + GRACE, self.created + ABSOLUTE)

    def due(self, now: float) -> bool:
        """Whether activity has to be noted by now."""
        return now - self.touched >= (INTERVAL if self.idle is None else min(INTERVAL, self.idle / 30))


@dataclass
class Request:
    """What one request knows of its session, and what it is about to make of it."""

    #: What it came with, or what it has been given since; ``None``: no cookie.
    token: str | None
    came_with_cookie: bool = False
    state: str = "not looked"
    looked_at: float = 0.0
    #: The token that it came with, if that opened nothing when it looked.
    stale: str | None = None
    #: The session as it was loaded, or as this request last saved it.
    record: Stored | None = None
    base: Data = field(default_factory=dict)
    #: What the application sees: the base with its changes.
    view: Data = field(default_factory=dict)
    #: The keys that it assigned or deleted, also where that changed nothing.
    written: set[str | int] = field(default_factory=set)
    #: What ``setdefault`` found.
    defaults: Data = field(default_factory=dict)
    #: What ``atomic`` has saved of it by now: a login that has to begin anew takes it along.
    carried: Data = field(default_factory=dict)
    #: Whether it dropped all keys that are stored by the time of the save; and the flash messages with them.
    cleared: bool = False
    cleared_flashes: bool = False
    login: Login | None = None
    rotating: bool = False
    #: A session is made even if nothing is in it: somebody was given a form's token.
    wanted: bool = False
    touching: bool = True
    #: The session ended elsewhere: what is written is dropped.
    dead: bool = False
    #: What the answer has to do with the cookie: "new", "remove", "again" (its life moved), or nothing.
    cookie: str | None = None

    def on_top_of(self, stored: Data) -> Data:
        """Return ``stored`` with what this request assigned: only those keys, and nothing of what else it saw."""
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
        """Whether it made anything else of what it loaded. If not, there is nothing to save."""
        if any(self.drops(key) for key in self.base):
            return True
        return any(self.view.get(key) != self.base.get(key) for key in self.written)

    def begin_anew(self) -> None:
        """The session ended elsewhere. A login makes another one, of what this request wrote and of nothing else."""
        self.record, self.state, self.dead = None, "unknown", self.login is None
        if self.login is not None:
            self.view = self.on_top_of(self.carried)
            self.written |= self.carried.keys()
            self.base, self.cleared, self.cleared_flashes = {}, False, False

    def forget(self) -> None:
        """Forget all that was to be saved."""
        self.base, self.view, self.carried = {}, {}, {}
        self.record = self.login = None
        self.rotating = self.wanted = False
        self.settle()

    def settle(self) -> None:
        """Take note that all that was written is in the base."""
        self.written, self.defaults = set(), {}
        self.cleared = self.cleared_flashes = False

    def drops(self, key: str | int) -> bool:
        return self.cleared_flashes or (self.cleared and isinstance(key, str))


class World:
    """Every session there is, and every request that is under way."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.sessions: dict[str, Stored] = {}
        #: Until when a token that was rotated away says so.
        self.rotated: dict[str, float] = {}
        #: And where it led to, which is what a logout goes by.
        self.moved: dict[str, str] = {}
        #: Those that a login replaced: what they led to is another session.
        self.begun: set[str] = set()
        self.requests: dict[int, Request] = {}
        #: What a revocation has ended so far that is under way.
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
        """Return the session that a request has loaded: what was live when it looked is live for it, so long as nobody
        ended it. It may have been saved or touched by others since."""
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

    # What an application does. Each returns what the application sees.

    def read(self, request: Request) -> Any:
        user = request.view.get("user")
        data = {key: value for key, value in request.view.items() if isinstance(key, str)}
        return data, None if user is None else f"id:{user['id']}", request.record is None

    def put(self, request: Request, key: str, value: int) -> Any:
        request.view[key] = value
        request.written.add(key)

    def put_again(self, request: Request, key: str) -> Any:
        if key in request.view:
            request.written.add(key)

    def there_and_back(self, request: Request, key: str, value: int) -> Any:
        request.written.add(key)

    def append_and_back(self, request: Request, value: int) -> Any:
        if "list" in request.view:
            request.written.add("list")

    def default(self, request: Request, key: str, value: int) -> Any:
        """What is there stays, also in a record that lacks it; what another request assigns is left alone."""
        if key not in request.view:
            self.put(request, key, value)
        elif key not in request.written:
            request.defaults[key] = request.view[key]
        return request.view[key]

    def delete(self, request: Request, key: str) -> Any:
        if key in request.view:
            request.written.add(key)
        return request.view.pop(key, None)

    def append(self, request: Request, value: int) -> Any:
        items = request.view.setdefault("list", [])
        items.append(value)
        request.written.add("list")
        return items

    def flash(self, request: Request, value: int) -> Any:
        request.view[value] = f"message {value}"
        request.written.add(value)

    def flashes(self, request: Request) -> Any:
        numbers = [key for key in request.view if isinstance(key, int)]
        request.written.update(numbers)
        return sorted(request.view.pop(number) for number in numbers)

    def csrf(self, request: Request) -> Any:
        request.wanted = request.record is None

    def no_touch(self, request: Request) -> Any:
        request.touching = False

    def rotate(self, request: Request) -> Any:
        request.rotating = request.record is not None

    def log_in(self, request: Request, user: int, idle: float | None, handle: str) -> Any:
        """What belonged to one user is none of the next one's business; an anonymous visitor's cart is kept."""
        before = request.login.user if request.login else request.record.user if request.record else None
        if before not in (None, user):
            request.settle()
            request.view, request.cleared, request.cleared_flashes = {}, True, True
        request.view["user"] = {"id": user}
        request.written.add("user")
        request.login = Login(user, handle, self.now, idle)
        request.rotating, request.dead = True, False
        return "taken" if any(one.handle == handle for one in self.sessions.values()) else handle

    def log_out(self, request: Request) -> Any:
        """End the session, also if it has another token by now: known by its handle if somebody logged in to it, else
        by what says of the old token where it leads. A login that came between made another session. One that was over
        when the request looked is live for a request that looked earlier: it ends, too."""
        self._forget_stale(request)
        record = request.record
        if request.state == "rotated" and record is None:
            # It knows nothing but where the token led to.
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
        """Drop every key, those that others add meanwhile too; of somebody who is logged in, the session."""
        if request.login or (request.record and request.record.user is not None):
            self.log_out(request)
        else:
            request.view = {key: value for key, value in request.view.items() if isinstance(key, int)}
            request.written = {key for key in request.written if isinstance(key, int)}
            request.defaults, request.cleared = {}, True

    def add(self, request: Request) -> Any:
        """Add 1 to what is stored by now (``atomic``); the number, or "gone" if the session has ended.

        A rotation and a login stay for the commit. A login that leads to another session has nothing stored before it.
        """
        if request.record is not None and self.found_by(request) is None and not request.cleared_flashes:
            request.begin_anew()
        if request.dead:
            return "gone"
        if request.login is not None and (request.record is None or request.cleared_flashes):
            request.view["count"] = request.view.get("count", 0) + 1
            request.written.add("count")
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
        """Whether it may still be alive by the clock of another machine: a revocation counts it."""
        return self.now - CLOCK_SKEW < one.ends()

    # The end of a request.

    def commit(self, number: int, saved: bool) -> Request:
        """Save what a request changed (one that failed is not saved), and return it; its cookie says what goes out."""
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
        """Whether what was cleared may hold something by now, though it looked empty."""
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
        """Put what a request changed on top of what is stored by now. False: it ended meanwhile, and stays so."""
        stored = self.found_by(request)
        if stored is None and request.record is not None:
            request.begin_anew()
        if request.dead:
            return False
        before = stored.data if stored else {}
        # Nobody takes a mark out of a login before it is stored: what atomic has saved of this request is put back.
        kept = request.carried if request.login is not None and at_commit else {}
        merged = request.on_top_of({**kept, **before})
        data = deepcopy(merged)
        change(data)
        login = request.login
        if login is not None and not at_commit:
            # Who logs in is not known to the store before the commit.
            data.pop("user", None)
            data.update({"user": before["user"]} if "user" in before else {})
        moves = stored is None or (at_commit and request.rotating)
        if stored is None:
            stored = Stored(data, self.now, self.now)
        else:
            del self.sessions[request.token or ""]
            # A request judges by what it loaded, if nobody saved anything since.
            known = request.record if request.record and request.record.saves == stored.saves else deepcopy(stored)
            if request.touching and known.due(self.now):
                stored.touched = self.now
            elif moves:
                # It moves as it was loaded: activity that others noted meanwhile is not noted there.
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
                # One that polls, and so moves a session that is dead by now, has no new cookie to protect.
                since = self.now if self.now < stored.ends() else max(request.looked_at, stored.touched)
                self.rotated[request.token or ""] = since + TOMBSTONE
                self.moved[request.token or ""] = f"new {self._tokens}"
                if request.login is not None:
                    self.begun.add(request.token or "")
            request.token, request.cookie = f"new {self._tokens}", "new"
        self.sessions[request.token or ""] = stored
        request.carried = self._carried(request, merged, data)
        user = request.view.get("user")
        request.record, request.base, request.view = deepcopy(stored), deepcopy(data), deepcopy(data)
        request.settle()
        request.wanted = False
        if at_commit:
            request.rotating, request.login = False, None
        elif login is not None:
            request.view["user"] = user
            request.written.add("user")
        return True

    def _carried(self, request: Request, merged: Data, saved: Data) -> Data:
        """Return what a request has written by now, to take along into another session."""
        result = {key: value for key, value in request.carried.items() if not request.drops(key)}
        changed = {key for key in {*merged, *saved} if merged.get(key) != saved.get(key)}
        for key in (changed | request.written | request.defaults.keys()) - {"user"}:
            if isinstance(key, int):
                # A flash message that is saved is in that session, for the request that shows it first.
                continue
            result.pop(key, None)
            result.update({key: saved[key]} if key in saved else {})
        return deepcopy(result)

    # Names.

    def rename(self, old: str, new: str) -> None:
        """Learn what a token that this model made up really is."""
        if old in self.sessions:
            self.sessions[new] = self.sessions.pop(old)
        if old in self.rotated:
            self.rotated[new] = self.rotated.pop(old)
            self.moved[new] = self.moved.pop(old)
            self.begun = {new if token == old else token for token in self.begun}
        self.moved = {token: new if led_to == old else led_to for token, led_to in self.moved.items()}
        for request in self.requests.values():
            request.token = new if request.token == old else request.token

    def forget_what_nobody_can_reach(self) -> None:
        """Drop sessions whose token nobody has: their answers were lost, and they are in no list."""
        held = {request.token for request in self.requests.values()}
        for token, one in list(self.sessions.items()):
            # One that has ended may be live for a request that looked before.
            lost = token.startswith("new ") and one.user is None
            if token not in held and (lost or not self._may_live(one)):
                del self.sessions[token]
        self.rotated = {token: until for token, until in self.rotated.items() if until + GRACE > self.now}
        self.moved = {token: led_to for token, led_to in self.moved.items() if token in self.rotated}
