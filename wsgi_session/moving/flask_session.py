"""Flask-Session: the cookie has an id, and the session is in Redis, in a folder of cachelib, or in a database.

Since 0.7 the values are msgpack or JSON; before that they were pickled, and in a folder they still are.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import msgpack

from wsgi_session.config.options import seconds
from wsgi_session.config.secrets import HiddenText
from wsgi_session.moving.file_place import FilePlace
from wsgi_session.moving.flask_cookie import make_signer, unsign
from wsgi_session.moving.flask_data import LIFETIME, foreign_of_flask
from wsgi_session.moving.opaque import Opaque
from wsgi_session.moving.opening import open_place
from wsgi_session.moving.pickles import load_pickle
from wsgi_session.moving.places import Found, Place, seconds_of_date
from wsgi_session.moving.reader import Foreign, NotAdopted, Reader


class FlaskSessionStore(Reader):
    """The sessions of Flask-Session.

    ``store``: a ``redis://`` URL or a Redis client (``SESSION_REDIS``); the path of the folder of cachelib's
    ``FileSystemCache`` (also ``SESSION_FILE_DIR``), as ``file:///…`` or a ``Path``; or a SQLAlchemy URL or engine.
    ``cookie_name``, ``cookie_path``, ``cookie_domain``: as the application has set them. ``key_prefix``:
    ``SESSION_KEY_PREFIX``. ``secret_keys``: the ``SECRET_KEY`` if ``SESSION_USE_SIGNER`` is on. ``table`` and
    ``schema``: those of ``SESSION_SQLALCHEMY_TABLE`` and ``_SCHEMA``. ``lifetime``: ``PERMANENT_SESSION_LIFETIME``,
    from which the last activity is known.
    """

    name = "flask_session"

    def __init__(
        self,
        store: Any,
        *,
        cookie_name: str = "session",
        cookie_path: str = "/",
        cookie_domain: str | None = None,
        key_prefix: str = "session:",
        secret_keys: str | bytes | Sequence[str | bytes] | None = None,
        table: str = "sessions",
        schema: str | None = None,
        lifetime: timedelta | float = LIFETIME,
    ) -> None:
        super().__init__(cookie_name, cookie_path=cookie_path, cookie_domain=cookie_domain)
        self._signer = None if secret_keys is None else make_signer(secret_keys, "flask-session")
        self._prefix = key_prefix
        self._lifetime = seconds("lifetime", lifetime)
        columns = ("session_id", "data", "expiry")
        self._place: Place = open_place(store, _CacheFolder, table, columns, seconds_of_date, schema)

    def identify(self, value: str, now: float) -> str:
        return value if self._signer is None else unsign(self._signer, value)

    def load(self, session_id: str, now: float) -> Foreign | None:
        found = self._place.get(self._key(session_id), now)
        if found is None:
            return None
        touched = None if found.expires is None else min(now, found.expires - self._lifetime)
        return foreign_of_flask(_decode(found.data), touched, found.expires)

    def delete(self, session_id: str) -> None:
        self._place.delete(self._key(session_id))

    def session_ids(self) -> Iterator[str]:
        for key in self._place.keys(self._prefix):
            yield key[len(self._prefix) :]

    def _key(self, session_id: str) -> str:
        return HiddenText(self._prefix + session_id)


class _CacheFolder(FilePlace):
    """cachelib's ``FileSystemCache``: four bytes of expiry, then a pickle. The name is a hash of the key."""

    def names(self, key: str) -> list[str]:
        # cachelib's default has changed.
        name = key.encode()
        return [hashlib.sha256(name).hexdigest(), hashlib.md5(name, usedforsecurity=False).hexdigest()]

    def parse(self, content: bytes, now: float, changed: float) -> Found | None:
        if len(content) < 4:
            raise NotAdopted("corrupt", "a file that is too short")
        (expires,) = struct.unpack("I", content[:4])
        if expires == 0:
            return Found(content[4:])
        return None if expires < now else Found(content[4:], float(expires))


def _decode(data: bytes) -> Any:
    """Return the session, in the order in which Flask-Session tries its formats."""
    for decode in (_unpack, json.loads, load_pickle):
        try:
            found = decode(data)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
            continue
        if isinstance(found, dict):
            return found
    raise NotAdopted("corrupt", "neither msgpack nor JSON nor a pickle of a dict")


def _unpack(data: bytes) -> Any:
    # timestamp=3: as datetime.
    return msgpack.unpackb(data, timestamp=3, strict_map_key=False, ext_hook=_extension)


def _extension(code: int, data: bytes) -> Any:
    return Opaque(f"msgpack extension type {code}")
