"""The two paths at which browsers register a key and renew their second cookie (Device Bound Session Credentials).

The draft of the W3C is at https://w3c.github.io/webappsec-dbsc/. Where Chromium 156 differs, this follows Chromium.

A registration stores nothing: its answer has the key in a signed address, at which the browser renews. The first
renewal binds the session to the key, if it has none. So a browser whose registration went wrong stays logged in.
Neither of the two needs the session's cookie: after a link or a redirect from another site, such as a sign-in
provider's, browsers send no cookie with ``SameSite=Lax`` to these paths.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wsgi_session.backends.binding import (
    BOUND_SECONDS,
    CHALLENGE_SECONDS,
    DEVICE,
    FIRST_SECONDS,
    REFRESH,
    Binding,
    device_key,
    packed_device,
    paths_below,
)
from wsgi_session.backends.device_bound import PROVING
from wsgi_session.backends.settings import Settings
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.codec.packing import Packed
from wsgi_session.cookies.caching import Headers
from wsgi_session.cookies.proofs import registered_key, signed_challenge, unquoted
from wsgi_session.errors import SessionTooLarge, StoreUnavailable
from wsgi_session.request.commit import replace
from wsgi_session.request.data import Data
from wsgi_session.request.work import Work
from wsgi_session.session import work_of
from wsgi_session.stores.contract import Record

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Answer = tuple[str, Headers, bytes]

# A browser that gets one of these answers forgets its key, and does not renew the cookie any more.
_ENDED: Answer = ("404 Not Found", [], b"")
_REFUSED: Answer = ("400 Bad Request", [], b"")
_POST_ONLY: Answer = ("405 Method Not Allowed", [("Allow", "POST")], b"")


class DeviceEndpoints:
    """A WSGI application around the site's: it answers at the two paths, and passes all other requests on."""

    def __init__(self, app: WSGIApplication, prefix: str, environ_key: str) -> None:
        self._app = app
        self._purposes = {path: purpose for purpose, path in paths_below(prefix).items()}
        self._environ_key = environ_key

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        purpose = self._purposes.get(environ.get("PATH_INFO", ""))
        work = work_of(environ[self._environ_key])
        binding = work.backend.binding
        if purpose is None or binding is None:
            return self._app(environ, start_response)
        if purpose is REFRESH:
            environ[PROVING] = True
        status, headers, body = DeviceRequest(binding, work.backend.settings, environ, work.open).answer(purpose)
        start_response(status, headers)
        return [body]


