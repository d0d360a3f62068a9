"""Rules 5 and 7: an ended session stays ended; a login changes the token; a logout ends it in every browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.client import Answer
from tests.support.site import ANN, BOB, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER
from wsgi_session import ConfigError, Session, SessionGone, SessionMiddleware, logout
from wsgi_session.cookies import tokens
from wsgi_session.stores import TOMBSTONE_LIFE, MemoryStore, Record
from wsgi_session.testing.clock import FakeClock

Change = Callable[[Session], Any]


def destroy(session: Session) -> None:
    session.destroy()


DAY = 86_400.0


def state(session: Session) -> str:
    return session.state


@pytest.fixture
def ann(browser: Browser) -> Browser:
    """A browser in which Ann is logged in, with a cart from before."""
    browser.do(put(cart=["bun"]))
    browser.do(log_in(ANN))
    return browser


def revoke(site: Site) -> None:
    assert site.middleware.sessions.revoke_all(ANN) == 1


ENDINGS: dict[str, Callable[[Site, Browser], object]] = {
    "logout": lambda site, other: other.do(log_out),
    "destroy": lambda site, other: other.do(lambda session: session.destroy()),
    "clear": lambda site, other: other.do(lambda session: session.clear()),
    "revoke_all": lambda site, other: revoke(site),
    "revoke": lambda site, other: site.middleware.sessions.revoke(ANN, other.do(lambda s: s.handle).result),
    "rotate": lambda site, other: other.do(lambda session: session.rotate()),
    "login": lambda site, other: other.do(log_in(ANN)),
    "expiry": lambda site, other: site.clock.advance(31 * DAY),
}
#: These end only the token: the session goes on under a new one.
MOVES = ("rotate", "login")
#: What a slow request does, in the end, with the session that it loaded.
SLOW: dict[str, Change] = {
    "a read": read,
    "a write": put(late=1),
    "a nested write": lambda session: session["cart"].append("pie"),
    "a touch": state,
    "a rotation": lambda session: session.rotate(),
    "a flash message": lambda session: session.flash("late"),
    "a clear": lambda session: session.pop("cart"),
}


def end_during(slow: Change, site: Site, ann: Browser, ending: str, wait: float) -> Answer:
    """Let a request of Ann's load the session, end that session elsewhere, then let the request call ``slow``."""
    held = ann.copy()
    site.clock.advance(wait)

    def late(session: Session) -> None:
        session.get("user")
        session.get("cart")
        ENDINGS[ending](site, ann)
        slow(session)

    answer = held.do(late)
    assert answer.code == 200
    assert held.do(state).result in ("rotated", "unknown", "new")
    return answer


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending not in MOVES])
@pytest.mark.parametrize("slow", SLOW)
@pytest.mark.parametrize("wait", [0, 2 * DAY], ids=["", "touch due"])
def test_a_slow_request_does_not_bring_back_a_session_that_has_ended(
    site: Site, ann: Browser, ending: str, slow: str, wait: float
) -> None:
    answer = end_during(SLOW[slow], site, ann, ending, wait)
    assert answer.cookie is None, "a cookie for a session that has ended"
    assert ann.do(state).result in ("unknown", "new")
    assert site.middleware.sessions.count() == 0, site.calls.log


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("ending", MOVES)
@pytest.mark.parametrize("slow", SLOW)
@pytest.mark.parametrize("wait", [0, 2 * DAY], ids=["", "touch due"])
def test_a_slow_request_changes_nothing_in_a_session_that_has_a_new_token(
    site: Site, ann: Browser, ending: str, slow: str, wait: float
) -> None:
    answer = end_during(SLOW[slow], site, ann, ending, wait)
    assert answer.cookie is None, "a cookie for a token that has ended"
    assert ann.do(state).result == "live", site.events
    assert site.middleware.sessions.count() == 1, site.calls.log
    assert ann.do(read).result == {"cart": ["bun"], "user": ANN}


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize(
    ("ending", "sessions"), [(ending, 1 if ending == "login" else 0) for ending in ENDINGS], ids=ENDINGS
)
@pytest.mark.parametrize("wait", [0, 2 * DAY], ids=["", "touch due"])
def test_a_slow_destroy_ends_the_session_under_its_new_token_too_and_leaves_a_login(
    site: Site, ann: Browser, ending: str, sessions: int, wait: float
) -> None:
    end_during(lambda session: session.destroy(), site, ann, ending, wait)
    assert site.middleware.sessions.count() == sessions, site.calls.log


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_token_that_has_ended_opens_nothing_from_then_on(site: Site, ann: Browser, ending: str) -> None:
    held = ann.copy()
    ENDINGS[ending](site, ann)
    for _ in range(2):
        assert held.copy().do(read).result == {}
    site.clock.advance(TOMBSTONE_LIFE + 1)
    assert held.do(lambda session: (session.state, session.copy())).result == ("unknown", {})


