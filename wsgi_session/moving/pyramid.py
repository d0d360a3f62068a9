"""Pyramid's sessions: its signed cookie, and those of pyramid_session_redis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Literal

from webob.cookies import SignedSerializer

from wsgi_session.config.options import seconds
from wsgi_session.config.secrets import HiddenText, hide
from wsgi_session.errors import ConfigError
from wsgi_session.moving.opening import redis_place
from wsgi_session.moving.pickles import load_pickle
from wsgi_session.moving.reader import Foreign, NotAdopted, Reader

#: Where Pyramid's ``remember`` keeps the user's id, unless its helper has another prefix.
USER_ID = "auth.userid"
_FORMS_KEY, _FLASH = "_csrft_", "_f_"
_DECODERS: dict[str, Callable[[bytes], Any]] = {"json": json.loads, "pickle": load_pickle}


class _Raw:
    """Tells WebOb's signer to return what was signed, without decoding it."""

    def dumps(self, value: Any) -> bytes:
        """Raise ``TypeError``: nothing is signed here."""
        raise TypeError("Old cookies are only read.")

    def loads(self, data: bytes) -> str:
        return HiddenText(data.decode("latin-1"))


class _Signed(Reader):
    """The base of both readers: WebOb signs the cookie, and flashed messages are in the session."""

    def __init__(
        self, secret: str, salt: str, hashalg: str, serializer: str, timeout: timedelta | float | None, **cookie: Any
    ) -> None:
        super().__init__(**cookie)
        hidden: Any = hide(secret)
        del secret  # A traceback may show local variables.
        if not isinstance(hidden, (str, bytes)) or not hidden:
            raise ConfigError("secret: give the secret of the other application's session factory.")
        if serializer not in _DECODERS:
            raise ConfigError(f"serializer={serializer!r}: give 'json' or 'pickle'.")
        self._signer = SignedSerializer(hidden, salt, hashalg, _Raw())
        self._decode = _DECODERS[serializer]
        self._timeout = None if timeout is None else seconds("timeout", timeout)

    def identify(self, value: str, now: float) -> str:
        """Return what was signed. Base64 that differs only in its padding leads to the same."""
        try:
            signed: str = self._signer.loads(value.encode("ascii"))
        except ValueError:
            # "from None", because the error may contain the value.
            raise NotAdopted("forged") from None
        return signed


class PyramidCookie(_Signed):
    """The sessions of Pyramid's ``SignedCookieSessionFactory``, whose options have the same names here.

    ``serializer``: ``"pickle"`` for a factory with a ``PickleSerializer``, which was the default before Pyramid 2.
    ``user_key``: the key of the logged-in user's id.
    """

    name = "pyramid_cookie"
    in_cookie = True

    def __init__(
        self,
        secret: str,
        *,
        cookie_name: str = "session",
        cookie_path: str = "/",
        cookie_domain: str | None = None,
        timeout: timedelta | float | None = 1200,
        hashalg: str = "sha512",
        salt: str = "pyramid.session.",
        serializer: Literal["json", "pickle"] = "json",
        user_key: str | None = USER_ID,
    ) -> None:
        cookie = {"cookie_name": cookie_name, "cookie_path": cookie_path, "cookie_domain": cookie_domain}
        super().__init__(secret, salt, hashalg, serializer, timeout, **cookie)
        self._user_key = user_key

    def load(self, session_id: str, now: float) -> Foreign | None:
        renewed, created, state = self._decode(session_id.encode("latin-1"))
        # Pyramid accepts a session while its age is not greater than the timeout.
        expires = None if self._timeout is None else float(renewed) + int(self._timeout) + 0.001
        return _foreign(state, float(created), float(renewed), expires, self._user_key)

    def delete(self, session_id: str) -> None:
        """Do nothing: the session is in the cookie."""


class PyramidSessionRedis(_Signed):
    """The sessions of pyramid_session_redis.

    ``secret``, ``cookie_name`` and ``timeout``: those of its factory. ``server``: the ``redis://`` URL or a client.
    ``serializer``: ``"json"`` if the factory's ``serialize`` writes JSON. ``key_prefix``: what the factory's
    ``id_generator`` puts before each id; only the command ``adopt`` needs it.
    """

    name = "pyramid_session_redis"

    def __init__(
        self,
        secret: str,
        server: Any,
        *,
        cookie_name: str = "session",
        cookie_path: str = "/",
        cookie_domain: str | None = None,
        timeout: timedelta | float | None = 1200,
        serializer: Literal["json", "pickle"] = "pickle",
        key_prefix: str = "",
        user_key: str | None = USER_ID,
    ) -> None:
        cookie = {"cookie_name": cookie_name, "cookie_path": cookie_path, "cookie_domain": cookie_domain}
        super().__init__(secret, "pyramid_session_redis.", "sha512", serializer, timeout, **cookie)
        self._place = redis_place(hide(server))
        self._key_prefix = key_prefix
        self._user_key = user_key

    def load(self, session_id: str, now: float) -> Foreign | None:
        found = self._place.get(session_id, now)
        if found is None:
            return None
        payload = self._decode(found.data)
        if type(payload) is not dict or payload.get("v") != 1:
            raise NotAdopted("corrupt", "not a payload of version 1")
        ends, timeout = payload.get("x"), payload.get("t") or self._timeout
        expires = found.expires if ends is None else min(ends + 1.0, found.expires or ends + 1.0)
        touched = None if expires is None or not timeout else min(now, expires - timeout)
        created = min(float(payload["c"]), now)  # It is rounded up to whole seconds.
        return _foreign(payload["m"], created, touched and max(touched, created), expires, self._user_key)

    def delete(self, session_id: str) -> None:
        self._place.delete(session_id)

    def session_ids(self) -> Iterator[str]:
        """Yield the ids, which are the keys of the whole database: it must contain nothing else without the prefix."""
        yield from self._place.keys(self._key_prefix)


def _foreign(state: Any, created: float, touched: float | None, expires: float | None, user_key: str | None) -> Foreign:
    """Return the session with Pyramid's own keys taken out: messages come over, a CSRF token is made anew."""
    if not isinstance(state, dict):
        raise NotAdopted("corrupt", "the session is not a dict")
    kept, flashes = {}, []
    for key, value in state.items():
        if isinstance(key, str) and key.startswith(_FLASH):
            flashes += [(key[len(_FLASH) :], message) for message in value]
        elif key != _FORMS_KEY:
            kept[key] = value
    return Foreign(kept, created, touched, expires, None if user_key is None else state.get(user_key), None, flashes)
