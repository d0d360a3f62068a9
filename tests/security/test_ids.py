"""Ids the client chose, guessable ids, fixation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.security.cases import HTTPS, OLD_SECRET, case, issued_to_nobody, opened_by, opens_nothing, stored
from tests.security.wire import Wire
from tests.support.site import ANN, BOB, SECRET, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER
from wsgi_session import ConfigError, SessionMiddleware
from wsgi_session.cookies import tokens
from wsgi_session.stores import MemoryStore

#: Ids that the site never issued: a token, one with a wrong signature, one with a valid signature.
MADE_UP = ["n" * 43, f"{'n' * 43}.{'A' * 43}", issued_to_nobody()]


@case(1)
@pytest.mark.parametrize("sent", MADE_UP, ids=["a token", "a signature", "signed well"])
def test_a_made_up_id_is_never_adopted(site: Site, sent: str) -> None:
    """An id that the site never issued is not adopted: a request that writes gets a new token.

    Case 1: CVE-2011-4718, PHP sessions: the session module adopted any id that a client sent, even one that was never
    issued.
    """
    visitor = site.browser()
    visitor.jar = {"sid": sent}
    visitor.do(put(k=1))
    assert visitor.token.partition(".")[0] != sent.partition(".")[0]
    assert stored(site, sent) is None
    assert opened_by(site, f"sid={sent}") == {}
    assert visitor.do(read).result == {"k": 1}


@case(1)
def test_a_made_up_id_is_never_adopted_over_the_wire(wire: Wire) -> None:
    """The same through real servers."""
    for sent in MADE_UP:
        header = f"Cookie: __Host-sid={sent}".encode()
        (cookie,) = wire.get("/set?k=1", header).cookies
        assert cookie.value.partition(".")[0] != sent.partition(".")[0]
        assert wire.get("/get", header).data == {}


@case(2)
@pytest.mark.parametrize("sent", MADE_UP, ids=["a token", "a signature", "signed well"])
def test_a_login_with_a_made_up_id_gets_a_new_one(site: Site, sent: str) -> None:
    """Neither a write nor a login uses an id that came from the client.

    Case 2: CVE-2024-38513, gofiber session: getting a session from the store created one under the id that the client
    had sent.
    """
    writer, victim = site.browser(), site.browser()
    writer.jar, victim.jar = {"sid": sent}, {"sid": sent}
    writer.do(put(k=1))
    victim.do(log_in(ANN))
    ids = {sent.partition(".")[0], writer.token.partition(".")[0], victim.token.partition(".")[0]}
    assert len(ids) == 3, ids
    assert opened_by(site, f"sid={sent}") == {}


@case(3)
@pytest.mark.needs(SERVER)
def test_an_id_whose_record_is_gone_is_not_used_again(site: Site, browser: Browser) -> None:
    """If the store has lost the record (expired, evicted, deleted), the next write gets a new token.

    Case 3: Flask-Session #76, fixed in 0.7.0: if the storage no longer had the record, the new session was created
    under the old id.

    Not over cookie://: it has no records.
    """
    browser.do(put(k=1))
    old = browser.token
    assert site.calls.inner.delete(tokens.store_key(old.partition(".")[0].encode()))
    browser.do(put(k=2))
    assert browser.token != old
    assert stored(site, old) is None
    assert browser.do(read).result == {"k": 2}


@case(4)
@pytest.mark.needs(SERVER)
def test_a_logout_deletes_the_record(site: Site, browser: Browser) -> None:
    """Logging out leaves no record behind, not even an empty one that could be adopted.

    Case 4: CVE-2018-1000519, aiohttp-session's RedisStorage: invalidating a session stored an empty one, so that the id
    of a logged-out session could still be adopted.

    Not over cookie://: it has no records.
    """
    browser.do(log_in(ANN))
    old = browser.copy()
    browser.do(log_out)
    assert stored(site, old) is None
    again = old.copy()
    again.do(log_in(ANN))
    assert again.token != old.token
    assert stored(site, old) is None


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "bytes": {"secret": SECRET.encode()},
    "two secrets": {"secret": [SECRET, OLD_SECRET]},
    "no persistence": {"cookie_persistent": False},
    "a name": {"cookie_name": "beaker.session.id"},
    "secure": {"cookie_secure": True},
    "partitioned": {"cookie_secure": True, "cookie_samesite": "None", "cookie_partitioned": True},
    "anonymous in an outage": {"on_store_error": "anonymous"},
}


@case(5)
@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_an_unsigned_id_opens_nothing_however_it_is_configured(make_site: MakeSite, options: dict[str, Any]) -> None:
    """Ids are always signed: neither ``123`` nor a genuine id without its signature is accepted.

    Case 5: Beaker #41: with the options that its documentation showed, the id in the cookie was not signed, and
    `beaker.session.id=123` became valid at login.
    """
    site = make_site(**options)
    browser = site.browser()
    browser.do(put(k=1))
    (name,) = browser.jar
    browser.jar[name] = "123"
    browser.do(log_in(ANN))
    assert browser.token != "123"
    for unsigned in ("123", browser.token[:43], browser.token[:-1]):
        assert opened_by(site, f"{name}={unsigned}") == {}, unsigned


@case(5)
def test_no_middleware_is_made_without_a_secret() -> None:
    """A middleware cannot be constructed without a secret, not even from a configuration file."""
    secrets: list[Any] = [None, "", [], b""]
    for secret in secrets:
        with pytest.raises(ConfigError, match="keygen"):
            SessionMiddleware(lambda environ, start_response: [], secret=secret, store=MemoryStore())
    with pytest.raises(ConfigError, match="secret is missing"):
        SessionMiddleware.from_config(lambda environ, start_response: [], {"session.store": "memory://"})


#: Calls that give the session a new token, and the data that they add to it.
ROTATIONS: dict[str, tuple[Callable[..., object], dict[str, Any]]] = {
    "login": (log_in(ANN), {"user": ANN}),
    "rotate": (lambda session: session.rotate(), {}),
    "rotate twice": (lambda session: (session.rotate(), session.rotate()), {}),
    "login twice": (lambda session: (log_in(ANN)(session), log_in(ANN)(session)), {"user": ANN}),
}


@case(6)
@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_the_token_from_before_a_login_opens_nothing_after_it(site: Site, browser: Browser, rotation: str) -> None:
    """A login (like ``rotate()``) gives the session a new token, invalidates the old one, and keeps the visitor's data.

    Case 6: CVE-2022-38054 and CVE-2022-3269 (Airflow, rdiffweb), CVE-2018-11385 and CVE-2023-46733 (Symfony),
    CVE-2019-12203 (SilverStripe), CVE-2023-22479 (KubePi): the id stayed the same at login, so an attacker who had set
    it in the visitor's browser was logged in too.

    Not over cookie://: the token changes, but a copy of the old cookie works until the timeouts encrypted in it.
    """
    browser.do(put(cart=["bun"]))
    planted = browser.copy()
    rotate, added = ROTATIONS[rotation]
    browser.do(rotate)
    assert browser.token != planted.token
    assert opens_nothing(stored(site, planted))
    assert opened_by(site, planted.header) == {}
    assert browser.do(read).result == {"cart": ["bun"], **added}


@case(6)
def test_a_token_differs_after_the_login_over_every_store(browser: Browser) -> None:
    """A login changes the token, the handle and the CSRF token."""
    browser.do(put(cart=["bun"]))
    before = (browser.token, *browser.do(lambda session: (session.handle, session.csrf_token)).result)
    browser.do(log_in(ANN))
    after = (browser.token, *browser.do(lambda session: (session.handle, session.csrf_token)).result)
    assert [old for old, new in zip(before, after, strict=True) if old == new] == []


@case(6)
@pytest.mark.needs(SERVER)
def test_a_session_rotated_and_destroyed_in_one_request_is_gone(site: Site, browser: Browser) -> None:
    """After a rotation and a destroy, neither the old token nor a new one is valid.

    Not over cookie://: a copy of the old cookie works until the timeouts encrypted in it.
    """
    browser.do(log_in(ANN))
    old = browser.copy()
    answer = browser.do(lambda session: (session.rotate(), session.destroy()))
    assert answer.cookie is not None
    assert answer.cookie.removes
    assert opened_by(site, old.header) == {}
    assert stored(site, old) is None
    assert site.middleware.sessions.count() == 0


@case(7)
def test_a_login_as_somebody_else_starts_empty(browser: Browser) -> None:
    """A login as another user first deletes the data of the previous user, including flash messages.

    Case 7: CVE-2014-0482, Django's RemoteUserMiddleware: when the web server reported another user, the session of the
    earlier user was kept.
    """
    browser.do(log_in(ANN))
    browser.do(lambda session: (session.update(secret="Ann's"), session.flash("for Ann")))
    browser.do(log_in(BOB))
    assert browser.do(lambda session: (session.copy(), session.flashes())).result == ({"user": BOB}, [])


@case(8)
@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("action", ["create", "rotate"])
def test_a_token_that_is_in_use_is_drawn_again(
    site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """A new or rotated session never overwrites an existing record; it gets another token.

    Case 8: tower-sessions 0.12.0 and 0.12.1: stores had only "save", so a session whose random id was in use already
    took over the record of another visitor.

    Not over cookie://: it has no records.
    """
    browser.do(log_in(ANN))
    record = stored(site, browser)
    other = site.browser()
    if action == "rotate":
        other.do(put(k=1))
    taken, free = browser.token.partition(".")[0].encode(), b"f" * 43
    drawn = [taken, free]
    monkeypatch.setattr(tokens, "new_token", lambda: drawn.pop(0))
    other.do(put(k=2) if action == "create" else lambda session: (session.rotate(), session.update(k=2)))
    assert drawn == []
    assert other.token.partition(".")[0] == free.decode()
    assert stored(site, browser) == record
    assert (other.do(read).result, browser.do(read).result) == ({"k": 2}, {"user": ANN})


@case(9)
def test_ten_thousand_tokens_have_nothing_in_common() -> None:
    """Tokens are 256 random bits in URL-safe text: they are unique, share no prefix and have no order.

    Case 9: CVE-2024-52801, sftpgo: the session cookie's value was made from the time and could be guessed.
    """
    drawn = [tokens.new_token().decode() for _ in range(10_000)]
    assert len(set(drawn)) == 10_000
    assert {len(token) for token in drawn} == {43}
    alphabet = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    for place in range(42):
        assert {token[place] for token in drawn} == alphabet, f"character {place}"
    # The last character has only four bits.
    assert len({token[42] for token in drawn}) == 16
    ascending = sum(first < second for first, second in pairwise(drawn))
    assert 4_700 < ascending < 5_300, f"{ascending} of 9,999 in order"


@case(9)
def test_every_session_has_a_token_of_its_own(make_site: MakeSite) -> None:
    """The cookies contain such tokens, with every store."""
    site = make_site()
    browsers = [site.browser(**HTTPS) for _ in range(40)]
    for browser in browsers:
        browser.do(put(k=1))
    shortest = min(len(browser.token) for browser in browsers)
    assert shortest >= 87
    assert len({browser.token[8:43] for browser in browsers}) == 40