# Logging in.


def test_logging_in_changes_the_token(browser: Browser) -> None:
    browser.do(put(cart=["bun"]))
    before = browser.token
    answer = browser.do(log_in(ANN))
    assert browser.token != before
    assert browser.do(read).result == {"cart": ["bun"], "user": ANN}
    assert answer.cookie, answer


def test_logging_in_again_changes_the_token_again(ann: Browser) -> None:
    before = ann.token
    ann.do(log_in(ANN))
    assert ann.token != before


@pytest.mark.needs(SERVER)
def test_a_token_planted_before_the_login_opens_nothing_after_it(site: Site) -> None:
    attacker = site.browser()
    attacker.do(put(planted=True))
    victim = attacker.copy()
    victim.do(log_in(ANN))
    assert attacker.do(lambda session: (session.state, session.copy())).result == ("rotated", {})
    site.clock.advance(TOMBSTONE_LIFE)
    assert attacker.do(lambda session: (session.state, session.copy())).result == ("unknown", {})


def test_rotate_changes_the_token_and_keeps_data_handle_created_and_owner(ann: Browser, clock: FakeClock) -> None:
    def what(session: Session) -> Any:
        return session.copy(), session.handle, session.created, session.owner

    before, token = ann.do(what).result, ann.token
    clock.advance(60)
    ann.do(lambda session: session.rotate())
    assert ann.do(what).result == before
    assert ann.token != token


@pytest.mark.needs(SERVER)
def test_a_request_in_flight_during_a_login_sees_an_empty_rotated_session_and_sends_no_cookie(
    site: Site, browser: Browser
) -> None:
    browser.do(put(cart=["bun"]))
    poll = browser.copy()
    browser.do(log_in(ANN))
    answer = poll.do(lambda session: (session.state, session.copy(), session.is_new, session.handle, session.owner))
    assert (answer.result, answer.cookie) == (("rotated", {}, True, None, None), None)


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize(
    "change",
    [
        put(a=1),
        lambda session: session.clear(),
        lambda session: session.flash("late"),
        lambda session: session.rotate(),
        destroy,
        lambda session: session.csrf_token,
        log_out,
    ],
)
def test_what_a_rotated_request_writes_is_dropped_and_it_sends_no_cookie(
    site: Site, browser: Browser, change: Change
) -> None:
    browser.do(put(cart=["bun"]))
    poll = browser.copy()
    browser.do(log_in(ANN))
    site.forget()
    answer = poll.do(change)
    # A logout follows the tombstone, and finds that a login has replaced the session.
    loads = 2 if change in (destroy, log_out) else 1
    assert (answer.code, answer.cookie, site.calls.counts()) == (200, None, {"load": loads})
    assert browser.do(read).result == {"cart": ["bun"], "user": ANN}


@pytest.mark.needs(SERVER)
def test_what_a_rotated_request_wrote_is_named_in_the_event(site: Site, browser: Browser) -> None:
    browser.do(put(cart=["bun"]))
    poll = browser.copy()
    browser.do(log_in(ANN))
    poll.do(put(b=1, a=2))
    assert [event["keys"] for event in site.happened("dropped")] == [["a", "b"]]


@pytest.mark.needs(SERVER)
def test_login_works_with_a_rotated_token(site: Site, browser: Browser) -> None:
    browser.do(put(cart=["bun"]))
    second = browser.copy()
    browser.do(log_in(ANN))
    answer = second.do(lambda session: (session.update(x=1), log_in(BOB)(session)))
    assert answer.cookie, answer
    assert second.do(read).result == {"x": 1, "user": BOB}
    assert browser.do(read).result == {"cart": ["bun"], "user": ANN}


@pytest.mark.needs(SERVER)
def test_the_mark_of_a_rotation_lasts_sixty_seconds_by_a_clock_that_is_sixty_seconds_ahead(
    make_site: MakeSite, clock: FakeClock
) -> None:
    ahead = make_site(clock=lambda: clock() + 60)
    browser = make_site().browser()
    browser.do(put(cart=["bun"]))
    held = ahead.browser()
    held.jar = dict(browser.jar)
    browser.do(lambda session: session.rotate())
    for _ in range(6):
        assert held.copy().do(state).result == "rotated"
        clock.advance(9.99)
    assert held.do(state).result == "rotated"


@pytest.mark.needs(SERVER)
def test_the_mark_of_a_rotation_goes_after_two_minutes(site: Site, browser: Browser, clock: FakeClock) -> None:
    browser.do(put(cart=["bun"]))
    held = browser.copy()
    browser.do(lambda session: session.rotate())
    clock.advance(TOMBSTONE_LIFE - 0.1)
    assert held.do(state).result == "rotated"
    clock.advance(0.1)
    assert held.do(state).result == "unknown"


