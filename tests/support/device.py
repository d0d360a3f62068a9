"""A browser with Device Bound Session Credentials, as Chromium 156 speaks the protocol, and proofs made by hand."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from tests.support.client import Answer, Client
from tests.support.site import Browser, Site

ec = pytest.importorskip(
    "cryptography.hazmat.primitives.asymmetric.ec", reason="elsewhere: pip install 'wsgi-session[crypto]'"
)

_ENTRY = re.compile(r'\((\w+)\);path="([^"]*)";challenge="([^"]*)"')
_CHALLENGE = re.compile(r'"([^"]*)";id="([^"]*)"')


def base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class Key:
    """A key pair of a device."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, str]:
        numbers = self.private.public_key().public_numbers()
        x, y = (base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    def proof(self, challenge: object, *, jwk: bool = False, header: Any = None, payload: Any = None) -> str:
        """Return a signed proof. ``payload`` and ``header`` replace these parts; a dict as ``header`` adds to it."""
        head: Any = {"alg": "ES256", "typ": "dbsc+jwt", **({"jwk": self.jwk} if jwk else {})}
        head = {**head, **header} if isinstance(header, dict) else head if header is None else header
        body: Any = {"jti": challenge} if payload is None else payload
        parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, body))
        signed = ".".join(map(base64url, parts))
        return f"{signed}.{base64url(self.signature(signed.encode()))}"

    def signature(self, signed: bytes) -> bytes:
        """Return the signature as JWTs have it: two numbers of 32 bytes."""
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA256

        numbers = decode_dss_signature(self.private.sign(signed, ec.ECDSA(SHA256())))
        return b"".join(number.to_bytes(32, "big") for number in numbers)


class DeviceClient(Client):
    """A client that registers a key when a response asks for it, and renews the second cookie when it has expired.

    ``clock``: the clock by which the browser's cookies expire.
    """

    clock: Callable[[], float]
    #: Of the session that is bound: its key, the server's instructions, and the cached challenge.
    key: Key | None = None
    instructions: dict[str, Any] | None = None
    challenge = ""
    #: The challenge of the last registration that a response asked for.
    invitation = ""
    #: Where the last registration was sent.
    register_path = ""
    #: Whether the browser registers; what it sends with every request of the protocol.
    registers = True
    #: Whether the next answer of an endpoint is lost on the way.
    loses_answer = False
    _until = 0.0

    def send(self, environ: dict[str, Any], *, lint: bool = True) -> Answer:
        scheme = environ["wsgi.url_scheme"]
        if self.instructions is not None:
            for name in self.bound_names:
                if self.clock() >= self._until:
                    self.jar.pop(name, None)
            if any(name not in self.jar for name in self.bound_names) and self.jar:
                self.refresh(scheme)
            environ.pop("HTTP_COOKIE", None)  # It was made before the renewal.
        answer = super().send(environ, lint=lint)
        invitation = answer.header("Secure-Session-Registration")
        if invitation is not None:
            entry = _ENTRY.fullmatch(invitation)
            assert entry is not None, invitation
            algorithm, self.register_path, self.invitation = entry.groups()
            assert algorithm == "ES256"
            if self.registers:
                self.register(scheme)
        self.answer = answer
        return answer

    @property
    def bound_names(self) -> list[str]:
        assert self.instructions is not None
        return [credential["name"] for credential in self.instructions["credentials"]]

    def register(self, scheme: str = "https") -> Answer:
        """Make a key, and register it."""
        key = Key()
        proof = key.proof(self.invitation, jwk=True)
        answer = self.post(self.register_path, {"Secure-Session-Response": proof}, scheme)
        if answer.code == 200 and not self.loses_answer:
            self.key, self.challenge = key, ""
            self._follow(answer, self.register_path)
        self.loses_answer = False
        return answer

    def refresh(self, scheme: str = "https") -> Answer:
        """Renew the second cookie, as the browser does before a request that lacks it."""
        for _ in range(3):
            assert self.instructions is not None
            assert self.key is not None
            headers = {"Sec-Secure-Session-Id": self.instructions["session_identifier"]}
            if self.challenge:
                headers["Secure-Session-Response"] = self.key.proof(self.challenge)
            answer = self.post(self.instructions["refresh_url"], headers, scheme)
            for challenge in answer.all("Secure-Session-Challenge"):
                match = _CHALLENGE.fullmatch(challenge)
                assert match is not None, challenge
                if match[2] == self.instructions["session_identifier"]:
                    self.challenge = match[1]
            if answer.code != 403:
                break
        if 400 <= answer.code < 500:
            self.instructions = self.key = None
        elif self.instructions is not None and answer.code == 200 and not self.loses_answer:
            self._follow(answer, self.instructions["refresh_url"])
        self.loses_answer = False
        return answer

    def post(self, path: str, headers: dict[str, str], scheme: str = "https", **environ: Any) -> Answer:
        """Post to an endpoint, without a body."""
        from webob import Request

        request = Request.blank(path, method="POST", headers=headers, base_url=f"{scheme}://localhost")
        request.environ.pop("webob.is_body_seekable", None)
        request.environ.update(environ)
        jar = dict(self.jar)
        answer = super().send(request.environ)
        if self.loses_answer:
            self.jar = jar
        return answer

    def _follow(self, answer: Answer, url: str) -> None:
        instructions = json.loads(answer.body)
        assert instructions["scope"]["include_site"] is False
        assert urlsplit(urljoin(url, instructions["refresh_url"]))[2:4] == urlsplit(instructions["refresh_url"])[2:4]
        (cookie,) = (cookie for cookie in answer.cookies if cookie.name == instructions["credentials"][0]["name"])
        shown = {key.lower() for key in instructions["credentials"][0]["attributes"].replace("=", "; ").split("; ")}
        assert {key for key in cookie.attributes if key != "max-age"} <= shown
        self._until = self.clock() + int(cookie.attributes["max-age"])
        self.instructions = instructions


class DeviceBrowser(DeviceClient, Browser):
    """A visitor of a site, with such a browser, over https."""

    def __init__(self, site: Site, **environ: Any) -> None:
        super().__init__(site, **{"wsgi.url_scheme": "https", **environ})  # type: ignore[arg-type]
        self.clock = site.clock

    def same(self) -> DeviceBrowser:
        """Return another tab: a browser with the same cookies, key and instructions."""
        other = DeviceBrowser(self.site, **self.environ)
        vars(other).update({**vars(self), "jar": dict(self.jar)})
        return other

    def stolen(self, *names: str) -> Browser:
        """Return the browser of a thief who has copied this browser's cookies; ``names``: only those."""
        thief = Browser(self.site, **self.environ)
        thief.jar = {name: value for name, value in self.jar.items() if not names or name in names}
        return thief
