"""``request.session``: a session with the methods that Pyramid and its applications expect."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, NoReturn

from pyramid.interfaces import ISession
from zope.interface import implementer

from wsgi_session.cookies.tokens import unmasked_csrf_token
from wsgi_session.errors import Unsupported
from wsgi_session.integrations.logins import revert
from wsgi_session.integrations.names import public_name
from wsgi_session.request.flash import find_messages, put_message
from wsgi_session.request.mapping import WorkMapping
from wsgi_session.session import Session, work_of


@implementer(ISession)
class PyramidSession(WorkMapping):
    """``request.session``: a session with Pyramid's methods. All other attributes are those of :class:`Session`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._work = work_of(session)
        self._accessed_at = self._work.backend.settings.clock()

    # The methods of Pyramid's ISession.

    @property
    def created(self) -> int:
        """The session's ``created`` in seconds since the epoch; for a new session, the time of its first use."""
        created = self._session.created
        return int(self._accessed_at if created is None else created.timestamp())

    @property
    def new(self) -> bool:
        """Whether nothing is stored yet."""
        return self._session.is_new

    def invalidate(self) -> None:
        """End the session immediately. Data written afterwards starts a new session with another token."""
        self._session.destroy()

    def changed(self) -> None:
        """Do nothing, because a change inside a nested value is found without it."""

    def flash(self, msg: Any, queue: str = "", allow_duplicate: bool = True) -> None:
        """Append a message of any supported type to ``queue``.

        A subclass of ``str`` (a translation string, markup) is stored as plain text.
        """
        message = str(msg) if isinstance(msg, str) else msg
        if allow_duplicate or message not in self.peek_flash(queue):
            put_message(self._work.writable(), message, queue, self._work.backend.settings.clock())

    def pop_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of ``queue``, oldest first, and delete them."""
        found = find_messages(self._work, queue)
        if found:
            data = self._work.writable()
            for key, _, _ in found:
                data.delete(key)
        return [message for _, _, message in found]

    def peek_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of ``queue``, oldest first, without deleting them."""
        return [message for _, _, message in find_messages(self._work, queue)]

    def get_csrf_token(self) -> str:
        """Return the CSRF token: the same text until the session gets a new token (``login``, ``new_csrf_token``)."""
        return unmasked_csrf_token(self._session.csrf_token)

    def new_csrf_token(self) -> str:
        """Return a new CSRF token. It is derived from the session's token, so that one changes too."""
        self._work.writable(needs_cookie=True)
        self._work.renew()
        return self.get_csrf_token()

    # What other session libraries for Pyramid offer: its own cookie sessions, pyramid_beaker and pyramid_session_redis.

    @property
    def id(self) -> str:
        """The session's ``handle``, which a new session has already. It is public, and not a credential."""
        return public_name(self._work)

    session_id = id

    def ensure_id(self) -> str:
        """Return :attr:`id`."""
        return self.id

    @property
    def session_id_safecheck(self) -> str | None:
        """:attr:`id`, or ``None`` while the session is empty."""
        return self.id if self else None

    @property
    def accessed(self) -> float:
        """When the visitor's activity was last recorded, in seconds since the epoch; for a new session, now."""
        record = self._work.open().record
        return self._accessed_at if record is None else record.touched

    renewed = accessed

    @property
    def last_accessed(self) -> float | None:
        """:attr:`accessed`, or ``None`` for a new session."""
        return None if self.new else self.accessed

    @property
    def timeout(self) -> int:
        """The idle timeout in seconds."""
        work = self._work.open()
        own = None if work.record is None else work.record.idle
        idle = work.backend.settings.lifetime.idle
        return int(idle if own is None else min(own, idle))

    def delete(self) -> None:
        """End the session immediately, like :meth:`invalidate`."""
        self._session.destroy()

    def regenerate_id(self) -> None:
        """Give the session a new token; data and :attr:`id` stay. See ``Session.rotate``."""
        self._session.rotate()

    def dirty(self) -> bool:
        """Return whether this request has changed something so far, including nested values."""
        work = self._work
        return work.data is not None and (work.data.find_changes() or work.next_credential is not None)

    def revert(self) -> None:
        """Discard this request's changes, also a login. What acted immediately (:meth:`delete`) stays done."""
        revert(self._work)

    def save(self, accessed_only: bool = False) -> None:
        """Do nothing, because changes are found and saved when the response is ready, without it."""

    persist = please_recookie = save

    def do_persist(self, serialized_session: object = None) -> None:
        """Do nothing, like :meth:`save`."""

    def do_refresh(self, force_redis_ttl: object = None) -> None:
        """Do nothing, because activity is recorded without it."""

    def adjust_cookie_max_age(self, max_age: timedelta | float | None) -> None:
        """Keep the cookie after the browser closes, or with ``None`` only until then, like ``remember`` of ``login()``.

        The cookie then lives as long as the session: until the idle timeout has passed since the last activity. Raises
        ``Unsupported`` for less than that (in seconds, or a timedelta), and ``HeadersAlreadySent`` after the headers.
        """
        seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
        if seconds is not None and seconds < self.timeout:
            raise Unsupported(
                f"A cookie that lives {seconds:g} s would end before its session, which lives {self.timeout} s without "
                "activity. Call login(request, user, idle_timeout=…) for a shorter session.",
                operation="adjust_cookie_max_age",
            )
        work = self._work.open()
        persistent = seconds is not None
        if work.persistent != persistent:
            work.writable(needs_cookie=True)
            work.set_persistent(persistent)

    def adjust_cookie_expires(self, expires: datetime | timedelta | None) -> None:
        """Do the same as :meth:`adjust_cookie_max_age`. A naive datetime is UTC."""
        if isinstance(expires, datetime):
            moment = expires if expires.tzinfo else expires.replace(tzinfo=timezone.utc)
            expires = timedelta(seconds=moment.timestamp() - self._work.backend.settings.clock())
        self.adjust_cookie_max_age(expires)

    def adjust_session_timeout(self, timeout_seconds: float) -> NoReturn:
        """Raise ``Unsupported``: only a login can give its session a timeout of its own."""
        raise Unsupported(
            "Only a login can give its session a timeout of its own. Call login(request, user, idle_timeout=…), or set "
            "wsgi_session.idle_timeout for all sessions.",
            operation="adjust_session_timeout",
        )

    adjust_session_expires = adjust_expires_for_session = adjust_timeout_for_session = adjust_session_timeout

    def has_key(self, key: object) -> bool:
        return key in self

    def iterkeys(self) -> Iterator[str]:
        return iter(self)

    def itervalues(self) -> Iterator[Any]:
        return iter(self.values())

    def iteritems(self) -> Iterator[tuple[str, Any]]:
        return iter(self.items())

    # Methods of Session that WorkMapping would replace.

    def __setitem__(self, key: str, value: Any) -> None:
        self._session[key] = value

    def __delitem__(self, key: str) -> None:
        del self._session[key]

    def update(self, other: Any = (), /, **more: Any) -> None:
        self._session.update(other, **more)

    def destroy(self) -> None:
        self._session.destroy()

    def __repr__(self) -> str:
        return repr(self._session)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self._session.__reduce_ex__(protocol)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)
