"""Logout, revocation, resurrection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.security.cases import DAY, HTTPS, case, opened_by, opens_nothing, stored, values_of
from tests.support import ROOT
from tests.support.site import ANN, BOB, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER
from wsgi_session import Session, Unsupported, user_or_none
from wsgi_session.stores import TOMBSTONE_LIFE, Outcome, Record, Store
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.testing.clock import FakeClock

#: Calls that end a session's token, and the number of sessions that the visitor has then.
ENDINGS: dict[str, tuple[Callable[[Session], Any], int]] = {
    "logout": (log_out, 0),
    "rotate": (lambda session: session.rotate(), 1),
    "clear": (lambda session: session.clear(), 0),
}
# Changes by a slow request to a session that has ended since the request loaded it.
SLOW: dict[str, Callable[[Session], Any]] = {
    "reads": read,
    "writes": put(late=1),
    "changes a list": lambda session: session["cart"].append("late"),
    "rotates": lambda session: session.rotate(),
}


@pytest.fixture
def ann(browser: Browser) -> Browser:
    browser.do(put(cart=["bun"]))
    browser.do(log_in(ANN))
    return browser


def slow(browser: Browser, meanwhile: Callable[[], object], then: Callable[[Session], Any]) -> Any:
    """Make a request that loads the session, calls ``meanwhile``, then ``then(session)``; return its response."""

    def handler(session: Session) -> None:
        assert session["cart"] == ["bun"]
        meanwhile()
        then(session)

    return browser.copy().do(handler)


@case(10)
@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("touching", [False, True], ids=["", "touch due"])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("then", SLOW)
def test_a_slow_request_does_not_bring_a_session_back(
    site: Site, ann: Browser, clock: FakeClock, ending: str, then: str, touching: bool
) -> None:
    """A request that loaded the session before a logout or rotation, and ends after it, does not restore the session.

    Case 10: CVE-2025-46336 (rack-session), CVE-2025-32441 (rack): a slow request that had loaded the session saved it
    again after another one had deleted it.

    Not over cookie://: only the browser knows that a session has ended.
    """
    old = ann.copy()
    if touching:
        clock.advance(2 * DAY)
    end, left = ENDINGS[ending]
    answer = slow(old, lambda: ann.do(end), SLOW[then])
    assert (answer.code, answer.cookies) == (200, [])
    assert opens_nothing(stored(site, old))
    assert opened_by(site, old.header) == {}
    clock.advance(TOMBSTONE_LIFE + 1)
    assert stored(site, old) is None
    assert site.middleware.sessions.count() == left


@case(11)
@pytest.mark.needs(SERVER)
def test_a_write_to_a_session_that_has_ended_is_dropped_and_told(site: Site, ann: Browser) -> None:
    """The slow request gets its normal response, its changes are dropped, and the event ``dropped`` names handle and
    keys.

    Case 11: Django #21608 (and #31962): concurrent requests brought logged-out sessions back; later the outcome was an
    error of the store.

    Not over cookie://: it cannot know that the session has ended.
    """
    handle = ann.do(lambda session: session.handle).result
    answer = slow(ann, lambda: ann.do(log_out), put(late=1, more=2))
    assert (answer.code, answer.body, answer.cookies) == (200, b"page", [])
    assert site.happened("dropped") == [{"handle": handle, "owner": "id:1", "keys": ["late", "more"]}]
    assert site.happened("unavailable") == []


@case(12)
@pytest.mark.needs(SERVER)
def test_a_read_whose_touch_is_due_does_not_undo_a_logout(site: Site, ann: Browser, clock: FakeClock) -> None:
    """Recording activity extends a session, and never creates one.

    Case 12: express-session #632, connect-redis #328, session-file-store #55: the touch at the end of a request that
    only read stored the session again after a logout.

    Not over cookie://: a copy of the old cookie works until the timeouts encrypted in it.
    """
    old = ann.copy()
    clock.advance(2 * DAY)
    site.forget()
    answer = slow(old, lambda: ann.do(log_out), lambda session: None)
    assert site.calls.counts()["touch"] == 1, site.calls.log
    assert answer.cookies == []
    assert stored(site, old) is None


@case(12)
@pytest.mark.needs(SERVER)
def test_a_store_creates_nothing_by_touching_or_replacing(store: Store) -> None:
    """The store's contract: ``touch`` and ``replace`` of a missing record report that it is missing, and create
    nothing.

    Not over cookie://: it has no records.
    """
    key, now = b"k" * 32, FakeClock.START
    record = Record(b"data", b"v" * 16, "handle", now, now, now + 60)
    assert store.touch(key, now, now + 60, now) is False
    assert store.replace(key, record, b"w" * 16, now) is Outcome.GONE
    assert store.rotate(key, b"n" * 32, record, b"w" * 16, now) is Outcome.GONE
    assert [store.load(one, now) for one in (key, b"n" * 32)] == [None, None]


@case(13)
@pytest.mark.needs(SERVER)
def test_a_save_is_never_an_unconditional_upsert(site: Site, ann: Browser) -> None:
    """A save carries the version that the request loaded: if the session has ended or changed since, nothing is
    overwritten, not even by a change made while the body streams.

    Case 13: Flask-Session (development head; no advisory): saving is an upsert, whatever has happened to the session
    since it was loaded.

    Not over cookie://: the last response of overlapping requests replaces the whole session.
    """
    old = ann.copy()

    def streaming(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["session"]["cart"].append("early")
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"one"
        ann.do(log_out)
        environ["session"]["late"] = 1
        yield b"two"

    answer = old.copy().visit(streaming)
    assert (answer.body, stored(site, old)) == (b"onetwo", None)
    assert [event["keys"] for event in site.happened("dropped")] == [["late"]]
    assert site.middleware.sessions.count() == 0


@case(14)
@pytest.mark.needs(SERVER)
def test_another_tab_does_not_undo_a_logout(site: Site, ann: Browser, clock: FakeClock) -> None:
    """A parallel request of the same browser that ends after the logout sets no valid cookie.

    Case 14: CVE-2021-41247, JupyterHub: logging out in one tab was undone by the request of another open tab, which set
    fresh credentials.

    Not over cookie://: a running request may undo a logout, as its page says.
    """
    # In both tabs a touch is due, which would send the cookie again.
    clock.advance(2 * DAY)
    one, two = ann.copy(), ann.copy()
    answers: list[Any] = []

    def in_another_tab() -> None:
        answers.append(slow(two, lambda: ann.do(log_out), put(late=1)))

    answers.append(slow(one, in_another_tab, read))
    assert [answer.cookies for answer in answers] == [[], []]
    assert ann.jar == {}
    assert [opened_by(site, tab.header) for tab in (one, two)] == [{}, {}]


@case(15)
def test_a_copied_sealed_cookie_ends_with_validate_or_at_the_absolute_limit(clock: FakeClock, sealed: Site) -> None:
    """With ``cookie://``, a copied cookie works after a logout until the timeouts encrypted in it, as its page says;
    with ``validate`` it is refused immediately.

    Case 15: CVE-2024-31999 (@fastify/secure-session), CVE-2022-2888 (OctoPrint), iron-session #530: an encrypted cookie
    stayed valid after the session was destroyed, for ever if nothing inside it expired.
    """
    page = (ROOT / "docs" / "stores-cookie.md").read_text("utf-8")
    assert "**A copied cookie stays valid.**" in page
    epochs = {ANN["id"]: 1}
    guarded = Site(CookieStore(), clock, validate=lambda session: session["user"]["epoch"] == epochs[ANN["id"]])
    for site, outcome in ((sealed, {"user": {**ANN, "epoch": 1}}), (guarded, {})):
        browser = site.browser()
        browser.do(log_in({**ANN, "epoch": 1}))
        copied = browser.header
        browser.do(log_out)
        epochs[ANN["id"]] = 2
        assert opened_by(site, copied) == outcome
        epochs[ANN["id"]] = 1
    # The thief uses the copy regularly, so that it does not expire.
    thief = sealed.browser()
    thief.do(log_in(ANN))
    for _ in range(8):
        clock.advance(11 * DAY)
        assert thief.do(read).result == {"user": ANN}
    clock.advance(2 * DAY)
    assert opened_by(sealed, thief.header) == {}


@case(16)
@pytest.mark.parametrize("emptied", ["clear", "pop the last key", "pop the user", "delete each"])
def test_an_emptied_session_is_empty(site: Site, browser: Browser, emptied: str) -> None:
    """Deleting the last key, or ``clear()``, is saved like any other change: in the next request, no user is logged in.

    Case 16: CVE-2023-20862, Spring Security: an emptied security context could not be saved, and the user stayed logged
    in.
    """
    changes: dict[str, Callable[[Session], Any]] = {
        "clear": lambda session: session.clear(),
        "pop the last key": lambda session: session.pop("k"),
        "pop the user": lambda session: session.pop("user"),
        "delete each": lambda session: [session.__delitem__(key) for key in list(session)],
    }
    if emptied != "pop the last key":
        browser.do(log_in(ANN))
    if emptied != "pop the user":
        browser.do(put(k=1))
    held = browser.copy()
    browser.do(changes[emptied])
    after = browser.do(lambda session: (session.copy(), user_or_none({"session": session}), session.owner))
    assert after.result == ({}, None, None)
    assert [key for key in values_of(site, held) if isinstance(key, str)] == []


PLACES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "http": ({}, {}),
    "https": ({}, HTTPS),
    "a domain": ({"cookie_domain": "example.com"}, HTTPS),
    "a path": ({"cookie_path": "/app"}, HTTPS),
    "partitioned": ({"cookie_secure": True, "cookie_samesite": "None", "cookie_partitioned": True}, HTTPS),
    "never secure": ({"cookie_secure": False, "cookie_samesite": "Strict"}, HTTPS),
}


@case(17)
@pytest.mark.parametrize("place", PLACES)
def test_every_cookie_is_set_and_removed_with_the_same_attributes(
    make_site: MakeSite, clock: FakeClock, place: str
) -> None:
    """A first cookie, a renewal, a rotation, a login and a removal all use the same name, Path, Domain, Secure,
    HttpOnly and SameSite.

    Case 17: tower-sessions 0.10.2 (and commits 33d88a1, 17460b4), Beaker #112 and #114, beego #5007, CVE-2026-34454
    (oauth2-proxy): the cookie that should have removed the session's lacked its attributes, or was not sent, and the
    browser kept the session.
    """
    options, environ = PLACES[place]
    browser = make_site(**options).browser(**environ)
    sent = []
    for step in (put(a=1), read, lambda session: session.rotate(), log_in(ANN), log_out):
        (cookie,) = browser.do(step).cookies
        sent.append(cookie)
        clock.advance(2 * DAY)
    assert sent[-1].removes
    assert browser.jar == {}
    own = [
        {name: text for name, text in cookie.attributes.items() if name not in ("max-age", "expires")}
        for cookie in sent
    ]
    assert [attributes for attributes in own if attributes != own[0]] == []
    assert len({cookie.name for cookie in sent}) == 1


@case(18)
@pytest.mark.needs(SERVER)
def test_a_changed_password_can_end_every_other_session(site: Site) -> None:
    """``revoke_all(user, keep=session)`` ends the user's other sessions. A login that completes later and the sessions
    of other users are not affected.

    Case 18: CVE-2023-40273 (Airflow), CVE-2022-23502 (TYPO3), CVE-2026-34828 (listmonk): sessions survived the reset of
    a password, and there was no way to end them.

    Not over cookie://: the server cannot end a session that only browsers keep; see the next test.
    """
    here, there, bob = site.browser(), site.browser(), site.browser()
    here.do(log_in(ANN)), there.do(log_in(ANN)), bob.do(log_in(BOB))
    assert here.do(lambda session: site.middleware.sessions.revoke_all(ANN, keep=session)).result == 1
    later = site.browser()
    later.do(log_in(ANN))
    assert [browser.do(read).result for browser in (here, there, later, bob)] == [
        {"user": ANN},
        {},
        {"user": ANN},
        {"user": BOB},
    ]


@case(18)
def test_what_cannot_be_revoked_says_so(sealed: Site) -> None:
    """With ``cookie://``, revoking raises ``Unsupported``; it never silently does nothing."""
    sealed.browser().do(log_in(ANN))
    sessions = sealed.middleware.sessions
    asked: list[Callable[[], object]] = [
        lambda: sessions.revoke_all(ANN),
        lambda: sessions.revoke(ANN, "handle"),
        lambda: sessions.of(ANN),
    ]
    for ask in asked:
        with pytest.raises(Unsupported):
            ask()


