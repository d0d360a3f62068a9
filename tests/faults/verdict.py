"""Find broken promises in the ledger: lost writes, ended sessions that live, data shown to another user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.ledger import Entry
from tests.faults.worker import SHARED


@dataclass
class Verdict:
    """What was found, each thing once and in words."""

    #: Acknowledged writes that are missing.
    lost: set[str] = field(default_factory=set)
    #: Ended sessions that are alive again.
    resurrected: set[str] = field(default_factory=set)
    #: Sessions that showed another session's data, or data that was never written.
    crossed: set[str] = field(default_factory=set)
    #: Answers other than success and 503.
    errors: set[str] = field(default_factory=set)


@dataclass
class Token:
    """What the answers to its visitor say about a session."""

    whose: str
    #: ``live``, ``dead``, or ``unsure``: its end was asked for, and no answer came.
    state: str = "live"
    cart: bool = False


def judge(entries: Iterable[Entry], final: Iterable[Entry], count: int, keys: Iterable[str]) -> Verdict:
    """Return what is wrong with ``entries`` (each worker's in order), and with what was found at the end.

    ``final``: a request with every cookie. ``count`` and ``keys``: the contents of the shared session.
    """
    verdict = Verdict()
    entries = list(entries)
    tokens: dict[str, Token] = {}
    numbers: dict[str, _Number] = {}
    for entry in (*entries, *final):
        if entry.status is not None and not (entry.acknowledged or entry.refused):
            verdict.errors.add(f"{entry.op} by {entry.whose}: {entry.status} {entry.saw.get('error', '')}")
        if entry.whose != SHARED:
            _judge_identity(entry, tokens, verdict)
            _follow(entry, tokens)
            numbers.setdefault(entry.whose, _Number()).judge(entry, verdict)
        elif entry.acknowledged and entry.saw["whose"] != SHARED:
            found = verdict.lost if entry.saw["whose"] is None else verdict.crossed
            found.add(f"the shared session was {entry.saw['whose']}'s to worker {entry.worker}")
    _judge_keys(entries, set(keys), verdict)
    _judge_count(entries, count, verdict)
    return verdict


def tokens_of(entries: Iterable[Entry]) -> dict[str, Token]:
    """Return what is known, after ``entries``, of every token that a visitor was ever given."""
    tokens: dict[str, Token] = {}
    for entry in entries:
        if entry.whose != SHARED:
            _follow(entry, tokens)
    return tokens


def _judge_identity(entry: Entry, tokens: dict[str, Token], verdict: Verdict) -> None:
    if not entry.acknowledged or entry.cookie is None:
        return
    token, seen = tokens[entry.cookie], entry.saw["whose"]
    about = f"{entry.whose}'s session with {entry.cookie[:6]}"
    if seen not in (entry.whose, None):
        verdict.crossed.add(f"{about} was {seen}'s")
    elif seen is not None and token.state == "dead":
        verdict.resurrected.add(about)
    elif seen is None and token.state == "live":
        verdict.lost.add(about)
    elif token.state == "live" and token.cart and entry.saw["cart"] != entry.whose:
        verdict.lost.add(f"the cart in {about}")


def _follow(entry: Entry, tokens: dict[str, Token]) -> None:
    """Note what an answer, or a missing answer, says about tokens."""
    before = None if entry.cookie is None else tokens[entry.cookie]
    if entry.op in ("logout", "revoke", "login") and before is not None and before.state != "dead":
        if entry.op == "login" and entry.acknowledged:
            assert entry.kept is not None
            # If the answer to a first login was lost, the second login may find its session moved. It then begins a
            # new one.
            tokens[entry.kept] = Token(entry.whose, cart=before.cart and before.state == "live")
        before.state = "dead" if entry.acknowledged else "unsure"
    elif entry.op in ("arrive", "login") and entry.acknowledged:
        assert entry.kept is not None
        tokens[entry.kept] = Token(entry.whose, cart=entry.op == "arrive")


class _Number:
    """The number in a worker's own session: only that worker writes it, and only ever a higher one."""

    def __init__(self) -> None:
        self._acknowledged = 0
        self._asked = 0

    def judge(self, entry: Entry, verdict: Verdict) -> None:
        if entry.op == "own":
            self._asked = entry.value
            if entry.acknowledged:
                self._acknowledged = entry.value
        elif entry.acknowledged and "n" in entry.saw:
            seen = entry.saw["n"] or 0
            if seen < self._acknowledged:
                verdict.lost.add(f"{entry.whose}: {self._acknowledged}")
            elif seen > self._asked:
                verdict.crossed.add(f"{entry.whose}: {seen} before it was written")


def _judge_keys(entries: list[Entry], keys: set[str], verdict: Verdict) -> None:
    writes = [entry for entry in entries if entry.op == "write"]
    acknowledged = {entry.value for entry in writes if entry.acknowledged}
    verdict.lost |= {f"the key {key}" for key in acknowledged - keys}
    verdict.crossed |= {f"the key {key}, which was never written" for key in keys - {entry.value for entry in writes}}


def _judge_count(entries: list[Entry], count: int, verdict: Verdict) -> None:
    """Each increment that was acknowledged counts once; each other one, once or not at all."""
    counts = [entry for entry in entries if entry.op == "count"]
    results = [entry.saw["count"] for entry in counts if entry.acknowledged]
    # Two increments to the same number: one overwrote the other.
    verdict.lost |= {f"an increment to {result}" for result, times in Counter(results).items() if times > 1}
    if count < len(results):
        verdict.lost |= {f"increment {number} of {len(results)}" for number in range(count, len(results))}
    if count > len(counts):
        verdict.crossed.add(f"the count is {count}, after {len(counts)} increments")