@pytest.mark.needs(SERVER)
def test_looking_at_a_rotated_token_does_not_make_the_mark_last(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(cart=["bun"]))
    held = browser.copy()
    browser.do(lambda session: session.rotate())
    for _ in range(6):
        clock.advance(TOMBSTONE_LIFE / 6)
        held.copy().do(read)
    assert held.do(state).result == "unknown"


@pytest.mark.needs(SERVER)
def test_the_mark_of_a_rotation_is_not_counted_listed_or_owned(site: Site, ann: Browser) -> None:
    for _ in range(3):
        ann.do(lambda session: session.rotate())
    assert site.middleware.sessions.count() == 1
    assert len(site.middleware.sessions.of(ANN)) == 1
    assert site.middleware.sessions.revoke_all(ANN) == 1


@pytest.mark.needs(SERVER)
def test_a_rotation_whose_answer_was_lost_has_left_its_mark(site: Site, ann: Browser) -> None:
    held = ann.copy()
    site.calls.fail("rotate", applied=True, times=1)
    answer = ann.do(lambda session: session.rotate())
    assert answer.code == 200
    assert ann.do(read).result == {"cart": ["bun"], "user": ANN}
    assert held.do(state).result == "rotated"


@pytest.mark.needs(SERVER)
def test_two_logins_at_once_from_one_token_both_get_a_session(site: Site, browser: Browser) -> None:
    browser.do(put(cart=["bun"]))
    second = browser.copy()

    def slow(session: Session) -> None:
        session["own"] = 1
        session.get("cart")
        browser.do(log_in(ANN))
        log_in(ANN)(session)

    answer = second.do(slow)
    assert answer.cookie, answer
    assert browser.do(read).result == {"cart": ["bun"], "user": ANN}
    assert second.do(read).result == {"own": 1, "user": ANN}
    assert len(site.middleware.sessions.of(ANN)) == 2


def mark_pending(session: Session) -> None:
    session["mfa_pending"] = True


def update_pending(session: Session) -> None:
    session.update(mfa_pending=True)


def default_pending(session: Session) -> None:
    session.setdefault("mfa_pending", True)


def mark_and_save(session: Session) -> None:
    session["mfa_pending"] = True
    session.atomic(lambda data: None)


def default_and_save(session: Session) -> None:
    session.setdefault("mfa_pending", True)
    session.atomic(lambda data: None)


def mark_in_atomic(session: Session) -> None:
    session.atomic(lambda data: data.__setitem__("mfa_pending", True))


def update_in_atomic(session: Session) -> None:
    session.atomic(lambda data: data.update(mfa_pending=True))


def default_in_atomic(session: Session) -> None:
    session.atomic(lambda data: data.setdefault("mfa_pending", True))


def join_in_atomic(session: Session) -> None:
    session.atomic(lambda data: data.__ior__({"mfa_pending": True}))


MARKS = [
    mark_pending,
    update_pending,
    default_pending,
    mark_and_save,
    default_and_save,
    mark_in_atomic,
    update_in_atomic,
    default_in_atomic,
    join_in_atomic,
]


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("mark", [mark_pending, update_pending, default_pending])
@pytest.mark.parametrize("order", ["mark, log in", "log in, mark"])
@pytest.mark.parametrize("who", ["anonymous", "ann"])
def test_a_mark_on_a_fresh_login_is_in_both_of_two_logins_at_once(
    browser: Browser, mark: Callable[[Session], Any], order: str, who: str
) -> None:
    """Otherwise someone with the password could skip the second factor by logging in twice at once."""
    if who == "ann":
        browser.do(log_in(ANN))
    browser.do(mark)
    steps = [mark, log_in(ANN)] if order == "mark, log in" else [log_in(ANN), mark]

    def log_in_marked(session: Session) -> None:
        for step in steps:
            step(session)

    def second(session: Session) -> None:
        session.get("anything")
        assert first.do(log_in_marked).code == 200
        log_in_marked(session)

    first, other = browser.copy(), browser.copy()
    other.do(second)
    for one in (first, other):
        assert one.do(read).result == {"user": ANN, "mfa_pending": True}


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("order", ["log in, other, atomic", "log in, atomic, other", "atomic, other, log in"])
def test_what_atomic_saved_is_in_both_of_two_logins_at_once(browser: Browser, order: str) -> None:
    """The request has written it, like a value that is saved with the login."""
    browser.do(put(mfa_pending=True, cart=["bun"]))

    def slow(session: Session) -> None:
        session["mfa_pending"] = True
        for step in order.split(", "):
            if step == "log in":
                log_in(ANN)(session)
            elif step == "other":
                assert first.do(log_in(ANN)).code == 200
            else:
                session.atomic(lambda data: data.update(tries=1))

    first, other = browser.copy(), browser.copy()
    other.do(slow)
    assert other.do(read).result == {"user": ANN, "mfa_pending": True, "tries": 1}


