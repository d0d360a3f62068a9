"""The page on SAML: its program signs visitors in with a real provider, and ends their sessions when told by it."""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.support.missing import why_missing
from tests.support.providers.saml import SAMLProvider
from tests.system.providers.visitor import Visitor

pytest.importorskip("flask", reason="pip install Flask")
pytest.importorskip("onelogin.saml2.auth", reason=why_missing("python3-saml"))

pytestmark = pytest.mark.filterwarnings(r"ignore:datetime.datetime.utc\w+\(\):DeprecationWarning:onelogin")
PROVIDER = SAMLProvider
ANN = "Your email is ann@example.com"


def sign_in(visitor: Visitor) -> str:
    """Let the provider send its form, which a browser's script does at once."""
    visitor.open("/login?next=/profile")
    return visitor.submit()


def test_a_guest_signs_in_under_a_new_token_and_keeps_the_cart(provider: SAMLProvider, shop: Any) -> None:
    ann = Visitor(provider.shop)
    ann.open("/cart?add=tea")
    guest = ann.token()
    assert sign_in(ann) == ANN
    assert ann.open("/cart") == "tea"
    assert ann.token() not in {guest, None}
    (device,) = shop.extensions["wsgi_session"].sessions.of({"id": "ann"})
    assert device.data["user"] == {"id": "ann", "email": "ann@example.com"}
    assert ann.open("/logout", {}) == "The cart is empty"


def test_an_answer_signs_in_only_the_browser_that_asked_and_only_once(provider: SAMLProvider, shop: Any) -> None:
    ann, eve = Visitor(provider.shop), Visitor(provider.shop)
    ann.open("/login")
    form = ann.page
    eve.page = form
    assert "Try again" in eve.submit()
    # Eve began a login herself, and sends Ann's answer with her own state.
    eve.open("/login")
    state = parse_qs(urlsplit(eve.page.url).query)["RelayState"][0]
    eve.page = form
    assert "Try again" in eve.submit(RelayState=state)
    ann.page = form
    assert ann.submit() == ANN
    ann.page = form
    assert "Try again" in ann.submit()
    assert eve.open("/profile") != ANN


def test_an_answer_that_was_changed_signs_nobody_in(provider: SAMLProvider, shop: Any) -> None:
    ann = Visitor(provider.shop)
    ann.open("/login")
    (answer,) = re.findall(r'name="SAMLResponse"\s+value="([^"]+)"', ann.page.text)
    changed = base64.b64decode(answer).replace(b"ann@example.com", b"bob@example.com")
    assert changed != base64.b64decode(answer)
    assert "Try again" in ann.submit(SAMLResponse=base64.b64encode(changed).decode())


def test_a_logout_at_the_provider_ends_that_login_only(provider: SAMLProvider, shop: Any) -> None:
    phone, desk = Visitor(provider.shop), Visitor(provider.shop)
    for device in (phone, desk):
        assert sign_in(device) == ANN
    # The provider's first login is the phone's; its page may be in a frame, which brings no cookie of the shop.
    stranger = Visitor(provider.shop)
    stranger.open(f"{provider.address}/logout", follow=False)
    request = stranger.page.headers["Location"]
    stranger.open(request, follow=False)
    assert stranger.page.headers["Location"].startswith(f"{provider.address}/logout?SAMLResponse=")
    assert phone.open("/profile") != ANN
    assert desk.open("/profile") == ANN


def test_a_logout_request_without_the_providers_signature_ends_nothing(provider: SAMLProvider, shop: Any) -> None:
    ann = Visitor(provider.shop)
    sign_in(ann)
    ann.open(f"{provider.address}/logout", follow=False)
    parts = urlsplit(ann.page.headers["Location"])
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    unsigned = {"SAMLRequest": query["SAMLRequest"], "RelayState": query["RelayState"]}
    for changed in (unsigned, {**query, "RelayState": "other"}):
        eve = Visitor(provider.shop)
        eve.open(parts._replace(query=urlencode(changed)).geturl())
        assert eve.page.status_code == 400
    assert ann.open("/profile") == ANN


def test_what_is_not_saml_is_refused(provider: SAMLProvider, shop: Any) -> None:
    eve = Visitor(provider.shop)
    for query in ("", "?SAMLRequest=x", "?SAMLRequest=", "?SAMLRequest=eJw=", "?SAMLResponse=x"):
        eve.open(f"/saml/logout{query}", follow=False)
        assert eve.page.status_code == 400, query
    for form in ({}, {"SAMLResponse": "x"}, {"SAMLResponse": "eHg="}):
        eve.open("/login", follow=False)
        state = parse_qs(urlsplit(eve.page.headers["Location"]).query)["RelayState"][0]
        eve.open("/saml/answer", {**form, "RelayState": state}, follow=False)
        assert eve.page.status_code == 400, form
