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
IDLE, ABSOLUTE, INTERVAL, TOMBSTONE = 1_000.0, 1_500.0, 100.0, 120.0

#: Text for what the application keeps, numbers for flash messages: those are no keys of the mapping.
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
    #: The session as it was loaded, or as this request last saved it.
    record: Stored | None = None
    base: Data = field(default_factory=dict)
    #: What the application sees: the base with its changes.
    view: Data = field(default_factory=dict)
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
    #: What the answer has to do with the cookie: "new", "remove", or nothing.
    cookie: str | None = None

    def on_top_of(self, stored: Data) -> Data:
        """Return ``stored`` with what this request changed: only those keys, and nothing of what else it saw."""
        result = {key: value for key, value in stored.items() if not self._drops(key)}
        for key in {*self.base, *self.view}:
            before = None if self._drops(key) else self.base.get(key)
            after = self.view.get(key)
            if after is None and before is not None:
                result.pop(key, None)
            elif after != before:
                result[key] = after
        if self.login is not None:
            # Written by every login, the same user or not.
            result["user"] = self.view["user"]
        return deepcopy(result)

    def changed(self) -> bool:
        dropped = any(self._drops(key) for key in {*self.base, *self.view})
        return dropped or self.on_top_of(self.base) != self.base

    def _drops(self, key: str | int) -> bool:
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
            request.state = "unknown"
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

    def delete(self, request: Request, key: str) -> Any:
        return request.view.pop(key, None)

    def append(self, request: Request, value: int) -> Any:
        items = request.view.setdefault("list", [])
        items.append(value)
        return items

    def flash(self, request: Request, value: int) -> Any:
        request.view[value] = f"message {value}"

    def flashes(self, request: Request) -> Any:
        numbers = [key for key in request.view if isinstance(key, int)]
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
            request.view, request.cleared, request.cleared_flashes = {}, True, True
        request.view["user"] = {"id": user}
        request.login = Login(user, handle, self.now, idle)
        request.rotating, request.dead = True, False
        return "taken" if any(one.handle == handle for one in self.sessions.values()) else handle

    def log_out(self, request: Request) -> Any:
        """End the session, also if it has another token by now: known by its handle if somebody logged in to it, else
        by what says of the old token where it leads. A login that came between made another session."""
        record = request.record
        if record is not None:
            moved = self._led_to(request.token or "")
            for token, one in list(self.sessions.items()):
                same = one.handle == record.handle if record.user is not None else token == moved and one.user is None
                if token == request.token or same:
                    del self.sessions[token]
        if not request.dead:
            request.state, request.cookie = "destroyed", "remove"
        request.record = request.login = None
        request.base, request.view = {}, {}
        request.cleared = request.cleared_flashes = request.rotating = request.wanted = False

    def _led_to(self, token: str) -> str:
        while token not in self.sessions and self.now < self.rotated.get(token, 0):
            token = self.moved[token]
        return token

    def clear(self, request: Request) -> Any:
        """Drop every key, those that others add meanwhile too; of somebody who is logged in, the session."""
        if request.login or (request.record and request.record.user is not None):
            self.log_out(request)
        else:
            request.view = {key: value for key, value in request.view.items() if isinstance(key, int)}
            request.cleared = True

    def add(self, request: Request) -> Any:
        """Add 1 to what is stored by now (``atomic``); the number, or "gone" if the session has ended."""
        if request.dead:
            return "gone"
        results: list[int] = []

        def change(data: Data) -> None:
            data["count"] = data.get("count", 0) + 1
            results.append(data["count"])

        return results[-1] if self._save(request, change) else "gone"

    def revoke_others(self, request: Request) -> Any:
        """End every session of whoever is logged in here, but this one."""
        user = request.view.get("user")
        if user is None:
            return None
        kept = {one.handle for one in (request.login, request.record) if one is not None}
        return len(self.revoke(self.sessions_of(user["id"], kept)))

    # The administrator.

    def sessions_of(self, user: int, kept: set[str | None]) -> list[str]:
        return [token for token, one in self.sessions.items() if one.user == user and one.handle not in kept]

    def revoke(self, tokens: list[str]) -> list[str]:
        ended = [token for token in tokens if self.find(token)]
        for token in tokens:
            del self.sessions[token]
        return ended

    # The end of a request.

    def commit(self, number: int, saved: bool) -> Request:
        """Save what a request changed (one that failed is not saved), and return it; its cookie says what goes out."""
        request = self.requests.pop(number)
        if not saved or request.state == "not looked":
            return request
        if request.record is None and request.dead:
            return request
        # What was cleared looked empty, and may not be by now.
        cleared = request.cleared and request.record is not None
        wanted = request.wanted and request.record is None
        if request.changed() or cleared or request.rotating or request.login or wanted:
            self._save(request)
        elif request.record and self._notes_activity(request, request.record):
            self.sessions[request.token or ""].touched = self.now
        return request

    def _notes_activity(self, request: Request, loaded: Stored) -> bool:
        # By what it loaded: not in a session that was over by then, though others kept it alive.
        due = request.touching and loaded.due(request.looked_at) and self.now < loaded.ends()
        return due and self.find(request.token) is not None

    def _save(self, request: Request, change: Any = lambda data: None) -> bool:
        """Put what a request changed on top of what is stored by now. False: it ended meanwhile, and stays so."""
        stored = self.find(request.token) if request.record else None
        if stored is None and request.record is not None:
            # Of two logins at once from one token, the second carries only what its own request wrote.
            request.record, request.state, request.dead = None, "unknown", request.login is None
            data = request.on_top_of({})
        else:
            data = request.on_top_of(stored.data if stored else {})
        if request.dead:
            return False
        change(data)
        if stored is None:
            stored = Stored(data, self.now, self.now)
        else:
            del self.sessions[request.token or ""]
            # A request judges by what it loaded, if nobody saved anything since.
            known = request.record if request.record and request.record.saves == stored.saves else stored
            if request.touching and known.due(self.now):
                stored.touched = self.now
            elif request.rotating:
                # It moves as it was loaded: activity that others noted meanwhile is not noted there.
                stored.touched = known.touched
            stored.data, stored.saves = data, stored.saves + 1
        if request.login is not None:
            login = request.login
            stored.user, stored.handle, stored.idle = login.user, login.handle, login.idle
            stored.created, stored.touched = login.created, self.now
        if request.rotating or request.record is None:
            self._tokens += 1
            if request.record is not None:
                self.rotated[request.token or ""] = self.now + TOMBSTONE
                self.moved[request.token or ""] = f"new {self._tokens}"
            request.token, request.cookie = f"new {self._tokens}", "new"
        self.sessions[request.token or ""] = stored
        request.record, request.base, request.view = deepcopy(stored), deepcopy(data), deepcopy(data)
        request.cleared = request.cleared_flashes = request.rotating = request.wanted = False
        request.login = None
        return True

    # Names.

    def rename(self, old: str, new: str) -> None:
        """Learn what a token that this model made up really is."""
        if old in self.sessions:
            self.sessions[new] = self.sessions.pop(old)
        if old in self.rotated:
            self.rotated[new] = self.rotated.pop(old)
            self.moved[new] = self.moved.pop(old)
        self.moved = {token: new if led_to == old else led_to for token, led_to in self.moved.items()}
        for request in self.requests.values():
            request.token = new if request.token == old else request.token

    def forget_what_nobody_can_reach(self) -> None:
        """Drop sessions whose token nobody has: their answers were lost, and they are in no list."""
        held = {request.token for request in self.requests.values()}
        for token, one in list(self.sessions.items()):
            if token.startswith("new ") and token not in held and one.user is None:
                del self.sessions[token]
        self.rotated = {token: until for token, until in self.rotated.items() if until > self.now}
        self.moved = {token: led_to for token, led_to in self.moved.items() if token in self.rotated}
        self.sessions = {token: one for token, one in self.sessions.items() if self.find(token)}