@pytest.mark.needs(SERVER)
def test_what_clear_dropped_after_atomic_is_not_in_the_second_of_two_logins_at_once(browser: Browser) -> None:
    browser.do(put(cart=["bun"]))

    def slow(session: Session) -> None:
        session.atomic(lambda data: data.update(tries=1))
        session.clear()
        assert first.do(log_in(ANN)).code == 200
        log_in(ANN)(session)

    first, other = browser.copy(), browser.copy()
    other.do(slow)
    assert other.do(read).result == {"user": ANN}


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("ending", [log_in(ANN), log_out])
def test_a_request_whose_atomic_prolonged_the_session_sends_no_cookie_after_its_end(
    browser: Browser, clock: FakeClock, ending: Callable[[Session], Any]
) -> None:
    """Its cookie would replace the login's, and log the visitor out."""
    browser.do(put(a=1))
    clock.advance(2 * 24 * 3600)

    def slow(session: Session) -> None:
        session.atomic(lambda data: data.update(a=2))
        browser.copy().do(ending)

    assert browser.copy().do(slow).cookie is None


@pytest.mark.needs(SERVER)
def test_a_request_whose_atomic_prolonged_the_session_prolongs_the_cookie(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(a=1))
    clock.advance(2 * 24 * 3600)
    assert browser.do(lambda session: session.atomic(lambda data: data.update(a=2))).cookie is not None


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("order", ["mark, log in", "log in, mark"])
@pytest.mark.parametrize("before", [{}, {"mfa_pending": True}], ids=["a new mark", "an equal mark"])
def test_a_mark_that_was_made_before_the_other_login_is_in_both_of_two_logins_at_once(
    browser: Browser, mark: Callable[[Session], Any], order: str, before: dict[str, Any]
) -> None:
    """By then ``atomic`` has saved the value, under the token that the other login replaces."""
    browser.do(put(cart=["bun"], **before))
    steps = [mark, log_in(ANN)] if order == "mark, log in" else [log_in(ANN), mark]

    def log_in_marked(session: Session) -> None:
        for step in steps:
            step(session)

    def second(session: Session) -> None:
        log_in_marked(session)
        assert first.do(log_in_marked).code == 200

    first, other = browser.copy(), browser.copy()
    other.do(second)
    for one in (first, other):
        found = one.do(read).result
        assert (found["user"], found["mfa_pending"]) == (ANN, True)


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("taking", [lambda session: session.clear(), lambda session: session.pop("mfa_pending", None)])
@pytest.mark.parametrize("before", [{}, {"mfa_pending": True}], ids=["a new mark", "an equal mark"])
def test_no_other_request_takes_a_mark_out_of_a_login_that_is_not_stored_yet(
    browser: Browser, mark: Callable[[Session], Any], taking: Callable[[Session], Any], before: dict[str, Any]
) -> None:
    """For example, a page that cancels the login, requested during the login."""
    browser.do(put(cart=["bun"], **before))
    other = browser.copy()

    def log_in_marked(session: Session) -> None:
        log_in(ANN)(session)
        mark(session)
        assert other.do(taking).code == 200

    browser.do(log_in_marked)
    found = browser.do(read).result
    assert (found["user"], found["mfa_pending"]) == (ANN, True)


@pytest.mark.needs(SERVER)
def test_a_code_that_works_once_is_in_no_login_after_it_was_taken(browser: Browser) -> None:
    browser.do(put(code="1234", cart=["bun"]))
    taking, first = browser.copy(), browser.copy()

    def second(session: Session) -> None:
        session.atomic(lambda data: data.update(tries=1))
        assert taking.do(lambda session: session.atomic(lambda data: data.pop("code"))).result == "1234"
        first.do(log_in(ANN))
        log_in(ANN)(session)

    browser.do(second)
    assert browser.do(read).result == {"tries": 1, "user": ANN}


@pytest.mark.needs(SERVER)
def test_what_atomic_saved_of_another_user_is_not_in_a_login_that_is_built_anew(browser: Browser) -> None:
    browser.do(log_in(BOB))
    other = browser.copy()

    def switch(session: Session) -> None:
        session.atomic(lambda data: data.update(diary="Bob's"))
        other.do(lambda session: session.destroy())
        log_in(ANN)(session)

    browser.do(switch)
    assert browser.do(read).result == {"user": ANN}


@pytest.mark.needs(SERVER)
def test_two_logins_at_once_of_a_logged_in_user_both_succeed(site: Site, ann: Browser) -> None:
    """The second login assigns only values that are stored already, but its new session must contain them too."""
    second = ann.copy()

    def slow(session: Session) -> None:
        session["own"] = 1
        ann.do(log_in(ANN))
        log_in(ANN)(session)

    second.do(slow)
    assert ann.do(read).result == {"cart": ["bun"], "user": ANN}
    assert second.do(lambda session: (session.copy(), session.owner)).result == ({"own": 1, "user": ANN}, "id:1")


