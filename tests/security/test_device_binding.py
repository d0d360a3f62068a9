"""Attacks on device-bound logins: stolen cookies, forged and replayed proofs, other sessions' challenges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.client import Answer
from tests.support.device import DeviceBrowser, Key
from tests.support.site import ANN, BOB, Browser, Site, log_in, put, read
from wsgi_session import Session
from wsgi_session.backends.binding import BOUND_GRACE, BOUND_SECONDS, CHALLENGE_SECONDS
from wsgi_session.stores import MemoryStore
from wsgi_session.testing.clock import FakeClock

SID, BOUND = "__Host-sid", "__Host-sid-bound"
REGISTER, REFRESH = "/device-bound/register", "/device-bound/refresh"


@pytest.fixture
def bound_site(clock: FakeClock) -> Site:
    return Site(MemoryStore(), clock, experimental_device_bound=True)


@pytest.fixture
def ann(bound_site: Site) -> DeviceBrowser:
    """Ann's browser, with a session that is bound."""
    return logged_in(bound_site, ANN)


def logged_in(site: Site, who: dict[str, Any]) -> DeviceBrowser:
    browser = DeviceBrowser(site)
    browser.do(log_in(who))
    site.clock.advance(BOUND_SECONDS)
    browser.do(read)
    return browser


def thief_of(browser: DeviceBrowser, *names: str) -> DeviceBrowser:
    """Return a thief with a browser that speaks the protocol, and with copies of these cookies."""
    thief = DeviceBrowser(browser.site)
    thief.jar = {name: value for name, value in browser.jar.items() if name in names}
    return thief


def user(session: Session) -> Any:
    return session.get("user")


def is_ann(browser: Browser) -> bool:
    return browser.do(user).result is not None


def id_of(browser: DeviceBrowser) -> str:
    assert browser.instructions is not None
    handle: str = browser.instructions["session_identifier"]
    return handle


def url_of(browser: DeviceBrowser) -> str:
    assert browser.instructions is not None
    url: str = browser.instructions["refresh_url"]
    return url


def fresh_challenge(browser: DeviceBrowser, owner: DeviceBrowser | None = None) -> str:
    """Return a challenge for the session of ``owner``, which may be a browser that is attacked."""
    owner = owner or browser
    answer = browser.post(url_of(owner), {"Sec-Secure-Session-Id": id_of(owner)})
    assert answer.code == 403
    return (answer.header("Secure-Session-Challenge") or "").split('"')[1]


def refresh_with(browser: DeviceBrowser, owner: DeviceBrowser, proof: str, url: str = "", handle: str = "") -> Answer:
    headers = {"Sec-Secure-Session-Id": handle or id_of(owner), "Secure-Session-Response": proof}
    return browser.post(url or url_of(owner), headers)


def reasons(site: Site) -> list[str]:
    return [event["reason"] for event in site.happened("device_refused")]


def test_a_thief_cannot_register_a_key(bound_site: Site) -> None:
    """Not even before the browser does: only the answer to the login has the challenge."""
    ann = DeviceBrowser(bound_site)
    ann.registers = False
    ann.do(log_in(ANN))
    thief = thief_of(ann, SID)
    other = DeviceBrowser(bound_site)
    other.registers = False
    other.do(log_in(BOB))
    handle, _, rest = ann.invitation.partition(".")
    _, _, others = other.invitation.partition(".")
    expires, _, mac = rest.partition(".")
    forged = ["", "x", "..", ann.invitation[:-1], f"{handle}.{others}", f"{handle}.{2**33}.{mac}", rest, handle]
    forged += [f"{handle}.{expires}.{'A' * 43}", f"{handle}\n.{rest}", f"{handle}.{rest}\n", "é." + rest]
    for challenge in forged:
        answer = thief.post(REGISTER, {"Secure-Session-Response": Key().proof(challenge, jwk=True)})
        assert answer.code == 400, challenge
        assert answer.cookies == []
    assert set(reasons(bound_site)) == {"challenge"}
    assert ann.register().code == 200
    bound_site.clock.advance(BOUND_SECONDS)
    assert is_ann(ann)
    assert not is_ann(thief)


