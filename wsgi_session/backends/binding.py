"""What binds a session to a device: the key in its record, and the signed texts that only the key's owner gets.

The key is an internal key of the record, so that older processes, which do not know it, keep it. It belongs to one
login, by its handle: it stays after a rotation, and does not count after the next login. The texts are signed for one
handle and one purpose, with their expiry, so that checking one takes an HMAC and no call of the store.
"""

from __future__ import annotations

import hmac
import re
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from hmac import compare_digest
from typing import Any, NamedTuple
from urllib.parse import quote

from wsgi_session.codec.packing import CorruptData, Packed, pack, unpack
from wsgi_session.cookies.cookie import OUTSIDE, SchemeCookies, SessionCookie, path_covers
from wsgi_session.events import Events

#: The internal key. Its value is the login's handle, the public key, and whether the browser has renewed its cookie.
DEVICE = b"device"
#: How long the browser keeps the second cookie, in seconds.
BOUND_SECONDS = 240
#: How much longer the server accepts it, for clocks that differ and for requests under way.
BOUND_GRACE = 60
#: How long the browser keeps the first one: so short that it soon shows that it can renew the cookie.
FIRST_SECONDS = 30
#: How long a challenge may be answered, in seconds.
CHALLENGE_SECONDS = 120
#: What a signed text is for.
COOKIE, REGISTER, REFRESH = b"cookie", b"register", b"refresh"
# More cookies of the name are not looked at: a browser sends more only if an attacker has set them.
_MAX_COOKIES = 3
_SIGNED = re.compile(r"([0-9]{1,11})\.[A-Za-z0-9_-]{43}", re.ASCII)
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_UNREACHED = "register paths of experimental_device_bound: no browser sends the session's cookie there. "


class Device(NamedTuple):
    """The device to which a session is bound."""

    #: The public key, a point of the curve P-256 in 65 bytes.
    key: bytes
    #: Whether the browser has renewed its second cookie. Before that, the session does not need the cookie: a browser
    #: that never got the answer to its registration could not come back.
    proven: bool


def device_of(packed: Packed, handle: str) -> Device | None:
    """Return the device of the login ``handle``, ``None`` if it has none. Raises ``CorruptData``."""
    if DEVICE not in packed:
        return None
    stored = unpack(packed[DEVICE])
    if not isinstance(stored, list) or len(stored) != 3 or not isinstance(stored[1], bytes):
        raise CorruptData
    return Device(stored[1], stored[2] is True) if stored[0] == handle else None


def packed_device(handle: str, device: Device) -> bytes:
    """Return the value of the internal key."""
    return pack([handle, *device], "device")


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
        purpose = b"wsgi-session.device." + namespace.encode()
        self._keys = [hmac.digest(secret, purpose, "sha256") for secret in secrets_newest_first]
        self._cookies = cookies
        self._bound = {cookie.name: cookie.with_suffix("-bound") for cookie in (cookies.http, cookies.https)}
        self._events = events
        self._paths = paths_below(prefix)

    def cookie(self, environ: Mapping[str, Any]) -> SessionCookie:
        """Return the second cookie: like the session's, with another name."""
        return self._bound[self._cookies.of(environ).name]

    def sign(self, purpose: bytes, handle: str, expires: float) -> str:
        """Return a text that is valid for this purpose and this handle until ``expires``, in seconds."""
        end = str(int(expires))
        return f"{end}.{_mac(self._keys[0], purpose, handle, end)}"

    def is_valid(self, purpose: bytes, handle: str, text: str, now: float) -> bool:
        """Return whether :meth:`sign` made this text for this purpose and handle, and it has not expired."""
        form = _SIGNED.fullmatch(text)
        if form is None or now >= int(form[1]):
            return False
        given = text[len(form[1]) + 1 :]
        return any(compare_digest(_mac(key, purpose, handle, form[1]), given) for key in self._keys)

    def has_proof(self, environ: Mapping[str, Any], handle: str, now: float) -> bool:
        """Return whether the request has a valid second cookie for the session ``handle``."""
        values = self.cookie(environ).read(environ["HTTP_COOKIE"])[:_MAX_COOKIES]
        return any(self.is_valid(COOKIE, handle, value, now) for value in values)

    def set_cookie(self, environ: Mapping[str, Any], handle: str, now: float, seconds: float) -> str:
        """Return the Set-Cookie value of a second cookie that the browser keeps for so many seconds."""
        return self.cookie(environ).write(self.sign(COOKIE, handle, now + seconds + BOUND_GRACE), seconds)

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
        challenge = self.sign(REGISTER, handle, now + CHALLENGE_SECONDS)
        return f'(ES256);path="{self.url(environ, REGISTER)}";challenge="{challenge}"'


def _mac(key: bytes, purpose: bytes, handle: str, expires: str) -> str:
    mac = hmac.digest(key, b"\0".join((purpose, handle.encode(), expires.encode())), "sha256")
    return b2a_base64(mac, newline=False).translate(_URL_SAFE, b"=").decode()
