"""Pyramid's own login over our sessions: ``remember`` gives the session an owner, ``forget`` ends it in a race."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest

pytest.importorskip("pyramid", reason="pip install pyramid pyramid_retry")

from pyramid.authentication import SessionAuthenticationHelper, SessionAuthenticationPolicy
from pyramid.authorization import ACLAuthorizationPolicy
from pyramid.response import Response
from pyramid.security import forget, remember

from tests.frameworks.pyramid_site import Browser, Site, View
from wsgi_session import (
    HeadersAlreadySent,
    confirm,
    get_session,
    login,
    redirect_if_anonymous,
    redirect_unless_fresh,
    set_provider_session,
    user_email_or_none,
    user_or_none,
)

ANN = {"id": "ann", "email": "ann@example.com"}
# The users that the site knows: a test may take one away.
USERS = {"ann", "bob", "7"}


class SecurityPolicy:
    """As in Pyramid's documentation, over the session."""

    def __init__(self, prefix: str = "auth.") -> None:
        self.helper = SessionAuthenticationHelper(prefix)

    def identity(self, request: Any) -> Any:
        # May ask our helpers: they ask it for the answer.
        userid = self.helper.authenticated_userid(request)
        return userid if user_or_none(request) and str(userid) in USERS else None

    def authenticated_userid(self, request: Any) -> Any:
        return self.identity(request)

    def permits(self, request: Any, context: Any, permission: str) -> bool:
        return self.identity(request) is not None

    def remember(self, request: Any, userid: Any, **kw: Any) -> Any:
        return self.helper.remember(request, userid, **kw)

    def forget(self, request: Any, **kw: Any) -> Any:
        return self.helper.forget(request, **kw)


def new_policy(config: Any) -> None:
    config.set_security_policy(SecurityPolicy())


def old_policy(config: Any) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        config.set_authorization_policy(ACLAuthorizationPolicy())
    with pytest.warns(DeprecationWarning, match="deprecated"):
        config.set_authentication_policy(
            SessionAuthenticationPolicy(callback=lambda userid, request: [] if userid in USERS else None)
        )


