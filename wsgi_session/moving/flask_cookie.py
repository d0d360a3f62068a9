"""Flask's own sessions: the data is in the cookie, signed with the application's ``SECRET_KEY``."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from itsdangerous import BadSignature, Signer
from itsdangerous.encoding import base64_decode, bytes_to_int

from wsgi_session.config.options import seconds
from wsgi_session.config.secrets import hide
from wsgi_session.errors import ConfigError
from wsgi_session.moving.flask_data import LIFETIME, foreign_of_flask
from wsgi_session.moving.reader import Foreign, NotAdopted, Reader
from wsgi_session.moving.tagged_json import loads_tagged
from wsgi_session.stores.contract import CLOCK_SKEW

#: A compressed session that is larger is not adopted.
MAX_SIZE = 1_048_576


class FlaskCookie(Reader):
    """The sessions of a Flask application without an extension.

    ``secret_keys``: its ``SECRET_KEY``, or several, newest first: ``SECRET_KEY_FALLBACKS`` follow. ``cookie_name``,
    ``cookie_path`` and ``cookie_domain``: as the application has set them. ``lifetime``: its
    ``PERMANENT_SESSION_LIFETIME``, which Flask applies to every cookie. ``salt``, ``key_derivation`` and
    ``digest_method``: those of its session interface, if it has its own.
    """

    name = "flask_cookie"
    in_cookie = True

    def __init__(
        self,
        secret_keys: str | bytes | Sequence[str | bytes],
        *,
        cookie_name: str = "session",
        cookie_path: str = "/",
        cookie_domain: str | None = None,
        salt: str | bytes = "cookie-session",
        lifetime: timedelta | float = LIFETIME,
        key_derivation: str = "hmac",
        digest_method: Callable[..., Any] = hashlib.sha1,
    ) -> None:
        super().__init__(cookie_name, cookie_path=cookie_path, cookie_domain=cookie_domain)
        self._signer = make_signer(secret_keys, salt, key_derivation, digest_method)
        self._lifetime = seconds("lifetime", lifetime)

    def identify(self, value: str, now: float) -> str:
        """Return the signed part of the cookie: payload and time."""
        unsign(self._signer, value)
        return value.rpartition(".")[0]

    def load(self, session_id: str, now: float) -> Foreign | None:
        payload, _, time = session_id.rpartition(".")
        signed_at = float(bytes_to_int(base64_decode(time)))
        if not signed_at <= now + CLOCK_SKEW:
            raise NotAdopted("corrupt", "it was signed in the future")
        # Flask accepts the cookie while its age is not greater than the lifetime.
        expires = signed_at + self._lifetime + 1.0
        if now >= expires:
            raise NotAdopted("expired")
        return foreign_of_flask(loads_tagged(_decode(payload)), signed_at, expires)

    def delete(self, session_id: str) -> None:
        """Do nothing: the session is in the cookie."""


def make_signer(
    secret_keys: str | bytes | Sequence[str | bytes],
    salt: str | bytes,
    key_derivation: str = "hmac",
    digest_method: Callable[..., Any] = hashlib.sha1,
) -> Signer:
    """Return itsdangerous' signer for the secrets of the other library, newest first."""
    keys = check_keys(secret_keys)
    del secret_keys  # A traceback may show local variables.
    return Signer(keys, salt=salt, key_derivation=key_derivation, digest_method=digest_method)


def check_keys(secret_keys: Any) -> Any:
    """Return the secrets of the other library as itsdangerous wants them: oldest first."""
    given = hide(secret_keys)
    del secret_keys
    keys: Any = [given] if isinstance(given, (str, bytes)) else list(given or ())  # type: ignore[call-overload]
    if not keys or not all(isinstance(key, (str, bytes)) and key for key in keys):
        raise ConfigError("secret_keys: give the other application's SECRET_KEY, or several, newest first.")
    return keys[::-1]


def unsign(signer: Signer, value: str) -> str:
    """Return the signed text, or raise ``NotAdopted``."""
    try:
        if not value.isascii():
            raise BadSignature("not ASCII")
        return signer.unsign(value).decode("ascii")
    except BadSignature:
        # "from None", because the error contains the value.
        raise NotAdopted("forged") from None


def _decode(payload: str) -> bytes:
    if not payload.startswith("."):
        return base64_decode(payload)
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64_decode(payload[1:]), MAX_SIZE)
    if not unpacker.eof:
        raise NotAdopted("too_large", f"more than {MAX_SIZE:,} bytes")
    return data