@pytest.mark.needs(SERVER)
def test_a_user_can_end_all_sessions_and_log_in_again_in_one_request(site: Site, ann: Browser) -> None:
    """This is what an application does after a change of the password."""

    def change_password(session: Session) -> None:
        assert session["user"] == ANN
        assert site.middleware.sessions.revoke_all(ANN) == 1
        log_in(ANN)(session)

    ann.do(change_password)
    assert ann.do(read).result == {"user": ANN}


@pytest.mark.needs(SERVER)
def test_a_login_is_not_undone_by_a_request_that_removed_the_user_meanwhile(site: Site, ann: Browser) -> None:
    held = ann.copy()
    site.calls.before["rotate"] = lambda: held.do(lambda session: session.pop("user"))
    ann.do(log_in(ANN))
    assert ann.do(read).result == {"cart": ["bun"], "user": ANN}


@pytest.mark.needs(SERVER)
def test_a_user_who_is_removed_right_after_the_login_is_not_there(ann: Browser) -> None:
    ann.do(lambda session: (log_in(ANN)(session), session.pop("user")))
    assert ann.do(read).result == {"cart": ["bun"]}


@pytest.mark.needs(SERVER)
def test_two_logins_at_once_of_two_users_share_nothing(browser: Browser) -> None:
    browser.do(put(cart=["bun"]))
    second = browser.copy()
    second.do(lambda session: (session.get("cart"), browser.do(log_in(ANN)), log_in(BOB)(session)))
    assert browser.do(read).result == {"cart": ["bun"], "user": ANN}
    assert second.do(read).result == {"user": BOB}


@pytest.mark.needs(SERVER)
def test_a_rotation_that_meets_a_conflict_merges_and_tries_again(site: Site, ann: Browser) -> None:
    held = ann.copy()
    site.calls.before["rotate"] = lambda: held.do(put(late=1))
    ann.do(lambda session: session.rotate())
    assert ann.do(read).result == {"cart": ["bun"], "user": ANN, "late": 1}
    assert site.happened("conflict"), site.events


@pytest.mark.needs(SERVER)
def test_a_login_that_meets_a_conflict_merges_and_tries_again(site: Site, browser: Browser) -> None:
    browser.do(put(cart=["bun"]))
    held = browser.copy()
    site.calls.before["rotate"] = lambda: held.do(lambda session: session["cart"].append("pie"))
    browser.do(log_in(ANN))
    assert browser.do(read).result == {"cart": ["bun", "pie"], "user": ANN}


@pytest.mark.needs(SERVER)
def test_two_rotations_at_once_leave_one_session(site: Site, ann: Browser) -> None:
    held = ann.copy()
    answer = held.do(lambda session: (session.rotate(), ann.do(lambda session: session.rotate())))
    assert answer.cookie is None
    assert site.middleware.sessions.count() == 1
    assert ann.do(read).result == {"cart": ["bun"], "user": ANN}


@pytest.mark.needs(SERVER)
def test_logging_another_user_in_drops_the_first_ones_data_and_messages(site: Site, ann: Browser) -> None:
    ann.do(lambda session: (session.update(secret="ann's"), session.flash("ann's")))
    ann.do(lambda session: (log_in(BOB)(session), session.update(bobs=1)))
    assert ann.do(lambda session: (session.copy(), session.flashes())).result == ({"user": BOB, "bobs": 1}, [])
    assert site.middleware.sessions.of(ANN) == []


def test_a_login_deletes_the_data_of_another_user_who_was_put_there_without_login(browser: Browser) -> None:
    browser.do(put(user=ANN, secret="ann's"))
    browser.do(log_in(BOB))
    assert browser.do(read).result == {"user": BOB}


def test_logging_in_as_the_user_put_there_by_hand_keeps_the_data(browser: Browser) -> None:
    browser.do(put(user=ANN, cart=["bun"]))
    browser.do(log_in(ANN))
    assert browser.do(read).result == {"user": ANN, "cart": ["bun"]}


def test_the_same_user_keeps_the_data_at_a_second_login(ann: Browser) -> None:
    ann.do(log_in({**ANN, "name": "Ann B."}))
    assert ann.do(read).result == {"cart": ["bun"], "user": {**ANN, "name": "Ann B."}}


def test_what_the_request_wrote_before_logging_another_user_in_is_the_first_ones(ann: Browser) -> None:
    ann.do(lambda session: (session.update(note="ann's"), log_in(BOB)(session)))
    assert ann.do(read).result == {"user": BOB}


def test_another_users_keys_that_a_parallel_request_wrote_are_dropped_too(site: Site, ann: Browser) -> None:
    held = ann.copy()
    site.calls.before["rotate"] = lambda: held.do(put(late="ann's"))
    ann.do(log_in(BOB))
    assert ann.do(read).result == {"user": BOB}


