"""Device-bound logins: only the device renews the second cookie, and a copied cookie is dead within minutes."""

from __future__ import annotations

import json
import re
from threading import Barrier, Thread
from typing import Any

import pytest

from tests.support.client import Answer
from tests.support.device import DeviceBrowser, Key
from tests.support.foreign import OldLibrary
from tests.support.site import ANN, BOB, MakeSite, Site, log_in, log_out, page, put, read
from tests.support.stores import SERVER
from wsgi_session import Session, confirm
from wsgi_session.backends.binding import BOUND_GRACE, BOUND_SECONDS, DEVICE, FIRST_SECONDS
from wsgi_session.codec.packing import pack
from wsgi_session.moving import Foreign
from wsgi_session.session import work_of

pytestmark = pytest.mark.needs(SERVER)

SID, BOUND = "__Host-sid", "__Host-sid-bound"


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(experimental_device_bound=True)


@pytest.fixture
def browser(site: Site) -> DeviceBrowser:
    return DeviceBrowser(site)


@pytest.fixture
def bound(browser: DeviceBrowser) -> DeviceBrowser:
    """A browser in which Ann is logged in, with a session that is bound."""
    browser.do(log_in(ANN))
    renew(browser)
    return browser


def renew(browser: DeviceBrowser) -> None:
    """Visit after the second cookie has expired."""
    browser.site.clock.advance(BOUND_SECONDS)
    browser.do(read)


def user(session: Session) -> Any:
    return session.get("user")


def refresh_of(browser: DeviceBrowser) -> tuple[str, dict[str, str]]:
    """Return where and as what the browser renews."""
    assert browser.instructions is not None
    return browser.instructions["refresh_url"], {"Sec-Secure-Session-Id": browser.instructions["session_identifier"]}


def renew_with(browser: DeviceBrowser, key: Key | None, path: str, headers: dict[str, str]) -> Answer:
    """Answer a challenge with this key."""
    challenge = browser.post(path, headers).header("Secure-Session-Challenge")
    assert challenge is not None
    assert key is not None
    return browser.post(path, {**headers, "Secure-Session-Response": key.proof(challenge.split('"')[1])})


def test_a_login_is_bound_to_the_device_and_goes_on_there(site: Site, browser: DeviceBrowser) -> None:
    answer = browser.do(log_in(ANN))
    assert answer.header("Secure-Session-Registration")
    assert set(browser.jar) == {SID, BOUND}
    renew(browser)
    handle = browser.do(lambda session: session.handle).result
    assert site.happened("device_bound") == [{"handle": handle, "owner": "id:1"}]
    for _ in range(5):
        site.clock.advance(BOUND_SECONDS)
        assert browser.do(user).result == ANN
    assert not site.happened("device_missing")


def test_a_copied_cookie_is_dead_at_once_and_the_visitor_stays_logged_in(site: Site, bound: DeviceBrowser) -> None:
    thief = bound.stolen(SID)
    answer = thief.do(lambda session: (user(session), session.state, session.owner, len(session)))
    assert answer.result == (None, "unknown", None, 0)
    assert answer.cookies == []
    (event,) = site.happened("device_missing")
    assert event == {"handle": event["handle"], "owner": "id:1", "reason": "no_proof"}
    assert bound.do(user).result == ANN


def test_both_cookies_copied_are_dead_within_five_minutes(site: Site, bound: DeviceBrowser) -> None:
    thief = bound.stolen()
    assert thief.do(user).result == ANN
    site.clock.advance(BOUND_SECONDS + BOUND_GRACE)
    assert thief.do(user).result is None
    assert bound.do(user).result == ANN


def test_a_login_before_the_first_renewal_works_without_the_second_cookie(site: Site, browser: DeviceBrowser) -> None:
    browser.do(log_in(ANN))
    assert browser.stolen(SID).do(user).result == ANN
    assert FIRST_SECONDS < BOUND_SECONDS
    site.clock.advance(FIRST_SECONDS)
    browser.do(read)
    assert browser.stolen(SID).do(user).result is None


