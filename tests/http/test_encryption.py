"""``encrypt``: turning it on, changing the secret, moving to another store. (Every other rule runs over it too.)"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgpack import packb, unpackb

from tests.support.cli import run
from tests.support.damage import key_of
from tests.support.site import ANN, SECRET, Browser, MakeSite, Site, log_in, put, read
from tests.support.stores import SERVER
from wsgi_session import ConfigError, Session, SessionMiddleware, SessionTooLarge
from wsgi_session.codec.sealed import looks_sealed
from wsgi_session.codec.sealing import Sealing
from wsgi_session.stores import MigratingStore, Record, SQLiteStore, Store
from wsgi_session.testing import plant
from wsgi_session.testing import read as read_cookie
from wsgi_session.testing.clock import FakeClock

pytestmark = pytest.mark.needs(SERVER)
NEW = "a newer secret: 7be1c0d94f5a4e2c8d11"
#: Longer than touch_interval.
A_WHILE = timedelta(days=2).total_seconds()


def stored(browser: Browser) -> Record:
    record = browser.site.calls.inner.load(key_of(browser), browser.site.clock())
    assert record is not None
    return record


def is_sealed(browser: Browser) -> bool:
    return looks_sealed(stored(browser).data)


def taken_over(site: Site, browser: Browser) -> Browser:
    """Return a browser with the same cookies that visits another process, with other options."""
    other = site.browser()
    other.jar = browser.jar
    return other


def opened_by(secret: str, browser: Browser) -> bool:
    """Return whether ``secret`` opens the browser's record."""
    record = stored(browser)
    sealing = Sealing([secret.encode()], accept_plain=False)
    try:
        place = key_of(browser), record.handle, record.owner, record.namespace
        sealing.stored(record.data, *place).open()  # type: ignore[attr-defined]
    except ValueError:
        return False
    return True


# Turning it on.


def test_sessions_from_before_are_refused_unless_plain_ones_are_accepted(make_site: MakeSite) -> None:
    before = make_site(encrypt=False).browser()
    before.do(log_in(ANN))
    strict = make_site(encrypt=True)
    visitor = taken_over(strict, before.copy())
    assert visitor.do(lambda session: (session.state, session.copy())).result == ("unknown", {})
    assert [name for name, _ in strict.events] == ["corrupt"]
    accepting = make_site(encrypt="accept-plain")
    assert taken_over(accepting, before).do(lambda session: session.owner).result == "id:1"


@pytest.mark.parametrize("visit", ["a write", "a touch"])
def test_a_session_from_before_is_encrypted_at_the_next_write_or_touch(
    make_site: MakeSite, clock: FakeClock, visit: str
) -> None:
    before = make_site(encrypt=False).browser()
    before.do(log_in(ANN))
    before.do(put(cart=[1]))
    browser = taken_over(make_site(encrypt="accept-plain"), before)
    browser.do(read)
    assert not is_sealed(browser), "a request that only reads writes nothing"
    if visit == "a touch":
        clock.advance(A_WHILE)
    answer = browser.do(put(cart=[1, 2]) if visit == "a write" else read)
    assert (answer.code, is_sealed(browser)) == (200, True)
    assert len(answer.cookies) == (visit == "a touch"), "as without encryption"
    strict = taken_over(make_site(encrypt=True), browser)
    data = strict.do(read).result
    assert data == {"user": ANN, "cart": [1, 2] if visit == "a write" else [1]}


def test_a_touch_that_encrypts_is_a_touch_and_keeps_what_others_write(make_site: MakeSite, clock: FakeClock) -> None:
    before = make_site(encrypt=False).browser()
    before.do(log_in(ANN))
    site = make_site(encrypt="accept-plain")
    one, other = taken_over(site, before.copy()), taken_over(site, before.copy())
    clock.advance(A_WHILE)
    expires = stored(one).expires
    site.calls.before["replace"] = lambda: other.do(put(theirs=1))
    assert one.do(lambda session: session["user"]).result == ANN
    assert stored(one).expires == expires + A_WHILE
    assert one.do(read).result == {"user": ANN, "theirs": 1}
    assert is_sealed(one)


def test_a_touch_cannot_encrypt_what_would_become_too_large_but_it_is_a_touch(
    make_site: MakeSite, clock: FakeClock
) -> None:
    before = make_site(encrypt=False).browser()
    before.do(put(a="x" * 200))
    expires = stored(before).expires
    browser = taken_over(make_site(encrypt="accept-plain", max_size=len(stored(before).data)), before)
    clock.advance(A_WHILE)
    assert browser.do(read).result == {"a": "x" * 200}
    assert (stored(browser).expires, is_sealed(browser)) == (expires + A_WHILE, False)


def test_an_outage_at_such_a_touch_harms_no_answer(make_site: MakeSite, clock: FakeClock) -> None:
    before = make_site(encrypt=False).browser()
    before.do(put(a=1))
    site = make_site(encrypt="accept-plain")
    browser = taken_over(site, before)
    clock.advance(A_WHILE)
    site.calls.fail("replace")
    assert browser.do(read).result == {"a": 1}
    assert [name for name, _ in site.events if name != "conflict"] == ["touch_failed"]


