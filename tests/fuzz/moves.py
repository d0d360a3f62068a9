"""A site that moves from one store to another: no order of store calls loses or revives a session.

It tries pairs of actions of a visitor and an administrator, in processes of two phases that run beside each other, in
every order of the store calls, also with a process that dies: ``python -m tests.fuzz.moves --seconds 3600``. The tests
include a short run.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from time import monotonic
from typing import Any
from unittest import mock

from bench.report import say
from tests.fuzz.interleavings import Actor, drawn, explore, sample
from tests.support.site import SECRET
from wsgi_session import Session, SessionMiddleware, login, logout
from wsgi_session.stores import MigratingStore, Store
from wsgi_session.stores.migrating.moving import is_marked, is_placeholder, move_all
from wsgi_session.testing import FakeClock

ANN, BOB = {"id": "ann"}, {"id": "bob"}
DAY = 86_400.0
#: The phases that the manual lets run beside each other, and the store that has the session before.
MIXTURES = {
    "old+prepare": (("old", "prepare"), "old"),
    "prepare+prepare": (("prepare", "prepare"), "old"),
    "prepare+move": (("prepare", "move"), "old"),
    "move+prepare": (("move", "prepare"), "old"),
    "move+move": (("move", "move"), "old"),
    "prepare+move, moved": (("prepare", "move"), "new"),
    "move+new": (("move", "new"), "new"),
}
#: What a request or an administrator does; ``copy`` is the command that copies all sessions.
ACTIONS = ("read", "write", "touch", "rotate", "login", "logout", "revoke")
ALL = (*ACTIONS, "copy")


def possible(mixture: str, actions: Sequence[str]) -> bool:
    """Whether the manual allows this: a copy runs only while all processes are in the phase ``move``."""
    return "copy" not in actions or mixture == "move+move"


@contextmanager
def same_each_time() -> Iterator[None]:
    """Use the same random bytes in each run, and do not wait between two attempts of a save."""
    with mock.patch("os.urandom", drawn), mock.patch("time.sleep"):
        yield


class Site:
    """One site and one visitor, whose requests reach processes of different phases."""

    def __init__(self, new: Store, old: Store) -> None:
        self.clock = FakeClock()
        self.new, self.old = new, old
        self.processes = {
            "old": self._process(old),
            "prepare": self._process(MigratingStore(new, old, "prepare")),
            "move": self._process(MigratingStore(new, old)),
            "new": self._process(new),
        }
        self.cookie: str | None = None
        #: For each request, the state that it saw and the cookie that it got.
        self.answers: dict[str, tuple[str, str | None]] = {}
        self.tokens: set[str] = set()

    def _process(self, store: Store) -> SessionMiddleware:
        return SessionMiddleware(_app, secret=SECRET, store=store, clock=self.clock)

    def visit(self, phase: str, cookie: str | None, act: Callable[[Session], object]) -> tuple[object, str | None]:
        """Make a request. Return the result of ``act``, and the cookie: ``""`` if removed, ``None`` if none came."""
        got: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            got.update(status=status, headers=headers)

        environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "wsgi.url_scheme": "http", "test.act": act}
        environ["test.got"] = got
        if cookie:
            environ["HTTP_COOKIE"] = f"sid={cookie}"
        body = self.processes[phase](environ, start_response)
        getattr(body, "close", lambda: None)()
        assert got["status"] == "200 OK", got["status"]
        cookies = [value.partition(";")[0][4:] for name, value in got["headers"] if name == "Set-Cookie"]
        assert len(cookies) < 2
        if cookies and cookies[0]:
            self.tokens.add(cookies[0])
        return got["result"], cookies[0] if cookies else None

    def look(self, phase: str, cookie: str) -> tuple[str, str | None, dict[str, Any]]:
        """Return the state, handle and data of the session that a cookie opens."""

        def act(session: Session) -> object:
            session.no_touch()
            return session.state, session.handle, session.copy()

        seen: Any = self.visit(phase, cookie, act)[0]
        return seen

    def sessions(self, phase: str) -> list[tuple[str, str | None, dict[str, Any]]]:
        """Return token, handle and data of every session that a token opens."""
        looks = [(token, *self.look(phase, token)) for token in sorted(self.tokens)]
        return [(token, handle, data) for token, state, handle, data in looks if state == "live"]

    def begin(self, phase: str) -> None:
        self.visit(phase, None, lambda session: login({"session": session}, ANN))
        (self.cookie,) = self.tokens
        self.handle = self.look(phase, self.cookie)[1]

    def actor(self, name: str, action: str, phase: str, *, mortal: bool) -> Actor:
        if action == "revoke":
            return Actor(name, lambda: self.processes[phase].sessions.revoke_all("id:ann"), mortal)
        if action == "copy":
            return Actor(name, lambda: list(move_all(self.old, self.new, self.clock)), mortal)

        def act(session: Session) -> object:
            state = session.state
            if action == "write":
                session[name] = True
            elif action == "rotate":
                session.rotate()
            elif action == "login":
                login({"session": session}, BOB)
            elif action == "logout":
                logout({"session": session})
            elif action == "read":
                session.no_touch()
            return state

        def run() -> object:
            return self.visit(phase, self.cookie, act)

        return Actor(name, run, mortal)


def _app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ["test.got"]["result"] = environ["test.act"](environ["session"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]


def scenario(mixture: str, actions: Sequence[str], *, mortal: Sequence[bool] = ()) -> Any:
    """Return a scenario for :func:`explore`: the actions alternate between processes of the two phases."""
    phases, home = MIXTURES[mixture]

    def make(new: Store, old: Store) -> Any:
        site = Site(new, old)
        site.begin(home)
        if "touch" in actions:
            site.clock.advance(2 * DAY)
        dies = [*mortal, *[False] * len(actions)]
        actors = [
            site.actor(f"{place} {action} at {phase}".replace(" ", "-"), action, phase, mortal=its)
            for place, (action, phase, its) in enumerate(zip(actions, [*phases] * len(actions), dies, strict=False))
        ]
        return actors, lambda results: check(site, phases, [actor.name for actor in actors], results)

    return make


def check(site: Site, phases: Sequence[str], names: Sequence[str], results: Mapping[str, Any]) -> None:
    failed = {name: result for name, result in results.items() if isinstance(result, BaseException)}
    assert not failed, f"failed: {failed}"
    died = [name for name in names if name not in results]
    kinds = {name: name.split("-")[1] for name in names}
    before = {phase: site.sessions(phase) for phase in phases if phase != "old"}
    for phase, live in before.items():
        _check_sessions(site, phase, live, kinds, results, died)
    # Look again: the first look may have moved sessions.
    for phase, live in before.items():
        assert site.sessions(phase) == live, f"{phase} sees other sessions now"
    if "old" in phases:
        assert site.sessions("old") == before["prepare"], "old sees other sessions than prepare"
    if not died:
        records = [record for store in (site.old, site.new) for record in _records(store)]
        left = [record for record in records if is_marked(record) or is_placeholder(record)]
        assert not left, "a record of an unfinished move is left"


def _check_sessions(
    site: Site,
    phase: str,
    live: list[tuple[str, str | None, dict[str, Any]]],
    kinds: Mapping[str, str],
    results: Mapping[str, Any],
    died: Sequence[str],
) -> None:
    anns = [(token, data) for token, handle, data in live if handle == site.handle]
    others = [(token, data) for token, handle, data in live if handle != site.handle]
    assert len(anns) <= 1, f"{phase}: two tokens open one session: {live}"
    done = {kind: [results[name] for name in results if kinds[name] == kind] for kind in kinds.values()}
    # A token that was rotated away counts too: a logout follows it to the session.
    ended = any(state in ("live", "rotated") for state, _ in done.get("logout", ())) or bool(done.get("revoke"))
    may_have_ended = ended or any(kinds[name] in ("logout", "revoke", "login") for name in died)
    replaced = [cookie for state, cookie in done.get("login", ()) if state == "live"]
    if ended:
        assert not anns, f"{phase}: an ended session lives: {live}"
    elif not may_have_ended and not replaced and "login" not in kinds.values():
        assert anns, f"{phase}: the session is lost"
        (token, data) = anns[0]
        for name, kind in kinds.items():
            if kind == "write" and name in results and results[name][0] == "live":
                rotated = any(kind == "rotate" for kind in kinds.values())
                assert data.get(name) or rotated, f"{phase}: the write of {name} is lost"
            if kind in ("read", "write", "touch") and name in results:
                cookie = results[name][1]
                assert cookie in (None, site.cookie), f"{phase}: {name} got a cookie of its own"
        tokens = [cookie for _, cookie in done.get("rotate", ()) if cookie]
        assert token in (tokens or [site.cookie]) or died, f"{phase}: no answer gave the token that works"
    for login_cookie in replaced:
        assert login_cookie, "a login got no cookie"
        if not died and not done.get("revoke"):
            assert login_cookie in [token for token, _, _ in live], f"{phase}: a login is lost"
    # A login begins another session, and so does a request after the end.
    if not may_have_ended and "login" not in kinds.values():
        assert not others, f"{phase}: a rival session: {others}"
    listed = {info.handle for info in site.processes[phase].sessions.of("id:ann")}
    wanted = {site.handle} if anns else set()
    assert listed == wanted or died, f"{phase}: Ann's sessions are listed as {listed}, not {wanted}"
    counts = [count for count in done.get("revoke", ()) if count]
    if done.get("revoke") and not any(kinds[name] in ("logout", "login") for name in kinds) and not died:
        # Two revocations that end one session at the same moment, while it moves, may both count it.
        assert sum(counts) in range(1, len(done["revoke"]) + 1), f"one session was revoked, but counted {counts} times"


def _records(store: Any) -> list[Any]:
    inner = store._inner
    return [*dict.values(inner._owned), *dict.values(inner._anonymous), *dict.values(inner._tombstones)]


# The command.


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz.moves", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="how long to run (default: 600)")
    parser.add_argument("--runs", type=int, default=20_000, help="the most runs for one pair (default: 20,000)")
    parser.add_argument(
        "--seed", type=int, default=1, help="seed for the orders of three and more actions (default: 1)"
    )
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began = monotonic()
    pairs = runs = samples = 0
    chance = random.Random(options.seed)
    with same_each_time():
        for mixture, *actions in product(MIXTURES, ALL, ALL):
            if monotonic() - began > options.seconds or not possible(mixture, actions):
                continue
            runs += explore(scenario(mixture, actions, mortal=(True, True)), options.runs)
            pairs += 1
            say(f"{pairs} pairs in {runs:,} orders")
        while monotonic() - began < options.seconds:
            mixture = chance.choice(list(MIXTURES))
            actions = [chance.choice(ALL) for _ in range(chance.randint(3, 4))]
            if possible(mixture, actions):
                mortal = [chance.random() < 0.5 for _ in actions]
                sample(scenario(mixture, actions, mortal=mortal), 50, chance.random())
                samples += 50
                say(f"{pairs} pairs in {runs:,} orders, three and four in {samples:,}")
    say("")
    print(f"{pairs} pairs in {runs:,} orders, three and four in {samples:,}, seed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