def test_browsers_that_do_not_register_go_on_as_before(site: Site) -> None:
    browser = site.browser(**{"wsgi.url_scheme": "https"})
    browser.do(log_in(ANN))
    site.clock.advance(24 * 3600)
    assert browser.do(user).result == ANN
    assert set(browser.jar) == {SID}


def test_an_anonymous_session_is_not_bound(browser: DeviceBrowser) -> None:
    assert browser.do(put(cart=1)).header("Secure-Session-Registration") is None


def test_a_browser_that_never_got_the_answer_to_its_registration_stays_logged_in(
    site: Site, browser: DeviceBrowser
) -> None:
    browser.loses_answer = True
    browser.do(log_in(ANN))
    assert set(browser.jar) == {SID}
    site.clock.advance(24 * 3600)
    assert browser.do(user).result == ANN


def test_a_renewal_whose_answer_was_lost_can_be_repeated(site: Site, bound: DeviceBrowser) -> None:
    site.clock.advance(BOUND_SECONDS)
    bound.loses_answer = True
    assert bound.refresh().code == 200
    assert bound.do(user).result == ANN


def test_two_tabs_renew_at_once(site: Site, bound: DeviceBrowser) -> None:
    site.clock.advance(BOUND_SECONDS)
    answers: list[int] = []
    barrier = Barrier(2)
    tabs = [bound.same() for _ in range(2)]

    def run(tab: DeviceBrowser) -> None:
        barrier.wait()
        answers.append(tab.refresh().code)

    threads = [Thread(target=run, args=(tab,)) for tab in tabs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200, 200]
    assert [tab.do(user).result for tab in tabs] == [ANN, ANN]


def test_of_two_registrations_the_one_that_renews_first_counts(site: Site, browser: DeviceBrowser) -> None:
    browser.do(log_in(ANN))
    other = browser.same()
    assert other.register().code == 200
    renew(browser)
    other.jar.update(browser.jar)
    assert other.refresh().code == 400
    assert [event["reason"] for event in site.happened("device_refused")] == ["registered"]
    assert browser.do(user).result == ANN


def test_of_two_keys_that_renew_at_once_one_counts(site: Site, browser: DeviceBrowser) -> None:
    browser.do(log_in(ANN))
    other = browser.same()
    other.register()
    site.calls.before["replace"] = browser.refresh
    assert other.refresh().code == 400
    renew(browser)
    assert browser.do(user).result == ANN


def test_a_rotation_keeps_the_device(site: Site, bound: DeviceBrowser) -> None:
    bound.do(lambda session: confirm({"session": session}, "password"))
    assert bound.do(user).result == ANN
    renew(bound)
    assert bound.do(user).result == ANN
    assert bound.stolen(SID).do(user).result is None


def test_a_renewal_that_a_rotation_overtakes_succeeds(site: Site, bound: DeviceBrowser) -> None:
    before = dict(bound.jar)
    bound.do(lambda session: session.rotate())
    after, bound.jar = dict(bound.jar), before
    site.clock.advance(BOUND_SECONDS / 10)
    assert bound.refresh().code == 200
    bound.jar = after
    renew(bound)
    assert bound.do(user).result == ANN


def test_a_first_renewal_that_a_rotation_overtakes_binds_the_session_the_next_time(
    site: Site, browser: DeviceBrowser
) -> None:
    browser.do(log_in(ANN))
    other_tab = browser.stolen(SID)
    site.calls.before["replace"] = lambda: other_tab.do(lambda session: session.rotate())
    assert browser.refresh().code == 200
    assert site.happened("device_bound") == []
    browser.jar[SID] = other_tab.jar[SID]
    renew(browser)
    assert browser.do(user).result == ANN
    assert len(site.happened("device_bound")) == 1


