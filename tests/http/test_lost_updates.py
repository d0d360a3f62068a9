"""Rule 4: overlapping requests of one visitor lose none of each other's changes; and ``atomic``, for strict order.

The application of the request R1 runs the whole request R2. With threads, this order would depend on luck.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.client import Answer
from tests.support.damage import damage
from tests.support.site import ANN, BOB, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER
from wsgi_session import Session, SessionGone, UnsupportedValue
from wsgi_session.request import commit as saving
from wsgi_session.testing.clock import FakeClock

pytestmark = pytest.mark.needs(SERVER)
Change = Callable[[Session], Any]


def overlap(browser: Browser, first: Change, second: Change, *, look: bool = True) -> Answer:
    """Let R1 load the session, then R2 do ``second`` and finish, then R1 do ``first``."""

    def slow(session: Session) -> None:
        if look:
            session.get("anything")
        answer = browser.copy().do(second)
        assert answer.code == 200, answer
        first(session)

    return browser.do(slow)


@pytest.fixture
def visitor(browser: Browser) -> Browser:
    """A browser whose session has the keys ``a`` and ``cart``."""
    browser.do(put(a=1, cart=["bun"]))
    return browser


@pytest.mark.parametrize(
    ("first", "second", "then"),
    [
        (put(b=2), put(c=3), {"a": 1, "cart": ["bun"], "b": 2, "c": 3}),
        (put(a=2), put(cart=[]), {"a": 2, "cart": []}),
        (put(a=2), put(a=3), {"a": 2, "cart": ["bun"]}),
        (put(a=2), lambda session: session.pop("a"), {"a": 2, "cart": ["bun"]}),
        (lambda session: session.pop("a"), put(a=2), {"cart": ["bun"]}),
        (lambda session: session.pop("a"), put(b=2), {"cart": ["bun"], "b": 2}),
        (lambda session: session.pop("a"), lambda session: session.pop("cart"), {}),
        (lambda session: session["cart"].append("pie"), put(a=2), {"a": 2, "cart": ["bun", "pie"]}),
        (put(a=2), lambda session: session["cart"].append("pie"), {"a": 2, "cart": ["bun", "pie"]}),
        (read, put(a=2), {"a": 2, "cart": ["bun"]}),
        (read, lambda session: session["cart"].append("pie"), {"a": 1, "cart": ["bun", "pie"]}),
        (lambda session: session.clear(), put(b=2), {}),
        (lambda session: (session.clear(), session.update(b=1)), put(c=2), {"b": 1}),
        (put(b=2), lambda session: session.clear(), {"b": 2}),
        (lambda session: session.rotate(), put(b=2), {"a": 1, "cart": ["bun"], "b": 2}),
        (log_in(ANN), put(b=2), {"a": 1, "cart": ["bun"], "b": 2, "user": ANN}),
    ],
)
def test_two_overlapping_requests_lose_nothing_of_each_others(
    visitor: Browser, first: Change, second: Change, then: dict[str, Any]
) -> None:
    overlap(visitor, first, second)
    assert visitor.do(read).result == then


def test_a_clear_of_what_looked_empty_deletes_what_is_stored_by_then(browser: Browser) -> None:
    browser.do(lambda session: session.csrf_token)
    overlap(browser, lambda session: session.clear(), put(b=2))
    assert browser.do(read).result == {}


def assign_equal(session: Session) -> None:
    session["a"] = session["a"]


def update_equal(session: Session) -> None:
    session.update(a=1)


def default_equal(session: Session) -> None:
    session.setdefault("a", 9)


def change_and_change_back(session: Session) -> None:
    session["cart"].append("pie")
    session.copy()  # This finds the first change.
    session["cart"].pop()


@pytest.mark.parametrize(
    ("first", "second", "then"),
    [
        (assign_equal, put(a=2), {"a": 1, "cart": ["bun"], "b": 2}),
        (update_equal, put(a=2), {"a": 1, "cart": ["bun"], "b": 2}),
        (assign_equal, lambda session: session.pop("a"), {"a": 1, "cart": ["bun"], "b": 2}),
        (change_and_change_back, put(cart=[]), {"a": 1, "cart": ["bun"], "b": 2}),
        (default_equal, lambda session: session.pop("a"), {"a": 1, "cart": ["bun"], "b": 2}),
        (default_equal, put(a=2), {"a": 2, "cart": ["bun"], "b": 2}),
    ],
)
def test_an_equal_assignment_is_part_of_what_a_request_saves(
    visitor: Browser, first: Change, second: Change, then: dict[str, Any]
) -> None:
    overlap(visitor, lambda session: (first(session), session.update(b=2)), second)
    assert visitor.do(read).result == then


@pytest.mark.parametrize("change", [assign_equal, update_equal, change_and_change_back])
def test_a_request_whose_every_assignment_was_equal_writes_nothing(
    site: Site, visitor: Browser, change: Change
) -> None:
    """Among overlapping requests, it counts as one that only read."""
    site.forget()
    overlap(visitor, change, put(a=2, cart=[]))
    assert site.calls.counts() == {"load": 2, "replace": 1}
    assert visitor.do(read).result == {"a": 2, "cart": []}


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_change_counts_whether_the_other_request_came_before_or_after_it(visitor: Browser, order: str) -> None:
    def slow(session: Session) -> None:
        if order == "before":
            session["b"] = 2
        else:
            session.get("a")
        visitor.copy().do(put(c=3))
        session["b"] = 2

    visitor.do(slow)
    assert visitor.do(read).result == {"a": 1, "cart": ["bun"], "b": 2, "c": 3}


def test_the_second_writer_is_told_of_the_merge_in_an_event(site: Site, visitor: Browser) -> None:
    overlap(visitor, put(b=2), put(c=3))
    (conflict,) = site.happened("conflict")
    assert conflict == {"handle": visitor.do(lambda session: session.handle).result, "owner": None}


def test_a_request_that_only_reads_meets_no_conflict(site: Site, visitor: Browser) -> None:
    overlap(visitor, read, put(c=3))
    assert site.happened("conflict") == []


def test_many_overlapping_requests_lose_nothing(visitor: Browser) -> None:
    def nested(depth: int) -> Change:
        def change(session: Session) -> None:
            session[f"before {depth}"] = depth
            if depth:
                visitor.copy().do(nested(depth - 1))
            session[f"after {depth}"] = depth

        return change

    visitor.do(nested(12))
    kept = visitor.do(read).result
    wanted = {f"{when} {depth}" for when in ("before", "after") for depth in range(13)}
    assert wanted - set(kept) == set()


def test_flash_messages_of_overlapping_requests_are_all_kept(visitor: Browser) -> None:
    overlap(visitor, lambda session: session.flash("one"), lambda session: session.flash("two"))
    assert sorted(visitor.do(lambda session: session.flashes()).result) == ["one", "two"]


def test_a_flash_message_made_meanwhile_is_not_taken_with_those_that_were_shown(visitor: Browser) -> None:
    visitor.do(lambda session: session.flash("one"))
    overlap(visitor, lambda session: session.flashes(), lambda session: session.flash("two"))
    assert visitor.do(lambda session: session.flashes()).result == ["two"]


def test_clear_leaves_the_flash_messages(visitor: Browser) -> None:
    visitor.do(lambda session: (session.flash("kept"), session.clear()))
    assert visitor.do(lambda session: (session.copy(), session.flashes())).result == ({}, ["kept"])


def test_the_first_requests_of_a_visitor_each_get_a_session_of_their_own(browser: Browser) -> None:
    other = browser.copy()
    browser.do(lambda session: (session.update(a=1), other.do(put(b=2))))
    assert (browser.do(read).result, other.do(read).result) == ({"a": 1}, {"b": 2})


class Rival:
    """Another request that writes just before each write of a session."""

    def __init__(self, visitor: Browser, times: int, before: str = "replace") -> None:
        self.visitor = visitor
        self.times = times
        self.wrote = 0
        self._before = before
        self._arm()

    def _arm(self) -> None:
        self.visitor.site.calls.before[self._before] = self._write

    def _write(self) -> None:
        if self.wrote == self.times:
            return
        self.wrote += 1
        self.visitor.copy().do(put(rival=self.wrote))
        self._arm()


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let competing writers try again without a pause."""
    monkeypatch.setattr(saving.time, "sleep", lambda seconds: None)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("no_waiting")