def test_turned_off_again_what_is_encrypted_is_not_misread(make_site: MakeSite) -> None:
    browser = make_site(encrypt=True).browser()
    browser.do(put(a=1))
    site = make_site(encrypt=False)
    other = taken_over(site, browser)
    assert other.do(lambda session: (session.state, session.copy())).result == ("unknown", {})
    assert [name for name, _ in site.events] == ["corrupt"]


# Changing the secret.


@pytest.mark.parametrize("visit", ["a write", "a touch", "any visit, which renews the cookie"])
def test_after_a_change_of_the_secret_the_new_one_encrypts_with_the_next_save(
    make_site: MakeSite, clock: FakeClock, visit: str
) -> None:
    before = make_site(encrypt=True).browser()
    before.do(log_in(ANN))
    before.do(put(cart=[1], theme="dark"))
    browser = taken_over(make_site(encrypt=True, secret=[NEW, SECRET]), before)
    if visit == "a touch":
        clock.advance(A_WHILE)
    browser.do(put(cart=[1, 2]) if visit == "a write" else read)
    assert (opened_by(NEW, browser), opened_by(SECRET, browser)) == (True, False)
    after = taken_over(make_site(encrypt=True, secret=NEW), browser)
    assert after.do(read).result == {"user": ANN, "cart": [1, 2] if visit == "a write" else [1], "theme": "dark"}
    assert after.do(lambda session: session.owner).result == "id:1"


def test_a_value_that_cannot_be_opened_stays_so_when_the_secret_changes(make_site: MakeSite) -> None:
    before = make_site(encrypt=True).browser()
    before.do(put(a=1, b=2))
    record, store = stored(before), before.site.calls.inner
    *rest, values = unpackb(record.data)
    data = packb([*rest, [values[0], b"x" * 20]])
    store.replace(key_of(before), record._replace(data=data, version=bytes(16)), record.version, before.site.clock())
    browser = taken_over(make_site(encrypt=True, secret=[NEW, SECRET]), before)
    browser.do(put(a=3))
    assert browser.do(lambda session: (session["a"], "b" in session, session.state)).result == (3, False, "unknown")


def test_without_the_secret_that_encrypted_it_a_session_is_unknown_and_its_record_stays(make_site: MakeSite) -> None:
    before = make_site(encrypt=True).browser()
    before.do(log_in(ANN))
    record = stored(before)
    site = make_site(encrypt=True, secret=NEW)
    assert [info.data for info in site.middleware.sessions.of(ANN)] == [{}]
    assert [info.owner for info in site.middleware.sessions.all()] == [None]
    assert [name for name, _ in site.events] == ["corrupt"]
    assert site.middleware.sessions.revoke_all(ANN) == 1, "the index of owners needs no secret"
    assert record.owner is not None


# What works on all sessions.


def test_a_session_that_was_encrypted_moves_with_the_store(make_site: MakeSite, store: Store, tmp_path: Any) -> None:
    before = make_site(encrypt=True).browser()
    before.do(log_in(ANN))
    if isinstance(store, MigratingStore):
        pytest.skip("platform: a MigratingStore cannot be a part of another one")
    with SQLiteStore(tmp_path / "new.db") as new:
        site = Site(MigratingStore(new, store), before.site.clock, encrypt=True)
        browser = taken_over(site, before)
        assert browser.do(lambda session: session.owner).result == "id:1"
        browser.do(put(cart=[1]))
        after = taken_over(Site(new, site.clock, encrypt=True), browser)
        assert after.do(read).result == {"user": ANN, "cart": [1]}


def test_the_command_line_copies_encrypted_sessions_as_they_are(tmp_path: Any) -> None:
    old, new = (f"sqlite:///{tmp_path}/{name}.db" for name in ("old", "new"))
    with SessionMiddleware(lambda environ, start_response: [], secret=SECRET, store=old, encrypt=True) as middleware:
        cookie = plant(middleware, {"user": ANN, "cart": [1]})
    assert run("copy", old, new).exit_code == 0
    with SessionMiddleware(lambda environ, start_response: [], secret=SECRET, store=new, encrypt=True) as middleware:
        assert read_cookie(middleware, cookie) == {"user": ANN, "cart": [1]}


def test_max_size_limits_what_is_stored(make_site: MakeSite) -> None:
    browser = make_site(encrypt=True, max_size=1000).browser()

    def fill(session: Session) -> None:
        session["a"] = "x" * 990

    with pytest.raises(SessionTooLarge, match=r"Largest keys: a \(993 bytes\)"):
        browser.do(fill)
    assert browser.do(put(a="x" * 800)).code == 200
    assert browser.do(read).result == {"a": "x" * 800}
    assert len(stored(browser).data) < 1000


def test_a_store_call_is_still_the_engines_own(make_site: MakeSite) -> None:
    site = make_site(encrypt=True, report_store_calls=True)
    browser = site.browser()
    browser.do(put(a=1))
    browser.do(read)
    calls = site.happened("store_call")
    assert [call["operation"] for call in calls] == ["create", "load"]


def test_a_wrong_option_says_what_to_give(make_site: MakeSite) -> None:
    with pytest.raises(ConfigError, match="encrypt='yes': give True, False, or 'accept-plain'"):
        make_site(encrypt="yes")