def test_the_next_login_is_bound_anew_and_the_old_key_renews_nothing(site: Site, bound: DeviceBrowser) -> None:
    old, bound.registers = bound.instructions, False
    old_key, old_refresh = bound.key, refresh_of(bound)
    bound.do(log_in(BOB))
    site.clock.advance(24 * 3600)
    assert bound.post(*old_refresh).code == 403
    assert renew_with(bound, old_key, *old_refresh).code == 404
    assert bound.register().code == 400  # The challenge has expired.
    bound.registers, bound.instructions = True, None
    bound.do(log_in(BOB))
    assert bound.instructions is not None
    assert bound.instructions != old
    assert bound.key is not old_key
    renew(bound)
    assert bound.do(user).result == BOB
    assert bound.post(*old_refresh).code == 403
    assert renew_with(bound, old_key, *old_refresh).code == 404


def test_a_logout_removes_both_cookies_and_ends_the_renewals(site: Site, bound: DeviceBrowser) -> None:
    jar = dict(bound.jar)
    answer = bound.do(log_out)
    assert {cookie.name for cookie in answer.cookies if cookie.removes} == {SID, BOUND}
    other = bound.same()
    other.jar = jar
    site.clock.advance(BOUND_SECONDS)
    assert other.do(user).result is None
    assert other.instructions is None  # The browser has ended its session.
    # Without any cookie, a browser may come from another site; it is told when it comes again.
    assert bound.refresh().code == 200
    assert set(bound.jar) == {BOUND}
    assert bound.refresh().code == 404
    assert bound.instructions is None


def test_a_logout_without_the_second_cookie_ends_the_session_too(site: Site, bound: DeviceBrowser) -> None:
    bound.stolen(SID).do(log_out)
    site.clock.advance(BOUND_SECONDS)
    assert bound.do(user).result is None


def test_a_logout_without_the_second_cookie_ends_a_session_that_is_rotated_at_this_moment(
    site: Site, bound: DeviceBrowser
) -> None:
    site.calls.before["delete"] = lambda: bound.do(lambda session: session.rotate())
    bound.stolen(SID).do(log_out)
    assert bound.do(user).result is None
    assert site.middleware.sessions.count() == 0


def test_a_renewal_is_no_activity_of_the_visitor(site: Site, bound: DeviceBrowser) -> None:
    site.clock.advance(3 * 24 * 3600)
    expires = site.middleware.sessions.of(ANN)[0].expires
    assert bound.refresh().code == 200
    assert site.middleware.sessions.of(ANN)[0].expires == expires


def test_a_browser_that_could_not_renew_keeps_its_cookie(site: Site, bound: DeviceBrowser) -> None:
    """Such as while the server answers 503: the request must not replace the cookie of the session."""
    thief = bound.stolen(SID)
    answer = thief.do(put(cart=1), HTTP_SECURE_SESSION_SKIPPED="server_error")
    assert answer.cookies == []
    assert [event["reason"] for event in site.happened("device_missing")] == ["skipped"]
    assert [event["keys"] for event in site.happened("dropped")] == [["cart"]]
    assert bound.do(user).result == ANN


def test_a_browser_that_has_lost_its_key_can_log_in_again(site: Site, bound: DeviceBrowser) -> None:
    bound.instructions = bound.key = None
    del bound.jar[BOUND]
    bound.do(put(cart=1))
    bound.do(log_in(ANN))
    renew(bound)
    assert bound.do(lambda session: (session["user"], session["cart"])).result == (ANN, 1)


@pytest.mark.parametrize("policy", ["fail", "anonymous"])
def test_the_browser_renews_in_an_outage_too(make_site: MakeSite, policy: str) -> None:
    """Else it would come without the second cookie for a while after the outage."""
    site = make_site(experimental_device_bound=True, on_store_error=policy)
    browser = DeviceBrowser(site)
    browser.do(log_in(ANN))
    renew(browser)
    site.clock.advance(BOUND_SECONDS)
    site.calls.fail("load")
    assert browser.refresh().code == 200
    site.calls.recover()
    assert browser.do(user).result == ANN
    assert site.happened("device_missing") == []


