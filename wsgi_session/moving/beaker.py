"""Beaker's sessions: in files, dbm files, Redis, a database, or in the cookie; JSON or pickled, encrypted or not."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal

from wsgi_session.config.options import seconds
from wsgi_session.config.secrets import HiddenBytes, HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.moving.beaker_data import BeakerCodec, foreign_of_beaker
from wsgi_session.moving.beaker_files import BeakerDBM, BeakerFiles
from wsgi_session.moving.opening import open_place
from wsgi_session.moving.pickles import load_pickle
from wsgi_session.moving.places import Place, seconds_of_date
from wsgi_session.moving.reader import Foreign, NotAdopted, Reader

_TYPES = ("file", "dbm", "ext:redis", "ext:database", "ext:sqla", "cookie")
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_SIGNATURE = 40


class BeakerStore(Reader):
    """The sessions of Beaker.

    ``type``: Beaker's ``session.type``. ``store``: for ``"file"`` and ``"dbm"`` the folder, ``session.data_dir``; for
    ``"ext:redis"`` the URL or a client; for ``"ext:database"`` and ``"ext:sqla"`` a SQLAlchemy URL or engine; for
    ``"cookie"`` nothing. The other options have Beaker's names: ``secret``, ``validate_key``, ``encrypt_key``,
    ``data_serializer``, ``timeout`` (seconds), ``table_name``; ``cookie_name`` is Beaker's ``key``.

    ``user_key``: the key under which the application keeps the id of the logged-in user. The default is that of
    Pyramid's ``remember``.
    """

    name = "beaker"

    def __init__(
        self,
        type: Literal["file", "dbm", "ext:redis", "ext:database", "ext:sqla", "cookie"],
        store: Any = None,
        *,
        secret: str | None = None,
        validate_key: str | None = None,
        encrypt_key: str | None = None,
        encrypt_nonce_bits: int = 128,
        data_serializer: Literal["pickle", "json"] = "pickle",
        timeout: timedelta | float | None = None,
        table_name: str = "beaker_cache",
        schema_name: str | None = None,
        cookie_name: str = "beaker.session.id",
        cookie_path: str = "/",
        cookie_domain: str | None = None,
        user_key: str | None = "auth.userid",
    ) -> None:
        super().__init__(cookie_name, cookie_path=cookie_path, cookie_domain=cookie_domain)
        if type not in _TYPES:
            raise ConfigError(f"type={type!r}: give one of {', '.join(_TYPES)}.")
        self._is_redis = type == "ext:redis"
        self.in_cookie = type == "cookie"
        key = validate_key if self.in_cookie else secret
        if self.in_cookie and not validate_key:
            raise ConfigError("A Beaker session in the cookie needs validate_key.")
        self._secret = None if key is None else HiddenBytes(key.encode())
        self._codec = BeakerCodec(data_serializer, encrypt_key, validate_key, encrypt_nonce_bits)
        self._timeout = None if timeout is None else seconds("timeout", timeout)
        self._user_key = user_key
        self._place: Place | None = None
        if not self.in_cookie:
            folder = BeakerDBM if type == "dbm" else BeakerFiles
            columns = ("namespace", "data", None)
            self._place = open_place(store, folder, table_name, columns, seconds_of_date, schema_name)

    def identify(self, value: str, now: float) -> str:
        value = HiddenText(value).strip('"')
        if self._secret is not None:
            signature, value = value[:_SIGNATURE], value[_SIGNATURE:]
            expected = hmac.new(self._secret, value.encode(), hashlib.sha1).hexdigest()
            if not hmac.compare_digest(expected.encode(), signature.encode()):
                raise NotAdopted("forged")
        if not self.in_cookie and not _ID.fullmatch(value):
            raise NotAdopted("forged")
        return value

    def load(self, session_id: str, now: float) -> Foreign | None:
        text: Any = session_id
        if self._place is not None:
            found = self._place.get(self._key(session_id), now)
            if found is None:
                return None
            text = load_pickle(found.data)
            # Redis and dbm files have the session alone, the others a dict with it.
            if isinstance(text, dict):
                text = text.get("session")
        data = self._codec.decode(text)
        foreign = foreign_of_beaker(data, self._timeout, self._user_key)
        return foreign if data else None

    def delete(self, session_id: str) -> None:
        if self._place is not None:
            self._place.delete(self._key(session_id))

    def session_ids(self) -> Iterator[str]:
        before, after = ("beaker_cache:", ":session") if self._is_redis else ("", "")
        for key in super().session_ids() if self._place is None else self._place.keys(before):
            session_id = key.removeprefix(before).removesuffix(after)
            if key.endswith(after) and _ID.fullmatch(session_id):
                yield session_id

    def _key(self, session_id: str) -> str:
        return HiddenText(f"beaker_cache:{session_id}:session") if self._is_redis else session_id
