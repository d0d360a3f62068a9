"""One fault from beginning to end: load, harm, recovery, and the comparison afterwards."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.crew import Crew
from tests.faults.faults import Fault
from tests.faults.ledger import Entry
from tests.faults.verdict import Verdict, judge, tokens_of
from tests.faults.visitor import make_site, visit
from tests.faults.worker import SHARED
from wsgi_session import Session, SessionMiddleware

WORKERS = 8
#: Seconds within which every worker must be served again once the engine is back.
HEALING = 2.0

#: Length of one outage, in seconds.
OUTAGE = 5.0


@dataclass
class Result:
    """The figures of one line of the table."""

    fault: Fault
    #: How often harm was done.
    harms: int
    requests: int
    acknowledged: int
    #: Answered 503.
    refused: int
    #: Not answered: the worker was killed.
    unanswered: int
    verdict: Verdict
    #: Seconds.
    longest_wait: float
    #: Seconds from the engine's return until every worker had been served, the slowest time of all.
    healing: float

    @property
    def broken(self) -> list[str]:
        """The promises that did not hold, in words."""
        verdict = self.verdict
        found = [f"crossed: {what}" for what in sorted(verdict.crossed)]
        found += [f"error: {what}" for what in sorted(verdict.errors)]
        if not self.fault.allowance:
            found += [f"lost: {what}" for what in sorted(verdict.lost)]
            found += [f"resurrected: {what}" for what in sorted(verdict.resurrected)]
        if self.longest_wait > self.fault.patience:
            found.append(f"a request took {self.longest_wait:.1f} s; {self.fault.patience:g} s is the limit")
        if self.healing > HEALING:
            found.append(f"a worker waited {self.healing:.1f} s after the engine's return; {HEALING:g} s is the limit")
        return found


def run(fault: Fault, seconds: float, say: Callable[[str], None]) -> Result:
    """Do the harm of ``fault`` again and again, for at least ``seconds``, under the load of all workers."""
    say(f"{fault.name}: starts")
    with fault.open() as scene:
        with make_site(scene.url) as site:
            shared = _make_shared(site)
        outages: list[tuple[float, float]] = []
        with Crew(scene.url, shared, fault.processes, WORKERS // fault.processes) as crew:
            _wait_for_all(crew, 0.0)
            began = time.monotonic()
            calm = min(fault.calm, seconds / 4)
            while not outages or time.monotonic() - began < seconds:
                _wait(crew, calm, lambda: say(_progress(fault, crew, began, seconds, len(outages), "calm")))
                say(_progress(fault, crew, began, seconds, len(outages), fault.harm))
                harmed = time.monotonic()
                outages.append((harmed, scene.harm(crew, min(OUTAGE, seconds / 4))))
                _wait_for_all(crew, outages[-1][1])
            _wait(crew, calm, lambda: say(_progress(fault, crew, began, seconds, len(outages), "calm")))
            crew.stop()
        say(f"{fault.name}: looks at every session")
        with make_site(scene.url) as site:
            verdict = _reckon(site, shared, crew.ledger.entries)
    return _sum_up(fault, crew, outages, verdict)


def _make_shared(site: SessionMiddleware) -> str:
    def fill(session: Session) -> dict[str, Any]:
        session["whose"] = SHARED
        return {}

    cookie = visit(site, None, fill).cookie
    assert cookie is not None
    return cookie


def _progress(fault: Fault, crew: Crew, began: float, seconds: float, harms: int, state: str) -> str:
    elapsed = time.monotonic() - began
    return f"{fault.name}: {elapsed:.0f} of {seconds:g} s, {len(crew.ledger.entries)} requests, {harms} harms, {state}"


def _wait(crew: Crew, seconds: float, tell: Callable[[], None]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        tell()
        crew.check()
        time.sleep(min(left, 1.0))


def _wait_for_all(crew: Crew, since: float) -> None:
    """Wait until every running worker has been served after ``since``. Give up after a while: the table shows it."""
    end = time.monotonic() + 5 * HEALING
    while time.monotonic() < end:
        crew.check()
        served = {entry.worker for entry in list(crew.ledger.entries) if entry.acknowledged and entry.start > since}
        if served >= crew.workers:
            return
        time.sleep(0.05)


def _reckon(site: SessionMiddleware, shared: str, entries: list[Entry]) -> Verdict:
    """Look at every session that ever existed, and return the verdict."""
    final = []
    for cookie, token in tokens_of(entries).items():
        now = time.monotonic()
        answer = visit(site, cookie, _look_for_number if token.whose.startswith("own") else _look)
        assert answer.status == 200, f"{answer} to {token.whose}, after the last outage"
        final.append(Entry(-1, "look", token.whose, cookie, None, now, now, answer.status, answer.cookie, answer.saw))
    stored: dict[str, Any] = visit(site, shared, lambda session: {"all": session.copy()}).saw["all"]
    verdict = judge(entries, final, stored.pop("count", 0), stored.keys() - {"whose"})
    for whose in _gone(entries):
        if site.sessions.of(f"id:{whose}"):
            verdict.resurrected.add(f"{whose} still has a session in the list")
    return verdict


def _look(session: Session) -> dict[str, Any]:
    return {}


def _look_for_number(session: Session) -> dict[str, Any]:
    return {"n": session.get("n")}


def _gone(entries: Iterable[Entry]) -> set[str]:
    """Return the guests who logged out and whose logins were all acknowledged."""
    logins = [entry for entry in entries if entry.op == "login"]
    left = {entry.whose for entry in entries if entry.op in ("logout", "revoke") and entry.acknowledged}
    return left - {entry.whose for entry in logins if not entry.acknowledged}


def _sum_up(fault: Fault, crew: Crew, outages: list[tuple[float, float]], verdict: Verdict) -> Result:
    entries = crew.ledger.entries
    return Result(
        fault=fault,
        harms=len(outages),
        requests=len(entries),
        acknowledged=sum(entry.acknowledged for entry in entries),
        refused=sum(entry.refused for entry in entries),
        unanswered=sum(entry.end is None for entry in entries),
        verdict=verdict,
        longest_wait=max(entry.end - entry.start for entry in entries if entry.end is not None),
        healing=max(healing(entries, crew.killed, outages)),
    )


def healing(
    entries: Iterable[Entry], killed: Mapping[int, float], outages: Sequence[tuple[float, float]]
) -> Iterator[float]:
    """Yield, for each outage and worker, the seconds from the engine's return until the worker was served without a
    further refusal.

    ``killed``: when each killed worker was killed. ``outages``: the time of each harm, and of the engine's return.
    """
    by_worker = defaultdict(list)
    for entry in entries:
        by_worker[entry.worker].append(entry)
    ends = [harmed for harmed, _ in outages[1:]] + [math.inf]
    for (harmed, back), end in zip(outages, ends, strict=True):
        for worker, its in by_worker.items():
            if its[0].start > harmed or killed.get(worker, math.inf) < end:
                continue
            answered = [(entry.end, entry) for entry in its if entry.end is not None and harmed < entry.end < end]
            last_refusal = max((time for time, entry in answered if entry.refused), default=0.0)
            served = (time for time, entry in answered if entry.acknowledged and time > max(back, last_refusal))
            yield min(served, default=math.inf) - back
