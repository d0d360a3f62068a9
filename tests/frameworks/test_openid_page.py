"""The page on OpenID: its program logs a visitor in with a provider, over Authlib and real requests."""

from __future__ import annotations

import re
import runpy
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlencode, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from webob import Request, Response

from tests.support import ROOT
from tests.support.client import Client
from wsgi_session.config.keygen import new_secret

pytest.importorskip("authlib", reason="pip install Authlib")
pytest.importorskip("flask", reason="pip install Flask")
pytest.importorskip("requests", reason="pip install requests")

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "shop"

pytestmark = pytest.mark.full


class Provider:
    """An OpenID provider whose only user is Ann, who always agrees."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"})
        self.address = ""
        self.nonces: dict[str, str] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        pages = {
            "/.well-known/openid-configuration": self.metadata,
            "/keys": lambda _: {"keys": [self.key.as_dict(private=False)]},
            "/authorize": self.authorize,
            "/token": self.token,
        }
        answer = pages[request.path_info](request)
        response = answer if isinstance(answer, Response) else Response(json=answer)
        return response(environ, start_response)

    def metadata(self, request: Request) -> dict[str, Any]:
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def authorize(self, request: Request) -> Response:
        code = token_urlsafe()
        self.nonces[code] = request.GET["nonce"]
        query = urlencode({"code": code, "state": request.GET["state"]})
        return Response(status=302, location=f"{request.GET['redirect_uri']}?{query}")

    def token(self, request: Request) -> dict[str, Any]:
        claims = {
            "iss": self.address,
            "aud": CLIENT,
            "sub": "ann-1",
            "email": "ann@example.com",
            "nonce": self.nonces.pop(str(request.params["code"])),
            "iat": int(time.time()),
            "exp": int(time.time()) + 60,
        }
        signed = jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.key)
        return {"access_token": token_urlsafe(), "token_type": "Bearer", "expires_in": 60, "id_token": signed}


class Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    with make_server("127.0.0.1", 0, provider, handler_class=Silent) as server:
        provider.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def shop(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    page = (ROOT / "docs" / "howto" / "openid.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(# shop\.py\n.*?)^```$", page, re.M | re.S)
    (tmp_path / "shop.py").write_text(code, "utf-8")
    monkeypatch.chdir(tmp_path)
    given = {"SECRET_KEY": new_secret(), "PROVIDER": provider.address, "CLIENT_ID": CLIENT, "CLIENT_SECRET": "theirs"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(tmp_path / "shop.py"))["app"]


def agree(provider: Provider, visitor: Client) -> str:
    """Begin a login, let the provider's page redirect back, and return the path of the callback."""
    begun = visitor.open("/login?next=/profile").header("Location")
    assert begun is not None
    assert begun.startswith(provider.address)
    back = Request.blank(begun).get_response(provider).headers["Location"]
    parts = urlsplit(back)
    return f"{parts.path}?{parts.query}"


def test_a_visitor_logs_in_with_the_provider_under_a_new_token(provider: Provider, shop: Any) -> None:
    ann = Client(shop)
    assert ann.open("/profile").header("Location") == "/login?next=/profile"
    callback = agree(provider, ann)
    anonymous = ann.header
    assert ann.open(callback).header("Location") == "/profile"
    assert ann.open("/profile").text == "Your email is ann@example.com"
    assert ann.header != anonymous
    (device,) = shop.extensions["wsgi_session"].sessions.of({"id": "ann-1"})
    assert "next" not in device.data
    ann.open("/logout", method="POST")
    assert ann.open("/profile").code == 302


def test_the_answer_for_one_visitor_logs_no_other_visitor_in(provider: Provider, shop: Any) -> None:
    ann, eve = Client(shop), Client(shop)
    callback = agree(provider, ann)
    agree(provider, eve)
    assert eve.open(callback).code == 400
    assert eve.open("/profile").code == 302