@pytest.fixture(params=[new_policy, old_policy], ids=["security policy", "authentication policy"])
def setup(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    chosen: Callable[[Any], None] = request.param
    return chosen


def do(request: Any) -> Any:
    return request.environ["test.view"](request)


class Visitor(Browser):
    def do(self, view: View) -> str:
        """Make a request that ``view`` answers; return what it returned, as text."""
        return self.see(environ={"test.view": view})

    def copy(self) -> Visitor:
        other = Visitor(self.site)
        other.cookies = dict(self.cookies)
        return other


@pytest.fixture
def visitor(setup: Callable[[Any], None]) -> Visitor:
    return Visitor(Site(do, setup=setup))


def log_in(request: Any) -> Any:
    return remember(request, "ann")


def who(request: Any) -> Any:
    return request.authenticated_userid


def contents(request: Any) -> Any:
    return sorted(request.session.items())


@pytest.mark.parametrize("user", [{"id": "7"}, {"id": 7}, "id:7"], ids=str)
def test_the_sessions_of_a_user_are_found_and_revoked(visitor: Visitor, user: Any) -> None:
    visitor.do(lambda request: remember(request, "7"))
    phone = Visitor(visitor.site)
    phone.do(lambda request: remember(request, "7"))
    assert phone.do(lambda request: get_session(request).owner) == "'id:7'"
    sessions = visitor.site.middleware.sessions
    assert len(sessions.of(user)) == 2
    assert sessions.revoke(user, eval(phone.do(lambda request: request.session.handle)))
    assert [visitor.do(who), phone.do(who)] == ["'7'", "None"]
    assert sessions.revoke_all(user) == 1
    assert visitor.do(who) == "None"


@pytest.mark.parametrize("userid", [7, UUID(int=7)], ids=["int", "UUID"])
def test_an_id_of_another_type_is_filed_as_our_own_login_files_it(userid: Any) -> None:
    visitor = Visitor(Site(do))
    visitor.do(lambda request: SessionAuthenticationHelper().remember(request, userid))
    assert len(visitor.site.middleware.sessions.of({"id": userid})) == 1
    assert eval(visitor.do(user_or_none), {"UUID": UUID}) == {"id": userid}


def test_the_helpers_see_who_is_logged_in(visitor: Visitor) -> None:
    def helpers(request: Any) -> Any:
        return user_or_none(request), user_email_or_none(request), redirect_if_anonymous(request) is None

    assert visitor.do(helpers) == "(None, None, False)"
    visitor.do(log_in)
    assert visitor.do(helpers) == "({'id': 'ann'}, None, True)"
    assert visitor.do(contents) == "[('auth.userid', 'ann')]"
    USERS.remove("ann")
    try:
        assert visitor.do(helpers) == "(None, None, False)", "the policy does not know the user any more"
    finally:
        USERS.add("ann")
    visitor.do(forget)
    assert visitor.do(helpers) == "(None, None, False)"
    visitor.do(lambda request: login(request, ANN))
    assert visitor.do(user_email_or_none) == "'ann@example.com'", "our own login stays what it was"


def test_remember_is_a_fresh_login_which_can_be_confirmed(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "wsgi_session")
    assert visitor.do(lambda request: confirm(request)) == "False"
    visitor.do(log_in)
    assert visitor.do(lambda request: redirect_unless_fresh(request) is None) == "True"
    assert visitor.do(lambda request: redirect_unless_fresh(request, method="totp") is None) == "False"
    assert visitor.do(lambda request: confirm(request, "totp")) == "True"
    assert visitor.do(lambda request: redirect_unless_fresh(request, method="totp") is None) == "True"
    assert visitor.do(lambda request: request.session.confirmed.method) == "'totp'"
    handle = visitor.do(lambda request: request.session.handle)
    assert f"confirmed handle={handle} owner='id:ann' method='totp'" in caplog.messages
    visitor.do(forget)
    assert visitor.do(lambda request: request.session.confirmed) == "None"


def test_remember_describes_its_device_and_displaces_the_oldest(setup: Callable[[Any], None]) -> None:
    site = Site(do, setup=setup, describe="wsgi_session.describe_device", max_sessions="1")
    phone, laptop = Visitor(site), Visitor(site)
    phone.do(log_in)
    laptop.do(log_in)
    (info,) = site.middleware.sessions.of({"id": "ann"})
    assert info.about == "A browser"
    assert (phone.do(user_or_none), laptop.do(lambda request: user_or_none(request) is None)) == ("None", "False")


def no_device(environ: Mapping[str, Any]) -> str:
    """Describe no device: for ``describe=``."""
    raise LookupError("no such header")


def test_a_login_whose_device_cannot_be_described_is_no_login(setup: Callable[[Any], None]) -> None:
    visitor = Visitor(Site(do, setup=setup, describe=f"{__name__}.no_device"))
    visitor.do(lambda request: request.session.update(cart=["bun"]))

    def careless(request: Any) -> None:
        with pytest.raises(LookupError):
            log_in(request)

    visitor.do(careless)
    assert visitor.do(contents) == "[('cart', ['bun'])]"


def test_a_logout_at_the_identity_provider_ends_the_login_that_was_filed(visitor: Visitor) -> None:
    visitor.do(lambda request: (log_in(request), set_provider_session(request, "sid-1")))
    assert visitor.do(who) == "'ann'"
    assert visitor.site.middleware.sessions.revoke_provider_session("sid-1") == 1
    assert visitor.do(who) == "None"


def test_without_a_policy_the_helpers_go_by_the_session() -> None:
    visitor = Visitor(Site(do))
    visitor.do(lambda request: SessionAuthenticationHelper().remember(request, "ann"))
    assert visitor.do(user_or_none) == "{'id': 'ann'}"


def test_a_login_changes_the_token_and_keeps_the_cart(visitor: Visitor) -> None:
    visitor.do(lambda request: request.session.update(cart=["bun"]))
    planted = visitor.copy()
    visitor.do(log_in)
    assert visitor.do(contents) == "[('auth.userid', 'ann'), ('cart', ['bun'])]"
    assert planted.do(contents) == "[]"


@pytest.mark.parametrize(
    "put",
    [
        lambda session: session.update({"auth.userid": "ann", "a": 1}),
        lambda session: session.setdefault("auth.userid", "ann"),
        lambda session: session.__ior__({"auth.userid": "ann"}),
    ],
    ids=["update", "setdefault", "|="],
)
@pytest.mark.parametrize("session_of", [lambda request: request.session, get_session], ids=["Pyramid's", "ours"])
def test_a_user_who_is_put_there_in_another_way_is_logged_in_too(
    visitor: Visitor, put: Callable[[Any], Any], session_of: Callable[[Any], Any]
) -> None:
    visitor.do(lambda request: put(session_of(request)))
    assert visitor.do(who) == "'ann'"
    assert len(visitor.site.middleware.sessions.of("id:ann")) == 1


@pytest.mark.parametrize(
    "take",
    [forget, lambda request: request.session.pop("auth.userid"), lambda request: get_session(request).popitem()],
    ids=["forget", "pop", "popitem"],
)
def test_a_logout_ends_the_session_and_leaves_the_rest_in_a_fresh_one(visitor: Visitor, take: View) -> None:
    visitor.do(lambda request: (request.session.update(cart=["bun"]), request.session.flash("Hi."), log_in(request)))
    kept = visitor.copy()
    visitor.do(lambda request: (take(request), request.session.flash("Bye.")))
    assert kept.do(contents) == "[]"
    assert visitor.do(lambda request: (who(request), contents(request))) == "(None, [('cart', ['bun'])])"
    assert visitor.do(lambda request: request.session.pop_flash()) == "['Hi.', 'Bye.']"
    assert visitor.site.middleware.sessions.of("id:ann") == []


def test_a_logout_that_crosses_a_change_of_the_token_ends_the_session_that_it_became(visitor: Visitor) -> None:
    visitor.do(log_in)
    other = visitor.copy()

    def slow_logout(request: Any) -> None:
        assert who(request) == "ann"
        other.do(lambda request: request.session.rotate())
        forget(request)

    visitor.do(slow_logout)
    assert [browser.do(who) for browser in (visitor, other)] == ["None", "None"]
    assert visitor.site.middleware.sessions.of("id:ann") == []


@pytest.mark.parametrize("before", [lambda request: request.session.update(cart=1), log_in], ids=["visitor", "user"])
def test_of_two_logins_at_once_both_are_logged_in(visitor: Visitor, before: View) -> None:
    visitor.do(before)
    other = visitor.copy()

    def log_in_slowly(request: Any) -> None:
        request.session.get("cart")
        other.do(lambda request: (request.session.update(otp=True), log_in(request)))
        request.session["otp"] = True
        log_in(request)

    visitor.do(log_in_slowly)
    for browser in (visitor, other):
        assert browser.do(lambda request: (who(request), request.session["otp"])) == "('ann', True)"
    assert len(visitor.site.middleware.sessions.of("id:ann")) == 2


def test_forget_and_invalidate_end_a_session_whose_token_was_just_changed(visitor: Visitor) -> None:
    visitor.do(log_in)
    late = visitor.copy()
    visitor.do(lambda request: request.session.rotate())
    late.do(lambda request: (forget(request), request.session.invalidate()))
    assert visitor.do(who) == "None"


def test_a_logout_while_the_body_streams_ends_the_session(visitor: Visitor) -> None:
    def streaming(request: Any) -> Any:
        def body() -> Iterator[bytes]:
            yield b"first "
            forget(request)
            yield b"second"

        assert who(request) == "ann"
        return Response(app_iter=body(), content_type="text/plain")

    visitor.do(log_in)
    assert visitor.do(streaming) == "first second"
    assert visitor.do(contents) == "[]"


@pytest.mark.parametrize("put", [log_in, lambda request: request.session.update({"auth.userid": "ann"})])
def test_a_login_that_comes_too_late_for_its_cookie_leaves_nobody_logged_in(visitor: Visitor, put: View) -> None:
    def streaming(request: Any) -> Any:
        def body() -> Iterator[bytes]:
            yield b"first"
            with pytest.raises(HeadersAlreadySent):
                put(request)
            yield b" second"

        return Response(app_iter=body())

    visitor.do(lambda request: request.session.update(cart=1))
    assert visitor.do(streaming) == "first second"
    assert [visitor.do(who), visitor.do(contents)] == ["None", "[('cart', 1)]"]


def test_a_helper_with_another_prefix_is_followed_if_the_setting_names_its_key() -> None:
    def setup(config: Any) -> None:
        config.set_security_policy(SecurityPolicy("who."))

    visitor = Visitor(Site(do, setup=setup, userid_key="who.userid"))
    visitor.do(log_in)
    assert visitor.do(user_or_none) == "{'id': 'ann'}"
    visitor.do(lambda request: request.session.update({"auth.userid": "bob"}))
    assert len(visitor.site.middleware.sessions.of("id:ann")) == 1
    assert visitor.site.middleware.sessions.of("id:bob") == []
