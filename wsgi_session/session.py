"""``environ['session']``: a mapping that loads at the first look and remembers what changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from wsgi_session.codec.packing import CorruptData
from wsgi_session.cookies import tokens
from wsgi_session.cookies.caching import is_public
from wsgi_session.cookies.cookie import path_covers
from wsgi_session.errors import HeadersAlreadySent, StoreUnavailable
from wsgi_session.owner import logged_in
from wsgi_session.request import commit as saving
from wsgi_session.request.flash import Flash, find_flashes, put_flash
from wsgi_session.request.mapping import DraftMapping
from wsgi_session.request.work import OWNER, Draft

if TYPE_CHECKING:
    from wsgi_session.backends.base import Backend

T = TypeVar("T")

_NO_ENVIRON: Mapping[str, Any] = {}

# How far the response is.
OPEN, SENT, CLOSED = 0, 1, 2


class Session(DraftMapping):
    """The visitor's session: always there, empty for a visitor without one. Loads nothing until it is looked at.

    ``StoreUnavailable`` comes from any look while the store is out of order (with ``on_store_error="anonymous"``: only
    from writes); ``UnsupportedValue`` from the assignment of what cannot be kept, ``SessionTooLarge`` from that of a
    container over ``max_size``; ``HeadersAlreadySent`` from a change that comes too late to be kept.
    """

    # Defaults on the class: a session that nobody looks at sets none of them, and that is what it costs.
    _outage: StoreUnavailable | None = None
    _outage_raised = False
    _phase = OPEN
    # Whether anybody looked, also if that failed: the answer depends on the cookie then.
    _looked = False
    # The server's, at the first look: an application that rewrites its environ does not change the cookie's name.
    _scheme: str | None = None
    _sent_headers: list[tuple[str, str]] = []  # noqa: RUF012  (only ever replaced)
    # What a late first look needs of the environ.
    _left: tuple[str, str | None] | None = None

    def __init__(self, backend: Backend, environ: Mapping[str, Any]) -> None:
        self._backend = backend
        self._environ = environ

    def __repr__(self) -> str:
        draft = self._draft
        if draft is None:
            return "<Session, not looked at>"
        return f"<Session {draft.state}, handle {draft.handle}, {draft.values.count()} keys>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Session belongs to its request and cannot be copied or pickled: use session.copy()")

    # What it is.

    @property
    def is_new(self) -> bool:
        """True while there is no record of it."""
        return (self._draft or self._look()).record is None

    @property
    def state(self) -> str:
        """Why it is as it is: new, live, unknown, rotated, tampered, unavailable or destroyed.

        ``new``: no cookie. ``unknown``: expired, or never existed. ``rotated``: the cookie was replaced less than 60 s
        ago, while this request was under way; what it writes is dropped.
        """
        return (self._draft or self._look()).state

    @property
    def created(self) -> datetime | None:
        """When the session, or the login, began (aware, UTC); ``None`` while new."""
        return _moment((self._draft or self._look()).created)

    @property
    def expires(self) -> datetime | None:
        """When it ends if nothing more is heard of the visitor after this request (aware, UTC); ``None`` while new."""
        return _moment((self._draft or self._look()).expires)

    @property
    def handle(self) -> str | None:
        """The public name, for device lists and logs; ``None`` while new. It opens nothing."""
        return (self._draft or self._look()).handle

    @property
    def owner(self) -> str | None:
        """Whose it is while somebody is logged in: ``"id:5"``, ``"email:ann@example.com"``; else ``None``."""
        if self._user() is None:
            return None
        owner: str | None = self._peek(OWNER)
        return owner

    # What can be done with it.

    def rotate(self) -> None:
        """Change the token with this request's save: same data, handle and ``created``; the old token dies.

        OWASP: renew after any change of what the visitor may do. ``login()`` does it by itself.
        """
        self._writing(cookie=True).rotate()

    def destroy(self) -> None:
        """Delete the record now and remove the cookie. What is written afterwards starts a fresh session.

        Of several cookies that open a session, each session ends; one that was rotated a moment ago, where it is now.
        """
        draft = self._draft or self._look()
        if self._phase == CLOSED:
            raise _closed()
        if draft.state == "unavailable":
            raise self._unavailable()
        if self._backend.stateless:
            # All there is to end is the cookie.
            self._writing(cookie=True)
        try:
            draft.destroy()
        except StoreUnavailable as error:
            self._outage, self._outage_raised = error, True
            raise

    def atomic(self, function: Callable[[dict[str, Any]], T]) -> T:
        """Save what ``function`` makes of the newest data, at once; call it again if another request got there first.

        ``function`` gets a plain dict with this request's changes in it, and must have no other effects. For what two
        requests may not both do: counters, stock, codes that work once. Returns what ``function`` returned; raises
        ``SessionGone`` if the session has ended, ``StoreUnavailable`` if nothing can be saved. What it changed is read
        anew afterwards: ``session[key]`` is another object then, and a change to the one from before is not seen.
        """
        draft = self._writing()
        try:
            return saving.atomic(draft, function)
        except StoreUnavailable as error:
            self._outage, self._outage_raised = error, True
            raise

    def flash(self, message: str, category: str = "message") -> None:
        """Keep ``message`` until :meth:`flashes` is asked for it, in this request or a later one."""
        put_flash(self._writing().values, message, category, self._backend.settings.clock())

    def flashes(self, category: str | None = None) -> list[Flash]:
        """Return the messages (of ``category``, if given) and forget them. Each is text with a ``category``."""
        draft = self._draft or self._look()
        found = find_flashes(draft, category)
        if found:
            self._writing()
        for key, _ in found:
            draft.values.delete(key)
        return [message for _, message in found]

    @property
    def csrf_token(self) -> str:
        """A token for this session's forms, another text each time; see ``check_csrf``. Makes a new session stored."""
        draft = self._draft or self._look()
        bearer = draft.next_bearer or draft.bearer
        if bearer is None:
            draft = self._writing()
            bearer = draft.next_bearer = self._backend.draw()
            draft.wanted = True
        return tokens.csrf_token(bearer.token)

    def no_touch(self) -> None:
        """Do not count this request as activity: for polling, which would keep a session alive for ever."""
        (self._draft or self._look()).touching = False

    # For the rest of the package.

    def _peek(self, key: str | bytes, default: Any = None) -> Any:
        """Return a value that will only be looked at: it is not watched for changes."""
        draft = self._draft or self._look()
        try:
            return draft.values.peek(key)
        except KeyError:
            return default
        except CorruptData:
            draft.corrupt()
            return default

    def _user(self) -> Mapping[str, Any] | None:
        """Return who is logged in by what is stored, for a look: see :meth:`_peek`."""
        return logged_in(self._peek("user"))

    def _current_user(self) -> Mapping[str, Any] | None:
        """Return who is logged in by what the framework around this request says, for a look."""
        return self._user()

    def _login(self, user: dict[str, Any], remember: bool | None, idle_timeout: float | None) -> None:
        """What ``login()`` does; ``idle_timeout`` in seconds."""
        self._writing(cookie=True).log_in(user, persistent=remember, idle=idle_timeout)

    def _csrf_matches(self, token: object) -> bool:
        draft = self._draft or self._look()
        # The token that the browser holds: a form that was under way during a login still logs in.
        return draft.bearer is not None and tokens.csrf_matches(draft.bearer.token, token)

    def _handles(self) -> set[str]:
        """Return its public names: between a login and its save there are two."""
        draft = self._draft or self._look()
        stored = None if draft.record is None else draft.record.handle
        return {name for name in (draft.handle, stored) if name is not None}

    def _begin_again(self, environ: Mapping[str, Any]) -> None:
        """Forget the look and all that was to be saved. What acted at the call (``destroy``, ``atomic``) stays done."""
        self._draft = self._outage = None
        self._outage_raised = False
        self._environ = environ

    def _leave(self, headers: list[tuple[str, str]]) -> None:
        """End without a look: let go of the environ (see :meth:`_look`), but for what a late first look asks for."""
        self._phase = CLOSED
        self._sent_headers = headers
        environ = self._environ
        self._left = environ.get("HTTP_COOKIE", ""), environ.get("wsgi.url_scheme")
        self._environ = _NO_ENVIRON

    def _look(self) -> Draft:
        """Load the session: the one time that this request does."""
        if self._outage is not None:
            raise self._unavailable()
        self._looked = True
        if self._phase != OPEN:
            if is_public(self._sent_headers):
                raise HeadersAlreadySent(
                    "the first look at the session comes after the headers, which say that anybody may have this "
                    "response: look at the session before start_response, or do not mark the response public."
                )
            self._backend.settings.events("late_access")
            if self._left is not None:
                self._environ = dict(zip(("HTTP_COOKIE", "wsgi.url_scheme"), self._left, strict=True))
        backend = self._backend
        settings = backend.settings
        now = settings.clock()
        try:
            draft = self._draft = Draft(backend, now, backend.load(self._environ, now))
            if draft.record is None and settings.cookie_path != "/":
                draft.keep_nothing(unless=path_covers(settings.cookie_path, self._environ))
            if settings.validate is not None and draft.record is not None:
                self._validate(draft, settings.validate)
        except StoreUnavailable as error:
            self._backend.settings.events("unavailable", error=str(error))
            self._outage = error
            if not self._backend.settings.anonymous_in_outage:
                self._outage_raised = True
                raise
            draft = self._draft = Draft(self._backend, now, ("unavailable", None, None, {}))
        self._scheme = self._environ.get("wsgi.url_scheme")
        # It is not asked again. It holds this session, and would be a cycle: garbage that only a collection finds.
        self._environ = _NO_ENVIRON
        return draft

    def _validate(self, draft: Draft, validate: Callable[[Session], bool]) -> None:
        try:
            if self._user() is not None and not validate(self):
                draft.end("invalid")
        except BaseException:
            # Neither passed nor ended: it must not look valid to whoever catches this and reads on.
            self._draft = None
            raise

    def _writing(self, *, cookie: bool = False) -> Draft:
        """Return the draft if a change can still be kept (or dropped), else raise what says why not."""
        draft = self._draft or self._look()
        if draft.state == "unavailable":
            raise self._unavailable()
        if self._phase == OPEN:
            return draft
        if self._phase == CLOSED:
            raise _closed()
        bearing = draft.record is not None and draft.next_bearer is None
        if cookie or self._backend.stateless or not (bearing or draft.dead):
            raise HeadersAlreadySent(
                "this change needs a cookie, and the headers are out: make it before the response's first byte."
            )
        draft.late = True
        return draft

    def _unavailable(self) -> StoreUnavailable:
        """Return the outage again: one request asks the store once, not once a look."""
        first = self._outage
        assert first is not None
        self._outage_raised = True
        again = StoreUnavailable(str(first), retry_after=first.retry_after)
        again.__cause__ = first
        return again


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


def _closed() -> HeadersAlreadySent:
    return HeadersAlreadySent("the response is closed: nothing can be written to its session any more.")
