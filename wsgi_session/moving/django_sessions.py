"""Django's sessions: in the database, in a cache on Redis, in both, in files, or in signed cookies.

Django and its settings are needed only to use its own connection to the database. Sessions in the database, in files
and in cookies must be JSON, as they are by default; those in a cache are pickled, and are read without pickle.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Literal

from wsgi_session.config.options import seconds
from wsgi_session.config.secrets import HiddenText, hide
from wsgi_session.errors import ConfigError
from wsgi_session.moving.django_signing import django_signer, loads_django, split_signed
from wsgi_session.moving.django_table import DjangoTable
from wsgi_session.moving.file_place import FilePlace
from wsgi_session.moving.flask_cookie import unsign
from wsgi_session.moving.opening import open_place
from wsgi_session.moving.pickles import load_pickle
from wsgi_session.moving.places import Found, Place, outage, seconds_of_date
from wsgi_session.moving.reader import Foreign, NotAdopted, Reader
from wsgi_session.stores.contract import CLOCK_SKEW

#: Where ``django.contrib.auth`` keeps the user's id.
USER_ID = "_auth_user_id"
_EXPIRY = "_session_expiry"
_SALT = "django.contrib.sessions.SessionStore"
_COOKIE_SALT = "django.contrib.sessions.backends.signed_cookies"
_KEY = re.compile(r"[a-z0-9]{8,64}")
_TWO_WEEKS = 14 * 86_400.0
_ENGINES = ("db", "cached_db", "cache", "file", "signed_cookies")


class DjangoSessions(Reader):
    """The sessions of a Django site.

    ``engine``: the last part of its ``SESSION_ENGINE``. ``secret_keys``: its ``SECRET_KEY``, or several, newest first
    (``SECRET_KEY_FALLBACKS`` follow); ``"cache"`` needs none. ``store``: for ``"db"`` and ``"cached_db"`` a SQLAlchemy
    URL or engine of the database, or nothing in a process with Django, whose own connection is used then; for
    ``"cache"`` the ``redis://`` URL or a client; for ``"file"`` the folder, ``SESSION_FILE_PATH``. ``cache``: for
    ``"cached_db"`` the Redis in which Django also has the sessions: without it, processes of the old kind accept a
    session for as long as their cache has it.

    ``cookie_name``, ``cookie_path``, ``cookie_domain`` and ``lifetime`` are SESSION_COOKIE_NAME, _PATH, _DOMAIN and
    _AGE. ``cache_prefix``: what Django's cache puts before a key, from KEY_PREFIX and VERSION. ``salt``: only for an
    engine of your own with another name than ``SessionStore``.
    """

    name = "django"

    def __init__(
        self,
        engine: Literal["db", "cached_db", "cache", "file", "signed_cookies"],
        secret_keys: str | bytes | Sequence[str | bytes] | None = None,
        store: Any = None,
        *,
        cache: Any = None,
        cookie_name: str = "sessionid",
        cookie_path: str = "/",
        cookie_domain: str | None = None,
        lifetime: timedelta | float = _TWO_WEEKS,
        cache_prefix: str = ":1:",
        table: str = "django_session",
        salt: str | None = None,
    ) -> None:
        hidden: Any = hide(secret_keys)
        del secret_keys  # A traceback may show local variables.
        super().__init__(cookie_name, cookie_path=cookie_path, cookie_domain=cookie_domain)
        if engine not in _ENGINES:
            raise ConfigError(f"engine={engine!r}: give one of {', '.join(_ENGINES)}.")
        self._engine = engine
        self.in_cookie = engine == "signed_cookies"
        self._lifetime = seconds("lifetime", lifetime)
        if engine != "cache":
            self._signer = django_signer(hidden or (), salt or (_COOKIE_SALT if self.in_cookie else _SALT))
        self._prefix = {
            "cache": f"{cache_prefix}django.contrib.sessions.cache",
            "cached_db": f"{cache_prefix}django.contrib.sessions.cached_db",
            "file": cookie_name,
        }.get(engine, "")
        columns = ("session_key", "session_data", "expire_date")
        self._place: Place | None = None
        if store is None and engine in ("db", "cached_db"):
            self._place = DjangoTable()
        elif not self.in_cookie:
            self._place = open_place(store, _SessionFiles, table, columns, seconds_of_date)
        self._cache: Place | None = None
        if cache is not None:
            self._cache = open_place(cache, _SessionFiles, table, columns, seconds_of_date)

    def identify(self, value: str, now: float) -> str:
        if self.in_cookie:
            return unsign(self._signer, value)
        if not _KEY.fullmatch(value):
            raise NotAdopted("forged")
        return value

    def load(self, session_id: str, now: float) -> Foreign | None:
        if self._place is None:
            return self._foreign(*self._open(session_id, now), now)
        found = self._place.get(self._key(session_id), now)
        if found is None:
            return None
        if self._engine == "cache":
            data, saved_at = load_pickle(found.data), None
        else:
            data, _ = self._open(unsign(self._signer, found.data.decode("ascii")), now)
            saved_at = found.changed
        return self._foreign(data, saved_at, now, found.expires)

    def delete(self, session_id: str) -> None:
        if self._place is not None:
            self._place.delete(self._key(session_id))
        if self._cache is not None:
            self._cache.delete(HiddenText(self._prefix + session_id))

    def session_ids(self) -> Iterator[str]:
        prefix = "" if self._engine == "cached_db" else self._prefix
        for key in super().session_ids() if self._place is None else self._place.keys(prefix):
            session_id = key[len(prefix) :]
            if _KEY.fullmatch(session_id):
                yield session_id

    def _key(self, session_id: str) -> str:
        return session_id if self._engine == "cached_db" else HiddenText(self._prefix + session_id)

    def _open(self, signed: str, now: float) -> tuple[Any, float]:
        """Return the data and the time of a signed object. In a cookie, that is when it was saved."""
        payload, signed_at = split_signed(signed)
        if signed_at > now + CLOCK_SKEW:
            raise NotAdopted("corrupt", "it was signed in the future")
        if self.in_cookie and now > signed_at + self._lifetime:
            raise NotAdopted("expired")
        return loads_django(payload), signed_at

    def _foreign(self, data: Any, saved_at: float | None, now: float, expires: float | None = None) -> Foreign:
        """Return the session with its times: the end is stored, or follows from the time of the last save."""
        if not isinstance(data, dict):
            raise NotAdopted("corrupt", "the session is not a dict")
        expiry = data.get(_EXPIRY)
        age = expiry if isinstance(expiry, (int, float)) and expiry > 0 else self._lifetime
        if saved_at is not None:
            # A signed cookie is accepted while its age is not greater than the lifetime, whatever the session says.
            expires = saved_at + self._lifetime + 1.0 if self.in_cookie else saved_at + age
            if isinstance(expiry, str) and not self.in_cookie:
                expires = seconds_of_date(expiry)
        elif expires is not None:
            saved_at = expires - age
        touched = None if saved_at is None else max(0.0, min(saved_at, now))
        persistent = False if expiry == 0 else None
        return Foreign(data, None, touched, expires, data.get(USER_ID), persistent)


class _SessionFiles(FilePlace):
    """Django's session files: the name is the prefix and the key. The modification time is that of the last save."""

    def names(self, key: str) -> list[str]:
        return [key]

    def parse(self, content: bytes, now: float, changed: float) -> Found | None:
        return Found(content, None, changed) if content else None

    def keys(self, prefix: str) -> Iterator[str]:
        try:
            names = os.listdir(self.folder)
        except OSError as error:
            raise outage(self.folder, error) from None
        yield from (name for name in names if name.startswith(prefix))
