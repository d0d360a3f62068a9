"""The reckoning finds what was lost, brought back or mixed up, and nothing where an answer left it open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.faults.ledger import Entry, Ledger
from tests.faults.run import healing
from tests.faults.verdict import Verdict, judge
from tests.faults.worker import SHARED


def entry(op: str, whose: str, cookie: str | None, status: int | None = 200, **more: Any) -> Entry:
    fields = {"kept": cookie, "value": None, "start": 1.0, "end": None if status is None else 2.0, **more}
    saw = {"whose": None if cookie is None else whose, "cart": None, **fields.pop("saw", {})}
    return Entry(worker=0, op=op, whose=whose, cookie=cookie, status=status, saw=saw if status == 200 else {}, **fields)


def look(owner: str, cookie: str, /, **saw: Any) -> Entry:
    return entry("look", owner, cookie, saw=saw)


def write(key: str, status: int | None = 200) -> Entry:
    return entry("write", SHARED, "shared", status, value=key)


def count(result: int, status: int | None = 200) -> Entry:
    return entry("count", SHARED, "shared", status, saw={"count": result})


def verdict(entries: Iterable[Entry], final: Iterable[Entry] = (), total: int = 0, keys: Iterable[str] = ()) -> Verdict:
    return judge(entries, final, total, keys)


ARRIVED = entry("arrive", "ann", None, kept="first", saw={"whose": None})
LOGGED_IN = entry("login", "ann", "first", kept="second", saw={"cart": "ann"})
LEFT = entry("logout", "ann", "second", kept=None, saw={"cart": "ann"})


def test_a_key_that_was_acknowledged_and_is_not_there_is_lost() -> None:
    assert verdict([write("a"), write("b")], keys=["b"]) == Verdict(lost={"the key a"})


def test_a_key_without_an_answer_may_be_there_or_not() -> None:
    for status in (503, None):
        for keys in ([], ["a"]):
            assert verdict([write("a", status)], keys=keys) == Verdict()


def test_a_key_that_was_never_written_is_crossed() -> None:
    assert verdict([], keys=["x"]).crossed == {"the key x, which was never written"}


def test_the_count_lies_between_what_was_acknowledged_and_what_was_asked_for() -> None:
    counts = [count(1), count(2), count(0, 503), count(0, None)]
    assert [bool(verdict(counts, total=total).lost) for total in range(6)] == [True, True, False, False, False, False]
    assert [bool(verdict(counts, total=total).crossed) for total in range(6)] == [False] * 5 + [True]


def test_two_increments_to_the_same_number_are_one_lost() -> None:
    assert verdict([count(1), count(1), count(2)], total=3).lost == {"an increment to 1"}


def test_the_number_in_a_workers_own_session_never_goes_back() -> None:
    begin = entry("login", "own-0", None, kept="own", saw={"whose": None})
    three = entry("own", "own-0", "own", value=3)
    four = entry("own", "own-0", "own", 503, value=4)
    for seen, wrong in ((None, "lost"), (2, "lost"), (3, None), (4, None), (5, "crossed")):
        found = verdict([begin, three, four], [look("own-0", "own", n=seen)])
        assert (bool(found.lost), bool(found.crossed)) == (wrong == "lost", wrong == "crossed"), (seen, found)


def test_a_guest_who_stays_is_known_and_keeps_the_cart() -> None:
    stay = [ARRIVED, LOGGED_IN]
    assert verdict(stay, [look("ann", "second", cart="ann")]) == Verdict()
    assert verdict(stay, [look("ann", "second", whose=None)]).lost == {"ann's session with second"}
    assert verdict(stay, [look("ann", "second")]).lost == {"the cart in ann's session with second"}


def test_a_token_that_died_and_opens_something_is_resurrected() -> None:
    gone = [ARRIVED, LOGGED_IN, LEFT]
    assert verdict(gone, [look("ann", "first", whose=None), look("ann", "second", whose=None)]) == Verdict()
    assert verdict(gone, [look("ann", "first")]).resurrected == {"ann's session with first"}
    assert verdict(gone, [look("ann", "second")]).resurrected == {"ann's session with second"}


def test_a_logout_without_an_answer_may_have_ended_the_session_or_not() -> None:
    left = entry("logout", "ann", "second", 503)
    for whose in ("ann", None):
        assert verdict([ARRIVED, LOGGED_IN, left], [look("ann", "second", whose=whose)]) == Verdict()


def test_a_login_without_an_answer_may_have_moved_the_session_or_not() -> None:
    failed = entry("login", "ann", "first", 503)
    for whose in ("ann", None):
        again = entry("login", "ann", "first", kept="second", saw={"whose": whose})
        final = [look("ann", "second"), look("ann", "first", whose=None)]
        assert verdict([ARRIVED, failed, again], final) == Verdict()


def test_another_users_session_is_crossed() -> None:
    assert verdict([ARRIVED], [look("ann", "first", whose="bob")]).crossed == {"ann's session with first was bob's"}
    assert verdict([entry("write", SHARED, "shared", saw={"whose": "bob"}, value="a")], keys=["a"]).crossed
    assert verdict([entry("write", SHARED, "shared", saw={"whose": None}, value="a")], keys=["a"]).lost


def test_any_other_status_is_an_error() -> None:
    assert verdict([entry("look", "ann", None, 500)]).errors == {"look by ann: 500 "}


def test_the_ledger_knows_what_was_asked_of_a_process_that_died() -> None:
    ledger = Ledger()
    ledger.take('[7,"write","all","shared","7-1",1.0]')
    ledger.take('[8,"write","all","shared","8-1",1.5]')
    ledger.take('[8,2.0,200,"shared",{"whose":"all"}]')
    asked, answered = ledger.entries
    assert (asked.worker, asked.end, asked.acknowledged, asked.refused) == (7, None, False, False)
    assert (answered.worker, answered.end, answered.acknowledged, answered.value) == (8, 2.0, True, "8-1")


def answers(worker: int, *times: tuple[float, int]) -> list[Entry]:
    first = Entry(worker, "look", SHARED, "shared", None, start=0.0, end=0.5, status=200)
    return [
        first,
        *(Entry(worker, "look", SHARED, "shared", None, time - 0.1, time, status) for time, status in times),
    ]


def test_healing_takes_until_the_last_worker_is_served_for_good() -> None:
    quick = answers(0, (1.5, 503), (3.1, 200), (4.0, 200))
    slow = answers(1, (1.5, 503), (3.1, 200), (3.4, 503), (3.5, 200))
    assert [round(time, 3) for time in healing(quick + slow, {}, [(1.0, 3.0)])] == [0.1, 0.5]


def test_a_worker_that_is_never_served_again_has_not_recovered() -> None:
    assert list(healing(answers(0, (1.5, 503), (3.1, 200), (3.2, 503)), {}, [(1.0, 3.0)])) == [float("inf")]


def test_each_outage_is_healed_by_itself() -> None:
    entries = answers(0, (1.5, 503), (3.25, 200), (5.5, 503), (7.5, 200))
    assert list(healing(entries, {}, [(1.0, 3.0), (5.0, 7.0)])) == [0.25, 0.5]


def test_a_worker_that_was_killed_need_not_be_served() -> None:
    assert list(healing(answers(0, (1.5, 503)), {0: 2.0}, [(1.0, 3.0)])) == []