def test_a_challenge_of_the_thiefs_own_login_registers_no_key_for_another_session(
    bound_site: Site, ann: DeviceBrowser
) -> None:
    mallory = logged_in(bound_site, BOB)
    thief = thief_of(ann, SID)
    assert mallory.key is not None
    # The thief's own signed key, for Ann's session: the address is signed for the thief's handle only.
    assert thief.post(url_of(mallory), {"Sec-Secure-Session-Id": id_of(ann)}).code == 404
    proof = mallory.key.proof(fresh_challenge(mallory))
    assert refresh_with(thief, mallory, proof).code == 404
    assert refresh_with(mallory, ann, mallory.key.proof(fresh_challenge(mallory, ann))).code == 400
    assert not is_ann(thief)


def test_a_challenge_that_was_read_registers_no_second_key(bound_site: Site, ann: DeviceBrowser) -> None:
    thief = thief_of(ann, SID)
    thief.invitation, thief.register_path = ann.invitation, ann.register_path
    assert thief.register().code == 400  # The challenge has expired.
    assert reasons(bound_site) == ["challenge"]
    victim = DeviceBrowser(bound_site)
    victim.do(log_in(BOB))
    victim.refresh()
    thief = thief_of(victim, SID)
    thief.invitation, thief.register_path = victim.invitation, victim.register_path
    assert thief.register().code == 200
    assert thief.same().refresh().code == 400
    assert reasons(bound_site) == ["challenge", "registered"]
    # A second cookie that the thief gets without showing the session does not fit the session of another key, either.
    thief.jar.clear()
    assert thief.refresh().code == 200
    thief.jar[SID] = victim.jar[SID]
    assert BOUND in thief.jar
    assert thief.stolen().do(user).result is None
    assert victim.do(user).result == BOB


def test_a_challenge_of_a_renewal_registers_nothing_and_the_other_way_round(
    bound_site: Site, ann: DeviceBrowser
) -> None:
    challenge = fresh_challenge(ann)
    for one in (challenge, f"{id_of(ann)}.{challenge}"):
        assert ann.post(REGISTER, {"Secure-Session-Response": Key().proof(one, jwk=True)}).code == 400
    assert ann.key is not None
    for one in (ann.invitation, ann.invitation.partition(".")[2], ann.jar[BOUND]):
        assert refresh_with(ann, ann, ann.key.proof(one)).code == 403
    thief = thief_of(ann, SID)
    thief.jar[BOUND] = challenge
    assert not is_ann(thief)


def test_a_thief_cannot_renew_without_the_key(bound_site: Site, ann: DeviceBrowser) -> None:
    thief = thief_of(ann, SID)
    challenge, key = fresh_challenge(thief, ann), Key()
    for proof in (key.proof(challenge), key.proof(challenge, jwk=True), "", ".", "x" * 60_000, "é"):
        answer = refresh_with(thief, ann, proof)
        assert answer.code == (400 if proof else 403)
        assert answer.cookies == []
    assert set(reasons(bound_site)) == {"proof"}
    assert not is_ann(thief)
    assert is_ann(ann)


def test_an_address_with_another_key_is_refused(bound_site: Site, ann: DeviceBrowser) -> None:
    thief, url = thief_of(ann, SID), url_of(ann)
    own = logged_in(bound_site, BOB)
    text, _, mac = url.partition("key=")[2].partition(".")
    other = url_of(own).partition("key=")[2].partition(".")[0]
    queries = ["", "key=", f"key={other}.{mac}", f"key={text}.{'A' * 43}", f"key={text}", f"key={text}.{mac}&key=x"]
    queries += [f"x=1&key={text}.{mac}", f"key={text[:-1]}.{mac}", f"KEY={text}.{mac}", "key=" + "A" * 60_000, "%00"]
    for query in queries:
        answer = refresh_with(thief, ann, Key().proof("x"), f"{REFRESH}?{query}")
        assert answer.code == 404, query
        assert answer.cookies == []


