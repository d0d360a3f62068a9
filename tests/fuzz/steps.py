"""How each step changes a world, given what was seen: the bridge between ``machine.py`` and ``model.py``."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any, NamedTuple

from tests.fuzz.held import Action, Answer
from tests.fuzz.model import Request, World
from wsgi_session import Session, SessionGone, StoreUnavailable, login, logout

UNAVAILABLE = "unavailable"
#: Stands for the result where a step begins that does not happen in one moment.
BEGINS = "begins"


class Disturbed(NamedTuple):
    """Disturbances of a step: a failing store, other requests between its store calls, or both."""

    failed: bool
    others: bool


#: Takes a world, the result of a step, and what may have disturbed the step. Yields the worlds that can result; none if
#: the world does not allow that result. May change the world that it is given.
Follow = Callable[[World, Any, Disturbed], Iterable[World]]
#: Applies an action to a request, given the result; returns the expected result.
Model = Callable[[World, Request, Any], Any]


@dataclass
class Step:
    """One step, for the package and for every possible world."""

    what: str
    #: Does the step with the package, and returns the result.
    run: Callable[[], Any]
    follow: Follow
    #: For a step that does not happen in one moment: applies its first part to a world.
    begins: Callable[[World], None] | None = None


def worlds_after(worlds: Iterable[World], orders: list[list[tuple[Step, Any]]], disturbed: Disturbed) -> list[World]:
    """Return the possible worlds after the steps, in any of the orders, that agree with the results."""
    found: list[World] = []
    for world in worlds:
        for order in orders:
            for after in _in_order(world, order, disturbed):
                after.forget_unreachable()
                if after not in found:
                    found.append(after)
    return found


def _in_order(world: World, order: list[tuple[Step, Any]], disturbed: Disturbed) -> list[World]:
    worlds = [copy_of(world)]
    for step, seen in order:
        if seen is BEGINS:
            for before in worlds:
                assert step.begins is not None
                step.begins(before)
            continue
        worlds = [after for before in worlds for after in step.follow(before, seen, disturbed)]
    return worlds


def copy_of(world: World) -> World:
    copied: World = pickle.loads(pickle.dumps(world))
    return copied


# How steps change a world.


def looks(number: int) -> Follow:
    def follow(world: World, seen: Any, disturbed: Disturbed) -> Iterator[World]:
        if isinstance(seen, Answer):
            yield from _ended([world], number, world.requests[number], seen, disturbed)
            return
        if seen == world.look(number):
            yield world

    return follow


def acts(number: int, model: Model) -> Follow:
    def follow(world: World, seen: Any, disturbed: Disturbed) -> Iterator[World]:
        before = copy_of(world)
        expected = model(world, world.requests[number], seen)
        if not isinstance(seen, Answer):
            if seen == expected:
                yield from _as_well_as_can_be(before, world, disturbed)
            return
        done = chain(_partly(before, world), _as_well_as_can_be(before, world, disturbed))
        yield from _ended(done, number, before.requests[number], seen, disturbed)

    return follow


def commits(number: int, code: int) -> Follow:
    """Follow the end of a request. ``code``: the application's status, 0 if it raises."""

    def follow(world: World, seen: Answer, disturbed: Disturbed) -> Iterator[World]:
        before = copy_of(world)
        if seen.code == 503:
            world.commit(number, saved=True)
            saved = _as_well_as_can_be(before, world, disturbed)
            yield from _ended([copy_of(before), *saved], number, before.requests[number], seen, disturbed)
            return
        request = world.commit(number, saved=code == 200)
        if seen.code == (code or 500) and (not code or _cookie_is_right(world, request, seen, disturbed)):
            yield from _as_well_as_can_be(before, world, disturbed)

    return follow


Chosen = Callable[[World], list[str]]


def begins_to_revoke(chosen: Chosen) -> Callable[[World], None]:
    """Begin a revocation. It lists sessions until none is left, so it may end one that is created meanwhile."""

    def begin(world: World) -> None:
        world.revoked = world.revoke(chosen(world))

    return begin


def revokes(chosen: Chosen, told: Callable[[list[str]], Any]) -> Follow:
    """Follow a revocation. ``told``: computes its return value from the ended tokens."""

    def follow(world: World, seen: Any, disturbed: Disturbed) -> Iterator[World]:
        before = copy_of(world)
        ended = world.revoke(chosen(world)) + world.revoked
        world.revoked = []
        if seen == UNAVAILABLE:
            if disturbed.failed:
                yield from _partly(before, world)
                yield world
        elif seen == told(ended):
            yield world

    return follow


def opens(tokens: list[str]) -> Follow:
    def follow(world: World, seen: list[dict[str, Any]], disturbed: Disturbed) -> Iterator[World]:
        found = [world.find(token) for token in tokens]
        if seen == [{} if one is None else _mapping(one.data) for one in found]:
            yield world

    return follow