def test_a_session_is_not_bound_by_a_renewal_that_cannot_be_stored(site: Site, browser: DeviceBrowser) -> None:
    browser.do(log_in(ANN))
    site.calls.fail("replace")
    assert browser.refresh().code == 200
    site.calls.recover()
    assert site.happened("device_bound") == []
    assert browser.stolen(SID).do(user).result == ANN
    renew(browser)
    assert browser.stolen(SID).do(user).result is None


def test_a_session_without_room_for_the_key_goes_on_and_is_not_bound(make_site: MakeSite) -> None:
    site = make_site(experimental_device_bound=True, max_size=2100)
    browser = DeviceBrowser(site)
    browser.do(log_in(ANN))
    browser.do(put(text="x" * 1941))
    renew(browser)
    assert browser.refresh().code == 200
    assert [event["owner"] for event in site.happened("unsaved")] == ["id:1"] * 2
    assert browser.stolen(SID).do(user).result == ANN
    browser.do(put(text="x"))
    renew(browser)
    assert len(site.happened("device_bound")) == 1
    assert browser.stolen(SID).do(user).result is None


def test_a_login_after_a_redirect_from_another_site_is_bound(site: Site, browser: DeviceBrowser) -> None:
    """A browser sends no cookie with SameSite=Lax to the endpoints then, but takes those that they set."""
    browser.registers = False
    browser.do(log_in(ANN))
    jar, browser.jar = browser.jar, {}
    site.forget()
    assert browser.register().code == 200
    assert site.calls.counts() == {}
    browser.jar.update(jar)
    renew(browser)
    assert len(site.happened("device_bound")) == 1
    assert browser.do(user).result == ANN


def test_a_link_of_another_site_renews_too(site: Site, bound: DeviceBrowser) -> None:
    site.clock.advance(BOUND_SECONDS)
    jar, bound.jar = bound.jar, {}
    path, headers = refresh_of(bound)
    site.forget()
    assert renew_with(bound, bound.key, path, headers).code == 200
    assert site.calls.counts() == {}
    bound.jar = {**jar, **bound.jar}
    bound.instructions = None
    assert bound.do(user).result == ANN


def test_a_request_with_the_second_cookie_costs_one_call_of_the_store(site: Site, bound: DeviceBrowser) -> None:
    site.forget()
    assert bound.do(user).result == ANN
    assert site.calls.counts() == {"load": 1}


def test_an_old_secret_still_verifies_and_the_new_one_signs(make_site: MakeSite) -> None:
    old, new = "o" * 16 + "0123456789abcdef" * 2, "n" * 16 + "0123456789abcdef" * 2
    before = make_site(secret=old, experimental_device_bound=True)
    browser = DeviceBrowser(before)
    browser.do(log_in(ANN))
    renew(browser)
    site = make_site(secret=[new, old], experimental_device_bound=True)
    browser.app, browser.site = site.middleware, site
    assert browser.do(user).result == ANN
    renew(browser)
    site = make_site(secret=new, experimental_device_bound=True)
    browser.app, browser.site = site.middleware, site
    assert browser.do(user).result == ANN


def test_the_option_can_be_turned_off_again(make_site: MakeSite, bound: DeviceBrowser) -> None:
    bound.app = make_site().middleware
    bound.instructions = None
    del bound.jar[BOUND]
    assert bound.do(user).result == ANN


def test_validate_is_asked_at_a_renewal_too(make_site: MakeSite) -> None:
    valid = [True]

    def validate(session: Session) -> bool:
        session["seen"] = True
        return valid[0]

    site = make_site(experimental_device_bound=True, validate=validate)
    browser = DeviceBrowser(site)
    browser.do(log_in(ANN))
    renew(browser)
    assert browser.do(lambda session: session["seen"]).result
    valid[0] = False
    assert browser.refresh().code == 404
    assert browser.instructions is None


def test_below_a_path_the_browser_gets_the_whole_path(make_site: MakeSite) -> None:
    site = make_site(experimental_device_bound="/auth/device")
    browser = DeviceBrowser(site, SCRIPT_NAME="/caf\xc3\xa9", PATH_INFO="/login")
    browser.registers = False
    browser.do(log_in(ANN))
    assert browser.register_path == "/caf%C3%A9/auth/device/register"
    answer = browser.post("/auth/device/register", {}, SCRIPT_NAME="/caf\xc3\xa9")
    assert answer.code == 400