def test_an_algorithm_of_the_thiefs_choice_does_not_help(bound_site: Site, ann: DeviceBrowser) -> None:
    thief = thief_of(ann, SID)
    challenge = fresh_challenge(thief, ann)
    assert ann.key is not None
    for header in ({"alg": "none"}, {"alg": "HS256"}, {"crit": ["x"]}, {"typ": "JWT"}):
        assert refresh_with(thief, ann, ann.key.proof(challenge, header=header)).code == 400
    unsigned = ann.key.proof(challenge).rpartition(".")[0] + "."
    assert refresh_with(thief, ann, unsigned).code == 400


def test_a_replayed_proof_is_worth_no_more_than_the_cookies_that_came_with_it(
    bound_site: Site, ann: DeviceBrowser
) -> None:
    assert ann.key is not None
    proof = ann.key.proof(fresh_challenge(ann))
    thief = thief_of(ann, SID)
    bound_site.clock.advance(CHALLENGE_SECONDS - 1)
    assert refresh_with(thief, ann, proof).code == 200
    bound_site.clock.advance(1)
    assert refresh_with(thief, ann, proof).code == 403
    bound_site.clock.advance(BOUND_SECONDS + BOUND_GRACE - 1)
    assert not is_ann(thief)


def test_a_proof_of_one_session_renews_no_other(bound_site: Site, ann: DeviceBrowser) -> None:
    bob = logged_in(bound_site, BOB)
    assert bob.key is not None
    challenge = fresh_challenge(bob)
    thief = thief_of(ann, SID)
    assert refresh_with(thief, ann, bob.key.proof(challenge)).code == 400
    assert refresh_with(thief, bob, bob.key.proof(challenge)).code == 404
    # With the right key, and a challenge for another session:
    assert ann.key is not None
    assert refresh_with(ann, ann, ann.key.proof(challenge)).code == 403


def test_the_second_cookie_of_one_session_serves_no_other(bound_site: Site, ann: DeviceBrowser) -> None:
    bob = logged_in(bound_site, BOB)
    thief = thief_of(ann, SID)
    thief.jar[BOUND] = bob.jar[BOUND]
    assert not is_ann(thief)
    assert is_ann(ann)


def test_a_second_cookie_cannot_be_forged_or_prolonged(bound_site: Site, ann: DeviceBrowser) -> None:
    expires, _, mac = ann.jar[BOUND].partition(".")
    forged = [
        "",
        "x",
        ".",
        f".{mac}",
        f"{int(expires) + 1000}.{mac}",
        f"0{expires}.{mac}",
        f"{expires}.",
        f" {expires}.{mac}x",
    ]
    forged += [
        f"{expires}.{mac[:-1]}",
        f"{expires}.{mac}.",
        f"{'9' * 40}.{mac}",
        f"-1.{mac}",
        f"{expires}.{'A' * 43}",
        "\u0661.x",
    ]
    for value in forged:
        thief = thief_of(ann, SID)
        thief.jar[BOUND] = value
        assert not is_ann(thief), value


