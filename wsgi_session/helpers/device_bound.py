"""The two paths at which browsers register a key and renew their second cookie (Device Bound Session Credentials).

The draft of the W3C is at https://w3c.github.io/webappsec-dbsc/; what differs from it is what Chromium 156 does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wsgi_session.backends.binding import (
    BOUND_SECONDS,
    CHALLENGE_SECONDS,
    DEVICE,
    FIRST_SECONDS,
    REFRESH,
    REGISTER,
    Binding,
    Device,
    device_of,
    packed_device,
    paths_below,
)
from wsgi_session.backends.device_bound import PROVING
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.codec.packing import CorruptData, Packed
from wsgi_session.cookies.caching import Headers
from wsgi_session.cookies.proofs import registered_key, signed_challenge, unquoted
from wsgi_session.request.commit import replace
from wsgi_session.request.work import Work
from wsgi_session.session import work_of

if TYPE_CHECKING:
    from wsgi_session.exchange import Application, StartResponse

Answer = tuple[str, Headers, bytes]

# A browser ends its own session at any other 4xx, and tries again later at a 503.
_ENDED: Answer = ("404 Not Found", [], b"")
_REFUSED: Answer = ("400 Bad Request", [], b"")
_LATER: Answer = ("503 Service Unavailable", [("Retry-After", "1")], b"")
_POST_ONLY: Answer = ("405 Method Not Allowed", [("Allow", "POST")], b"")


class DeviceEndpoints:
    """A WSGI application around the site's: it answers at the two paths, and passes all else on."""

    def __init__(self, app: Application, prefix: str, environ_key: str) -> None:
        self._app = app
        self._purposes = {path: purpose for purpose, path in paths_below(prefix).items()}
        self._environ_key = environ_key

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        purpose = self._purposes.get(environ.get("PATH_INFO", ""))
        if purpose is None:
            return self._app(environ, start_response)
        if environ.get("REQUEST_METHOD") != "POST":
            status, headers, body = _POST_ONLY
        else:
            if purpose is REFRESH:
                environ[PROVING] = True
            work = work_of(environ[self._environ_key])
            assert work.backend.binding is not None
            act = _refresh if purpose is REFRESH else _register
            status, headers, body = act(work.backend.binding, work, environ)
        fixed = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start_response(status, fixed + headers)
        return [body]


def _register(binding: Binding, work: Work, environ: Mapping[str, Any]) -> Answer:
    """Store the public key, if the browser answers the challenge of this very login, and no key is stored yet."""
    missing = _open(work)
    if missing is not None:
        return missing
    handle, now = work.handle or "", work.backend.settings.clock()
    registered = registered_key(environ.get("HTTP_SECURE_SESSION_RESPONSE", ""))
    if registered is None:
        return _refuse(work, "proof")
    key, challenge = registered
    if not binding.is_valid(REGISTER, handle, challenge, now):
        return _refuse(work, "challenge")
    try:
        if not _store(work, Device(key, proven=False), first=True):
            return _ENDED
    except _AlreadyRegisteredError:
        return _refuse(work, "registered")
    return _renewed(binding, environ, handle, now, FIRST_SECONDS)


def _refresh(binding: Binding, work: Work, environ: Mapping[str, Any]) -> Answer:
    """Renew the second cookie, if the browser answers a challenge with the key of this session."""
    missing = _open(work)
    if missing is not None:
        return missing
    handle, now = work.handle or "", work.backend.settings.clock()
    device = _device(work)
    # The browser may still have a key of an earlier login: it must not renew the cookie of this one.
    if device is None or unquoted(environ.get("HTTP_SEC_SECURE_SESSION_ID", "")) != handle:
        return _ENDED
    proof = environ.get("HTTP_SECURE_SESSION_RESPONSE")
    challenge = None
    if proof:
        challenge = signed_challenge(proof, device.key)
        if challenge is None:
            return _refuse(work, "proof")
    if challenge is None or not binding.is_valid(REFRESH, handle, challenge, now):
        # The first request brings no answer, or one to a challenge of the time before: the browser signs this one.
        fresh = binding.sign(REFRESH, handle, now + CHALLENGE_SECONDS)
        return "403 Forbidden", [("Secure-Session-Challenge", f'"{fresh}";id="{handle}"')], b""
    if not device.proven:
        if not _store(work, Device(device.key, proven=True)):
            return _ENDED
        _report(work, "device_bound")
    return _renewed(binding, environ, handle, now, BOUND_SECONDS)


def _open(work: Work) -> Answer | None:
    """Load the session; return the answer if there is none that a user has logged in to."""
    work.open().touching = False  # The browser renews its cookie by itself, which is no activity of the visitor.
    if work.state in ("rotated", "unavailable"):
        # In a moment the browser sends the new cookie, or the store is back: it must not end its own session.
        return _LATER
    return None if work.has_owner else _ENDED


def _renewed(binding: Binding, environ: Mapping[str, Any], handle: str, now: float, seconds: float) -> Answer:
    cookie = binding.cookie(environ)
    instructions = {
        "session_identifier": handle,
        "refresh_url": binding.url(environ, REFRESH),
        "scope": {"include_site": False, "scope_specification": []},
        "credentials": [{"type": "cookie", "name": cookie.name, "attributes": cookie.attributes}],
        # Else a visitor who follows another site's link would come without the cookie, and see the login page.
        "allowed_refresh_initiators": ["*"],
    }
    headers = [("Set-Cookie", binding.set_cookie(environ, handle, now, seconds))]
    return "200 OK", headers, json.dumps(instructions).encode("ascii")


class _AlreadyRegisteredError(Exception):
    """The session has a key already. The first one stays, so that a copied cookie cannot bring another."""


def _device(work: Work) -> Device | None:
    data = work.data or work.load()
    try:
        return device_of(data.stored, work.handle or "")
    except CorruptData:
        work.mark_corrupt()
        return None


def _store(work: Work, device: Device, *, first: bool = False) -> bool:
    """Store the device in the session; return False if the session has ended. ``first``: only if there is none yet."""
    record, credential, data = work.record, work.credential, work.data or work.load()
    assert record is not None and credential is not None
    handle = record.handle
    data.find_changes()  # ``validate`` may have written.

    def merge(base: Packed) -> Packed:
        if first and device_of(base, handle) is not None:
            raise _AlreadyRegisteredError
        return {**data.apply_to(base), DEVICE: packed_device(handle, device)}

    return replace(work, (credential, record, data.stored), merge, work.backend.settings.clock())


def _refuse(work: Work, reason: str) -> Answer:
    _report(work, "device_refused", reason=reason)
    return _REFUSED


def _report(work: Work, event: str, **data: Any) -> None:
    owner = None if work.record is None else stored_owner(work.record)
    work.backend.settings.events(event, handle=work.handle, owner=owner, **data)