def test_a_login_outside_of_the_cookies_path_is_not_bound(make_site: MakeSite) -> None:
    site = make_site(experimental_device_bound=True, cookie_path="/shop")
    browser = DeviceBrowser(site, SCRIPT_NAME="", PATH_INFO="/shop/login")
    for _ in range(2):
        assert browser.do(log_in(ANN)).header("Secure-Session-Registration") is None
    (event,) = site.happened("outside_path")
    assert event["advice"].startswith("register paths of experimental_device_bound: no browser sends")
    browser = DeviceBrowser(site, SCRIPT_NAME="/shop", PATH_INFO="/login")
    browser.registers = False
    assert browser.do(log_in(ANN)).header("Secure-Session-Registration")


def test_the_instructions_are_those_of_the_draft(site: Site, browser: DeviceBrowser) -> None:
    browser.registers = False
    browser.do(log_in(ANN))
    answer = browser.register()
    handle = browser.do(lambda session: session.handle).result
    instructions = json.loads(answer.body)
    assert re.fullmatch(r"/device-bound/refresh\?key=[\w-]{87}\.[\w-]{43}", instructions.pop("refresh_url"))
    assert instructions == {
        "session_identifier": handle,
        "scope": {"include_site": False, "scope_specification": []},
        "credentials": [{"type": "cookie", "name": BOUND, "attributes": "Path=/; HttpOnly; SameSite=Lax; Secure"}],
        "allowed_refresh_initiators": ["*"],
    }
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("Cache-Control") == "no-store"


def test_other_methods_and_other_paths(site: Site, browser: DeviceBrowser) -> None:
    browser.do(log_in(ANN))
    for path in ("/device-bound/register", "/device-bound/refresh"):
        answer = browser.visit(page(), PATH_INFO=path, SCRIPT_NAME="")
        assert (answer.code, answer.header("Allow")) == (405, "POST")
    assert browser.do(user, PATH_INFO="/device-bound/other", SCRIPT_NAME="").result == ANN


def test_a_session_that_ends_during_the_first_renewal_is_not_brought_back(site: Site, browser: DeviceBrowser) -> None:
    browser.do(log_in(ANN))
    site.calls.before["replace"] = lambda: site.middleware.sessions.revoke_all(ANN)
    assert browser.refresh().code == 404
    assert browser.instructions is None


def test_a_device_that_cannot_be_read_counts_as_a_corrupt_session(site: Site, bound: DeviceBrowser) -> None:
    def damage(session: Session) -> None:
        data = work_of(session).open().data
        assert data is not None
        data.put_packed(DEVICE, pack([session.handle, "no key"], "device"))

    bound.do(damage)
    assert bound.do(user).result is None
    assert len(site.happened("corrupt")) == 1
    assert bound.refresh().code == 404


def test_an_adopted_session_is_bound_from_its_next_login(make_site: MakeSite) -> None:
    library = OldLibrary()
    site = make_site(experimental_device_bound=True, adopt=library)
    library.records["one"] = Foreign(data={"cart": 2}, created=site.clock(), expires=None)
    browser = DeviceBrowser(site)
    browser.jar["old"] = "one"
    assert browser.do(lambda session: session["cart"]).result == 2
    browser.do(log_in(ANN))
    renew(browser)
    assert browser.do(user).result == ANN
    assert browser.stolen(SID).do(user).result is None


def test_two_sites_over_one_store_bind_apart(make_site: MakeSite) -> None:
    browsers = [DeviceBrowser(make_site(experimental_device_bound=True, cookie_name=name)) for name in ("sid", "other")]
    for browser in browsers:
        browser.do(log_in(ANN))
        renew(browser)
        assert browser.do(user).result == ANN
    one, other = browsers
    thief = other.stolen("__Host-other")
    thief.jar["__Host-other-bound"] = one.jar[BOUND]
    assert thief.do(user).result is None