def test_a_thief_who_leaves_headers_out_or_adds_some_gets_nothing(bound_site: Site, ann: DeviceBrowser) -> None:
    thief, handle = thief_of(ann, SID), id_of(ann)
    assert thief.post(REFRESH, {}).code == 404
    assert thief.post(url_of(ann), {}).code == 404
    assert thief.post(url_of(ann), {"Sec-Secure-Session-Id": f'{handle}, "{handle}"'}).code == 404
    assert thief.post(url_of(ann), {"Sec-Secure-Session-Id": f'"{handle}"'}).code == 403
    assert thief.post(REGISTER, {}).code == 400
    for name in ("HTTP_SEC_SECURE_SESSION_ID", "HTTP_SECURE_SESSION_SKIPPED", "HTTP_SECURE_SESSION_RESPONSE"):
        for value in (handle, "?1", "quota_exceeded", "x" * 60_000):
            assert thief.do(user, **{name: value}).result is None
    for environ in ({"HTTP_WSGI_SESSION_PROVING": "1"}, {"PATH_INFO": REFRESH + "/"}, {"PATH_INFO": "/x" + REFRESH}):
        assert thief.do(user, **{"SCRIPT_NAME": "", "PATH_INFO": "/", **environ}).result is None


def test_two_response_headers_are_refused(bound_site: Site, ann: DeviceBrowser) -> None:
    """A server joins them with a comma."""
    assert ann.key is not None
    proof = ann.key.proof(fresh_challenge(ann))
    assert refresh_with(ann, ann, f"{proof},{proof}").code == 400
    assert refresh_with(ann, ann, f"{proof}, {Key().proof('x')}").code == 400


def test_a_cookie_that_was_copied_before_the_logins_rotation_binds_nothing(bound_site: Site) -> None:
    """Session fixation: the attacker knows the anonymous token, and the login changes it."""
    victim = DeviceBrowser(bound_site)
    victim.do(put(cart=1))
    attacker = victim.stolen()
    victim.do(log_in(ANN))
    assert not is_ann(attacker)


def test_a_thief_cannot_take_the_binding_away(bound_site: Site, ann: DeviceBrowser) -> None:
    """A thief's writes go into another session, and the thief's own login has a session of its own."""
    thief = thief_of(ann, SID)
    thief.registers = False
    thief.do(put(device=None, cart=1))
    assert thief.jar[SID] != ann.jar[SID]
    again = thief_of(ann, SID)
    assert not is_ann(again)
    assert is_ann(ann)


def test_no_answer_shows_the_key_or_the_token(bound_site: Site, ann: DeviceBrowser) -> None:
    shown = repr(bound_site.events) + repr(ann.post(url_of(ann), {"Sec-Secure-Session-Id": id_of(ann)}).headers)
    assert ann.jar[SID] not in shown
    assert ann.jar[BOUND] not in shown


PIECES = [
    "key=",
    ".",
    "-",
    "_",
    "A",
    "A" * 43,
    "A" * 87,
    '"',
    ";",
    ",",
    "=",
    "{",
    "[",
    "\x00",
    "é",
    "\xff",
    "9" * 12,
    "\n",
]
HOSTILE = st.one_of(
    st.text(st.characters(max_codepoint=255)),
    st.lists(st.sampled_from([*PIECES, *Key().proof("c", jwk=True).split(".")])).map("".join),
)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.sampled_from([REGISTER, REFRESH]))
def test_no_request_of_the_protocol_fails(response: str, session_id: str, query: str, cookie: str, path: str) -> None:
    site = Site(MemoryStore(), FakeClock(), experimental_device_bound=True)
    answer = DeviceBrowser(site).send(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "443",
            "wsgi.url_scheme": "https",
            "HTTP_COOKIE": f"{SID}={cookie}; {BOUND}={cookie}",
            "HTTP_SECURE_SESSION_RESPONSE": response,
            "HTTP_SEC_SECURE_SESSION_ID": session_id,
        },
        lint=False,
    )
    assert answer.code in (400, 404)
    assert answer.cookies == []


@given(HOSTILE)
def test_no_second_cookie_makes_a_request_fail(cookie: str) -> None:
    site = Site(MemoryStore(), FakeClock(), experimental_device_bound=True)
    thief = thief_of(logged_in(site, ANN), SID)
    header = f"{SID}={thief.jar[SID]}; {BOUND}={cookie}"
    assert thief.call(lambda environ: user(environ["session"]), {"HTTP_COOKIE": header}) is None
