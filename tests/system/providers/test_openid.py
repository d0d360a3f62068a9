"""The page on OpenID: its program signs visitors in with a real provider, and ends sessions when told by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.providers import openid_by_transaction, program_of, serving_shop
from tests.support.providers.openid import OpenIDProvider
from tests.system.providers.visitor import Visitor
from wsgi_session import user_or_none

pytest.importorskip("authlib", reason="pip install Authlib")
flask = pytest.importorskip("flask", reason="pip install Flask")

PROVIDER = OpenIDProvider
LOGIN = 'login(request, user, provider_session=claims.get("sid"))'
TUTORIAL = 'session["user"] = token["userinfo"]'


def sign_in(visitor: Visitor) -> str:
    visitor.open("/login?next=/profile")
    return visitor.submit(login="ann", password="any")


def client(shop: Any) -> Any:
    """What Authlib knows of the provider in the shop."""
    return shop.extensions["authlib.integrations.flask_client"].provider


def test_a_visitor_signs_in_under_a_new_token_and_logs_out(provider: OpenIDProvider, shop: Any) -> None:
    ann = Visitor(provider.shop)
    ann.open("/login?next=/profile")
    anonymous = ann.token()
    assert ann.submit(login="ann", password="any") == "Your email is ann@example.com"
    assert ann.page.url == f"{provider.shop}/profile"
    assert anonymous != ann.token()
    (device,) = shop.extensions["wsgi_session"].sessions.of({"id": "ann"})
    assert device.data == {"user": {"id": "ann", "name": "ann", "email": "ann@example.com"}}
    ann.open("/logout", {}, follow=False)
    assert ann.token() is None


def test_the_answer_for_one_visitor_signs_no_other_visitor_in(provider: OpenIDProvider, shop: Any) -> None:
    ann, eve = Visitor(provider.shop), Visitor(provider.shop)
    sign_in(ann)
    ann.open("/logout", {}, follow=False)
    # The provider knows Ann by now, and sends her back at once.
    ann.open("/login", follow=False)
    ann.open(ann.page.headers["Location"], follow=False)
    callback = ann.page.headers["Location"]
    eve.open("/login")
    eve.open(callback)
    assert eve.page.status_code == 400
    assert eve.open("/profile").startswith("<!DOCTYPE html>")
    assert ann.open(callback) == "Your email is ann@example.com"
    ann.open(callback)
    assert ann.page.status_code == 400


def test_a_logout_at_the_provider_ends_the_sessions_of_that_browser_only(provider: OpenIDProvider, shop: Any) -> None:
    phone, desk = Visitor(provider.shop), Visitor(provider.shop)
    for device in (phone, desk):
        assert sign_in(device) == "Your email is ann@example.com"
    phone.open(f"{provider.address}/session/end")
    phone.submit(logout="yes")
    assert phone.open("/profile").startswith("<!DOCTYPE html>")
    assert desk.open("/profile") == "Your email is ann@example.com"


def test_a_logout_at_the_provider_counts_after_a_change_of_its_keys(provider: OpenIDProvider, shop: Any) -> None:
    keys = pytest.importorskip("joserfc.jwk", reason="pip install joserfc")
    ann = Visitor(provider.shop)
    sign_in(ann)
    # As if the keys that the shop has were those of last month.
    old = keys.RSAKey.generate_key(2048, {"kid": "old"})
    client(shop).server_metadata["jwks"] = {"keys": [old.as_dict(private=False)]}
    ann.open(f"{provider.address}/session/end")
    ann.submit(logout="yes")
    assert ann.open("/profile").startswith("<!DOCTYPE html>")


def test_only_the_providers_own_logout_token_ends_sessions(
    provider: OpenIDProvider, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ID token of a login is signed by the provider too, and names the same session."""
    seen: list[Any] = []
    parse = client(shop).parse_id_token

    def see(token: Any, **options: Any) -> Any:
        seen.append(token)
        return parse(token, **options)

    monkeypatch.setattr(client(shop), "parse_id_token", see)
    ann, eve = Visitor(provider.shop), Visitor(provider.shop)
    sign_in(ann)
    (token,) = seen
    for text in ("", "no token", token["id_token"]):
        eve.open("/backchannel-logout", {"logout_token": text})
        assert eve.page.status_code == 400, text
    assert ann.open("/profile") == "Your email is ann@example.com"


def test_the_line_of_the_tutorials_signs_in(
    provider: OpenIDProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program = program_of("openid")
    assert LOGIN in program
    with serving_shop(program.replace(LOGIN, TUTORIAL), provider, tmp_path, monkeypatch) as app:

        @app.get("/who")
        def who() -> str:
            return f"{type(flask.session['user']).__name__} {(user_or_none(flask.request) or {})['sub']}"

        ann = Visitor(provider.shop)
        sign_in(ann)
        assert ann.open("/who") == "dict ann"
    assert "unfiled_user" in caplog.text


def test_an_answer_by_form_signs_in_only_the_browser_that_asked(
    provider: OpenIDProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_shop(openid_by_transaction(), provider, tmp_path, monkeypatch):
        ann, eve = Visitor(provider.shop), Visitor(provider.shop)
        sign_in(ann)
        eve.page = form = ann.page
        assert "Try again" in eve.submit()
        ann.page = form
        assert 'content="0; url=/profile"' in ann.submit()
        assert ann.open("/profile") == "Your email is ann@example.com"
        ann.page = form
        assert "Try again" in ann.submit()


@pytest.mark.parametrize("program", [program_of("openid"), openid_by_transaction()], ids=["session", "transaction"])
def test_an_answer_that_no_provider_gives_is_refused(
    program: str, provider: OpenIDProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_shop(program, provider, tmp_path, monkeypatch):
        eve = Visitor(provider.shop)
        for answer in ("", "state=x", "code=x", "state={}", "state={}&code=x", "state={}&error=access_denied"):
            eve.open("/login", follow=False)
            (state,) = parse_qs(urlsplit(eve.page.headers["Location"]).query)["state"]
            eve.open(f"/callback?{answer.format(state)}", follow=False)
            assert eve.page.status_code == 400, answer
            assert "Try again" in eve.page.text
