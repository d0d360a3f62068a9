"""Device-bound logins in Chromium, with keys in software: the browser registers, renews, and a copied cookie is dead.

Playwright must not ignore the certificate's errors: Chromium then binds no session.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.serving import serving_https
from tests.support.site import ANN
from tests.system.browser.chromium import ARGUMENTS, executable
from wsgi_session import SessionMiddleware, login, logout, user_or_none
from wsgi_session.config.keygen import new_secret
from wsgi_session.stores.memory import MemoryStore

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Playwright

# Chromium on Linux has no keys in hardware, and asks sites for a token of the origin trial unless it is told not to.
FEATURES = (
    "DeviceBoundSessions:RequireOriginTrialTokens/false/RefreshQuota/false,"
    "EnableBoundSessionCredentialsSoftwareKeysForManualTesting"
)
BOUND = "__Host-sid-bound"


def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    path = environ["PATH_INFO"]
    if path == "/login":
        login(environ, ANN)
    elif path == "/logout":
        logout(environ)
    elif path == "/away":
        start_response("200 OK", [("Content-Type", "text/html")])
        links = [f"<a href='https://localhost:{environ['SERVER_PORT']}/{to}'>{to}</a> " for to in ("page", "login")]
        return ["".join(links).encode()]
    user = user_or_none(environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"nobody" if user is None else user["name"].encode()]


class Bank:
    """The site behind a real server, what it has heard, and a browser that trusts its certificate."""

    def __init__(self, address: str, context: BrowserContext, heard: list[tuple[str, dict[str, Any]]]) -> None:
        self.address = address.replace("127.0.0.1", "localhost")
        self.elsewhere = address
        self.context = context
        self.heard = heard
        self.page: Page = context.pages[0]
        self.sessions: list[dict[str, Any]] = []
        tools = context.new_cdp_session(self.page)
        tools.send("Network.enable")
        tools.send("Network.enableDeviceBoundSessions", {"enable": True})
        tools.on("Network.deviceBoundSessionEventOccurred", lambda event: self.sessions.append(event))

    def text(self, path: str = "/") -> str:
        self.page.goto(self.address + path)
        return self.page.inner_text("body")

    def cookies(self) -> dict[str, str]:
        return {cookie["name"]: cookie["value"] for cookie in self.context.cookies(self.address)}

    def lose_second_cookie(self) -> None:
        """Let it expire: the test does not wait for that."""
        self.context.clear_cookies(name=BOUND)

    def wait_until(self, is_true: Callable[[], bool]) -> None:
        for _ in range(300):
            if is_true():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"not in 30 s; the browser's events: {json.dumps(self.sessions, indent=1)}")

    def ended(self) -> list[dict[str, Any]]:
        return [event for event in self.sessions if "terminationEventDetails" in event]

    def happened(self, name: str) -> list[dict[str, Any]]:
        return [data for event, data in self.heard if event == name]


@pytest.fixture
def bank(playwright: Playwright, tmp_path: Path) -> Iterator[Bank]:
    heard: list[tuple[str, dict[str, Any]]] = []
    app = SessionMiddleware(
        site,
        secret=new_secret(),
        store=MemoryStore(),
        experimental_device_bound=True,
        on_event=lambda name, data: heard.append((name, dict(data))),
    )
    with serving_https(app, tmp_path) as (address, _):
        trusted = f"--ignore-certificate-errors-spki-list={_fingerprint(tmp_path / 'certificate.pem')}"
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=executable(),
            args=[*ARGUMENTS, f"--enable-features={FEATURES}", trusted],
        )
        yield Bank(address, context, heard)
        context.close()


def _fingerprint(certificate: Path) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    return b64encode(sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()).decode()


def test_chromium_binds_a_login_to_its_device(bank: Bank) -> None:
    assert bank.text("/login") == "Ann"
    bank.wait_until(lambda: BOUND in bank.cookies())
    # The first cookie is so short-lived that the browser renews it at the next request.
    bank.text()
    bank.wait_until(lambda: bool(bank.happened("device_bound")))
    assert bank.happened("device_refused") == []

    # A copy of the session's cookie alone opens nothing.
    stolen = bank.cookies()["__Host-sid"]
    assert _with_cookie(bank, f"__Host-sid={stolen}") == "nobody"
    assert len(bank.happened("device_missing")) == 1
    assert bank.text() == "Ann"

    # Without the second cookie, the browser first renews it, and then sends the request.
    bank.lose_second_cookie()
    assert bank.text() == "Ann"
    assert BOUND in bank.cookies()

    # So it does where the visitor follows a link of another site.
    bank.page.goto(bank.elsewhere + "/away")
    bank.lose_second_cookie()
    with bank.page.expect_navigation():
        bank.page.click("text=page")
    assert bank.page.inner_text("body") == "Ann"
    assert len(bank.happened("device_missing")) == 1

    # The next login is bound to a new key, and the browser ends its session for the old one.
    assert bank.text("/login") == "Ann"
    bank.wait_until(lambda: len(bank.ended()) == 1 or bank.text() != "Ann")
    bank.lose_second_cookie()
    assert bank.text() == "Ann"
    assert len(bank.happened("device_bound")) == 2
    assert len(bank.happened("device_missing")) == 1

    # After a logout, the browser forgets its key as soon as it would renew again.
    assert bank.text("/logout") == "nobody"
    assert "__Host-sid" not in bank.cookies()
    bank.text()
    bank.text()
    bank.wait_until(lambda: len(bank.ended()) == 2)


def test_a_login_that_begins_on_another_site_is_bound(bank: Bank) -> None:
    """As after a sign-in provider's redirect: the browser then registers without the session's cookie."""
    bank.page.goto(bank.elsewhere + "/away")
    with bank.page.expect_navigation():
        bank.page.click("text=login")
    assert bank.page.inner_text("body") == "Ann"
    bank.wait_until(lambda: BOUND in bank.cookies())
    bank.text()
    bank.wait_until(lambda: bool(bank.happened("device_bound")))
    assert bank.happened("device_refused") == []
    assert bank.text() == "Ann"


def _with_cookie(bank: Bank, cookie: str) -> str:
    import ssl
    from urllib.request import Request, urlopen

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urlopen(Request(bank.address + "/", headers={"Cookie": cookie}), context=context) as answer:
        text: str = answer.read().decode()
    return text
