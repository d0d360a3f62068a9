"""Run several processes over one pair of stores in every order of their store calls.

Each actor has its own thread and stops before every store call. One actor at a time continues, and an actor that is
``mortal`` may die at that point. The same choices give the same run, so every order can be tried: a run follows a list
of choices, then takes the first choice at each further point and notes the others for later runs. A point that was
reached before (with the same records, and the same answers to each actor) is not explored again.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wsgi_session.stores import MemoryStore, Outcome, Record, Store

#: Seconds until an actor counts as hung.
PATIENCE = 60.0
#: The store calls that write nothing.
READS = ("load", "of_owner", "scan")
_here = threading.local()


class Stopped(BaseException):
    """Raised in an actor to end it, because it has died or the run is over."""


@dataclass
class Actor:
    name: str
    run: Callable[[], object]
    mortal: bool = False


class Steps:
    """The actors of one run, one of which continues at a time."""

    def __init__(self, actors: Sequence[Actor], stores: Sequence[MemoryStore]) -> None:
        self.actors = {actor.name: actor for actor in actors}
        self.log: list[str] = []
        self._stores = stores
        self._go = {actor.name: threading.Semaphore(0) for actor in actors}
        self._back = threading.Semaphore(0)
        self._waiting: dict[str, str] = {}
        self._stopped: set[str] = set()
        self._answers: dict[str, list[object]] = {actor.name: [] for actor in actors}
        self.results: dict[str, object] = {}
        self._threads = [threading.Thread(target=self._run, args=(actor,), daemon=True) for actor in actors]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
            self._wait()

    def choices(self) -> list[str]:
        """Return the possible next steps: an actor continues, or dies (at most one actor of a run)."""
        going = sorted(self._waiting)
        died = any(line.endswith(" dies") for line in self.log)
        return going + [f"{name} dies" for name in going if self.actors[name].mortal and not died]

    def commute(self, choice: str, other: str) -> bool:
        """Whether two choices have the same effect in either order."""
        (name, _, dies), (another, _, also_dies) = choice.partition(" "), other.partition(" ")
        if name == another or (dies and also_dies):
            return False
        if dies or also_dies:
            return True
        (store, _, method), (another_store, _, another_method) = (
            self._waiting[each].partition(".") for each in (name, another)
        )
        return store != another_store or (method in READS and another_method in READS)

    def take(self, choice: str) -> None:
        name, _, dies = choice.partition(" ")
        call = self._waiting.pop(name)
        self.log.append(choice if dies else f"{name}: {call}")
        if dies:
            self._stopped.add(name)
        self._go[name].release()
        self._wait()

    def stop(self) -> None:
        self._stopped.update(self.actors)
        while self._waiting:
            self.take(min(self._waiting))
        for thread in self._threads:
            thread.join(PATIENCE)

    def state(self) -> object:
        """Return everything that the rest of the run depends on."""
        there = [
            sorted([*dict.items(store._owned), *dict.items(store._anonymous), *dict.items(store._tombstones)])
            for store in self._stores
        ]
        dead = sorted(self._stopped)
        return repr((there, sorted(self._answers.items()), sorted(self._waiting), dead))

    # Called in the threads of the actors.

    def before_call(self, call: str) -> None:
        name = _here.name
        if name not in self._stopped:
            self._waiting[name] = call
            self._back.release()
            assert self._go[name].acquire(timeout=PATIENCE)
        if name in self._stopped:
            raise Stopped

    def after_call(self, answer: object) -> None:
        self._answers[_here.name].append(answer)

    def _run(self, actor: Actor) -> None:
        _here.name, _here.drawn = actor.name, 0
        try:
            self.results[actor.name] = actor.run()
        except Stopped:
            pass
        except BaseException as error:
            self.results[actor.name] = error
        self._back.release()

    def _wait(self) -> None:
        assert self._back.acquire(timeout=PATIENCE), f"the actor did not stop again after {self.log}"


class Stepped(Store):
    """The store that the actors use: each call waits for its turn. Calls from outside of actors do not wait."""

    def __init__(self, inner: Store, name: str, steps: Callable[[], Steps]) -> None:
        self._inner, self._name, self._steps = inner, name, steps

    def load(self, key: bytes, now: float) -> Record | None:
        record: Record | None = self._call("load", key, now)
        return record

    def create(self, key: bytes, record: Record, now: float) -> None:
        self._call("create", key, record, now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome: Outcome = self._call("replace", key, record, version, now)
        return outcome

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        outcome: Outcome = self._call("rotate", old, new, record, version, now)
        return outcome

    def touch(self, key: bytes, touched: float, expires: float, now: float) -> bool:
        return bool(self._call("touch", key, touched, expires, now))

    def delete(self, key: bytes, version: bytes | None = None) -> bool:
        return bool(self._call("delete", key, version))

    def of_owner(self, owner: bytes, now: float) -> Any:
        return iter(self._call("of_owner", owner, now, after=list))

    def scan(self, now: float) -> Any:
        return iter(self._call("scan", now, after=list))

    def ping(self) -> None:
        """Do nothing: the inner store is always available."""

    def close(self) -> None:
        """Do nothing: the test closes the inner store."""

    def _call(self, method: str, *arguments: Any, after: Callable[[Any], Any] = lambda answer: answer) -> Any:
        if getattr(_here, "name", None) is None:
            return after(getattr(self._inner, method)(*arguments))
        steps = self._steps()
        steps.before_call(f"{self._name}.{method}")
        try:
            answer = after(getattr(self._inner, method)(*arguments))
        except Exception as error:
            steps.after_call(repr(error))
            raise
        steps.after_call(answer)
        return answer


#: Makes the actors of a run over the two stores, and the function that checks the results.
Scenario = Callable[[Store, Store], tuple[Sequence[Actor], Callable[[Mapping[str, object]], None]]]


def drawn(size: int) -> bytes:
    """Stand in for ``os.urandom``: different at each call, and the same in each run."""
    _here.drawn = getattr(_here, "drawn", 0) + 1
    seed = f"{getattr(_here, 'name', '')} {_here.drawn}".encode()
    return hashlib.shake_256(seed).digest(size)


def explore(scenario: Scenario, limit: int = 1_000_000) -> int:
    """Run ``scenario`` in every order that can make a difference, in at most ``limit`` runs. Return the number of runs.

    Two calls that commute (on different stores, or both only reading) are tried in one order only: a choice that was
    tried at a point "sleeps" in the runs of the choices after it, until something happens that it depends on
    (Godefroid's sleep sets). A point that was reached before is explored again only with the choices that slept then.
    """
    # The choices that slept each time that a point was reached.
    slept: dict[object, frozenset[str]] = {}
    left: list[tuple[list[str], frozenset[str]]] = [([], frozenset())]
    runs = 0
    while left and runs < limit:
        runs += 1
        choices, asleep = left.pop()
        sleeping = [asleep]

        def pick(steps: Steps, taken: list[str], choices: list[str] = choices, now: Any = sleeping) -> str | None:
            if len(taken) < len(choices):
                return choices[len(taken)]
            state, sleep = steps.state(), now[0]
            awake = [choice for choice in steps.choices() if choice not in sleep]
            if state in slept:
                awake = [choice for choice in awake if choice in slept[state]]
                slept[state] &= sleep
            else:
                slept[state] = sleep
            tried = sleep
            ways = []
            for choice in awake:
                ways.append(([*taken, choice], frozenset(other for other in tried if steps.commute(choice, other))))
                tried |= {choice}
            if not ways:
                return None
            left.extend(ways[:0:-1])
            now[0] = ways[0][1]
            return awake[0]

        _run(scenario, pick)
    return runs


def sample(scenario: Scenario, runs: int, seed: float = 1) -> None:
    """Run ``scenario`` in ``runs`` random orders."""
    chance = random.Random(seed)
    for _ in range(runs):
        _run(scenario, lambda steps, taken: chance.choice(steps.choices()))


def _run(scenario: Scenario, pick: Callable[[Steps, list[str]], str | None]) -> None:
    _here.name, _here.drawn = None, 0
    with MemoryStore() as new, MemoryStore() as old:
        running: list[Steps] = []
        actors, check = scenario(Stepped(new, "new", lambda: running[0]), Stepped(old, "old", lambda: running[0]))
        steps = Steps(actors, (new, old))
        running.append(steps)
        taken: list[str] = []
        try:
            steps.start()
            while steps.choices():
                choice = pick(steps, taken)
                if choice is None:
                    return
                taken.append(choice)
                steps.take(choice)
        finally:
            steps.stop()
        try:
            check(steps.results)
        except BaseException as error:
            order = "\n".join(_with_turns(steps.log))
            raise AssertionError(f"{error}\nafter:\n{order}\nresults: {steps.results}") from error


def _with_turns(log: Sequence[str]) -> Iterator[str]:
    for place, line in enumerate(log, 1):
        yield f"  {place:2} {line}"