def lists(users: list[int]) -> Follow:
    def follow(world: World, seen: list[set[str]], disturbed: Disturbed) -> Iterator[World]:
        if seen == [world.of(user) for user in users]:
            yield world

    return follow


def _mapping(data: dict[str | int, Any]) -> dict[str | int, Any]:
    return {key: value for key, value in data.items() if isinstance(key, str)}


def _ended(
    worlds: Iterable[World], number: int, request: Request, seen: Answer, disturbed: Disturbed
) -> Iterator[World]:
    """Yield the worlds after a failure of the store ended a request. Its answer shows what it had done before."""
    for world in worlds:
        world.requests.pop(number, None)
        if disturbed.failed and seen.code == 503 and _cookie_is_right(world, request, seen, disturbed):
            yield world


def _partly(before: World, after: World) -> Iterator[World]:
    """Yield the worlds after a step that failed in part: nothing is done, or only some of its sessions are ended."""
    yield copy_of(before)
    ended = [token for token in before.sessions if token not in after.sessions]
    if not after.sessions.keys() - before.sessions.keys():
        for some in chain.from_iterable(combinations(ended, size) for size in range(1, len(ended))):
            partly = copy_of(before)
            for token in some:
                del partly.sessions[token]
            yield partly


def _as_well_as_can_be(before: World, after: World, disturbed: Disturbed) -> Iterator[World]:
    """Yield ``after``. If the store failed, also yield it without the activity, which may stay unnoted."""
    if disturbed.failed:
        for token, one in before.sessions.items():
            if token in after.sessions and after.sessions[token].saves == one.saves:
                untouched = copy_of(after)
                untouched.sessions[token].touched = one.touched
                yield untouched
    yield after


def _cookie_is_right(world: World, request: Request, seen: Answer, disturbed: Disturbed) -> bool:
    """Whether an answer's cookie fits the request's state. If the token is new, learn it."""
    due = request.cookie
    ended = request.record is None or world.found_by(request) is None
    if seen.cookie is None:
        may_lack = {
            "again": disturbed.failed or ended,
            "new": ended,
            "remove": not request.came_with_cookie,
        }
        return due is None or may_lack[due]
    if seen.cookie == "":
        return due == "remove" and request.came_with_cookie
    if due == "new":
        new = seen.cookie not in world.sessions and seen.cookie not in world.rotated
        world.rename(request.token or "", seen.cookie)
        return new
    # The session lives longer, so the cookie is sent again.
    return due == "again" and seen.cookie == request.token and not (ended and seen.code == 200)


# The actions of an application.


def log_in(user: int, idle: float | None) -> Action:
    def act(session: Session) -> str | None:
        login({"session": session}, {"id": user}, idle_timeout=idle)
        return session.handle

    return act


def _put_again(session: Session, key: str) -> None:
    if key in session:
        session[key] = session[key]


def _there_and_back(session: Session, key: str, value: int) -> None:
    missing = object()
    before = session.get(key, missing)
    session[key] = value
    if before is missing:
        del session[key]
    else:
        session[key] = before


def _append_and_back(session: Session, value: int) -> None:
    if "list" in session:
        session["list"].append(value)
        session.copy()  # The session notices the change here.
        session["list"].pop()


def _append(session: Session, value: int) -> list[int]:
    items: list[int] = session.setdefault("list", [])
    items.append(value)
    return list(items)


def _add(session: Session) -> Any:
    def change(data: dict[str, Any]) -> int:
        data["count"] = data.get("count", 0) + 1
        return int(data["count"])

    try:
        return session.atomic(change)
    except SessionGone:
        return "gone"


def _csrf(session: Session) -> None:
    assert session.csrf_token


REAL: dict[str, Callable[..., Any]] = {
    "read": lambda session: (session.copy(), session.owner, session.is_new),
    "put": lambda session, key, value: session.update({key: value}),
    "put_again": _put_again,
    "there_and_back": _there_and_back,
    "append_and_back": _append_and_back,
    "default": lambda session, key, value: session.setdefault(key, value),
    "delete": lambda session, key: session.pop(key, None),
    "append": _append,
    "flash": lambda session, value: session.flash(f"message {value}"),
    "flashes": lambda session: sorted(session.flashes()),
    "csrf": _csrf,
    "no_touch": lambda session: session.no_touch(),
    "clear": lambda session: session.clear(),
    "rotate": lambda session: session.rotate(),
    "add": _add,
    "log_out": lambda session: logout({"session": session}),
}


def or_unavailable(call: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        try:
            return call()
        except StoreUnavailable:
            return UNAVAILABLE

    return run
