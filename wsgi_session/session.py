"""``environ['session']``: the public mapping, thin over the request's unit of work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, NoReturn, TypeVar

from wsgi_session.backends.base import State
from wsgi_session.cookies import tokens
from wsgi_session.errors import StoreUnavailable
from wsgi_session.request import atomic, times
from wsgi_session.request.flash import Flash, find_flashes, put_flash
from wsgi_session.request.login import OWNER
from wsgi_session.request.mapping import WorkMapping
from wsgi_session.request.work import Work

T = TypeVar("T")


class Session(WorkMapping):
    """The visitor's session: a mapping that is always there, and empty for a visitor without a session.

    It is loaded at its first use. Any use raises ``StoreUnavailable`` while the store is down (with
    ``on_store_error="anonymous"``: only writes do); an assignment raises ``UnsupportedValue`` for a value of an
    unsupported type, and ``SessionTooLarge`` for a container over ``max_size``; a change that comes too late to be
    saved raises ``HeadersAlreadySent``.
    """

    __slots__ = ()

    def __init__(self, work: Work) -> None:
        self._work = work

    def __repr__(self) -> str:
        data = self._work.data
        if data is None:
            return "<Session, not loaded>"
        return f"<Session {self._work.state}, handle {self._work.handle}, {data.count()} keys>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A Session belongs to its request and cannot be copied or pickled: use session.copy().")

    # What it is.

    @property
    def is_new(self) -> bool:
        """True while nothing is stored for the visitor."""
        return self._work.open().record is None

    @property
    def state(self) -> State:
        """Why it is as it is: new, live, unknown, rotated, tampered, unavailable or destroyed.

        ``new``: no cookie. ``unknown``: expired, or never existed. ``rotated``: the cookie was replaced less than 60 s
        ago, while this request was under way; what it writes is dropped.
        """
        return self._work.open().state

    @property
    def created(self) -> datetime | None:
        """When the session, or the login, began (aware, UTC); ``None`` while new."""
        return _moment(self._work.open().created)

    @property
    def expires(self) -> datetime | None:
        """When it ends if no further request arrives (aware, UTC); ``None`` while new."""
        return _moment(times.expires(self._work.open()))

    @property
    def handle(self) -> str | None:
        """The public name, for device lists and logs; ``None`` while new. It proves nothing."""
        return self._work.open().handle

    @property
    def owner(self) -> str | None:
        """The user who is logged in, as ``"id:5"`` or ``"email:ann@example.com"``; ``None`` if nobody is."""
        if self._work.user() is None:
            return None
        owner: str | None = self._work.peek(OWNER)
        return owner

    # What can be done with it.

    def rotate(self) -> None:
        """Change the token when this request is saved: same data, handle and ``created``; the old token ends.

        OWASP: renew the token after any change of what the visitor may do. ``login()`` does it by itself.
        """
        self._work.writable(needs_cookie=True)
        self._work.rotate()

    def destroy(self) -> None:
        """Delete the record immediately and remove the cookie. What is written afterwards starts a new session.

        If the request brought several cookies that lead to a session, each session ends; so does one that was rotated a
        moment ago, under its new token.
        """
        self._work.destroy()

    def atomic(self, function: Callable[[dict[str, Any]], T]) -> T:
        """Apply ``function`` to the newest data and save the result; again if another request wrote in between.

        ``function`` gets a dict with this request's changes in it, and must have no other effects. For what two
        requests must not both do: counters, stock, codes that work once. Returns what ``function`` returned; raises
        ``SessionGone`` if the session has ended, ``Unsupported`` with ``cookie://``, ``StoreUnavailable`` if nothing
        can be saved. Values that it changed are read anew afterwards: ``session[key]`` is another object then, and a
        change to the earlier one is not seen.
        """
        data = self._work.writable()
        try:
            return atomic.apply(self._work, data, function)
        except StoreUnavailable as error:
            self._work.note_outage(error)
            raise

    def flash(self, message: str, category: str = "message") -> None:
        """Store ``message`` until :meth:`flashes` returns it, in this request or a later one."""
        put_flash(self._work.writable(), message, category, self._work.backend.settings.clock())

    def flashes(self, category: str | None = None) -> list[Flash]:
        """Return the messages (of ``category``, if given) and delete them. Each is text with a ``category``."""
        found = find_flashes(self._work, category)
        if found:
            data = self._work.writable()
            for key, _ in found:
                data.delete(key)
        return [message for _, message in found]

    @property
    def csrf_token(self) -> str:
        """A token for this session's forms, another text each time; see ``check_csrf``. A new session gets stored."""
        work = self._work.open()
        credential = work.next_credential or work.credential
        if credential is None:
            work.writable()
            credential = work.renew()
        return tokens.csrf_token(credential.token)

    def no_touch(self) -> None:
        """Do not count this request as activity: for polling, which would keep a session alive for ever."""
        self._work.open().touching = False


def work_of(session: Any) -> Work:
    """Return the unit of work behind a session: the entrance for the helpers, the integrations and ``testing``."""
    work: Work = session._work
    return work


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
