"""``environ['session']``: the public mapping over the request's unit of work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, NoReturn, TypeVar

from wsgi_session.backends.base import State
from wsgi_session.backends.stored_owner import OWNER
from wsgi_session.cookies import tokens
from wsgi_session.errors import StoreUnavailable
from wsgi_session.request import atomic, times
from wsgi_session.request.confirmation import Confirmation, last_confirmation
from wsgi_session.request.flash import Flash, find_flashes, put_flash
from wsgi_session.request.mapping import WorkMapping
from wsgi_session.request.work import Work

T = TypeVar("T")


class Session(WorkMapping):
    """The visitor's session: a mapping that always exists, and is empty for a visitor without a session.

    It is loaded on first access. Any access raises ``StoreUnavailable`` if the store is down (with
    ``on_store_error="anonymous"``, only writes do). An assignment raises ``UnsupportedValue`` for a value of an
    unsupported type, and ``SessionTooLarge`` for a container over ``max_size``. A change that comes too late to be
    saved raises ``HeadersAlreadySent``.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    def __repr__(self) -> str:
        data = self._work.data
        if data is None:
            return "<Session, not loaded>"
        return f"<Session {self._work.state}, handle {self._work.handle}, {len(data.keys())} keys>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A Session belongs to its request and cannot be copied or pickled. Use session.copy().")

    # Properties.

    @property
    def is_new(self) -> bool:
        """Whether nothing is stored for the visitor yet."""
        return self._work.open().record is None

    @property
    def state(self) -> State:
        """The session's state. In every state but ``live``, the session was empty when it was loaded.

        ``new``: the request has no session cookie. ``live``: a stored session was loaded. ``unknown``: the session has
        expired or ended, never existed, or is bound to a device that has not proved itself. ``rotated``: another
        request gave the session a new token less than 60 s ago; the changes of this request are dropped. ``tampered``:
        no secret of this middleware signed the cookie. ``unavailable``: the store is down (only with
        ``on_store_error="anonymous"``). ``destroyed``: this request ended the session.
        """
        return self._work.open().state

    @property
    def created(self) -> datetime | None:
        """The time of the login, or of the first save of an anonymous session (aware, UTC); ``None`` while new."""
        return _to_datetime(self._work.open().created)

    @property
    def expires(self) -> datetime | None:
        """When the session expires if no further request arrives (aware, UTC); ``None`` while new."""
        return _to_datetime(times.expires(self._work.open()))

    @property
    def handle(self) -> str | None:
        """The session's public name, for device lists and logs; ``None`` while new. It is not a credential."""
        return self._work.open().handle

    @property
    def owner(self) -> str | None:
        """The logged-in user, as ``"id:5"`` or ``"email:ann@example.com"``; ``None`` for an anonymous visitor."""
        if self._work.user() is None:
            return None
        owner: str | None = self._work.peek(OWNER)
        return owner

    @property
    def confirmed(self) -> Confirmation | None:
        """When (``at``, aware, UTC) and how (``method``) the logged-in user last proved who they are.

        That is the last ``confirm()``, or the login, without a method; ``None`` if no user is logged in with
        ``login()``, if only a cookie that remembers the user has logged them in, or if the session was adopted.
        """
        return None if self._work.user() is None else last_confirmation(self._work)

    # Methods.

    def rotate(self) -> None:
        """Replace the token when this request is saved. Data, handle and ``created`` stay the same.

        From then on the old token is invalid. OWASP advises to renew the token after any change of the visitor's
        rights. ``login()`` does it by itself. Raises ``HeadersAlreadySent`` after the headers were sent.
        """
        self._work.writable(needs_cookie=True)
        self._work.rotate()

    def destroy(self) -> None:
        """Delete the record immediately and remove the cookie. Later writes in this request start a new session.

        If the request has several session cookies, the session of each is ended. A session that another request has
        just rotated is ended under its new token.
        """
        self._work.destroy()

    def reload(self) -> bool:
        """Load the newest stored data; return whether the session is still live. For streams that live long.

        Unsaved changes of this request are kept, and ``session[key]`` is a new object for each other key. ``validate``
        is called again. False if the session has ended, has expired, or has a new token (a login, ``rotate``) that the
        client has not used here: end the stream, so that the client comes again with its new cookie. With ``cookie://``,
        where no newer data can be loaded, this does nothing. Raises ``StoreUnavailable`` if the store is down.
        """
        return self._work.reload()

    def atomic(self, function: Callable[[dict[str, Any]], T]) -> T:
        """Apply ``function`` to the newest data and save the result immediately; return what ``function`` returned.

        ``function`` gets a dict of the newest stored data with this request's changes. It is called again if another
        request wrote in between, so it must have no other effects. Use it for counters, stock, and codes that work
        once. Afterwards, ``session[key]`` is a new object for each value that ``function`` changed, and changes to the
        earlier object are not saved. If this request has called ``login()``, the login and what the request has written
        since then are saved with the response, and not by this call.

        Raises ``SessionGone`` if the session has ended, ``Unsupported`` with ``cookie://``, and ``StoreUnavailable`` if
        the store is down or other requests wrote first again and again.
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
        """Return all messages, or only those of ``category``, oldest first, and delete them; an empty list if none.

        Each message is a ``str`` with an attribute ``category``.
        """
        found = find_flashes(self._work, category)
        if found:
            data = self._work.writable()
            for key, _ in found:
                data.delete(key)
        return [message for _, message in found]

    @property
    def csrf_token(self) -> str:
        """A token for this session's forms, for ``check_csrf``; a different text each time.

        The first use creates the session of a visitor who has none.
        """
        work = self._work.open()
        credential = work.next_credential or work.credential
        if credential is None:
            work.writable()
            credential = work.renew()
        return tokens.csrf_token(credential.token)

    def no_touch(self) -> None:
        """Do not count this request as activity. Use it for polling, which would keep a session alive forever."""
        self._work.open().touching = False


def work_of(session: Any) -> Work:
    """Return the unit of work behind a session, for the helpers, the integrations and ``testing``."""
    work: Work = session._work  # noqa: SLF001  (the one place outside of the class)
    return work


def _to_datetime(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