def test_a_save_is_tried_a_hundred_times(site: Site, visitor: Browser) -> None:
    rival = Rival(visitor, 99)
    assert visitor.do(put(b=2)).code == 200
    assert rival.wrote == 99
    assert visitor.do(read).result == {"a": 1, "cart": ["bun"], "b": 2, "rival": 99}


@pytest.mark.usefixtures("no_waiting")
def test_a_save_that_always_meets_other_writers_is_a_503_after_a_hundred_times(site: Site, visitor: Browser) -> None:
    rival = Rival(visitor, 1000)
    assert visitor.do(put(b=2)).code == 503
    assert rival.wrote == 100
    assert visitor.do(read).result == {"a": 1, "cart": ["bun"], "rival": 100}


@pytest.mark.usefixtures("no_waiting")
def test_a_login_is_tried_for_longer_than_a_save(visitor: Browser) -> None:
    """In a Redis cluster a login takes three steps, where other writes take one and so are faster."""
    rival = Rival(visitor, 300, "rotate")
    assert visitor.do(log_in(ANN)).code == 200
    assert rival.wrote == 300
    assert visitor.do(read).result == {"a": 1, "cart": ["bun"], "user": ANN, "rival": 300}


@pytest.mark.usefixtures("no_waiting")
def test_a_save_that_meets_other_writers_for_five_seconds_is_a_503(
    site: Site, visitor: Browser, clock: FakeClock
) -> None:
    tries = []

    def write() -> None:
        tries.append(clock())
        visitor.copy().do(put(rival=len(tries)))
        clock.advance(1)
        site.calls.before["replace"] = write

    site.calls.before["replace"] = write
    assert visitor.do(put(b=2)).code == 503
    assert len(tries) == 5


