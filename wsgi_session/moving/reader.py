"""The contract for readers of another library's sessions.

To adopt sessions of your own, write a subclass of :class:`Reader` with two methods, ``load`` and ``delete``::

    class OldSessions(Reader):
        name = "old"

        def load(self, session_id, now):
            row = database.find(session_id)
            return None if row is None else Foreign(json.loads(row.data), expires=row.expires, user_id=row.user_id)

        def delete(self, session_id):
            database.delete(session_id)

    SessionMiddleware(app, adopt=OldSessions(cookie_name="old_session"), ...)

If the cookie is signed, override ``identify`` too: nothing that a client sends may reach ``load`` unverified.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from wsgi_session.cookies.cookie import SessionCookie, as_in_environ, check_cookie_options
from wsgi_session.errors import Unsupported

#: A longer id or cookie-borne session is not looked at: a browser's cookie has at most 4,096 bytes.
MAX_ID = 16_384


class Foreign(NamedTuple):
    """A session of another library, as its reader has found it. Times are in seconds since the epoch."""

    #: The values by their keys. Values of unsupported types are dropped, or the session is refused: see ``Adopt``.
    data: Mapping[Any, Any]
    #: When the session was created; ``None``: the same as ``touched``.
    created: float | None = None
    #: The time of the last activity; ``None``: now.
    touched: float | None = None
    #: When the other library would end the session; ``None``: never.
    expires: float | None = None
    #: The id of the user who is logged in: an int, a text or a UUID; ``None`` if nobody is.
    user_id: object = None
    #: Whether the cookie is kept after the browser closes; ``None``: the middleware's setting.
    persistent: bool | None = None
    #: Flashed messages that were not shown yet, as pairs of category and message.
    flashes: Sequence[tuple[str, Any]] = ()


class NotAdopted(Exception):
    """Raised by a reader if a session cannot be adopted. The visitor then has an empty session."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        #: One word: ``forged``, ``expired``, ``unknown``, ``ended``, ``corrupt``, ``unsupported``, ``too_large``.
        self.reason = reason
        #: What exactly, such as the name of a class. It must contain no part of the session.
        self.detail = detail


class Reader(ABC):
    """Reads and removes the sessions of another library. One reader serves many threads at once."""

    #: The name of the other library in events.
    name = ""
    #: Whether the whole session is in the cookie, so that there is no record to delete.
    in_cookie = False

    def __init__(self, cookie_name: str, *, cookie_path: str = "/", cookie_domain: str | None = None) -> None:
        check_cookie_options(cookie_name, cookie_path, cookie_domain, True, "Lax", False)
        self.cookie_name = cookie_name
        # Browsers accept a cookie of this prefix, also one that removes it, only if it is Secure.
        secure = cookie_name.startswith(("__Host-", "__Secure-"))
        #: As given, and as a WSGI environ has it.
        self.path, self.cookie_path = cookie_path, as_in_environ(cookie_path)
        self.domain = cookie_domain
        self._cookie = SessionCookie(cookie_name, path=cookie_path, domain=cookie_domain, secure=secure)

    @property
    def scope(self) -> str:
        """Distinguishes the ids of this reader from those of the others."""
        return f"{self.name}/{self.cookie_name}/{'cookie' if self.in_cookie else 'store'}"

    def cookie_values(self, header: str) -> list[str]:
        """Return the values of the other library's cookies in a Cookie header."""
        return self._cookie.read(header)

    def removals(self, header: str) -> list[str]:
        """Return the Set-Cookie values that remove these cookies."""
        return [self._cookie.remove()]

    def identify(self, value: str, now: float) -> str:
        """Return the id of the session that a cookie's value names, after checking its signature. It does no I/O.

        Two values that name one session must give one id, or the session could be adopted twice. Raises
        :class:`NotAdopted` if the value is forged or damaged. By default the value is the id.
        """
        return value

    @abstractmethod
    def load(self, session_id: str, now: float) -> Foreign | None:
        """Return the session, or ``None`` if there is none under this id.

        Raises :class:`NotAdopted` if it cannot be read, and ``StoreUnavailable`` if the store of the other library does
        not answer. Any other exception counts as a session that cannot be read.
        """

    @abstractmethod
    def delete(self, session_id: str) -> None:
        """Delete the session's record, if there is one. Raises ``StoreUnavailable`` if the store does not answer."""

    def session_ids(self) -> Iterator[str]:
        """Yield the ids of all stored sessions, for the command ``adopt``. Raises ``Unsupported`` if it cannot."""
        raise Unsupported(f"{type(self).__name__} cannot list its sessions.", operation="session_ids")