@case(19)
@pytest.mark.needs(SERVER)
def test_a_list_of_sessions_opens_none_of_them(site: Site, ann: Browser) -> None:
    """The list of sessions contains handles and no tokens, and a handle is not a valid cookie.

    Case 19: CVE-2020-5224, django-user-sessions: the page that ended sessions named each by its session key.

    Not over cookie://: it lists nothing.
    """
    (info,) = site.middleware.sessions.of(ANN)
    assert ann.token.partition(".")[0] not in repr(info)
    record = stored(site, ann)
    assert record is not None
    for name in (info.handle, f"{info.handle}.{'A' * 43}", record.version.hex(), tokens_of(ann)):
        assert opened_by(site, f"sid={name}") == {}, name


def tokens_of(browser: Browser) -> str:
    """Return the token in a browser without its signature."""
    return browser.token.partition(".")[0]


@case(20)
@pytest.mark.needs(SERVER)
def test_no_user_ends_the_session_of_another(site: Site, ann: Browser) -> None:
    """``revoke(user, handle)`` finds only that user's sessions; the handle of another user's session is not found.

    Case 20: CVE-2017-18878, Mattermost: anyone who knew a session's id could revoke that session, even another user's.

    Not over cookie://: it revokes nothing.
    """
    bob = site.browser()
    bob.do(log_in(BOB))
    handle = bob.do(lambda session: session.handle).result
    assert site.middleware.sessions.revoke(ANN, handle) is False
    assert site.middleware.sessions.revoke(ANN, "no such handle") is False
    assert (bob.do(read).result, site.happened("revoked")) == ({"user": BOB}, [])
    assert site.middleware.sessions.revoke(BOB, handle) is True
    assert bob.do(read).result == {}