def test_what_a_writer_builds_on_does_not_age_while_it_waits(visitor: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        visitor.copy().do(put(meanwhile=len(waits)))

    monkeypatch.setattr(saving.time, "sleep", wait)  # type: ignore[attr-defined]
    Rival(visitor, 5)
    assert visitor.do(put(b=2)).code == 200, f"after {len(waits)} waits"
    assert waits
    assert visitor.do(lambda session: [session[key] for key in ("a", "b", "rival")]).result == [1, 2, 5]


# atomic


def count(session: Session) -> int:
    def add(data: dict[str, Any]) -> int:
        data["count"] = data.get("count", 0) + 1
        return int(data["count"])

    return session.atomic(add)


def test_atomic_counts_every_request(visitor: Browser) -> None:
    seen: list[int] = []

    def slow(session: Session) -> None:
        session.get("count")
        seen.append(visitor.copy().do(count).result)
        seen.append(count(session))

    visitor.do(slow)
    assert (seen, visitor.do(read).result["count"]) == ([1, 2], 2)


def test_atomic_is_done_again_where_another_request_got_in_between(site: Site, visitor: Browser) -> None:
    Rival(visitor, 3)
    calls: list[dict[str, Any]] = []

    def function(data: dict[str, Any]) -> int:
        calls.append(dict(data))
        return len(calls)

    answer = visitor.do(lambda session: session.atomic(function))
    assert answer.result == 4
    assert [data.get("rival") for data in calls] == [None, 1, 2, 3]


def test_a_code_is_used_once(visitor: Browser) -> None:
    visitor.do(put(code="abc"))
    taken = []

    def take(session: Session) -> Any:
        return session.atomic(lambda data: data.pop("code", None))

    def slow(session: Session) -> None:
        assert session["code"] == "abc"
        taken.append(visitor.copy().do(take).result)
        taken.append(take(session))

    visitor.do(slow)
    assert taken == ["abc", None]


def test_atomic_gets_the_newest_data_with_this_requests_pending_changes(visitor: Browser) -> None:
    def slow(session: Session) -> Any:
        session["b"] = 2
        session["cart"].append("pie")
        del session["a"]
        visitor.copy().do(put(c=3))
        return session.atomic(lambda data: (isinstance(data, dict), dict(data)))

    is_dict, data = visitor.do(slow).result
    assert (is_dict, data) == (True, {"cart": ["bun", "pie"], "b": 2, "c": 3})
    assert visitor.do(read).result == data


def test_atomic_saves_at_the_call(site: Site, visitor: Browser) -> None:
    def slow(session: Session) -> Any:
        session["pending"] = 1
        session.atomic(lambda data: data.update(b=2))
        return visitor.copy().do(read).result

    assert visitor.do(slow).result == {"a": 1, "cart": ["bun"], "pending": 1, "b": 2}
    assert site.calls.counts() == {"create": 1, "load": 2, "replace": 1}


def test_what_atomic_stored_is_seen_in_the_session_and_the_objects_handed_out_stay(visitor: Browser) -> None:
    def change(session: Session) -> Any:
        cart = session["cart"]
        session.atomic(lambda data: data.update(b=[2]))
        cart.append("pie")
        return session["b"], session["cart"] is cart

    assert visitor.do(change).result == ([2], True)
    assert visitor.do(read).result == {"a": 1, "cart": ["bun", "pie"], "b": [2]}


def test_atomic_changes_nested_values_of_its_own_copies(visitor: Browser) -> None:
    def change(session: Session) -> Any:
        session.atomic(lambda data: data["cart"].append("pie"))
        return list(session["cart"])

    assert visitor.do(change).result == ["bun", "pie"]
    assert visitor.do(read).result["cart"] == ["bun", "pie"]


def test_atomic_makes_a_session_where_there_is_none(site: Site, browser: Browser) -> None:
    answer = browser.do(count)
    assert (answer.result, bool(answer.cookie), site.calls.counts()) == (1, True, {"create": 1})
    assert browser.do(read).result == {"count": 1}


def test_atomic_of_a_function_that_raises_saves_nothing(site: Site, visitor: Browser) -> None:
    def change(session: Session) -> None:
        with pytest.raises(ZeroDivisionError):
            session.atomic(lambda data: data.update(b=1 / 0))

    site.forget()
    visitor.do(change)
    assert site.calls.counts() == {"load": 1}


def test_atomic_refuses_what_cannot_be_kept_and_saves_nothing(visitor: Browser) -> None:
    def change(session: Session) -> None:
        with pytest.raises(UnsupportedValue, match=r"b\[1\]: object"):
            session.atomic(lambda data: data.update(b=[0, object()]))
        with pytest.raises(UnsupportedValue, match="key of type int"):
            session.atomic(lambda data: data.update({7: 1}))  # type: ignore[dict-item]

    visitor.do(change)
    assert visitor.do(read).result == {"a": 1, "cart": ["bun"]}


@pytest.mark.parametrize("ending", [lambda session: session.destroy(), lambda session: session.rotate(), log_in(ANN)])
def test_atomic_on_a_session_that_has_ended_raises_session_gone(visitor: Browser, ending: Change) -> None:
    handles = []

    def slow(session: Session) -> None:
        handles.append(session.handle)
        visitor.copy().do(ending)
        with pytest.raises(SessionGone) as caught:
            session.atomic(lambda data: data.update(b=2))
        handles.append(caught.value.handle)

    answer = visitor.do(slow)
    assert (answer.code, answer.cookie) == (200, None)
    assert handles[0] == handles[1]


def test_atomic_raises_session_gone_every_time(visitor: Browser) -> None:
    def slow(session: Session) -> None:
        session.get("a")
        visitor.copy().do(lambda session: session.destroy())
        for _ in range(2):
            with pytest.raises(SessionGone):
                session.atomic(lambda data: data.update(b=2))

    visitor.do(slow)
    assert visitor.do(read).result == {}


def test_atomic_with_a_token_rotated_away_raises_session_gone(visitor: Browser) -> None:
    held = visitor.copy()
    visitor.do(lambda session: session.rotate())

    def late(session: Session) -> None:
        with pytest.raises(SessionGone):
            session.atomic(lambda data: data.update(b=2))

    assert held.do(late).cookie is None
    assert visitor.do(read).result == {"a": 1, "cart": ["bun"]}


def test_atomic_after_destroy_starts_a_fresh_session(visitor: Browser) -> None:
    answer = visitor.do(lambda session: (session.destroy(), count(session)))
    assert answer.cookie, answer
    assert not answer.cookie.removes
    assert visitor.do(read).result == {"count": 1}


def test_a_login_that_is_pending_belongs_to_the_commit_and_atomic_leaves_it_there(site: Site, visitor: Browser) -> None:
    def change(session: Session) -> Any:
        log_in(ANN)(session)
        session.atomic(lambda data: data.update(b=2, seen=data["user"]["name"]))
        assert session["user"] == ANN
        assert site.middleware.sessions.of(ANN) == []
        return visitor.copy().do(lambda session: (session.state, session.copy())).result

    assert visitor.do(change).result == ("live", {"a": 1, "cart": ["bun"], "b": 2, "seen": "Ann"})
    assert visitor.do(read).result == {"a": 1, "cart": ["bun"], "b": 2, "seen": "Ann", "user": ANN}
    assert len(site.middleware.sessions.of(ANN)) == 1


def test_what_atomic_makes_of_the_user_under_a_pending_login_is_saved_with_the_login(
    site: Site, visitor: Browser
) -> None:
    def visit(data: dict[str, Any]) -> None:
        data["user"]["visits"] = 1
        data["b"] = 2

    def change(session: Session) -> Any:
        log_in(ANN)(session)
        session.atomic(visit)
        return visitor.copy().do(read).result

    assert visitor.do(change).result == {"a": 1, "cart": ["bun"], "b": 2}
    assert visitor.do(lambda session: session["user"]).result == ANN | {"visits": 1}
    assert len(site.middleware.sessions.of(ANN)) == 1


def test_what_was_written_after_a_login_is_saved_with_it_and_atomic_does_not_put_it_where_others_may_see_it(
    visitor: Browser,
) -> None:
    def change(session: Session) -> Any:
        profile = {"role": "admin"}
        session["before"] = 1
        log_in(ANN)(session)
        session.update(profile=profile, wish="bun")
        del session["a"]
        session.flash("Hello, Ann")
        session.atomic(lambda data: data.update(b=data["profile"]["role"], wish="pie"))
        profile["more"] = "said later"
        assert session["profile"] is profile
        return visitor.copy().do(lambda session: (session.copy(), session.flashes())).result

    assert visitor.do(change).result == ({"a": 1, "cart": ["bun"], "before": 1, "b": "admin"}, [])
    assert visitor.do(lambda session: (session.copy(), session.flashes())).result == (
        {
            "cart": ["bun"],
            "before": 1,
            "b": "admin",
            "user": ANN,
            "profile": {"role": "admin", "more": "said later"},
            "wish": "pie",
        },
        ["Hello, Ann"],
    )


def test_a_login_that_fails_after_atomic_leaves_nothing_that_was_written_for_the_user(visitor: Browser) -> None:
    def write(session: Session) -> None:
        session["role"] = "admin"
        session.flash("Hello, Bob")

    with pytest.raises(RuntimeError):
        visitor.do(fail_after_atomic(log_in(BOB), write))
    visitor.do(log_in(ANN))
    assert visitor.do(lambda session: (session.copy(), session.flashes())).result == (
        {"a": 1, "cart": ["bun"], "b": 2, "user": ANN},
        [],
    )


@pytest.mark.parametrize("pending", [log_in(ANN), lambda session: None], ids=["login", ""])
def test_what_a_function_of_atomic_changes_after_it_logged_out_is_in_the_next_session(
    site: Site, pending: Change
) -> None:
    def change(session: Session) -> None:
        def leave(data: dict[str, Any]) -> None:
            session.destroy()
            data["told"] = "goodbye"

        pending(session)
        session.atomic(leave)

    browser = site.browser()
    browser.do(change)
    assert browser.do(lambda session: session.get("told")).result == "goodbye"


def test_atomic_under_another_users_login_touches_nothing_of_the_first_ones(visitor: Browser) -> None:
    visitor.do(log_in(ANN))
    seen: list[dict[str, Any]] = []

    def update(data: dict[str, Any]) -> str:
        seen.append(dict(data))
        del data["own"]
        data["b"] = 2
        return "done"

    def change(session: Session) -> Any:
        log_in(BOB)(session)
        session["own"] = 1
        assert session.atomic(update) == "done"
        assert "own" not in session
        return visitor.copy().do(read).result

    assert visitor.do(change).result == {"a": 1, "cart": ["bun"], "user": ANN}
    assert seen == [{"user": BOB, "own": 1}]
    assert visitor.do(read).result == {"user": BOB, "b": 2}


def test_atomic_under_a_login_whose_old_session_ended_meanwhile_is_saved_with_the_login(visitor: Browser) -> None:
    def change(session: Session) -> None:
        session.get("a")
        visitor.copy().do(lambda session: session.destroy())
        log_in(ANN)(session)
        session.atomic(lambda data: data.update(b=2))

    visitor.do(change)
    assert visitor.do(read).result == {"user": ANN, "b": 2}


def test_atomic_under_the_login_of_a_new_visitor_stores_nothing_before_the_commit(site: Site) -> None:
    def change(session: Session) -> int:
        log_in(ANN)(session)
        session.atomic(lambda data: data.update(b=2))
        return site.middleware.sessions.count()

    browser = site.browser()
    assert browser.do(change).result == 0
    assert browser.do(read).result == {"user": ANN, "b": 2}


def fail_after_atomic(*steps: Change) -> Change:
    def change(session: Session) -> None:
        for step in steps:
            step(session)
        session.atomic(lambda data: data.update(b=2))
        raise RuntimeError("a fault of the application's")

    return change


@pytest.mark.parametrize(
    "step",
    [
        lambda session: session.rotate(),
        log_in(ANN),
        log_in(ANN, remember=False),
        lambda session: (session.rotate(), log_in(ANN)(session)),
    ],
)
def test_a_request_that_fails_after_atomic_leaves_the_session_as_atomic_left_it(
    site: Site, visitor: Browser, step: Change
) -> None:
    with pytest.raises(RuntimeError):
        visitor.do(fail_after_atomic(step))
    assert visitor.do(lambda session: (session.state, session.copy())).result == (
        "live",
        {"a": 1, "cart": ["bun"], "b": 2},
    )
    assert site.middleware.sessions.of(ANN) == []
    assert site.middleware.sessions.count() == 1


def test_a_request_that_fails_after_atomic_under_another_users_login_leaves_the_first_users_session(
    site: Site, visitor: Browser
) -> None:
    visitor.do(log_in(BOB))
    with pytest.raises(RuntimeError):
        visitor.do(fail_after_atomic(log_in(ANN)))
    assert visitor.do(read).result == {"a": 1, "cart": ["bun"], "user": BOB}
    assert (len(site.middleware.sessions.of(ANN)), len(site.middleware.sessions.of(BOB))) == (0, 1)


def test_a_failed_login_of_a_new_visitor_lists_nothing_after_atomic(site: Site) -> None:
    with pytest.raises(RuntimeError):
        site.browser().do(fail_after_atomic(log_in(ANN)))
    assert (site.middleware.sessions.of(ANN), site.middleware.sessions.count()) == ([], 0)


def test_a_rotation_that_is_pending_at_an_atomic_is_done_at_the_commit(site: Site, visitor: Browser) -> None:
    before = visitor.token

    def change(session: Session) -> None:
        session.rotate()
        session.atomic(lambda data: data.update(b=2))
        assert visitor.copy().do(lambda session: session.state).result == "live"

    visitor.do(change)
    assert visitor.token != before
    assert visitor.do(read).result == {"a": 1, "cart": ["bun"], "b": 2}
    assert site.middleware.sessions.count() == 1


def test_atomic_keeps_flash_messages_and_the_owner(site: Site, visitor: Browser) -> None:
    visitor.do(log_in(ANN))
    visitor.do(lambda session: (session.flash("kept"), session.atomic(lambda data: data.clear())))
    assert visitor.do(lambda session: (session.copy(), session.flashes())).result == ({}, ["kept"])
    assert site.middleware.sessions.revoke_all(ANN) == 1


def test_atomic_on_a_corrupt_record_raises_session_gone_and_leaves_it(make_site: MakeSite, visitor: Browser) -> None:
    damage(visitor, value=b"\xc1")

    def change(session: Session) -> None:
        with pytest.raises(SessionGone):
            session.atomic(lambda data: data.update(b=2))

    assert visitor.do(change).code == 200
    assert visitor.site.happened("corrupt"), visitor.site.events


def test_atomic_in_a_session_that_is_out_of_order_raises_and_nothing_is_lost(site: Site, visitor: Browser) -> None:
    site.calls.fail("replace")
    answer = visitor.do(count)
    assert (answer.code, answer.cookies) == (503, [])
    site.calls.recover()
    assert visitor.do(count).result == 1


def test_a_logout_ends_what_atomic_would_save(visitor: Browser) -> None:
    visitor.do(log_in(ANN))

    def slow(session: Session) -> None:
        def function(data: dict[str, Any]) -> None:
            visitor.copy().do(log_out)

        with pytest.raises(SessionGone):
            session.atomic(function)

    visitor.do(slow)
    assert visitor.do(lambda session: session.state).result == "unknown"


def test_atomic_under_a_second_login_of_the_same_user_leaves_what_the_first_one_filed(visitor: Browser) -> None:
    visitor.do(log_in(ANN))

    def change(session: Session) -> Any:
        log_in(ANN | {"name": "Anna"})(session)
        session.atomic(lambda data: data.update(b=2))
        return visitor.copy().do(lambda session: (session["user"], session.owner)).result

    assert visitor.do(change).result == (ANN, "id:1")
    assert visitor.do(lambda session: (session["user"]["name"], session["b"])).result == ("Anna", 2)