class DeviceRequest:
    """One request of the protocol. ``open_work`` loads the session."""

    def __init__(
        self, binding: Binding, settings: Settings, environ: Mapping[str, Any], open_work: Callable[[], Work]
    ) -> None:
        self._binding = binding
        self._settings = settings
        self._environ = environ
        self._open_work = open_work
        self._now = self._settings.clock()
        #: The session's record, if it was loaded.
        self._record: Record | None = None

    def answer(self, purpose: bytes) -> Answer:
        """Return status, headers and body."""
        if self._environ.get("REQUEST_METHOD") != "POST":
            status, headers, body = _POST_ONLY
        elif purpose is REFRESH:
            status, headers, body = self._refresh()
        else:
            status, headers, body = self._register()
        fixed = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        return status, fixed + headers, body

    def _register(self) -> Answer:
        """Sign the public key, if the browser has signed the challenge of a login with it."""
        registered = registered_key(self._environ.get("HTTP_SECURE_SESSION_RESPONSE", ""))
        if registered is None:
            return self._refuse(None, "proof")
        key, challenge = registered
        handle = self._binding.invited(challenge, self._now)
        if handle is None:
            return self._refuse(None, "challenge")
        return self._renewed(handle, key, FIRST_SECONDS)

    def _refresh(self) -> Answer:
        """Renew the second cookie, if the browser has signed a challenge with the key that it has registered."""
        handle = unquoted(self._environ.get("HTTP_SEC_SECURE_SESSION_ID", ""))
        key = self._binding.signed_key(handle, self._environ.get("QUERY_STRING", ""))
        if key is None:
            return _ENDED
        proof, challenge = self._environ.get("HTTP_SECURE_SESSION_RESPONSE"), None
        if proof:
            challenge = signed_challenge(proof, key)
            if challenge is None:
                return self._refuse(handle, "proof")
        if challenge is None or not self._binding.is_valid(REFRESH, handle, challenge, self._now):
            # The first request brings no answer, or one to an earlier challenge: the browser signs this one.
            fresh = self._binding.sign(REFRESH, handle, self._now + CHALLENGE_SECONDS)
            return "403 Forbidden", [("Secure-Session-Challenge", f'"{fresh}";id="{handle}"')], b""
        ended = self._look_at_session(handle, key)
        if ended is not None:
            return ended
        # If this request showed no session, the cookie is short-lived: the next renewal shows it, or learns of its end.
        return self._renewed(handle, key, FIRST_SECONDS if self._record is None else BOUND_SECONDS)

    def _look_at_session(self, handle: str, key: bytes) -> Answer | None:
        """Bind the session to the key; return the answer if the browser must not renew its second cookie any more."""
        try:
            work = self._open_work()
            work.touching = False  # The browser renews its cookie by itself, which is not the visitor's activity.
            if work.record is None:
                return None if self._may_have_session(work) else _ENDED
            # The browser may still have the key of an earlier login.
            if work.handle != handle:
                return _ENDED
            self._record = work.record
            data = work.data or work.load()
            if device_key(data.stored, handle) == key:
                return None
            try:
                if not _store(work, data, handle, key):
                    self._record = None
                    return None if self._was_rotated(work) else _ENDED
            except SessionTooLarge as error:
                # There is no room for the key beside the application's data. The session stays valid, but is not bound.
                self._settings.events("unsaved", handle=handle, owner=stored_owner(work.record), error=str(error))
                return None
        except _OtherKeyError:
            return self._refuse(handle, "registered")
        except StoreUnavailable:
            # After an error, a browser would send no second cookie for a while, even when the outage is over.
            return None
        self._settings.events("device_bound", handle=handle, owner=stored_owner(self._record))
        return None

    def _may_have_session(self, work: Work) -> bool:
        """Return whether the browser may have a live session, although this request shows none."""
        if work.state == "new":
            # After another site's link, no cookie is sent. If only the second one is, the visitor has logged out.
            return not self._binding.cookie(self._environ).read(self._environ.get("HTTP_COOKIE", ""))
        return work.state in ("rotated", "unavailable")

    def _was_rotated(self, work: Work) -> bool:
        """Return whether another request has rotated the session meanwhile: then a later renewal can bind it."""
        assert work.credential is not None
        return work.backend.look_up(work.credential, self._now)[0] == "rotated"

    def _renewed(self, handle: str, key: bytes, seconds: float) -> Answer:
        cookie = self._binding.cookie(self._environ)
        instructions = {
            "session_identifier": handle,
            "refresh_url": f"{self._binding.url(self._environ, REFRESH)}?{self._binding.sign_key(handle, key)}",
            "scope": {"include_site": False, "scope_specification": []},
            "credentials": [{"type": "cookie", "name": cookie.name, "attributes": cookie.attributes}],
            # Otherwise a visitor who follows another site's link would lack the cookie, and see the login page.
            "allowed_refresh_initiators": ["*"],
        }
        headers = [("Set-Cookie", self._binding.set_cookie(self._environ, handle, key, self._now, seconds))]
        return "200 OK", headers, json.dumps(instructions).encode("ascii")

    def _refuse(self, handle: str | None, reason: str) -> Answer:
        owner = None if self._record is None else stored_owner(self._record)
        self._settings.events("device_refused", handle=handle, owner=owner, reason=reason)
        return _REFUSED


class _OtherKeyError(Exception):
    """The session is bound to another key. The first one stays, so that nobody can take the session over."""


def _store(work: Work, data: Data, handle: str, key: bytes) -> bool:
    """Bind the session to the key; return False if the session has ended."""
    record, credential = work.record, work.credential
    assert record is not None and credential is not None
    data.find_changes()  # ``validate`` may have written.

    def merge(base: Packed) -> Packed:
        if device_key(base, handle) not in (None, key):
            raise _OtherKeyError
        return {**data.apply_to(base), DEVICE: packed_device(handle, key)}

    return replace(work, (credential, record, data.stored), merge, work.backend.settings.clock())