def test_a_login_gets_a_new_handle_and_is_created_now(browser: Browser, clock: FakeClock) -> None:
    browser.do(put(cart=[]))
    before = browser.do(lambda session: (session.handle, session.created)).result
    clock.advance(100)
    during = browser.do(lambda session: (log_in(ANN)(session), session.handle, session.created)).result[1:]
    after = browser.do(lambda session: (session.handle, session.created)).result
    assert during == after
    assert before[0] != after[0]
    assert (after[1] - before[1]).total_seconds() == 100


# Logging out.


@pytest.mark.needs(SERVER)
def test_logging_out_deletes_the_record_now_and_removes_the_cookie(site: Site, ann: Browser) -> None:
    def out(session: Session) -> Any:
        log_out(session)
        return session.state, session.copy(), session.is_new, site.middleware.sessions.count()

    answer = ann.do(out)
    assert answer.result == ("destroyed", {}, True, 0)
    assert answer.cookie, answer
    assert answer.cookie.removes
    assert ann.jar == {}


@pytest.mark.needs(SERVER)
def test_logging_out_kills_the_token_in_every_browser_that_has_it(ann: Browser) -> None:
    others = [ann.copy() for _ in range(3)]
    ann.do(log_out)
    assert [other.do(state).result for other in others] == ["unknown"] * 3


@pytest.mark.needs(SERVER)
def test_a_logout_that_crosses_a_rotation_finds_the_session_where_it_is_now(site: Site, ann: Browser) -> None:
    held = ann.copy()
    held.do(lambda session: (session.get("user"), ann.do(lambda session: session.rotate()), log_out(session)))
    assert ann.do(lambda session: (session.state, session.copy())).result == ("unknown", {})
    assert site.middleware.sessions.count() == 0


@pytest.mark.needs(SERVER)
def test_a_logout_that_crosses_several_rotations_finds_the_session_where_it_is_now(site: Site, ann: Browser) -> None:
    held = ann.copy()

    def slow(session: Session) -> None:
        session.get("user")
        for _ in range(3):
            ann.do(lambda session: session.rotate())
        log_out(session)

    held.do(slow)
    assert site.middleware.sessions.count() == 0


def finds_it_gone(session: Session) -> None:
    with pytest.raises(SessionGone):
        session.atomic(lambda data: data.update(b=1))


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("notice", [finds_it_gone, Session.reload], ids=["atomic", "reload"])
@pytest.mark.parametrize("fill", [log_in(ANN), put(a=1)], ids=["login", "anonymous"])
def test_a_logout_ends_a_session_although_its_request_has_noticed_a_rotation_before(
    site: Site, browser: Browser, fill: Change, notice: Change
) -> None:
    browser.do(fill)
    held = browser.copy()

    def slow(session: Session) -> None:
        session.get("a")
        browser.do(lambda session: session.rotate())
        notice(session)
        log_out(session)

    assert held.do(slow).cookie is None, "the browser has the cookie of the rotation"
    assert browser.do(lambda session: (session.state, session.copy())).result == ("unknown", {})
    assert len(site.happened("destroyed")) == 1
    assert site.middleware.sessions.count() == 0


