"""What binds a session to a device: the public key in its record, the second cookie, and the challenges.

The key is an internal key of the record, so that older processes, which do not know it, keep it. It belongs to one
login, by its handle: it stays after a rotation, and does not count after the next login. Cookies and challenges are
texts that are signed for one handle and one purpose, with their expiry, so that checking one takes an HMAC and no store
call. A second cookie is signed for one key too: if two were registered for a login, only the cookies of the
stored key are valid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hmac import compare_digest
from typing import Any
from urllib.parse import quote

from itsdangerous import base64_decode, base64_encode

from wsgi_session.codec.packing import CorruptData, Packed, pack, unpack
from wsgi_session.cookies.cookie import MAX_CREDENTIALS, OUTSIDE, SchemeCookies, SessionCookie, path_covers
from wsgi_session.cookies.tokens import make_signer
from wsgi_session.events import Events

#: The internal key. Its value is the login's handle, and the public key: a point of the curve P-256 in 65 bytes.
DEVICE = b"device"
#: How long the browser keeps the second cookie, in seconds.
BOUND_SECONDS = 240
#: How much longer the server accepts it, for clocks that differ and for requests under way.
BOUND_GRACE = 60
#: How long the browser keeps the first one. It is short because the binding begins with the first renewal.
FIRST_SECONDS = 30
#: How long a challenge may be answered, in seconds.
CHALLENGE_SECONDS = 120
#: What a signed text is for.
COOKIE, REGISTER, REFRESH, KEY = b"cookie", b"register", b"refresh", b"key"
_KEY = re.compile(r"key=([A-Za-z0-9_-]{87})\.([A-Za-z0-9_-]{43})", re.ASCII)
_CHALLENGE = re.compile(r"([A-Za-z0-9_-]{1,64})\.(.+)", re.ASCII)
_UNREACHED = "register paths of experimental_device_bound: no browser sends the session's cookie there. "


def device_key(packed: Packed, handle: str) -> bytes | None:
    """Return the public key to which the login ``handle`` is bound, ``None`` if it is not. Raises ``CorruptData``."""
    if DEVICE not in packed:
        return None
    stored = unpack(packed[DEVICE])
    if not isinstance(stored, list) or len(stored) != 2 or not isinstance(stored[1], bytes):
        raise CorruptData
    key: bytes = stored[1]
    return key if stored[0] == handle else None


def packed_device(handle: str, key: bytes) -> bytes:
    """Return the value of the internal key."""
    return pack([handle, key], "device")


def paths_below(prefix: str) -> dict[bytes, str]:
    """Return the paths at which browsers register and refresh, by their purpose."""
    return {REGISTER: f"{prefix}/register", REFRESH: f"{prefix}/refresh"}


class Binding:
    """Signs and checks the second cookies and the challenges of one middleware.

    The first of ``secrets_newest_first`` signs; all of them verify.
    """

    def __init__(
        self, secrets_newest_first: Sequence[bytes], namespace: str, cookies: SchemeCookies, events: Events, prefix: str
    ) -> None:
        salt = b"wsgi-session.device." + namespace.encode()
        self._signers = [make_signer(secret, salt) for secret in secrets_newest_first]
        self._cookies = cookies
        self._bound = {cookie.name: cookie.with_suffix("-bound") for cookie in (cookies.http, cookies.https)}
        self._events = events
        self._paths = paths_below(prefix)
        #: What each of the two paths is for.
        self.purposes = {path: purpose for purpose, path in self._paths.items()}

    def cookie(self, environ: Mapping[str, Any]) -> SessionCookie:
        """Return the second cookie: like the session's, with another name."""
        return self._bound[self._cookies.of(environ).name]

    def sign(self, purpose: bytes, handle: str, expires: float, key: bytes = b"") -> str:
        """Return a text that is valid for this purpose, handle and public key until ``expires``, in seconds."""
        return self._signed(purpose + key, handle, str(int(expires)))

    def is_valid(self, purpose: bytes, handle: str, text: str, now: float, key: bytes = b"") -> bool:
        """Return whether :meth:`sign` made this text for this purpose, handle and key, and it has not expired."""
        end, _, signature = text.partition(".")
        return self._is_signed(purpose + key, handle, end, signature) and now < int(end)

    def sign_key(self, handle: str, key: bytes) -> str:
        """Return a query string with the public key that was registered for the login ``handle``."""
        text = base64_encode(key).decode()
        return f"key={self._signed(KEY, handle, text)}"

    def signed_key(self, handle: str, query: str) -> bytes | None:
        """Return the public key in the query string; ``None`` if it was not registered for the login ``handle``."""
        form = _KEY.fullmatch(query)
        if form is None or not self._is_signed(KEY, handle, form[1], form[2]):
            return None
        return base64_decode(form[1])

    def _signed(self, purpose: bytes, handle: str, text: str) -> str:
        return f"{text}.{self._signers[0](_joined(purpose, handle, text)).decode()}"

    def _is_signed(self, purpose: bytes, handle: str, text: str, signature: str) -> bool:
        if not text.isascii() or not signature.isascii():
            return False
        joined, given = _joined(purpose, handle, text), signature.encode()
        return any(compare_digest(sign(joined), given) for sign in self._signers)

    def has_proof(self, environ: Mapping[str, Any], handle: str, key: bytes, now: float) -> bool:
        """Return whether the request has a valid second cookie for the session ``handle`` with this public key."""
        for value in self.cookie(environ).read(environ.get("HTTP_COOKIE", ""))[:MAX_CREDENTIALS]:
            if self.is_valid(COOKIE, handle, value, now, key):
                return True
        return False

    def set_cookie(self, environ: Mapping[str, Any], handle: str, key: bytes, now: float, seconds: float) -> str:
        """Return the Set-Cookie value of a second cookie that the browser keeps for ``seconds``."""
        return self.cookie(environ).write(self.sign(COOKIE, handle, now + seconds + BOUND_GRACE, key), seconds)

    def url(self, environ: Mapping[str, Any], purpose: bytes) -> str:
        """Return the path of an endpoint as a browser writes it: percent-encoded, with the application's own path."""
        return quote(environ.get("SCRIPT_NAME", "").encode("latin-1", errors="replace")) + self._paths[purpose]

    def invitation(self, environ: Mapping[str, Any], cookie_path: str, handle: str, now: float) -> str | None:
        """Return the header ``Secure-Session-Registration`` for the answer to a login.

        ``None``, and the event ``outside_path``, if the browser would not send the session's cookie to the endpoints.
        """
        place = {"SCRIPT_NAME": environ.get("SCRIPT_NAME", ""), "PATH_INFO": self._paths[REGISTER]}
        if cookie_path != "/" and not path_covers(cookie_path, place):
            self._events.once("outside_path", advice=_UNREACHED + OUTSIDE)
            return None
        challenge = f"{handle}.{self.sign(REGISTER, handle, now + CHALLENGE_SECONDS)}"
        return f'(ES256);path="{self.url(environ, REGISTER)}";challenge="{challenge}"'

    def invited(self, challenge: str, now: float) -> str | None:
        """Return the handle of the login whose answer had this challenge; ``None`` if it is not valid."""
        form = _CHALLENGE.fullmatch(challenge)
        return form[1] if form is not None and self.is_valid(REGISTER, form[1], form[2], now) else None


def _joined(purpose: bytes, handle: str, text: str) -> bytes:
    # The first part, a purpose with or without a key, has one length for each purpose; the others contain no zero byte.
    return b"%b\0%b\0%b" % (purpose, handle.encode(errors="replace"), text.encode())