@pytest.mark.needs(SERVER)
def test_a_logout_that_has_noticed_the_login_of_another_request_leaves_that_login(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    held = browser.copy()

    def slow(session: Session) -> None:
        session.get("a")
        browser.do(log_in(ANN))
        session.reload()
        log_out(session)

    held.do(slow)
    assert browser.do(lambda session: session.owner).result == "id:1"


@pytest.mark.needs(SERVER)
def test_a_logout_that_has_noticed_a_rotation_ends_the_sessions_of_the_other_cookies_too(site: Site) -> None:
    browser, other = site.browser(), site.browser()
    for visitor in (browser, other):
        visitor.do(put(a=1))
    both = f"{browser.header}; {other.header}"

    def slow(session: Session) -> None:
        session.get("a")
        browser.do(lambda session: session.rotate())
        session.reload()
        log_out(session)

    browser.copy().do(slow, HTTP_COOKIE=both)
    assert site.middleware.sessions.count() == 0


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("rotations", [1, 3])
@pytest.mark.parametrize("fill", [log_in(ANN), put(user={"name": "Ann"})], ids=["login", "by hand"])
def test_a_logout_with_a_token_that_was_rotated_away_ends_the_session_where_it_is_now(
    site: Site, browser: Browser, fill: Change, rotations: int
) -> None:
    browser.do(fill)
    held = browser.copy()
    for _ in range(rotations):
        browser.do(lambda session: session.rotate())
    answer = held.do(lambda session: (session.state, log_out(session), session.update(late=1), session.copy()))
    assert answer.result == ("rotated", None, None, {"late": 1})
    assert answer.cookie is None, "it would come after the one of the rotation"
    assert len(site.happened("destroyed")) == 1
    assert browser.do(lambda session: (session.state, session.copy())).result == ("unknown", {})
    assert site.middleware.sessions.count() == 0


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("between", [[], [lambda session: session.rotate()]], ids=["", "rotated"])
@pytest.mark.parametrize("after", [[], [lambda session: session.rotate()]], ids=["", "and again"])
def test_a_logout_with_a_token_from_before_a_login_leaves_the_login(
    site: Site, browser: Browser, between: list[Change], after: list[Change]
) -> None:
    browser.do(put(a=1))
    held = browser.copy()
    for change in (*between, log_in(ANN), *after):
        browser.do(change)
    assert held.do(lambda session: (log_out(session), session.state)).result == (None, "rotated")
    assert site.happened("destroyed") == []
    assert browser.do(lambda session: session.owner).result == "id:1"


@pytest.mark.needs(SERVER)
def test_a_logout_with_a_token_that_was_rotated_away_finds_nothing_after_another_logout(
    site: Site, ann: Browser
) -> None:
    held = ann.copy()
    ann.do(lambda session: session.rotate())
    ann.do(log_out)
    site.forget()
    assert held.do(lambda session: (log_out(session), session.state)).result == (None, "rotated")
    assert site.happened("destroyed") == []


@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("rotations", [1, 3])
def test_a_logout_of_a_rotated_session_without_an_owner_follows_its_tombstones(
    site: Site, browser: Browser, rotations: int
) -> None:
    browser.do(put(user={"name": "Ann"}))  # without login(): the session has no owner
    held = browser.copy()

    def slow(session: Session) -> None:
        session.get("user")
        for _ in range(rotations):
            browser.do(lambda session: session.rotate())
        log_out(session)

    held.do(slow)
    assert browser.do(lambda session: (session.state, session.copy())).result == ("unknown", {})
    assert site.middleware.sessions.count() == 0


@pytest.mark.needs(SERVER)
def test_a_logout_of_a_session_without_an_owner_follows_a_second_rotation_too(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    held = browser.copy()

    def rotate() -> None:
        browser.do(lambda session: session.rotate())

    def slow(session: Session) -> None:
        session.get("a")
        rotate()
        # The second rotation comes between following the first tombstone and the second delete.
        delete, deletes = site.calls.inner.delete, iter([lambda: None, rotate])

        def overtaken(key: bytes, version: bytes | None = None) -> bool:
            next(deletes, lambda: None)()
            return delete(key, version)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(site.calls.inner, "delete", overtaken)
            log_out(session)

    held.do(slow)
    assert site.middleware.sessions.count() == 0


@pytest.mark.needs(SERVER)
def test_tombstones_that_form_a_circle_end_the_search(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    key, other = tokens.store_key(browser.token.partition(".")[0].encode()), b"o" * 32

    def slow(session: Session) -> None:
        session.get("a")
        now = site.clock()
        assert site.calls.inner.delete(key)
        for place, led_to in ((key, other), (other, key)):
            site.calls.inner.create(place, Record(led_to, b"v" * 16, "", now, now, now + 60), now)
        log_out(session)

    assert browser.do(slow).code == 200


@pytest.mark.parametrize("edited", [{"data": "a text"}, {"version": "a text"}, {"version": b""}], ids=repr)
def test_a_tombstone_that_was_edited_by_hand_leads_nowhere(edited: dict[str, Any]) -> None:
    with MemoryStore() as store:
        middleware = SessionMiddleware(lambda environ, start_response: [], secret="0" * 40, store=store)
        backend, kept = middleware._backend, Record(b"\x80", b"v" * 16, "handle", 0.0, 0.0, 9.0)
        credential = backend.new_credential()
        store.create(credential.key, kept._replace(handle="", **edited), 1.0)
        backend.delete(credential, kept, 1.0)
        assert backend.end(credential, 1.0) is None
        assert store.load(credential.key, 1.0) is not None


@pytest.mark.needs(SERVER)
def test_a_logout_of_an_anonymous_session_leaves_the_login_that_came_between(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    held = browser.copy()

    def slow(session: Session) -> None:
        session.get("a")
        browser.do(log_in(ANN))
        log_out(session)

    held.do(slow)
    assert browser.do(lambda session: session.owner).result == "id:1"


@pytest.mark.needs(SERVER)
def test_writing_after_a_logout_in_the_same_request_starts_a_fresh_session(site: Site, ann: Browser) -> None:
    held = ann.copy()
    before = ann.do(lambda session: session.handle).result
    answer = ann.do(lambda session: (log_out(session), session.update(fresh=1)))
    assert answer.cookie, answer
    assert not answer.cookie.removes
    assert ann.do(lambda session: (session.copy(), session.handle == before)).result == ({"fresh": 1}, False)
    assert held.do(state).result == "unknown"


def test_logging_in_after_a_logout_in_the_same_request_carries_nothing_over(ann: Browser) -> None:
    ann.do(lambda session: (log_out(session), log_in(BOB)(session)))
    assert ann.do(read).result == {"user": BOB}


@pytest.mark.needs(SERVER)
def test_a_login_and_a_logout_in_one_request_leave_nothing(site: Site, browser: Browser) -> None:
    browser.do(put(cart=[1]))
    answer = browser.do(lambda session: (log_in(ANN)(session), log_out(session)))
    assert answer.cookie, answer
    assert answer.cookie.removes
    assert site.middleware.sessions.count() == 0


def test_logging_out_without_a_session_sends_nothing(site: Site, browser: Browser) -> None:
    answer = browser.do(log_out)
    assert (answer.cookie, site.calls.counts()) == (None, {})


@pytest.mark.needs(SERVER)
def test_logging_out_with_a_cookie_that_opens_nothing_removes_it(site: Site, ann: Browser) -> None:
    held = ann.copy()
    revoke(site)
    answer = held.do(log_out)
    assert answer.cookie, answer
    assert answer.cookie.removes


@pytest.mark.needs(SERVER)
def test_clear_on_a_session_with_an_owner_is_destroy(site: Site, ann: Browser) -> None:
    answer = ann.do(lambda session: (session.clear(), session.state))
    assert answer.result == (None, "destroyed")
    assert site.middleware.sessions.count() == 0
    assert ann.jar == {}


@pytest.mark.needs(SERVER)
def test_clear_after_a_login_in_the_same_request_is_destroy(site: Site, browser: Browser) -> None:
    browser.do(put(cart=[]))
    browser.do(lambda session: (log_in(ANN)(session), session.clear()))
    assert (site.middleware.sessions.count(), browser.jar) == (0, {})


@pytest.mark.needs(SERVER)
def test_a_session_ended_while_a_second_middleware_holds_it_stays_ended(make_site: MakeSite) -> None:
    one, two = make_site(), make_site()
    ann = one.browser()
    ann.do(log_in(ANN))
    held = two.browser()
    held.jar = dict(ann.jar)

    def slow(session: Session) -> None:
        session.get("user")
        ann.do(log_out)
        with pytest.raises(SessionGone):
            session.atomic(lambda data: data.update(a=1))

    held.do(slow)
    assert two.middleware.sessions.count() == 0


# What the browser deletes at a logout.


def leave(*kinds: str) -> Any:
    return lambda session: logout({"session": session}, clear_site_data=kinds)


def test_a_logout_tells_the_browser_what_else_to_delete(browser: Browser) -> None:
    browser.do(log_in(ANN))
    answer = browser.do(leave("cache", "storage"))
    assert answer.all("Clear-Site-Data") == ['"cache", "storage"']
    assert browser.jar == {}
    assert browser.do(log_out).all("Clear-Site-Data") == []


def test_it_is_told_too_where_nobody_is_logged_in_and_where_a_new_session_begins(browser: Browser) -> None:
    assert browser.do(leave("*")).all("Clear-Site-Data") == ['"*"']

    def page(session: Session) -> None:
        leave("cache")(session)
        session.flash("bye")

    browser.do(log_in(ANN))
    answer = browser.do(page)
    assert answer.all("Clear-Site-Data") == ['"cache"']
    assert browser.jar != {}


def test_it_is_told_if_the_request_fails_because_the_logout_stays_done(browser: Browser) -> None:
    browser.do(log_in(ANN))

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        logout(environ, clear_site_data=["storage"])
        start_response("500 Oops", [("Content-Type", "text/plain"), ("Clear-Site-Data", '"cache"')])
        return [b""]

    assert browser.visit(app).all("Clear-Site-Data") == ['"cache"', '"storage"']


@pytest.mark.needs(SERVER)
def test_after_the_headers_the_session_ends_and_nothing_is_told(browser: Browser) -> None:
    browser.do(log_in(ANN))

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        environ["session"].get("user")
        yield b"page"
        logout(environ, clear_site_data=["cache"])

    assert browser.visit(app).all("Clear-Site-Data") == []
    assert browser.do(lambda session: session.get("user")).result is None


@pytest.mark.needs(SERVER)
def test_in_an_outage_nobody_is_logged_out_and_nothing_deleted(site: Site, browser: Browser) -> None:
    browser.do(log_in(ANN))
    site.calls.fail("delete")
    answer = browser.do(leave("cache"))
    assert (answer.code, answer.all("Clear-Site-Data")) == (503, [])


@pytest.mark.parametrize("wrong", ["cache", ["Cache"], ["cache", 5], [["cache"]], ['"cache"'], True, None, [""]])
def test_what_the_standard_does_not_have_is_refused_and_ends_nothing(browser: Browser, wrong: Any) -> None:
    browser.do(log_in(ANN))

    def page(session: Session) -> None:
        with pytest.raises(ConfigError, match="clear_site_data="):
            logout({"session": session}, clear_site_data=wrong)

    browser.do(page)
    assert browser.do(lambda session: session["user"]).result == ANN
