"""``flask.session``: a session with the attributes that Flask and its extensions expect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from flask.sessions import SecureCookieSession, SessionMixin
from flask.wrappers import Response

from wsgi_session.integrations.flask_flashes import FlashedMessages, to_stored
from wsgi_session.integrations.flask_logins import follow_stored_user, sends_remember_cookie
from wsgi_session.integrations.flask_work import FlaskWork
from wsgi_session.integrations.names import public_name
from wsgi_session.request.flash import put_message
from wsgi_session.request.states import OPEN
from wsgi_session.session import Session

T = TypeVar("T")

# The key that Flask's flash() and get_flashed_messages() use.
_FLASHES = "_flashes"
# The key under which Flask-Login stores what to do with the remember cookie in this response.
_REMEMBER = "_remember"


class FlaskSession(Session, SessionMixin):
    """``flask.session``: a :class:`~wsgi_session.Session` with the attributes that Flask and its extensions expect."""

    _work: FlaskWork
    #: Saves the session, and adds its cookie to the response; set only outside of the middleware.
    save_into: Callable[[Response], None] | None = None
    # The messages as they were last returned.
    _flashed: FlashedMessages | None = None

    @property
    def permanent(self) -> bool:
        """Whether the browser keeps the cookie after it closes. On the server, the idle timeout applies in both cases.

        Changing it in a stored session changes the token, as ``rotate`` does. Setting it does not load the session: if
        ``before_request`` sets it, a request that needs no session still costs no store call.
        """
        return self._work.open().persistent

    @permanent.setter
    def permanent(self, value: bool) -> None:
        work = self._work
        work.permanent = bool(value)
        if work.data is None:
            return
        if work.persistent != work.permanent:
            work.writable(needs_cookie=True)
        work.set_persistent(work.permanent)

    @property
    def sid(self) -> str:
        """The session's public name, its ``handle``, which a new session has already; Flask-Session's name for it.

        It is not what the cookie contains, and not a credential. ``sessions.revoke(user, sid)`` ends the session.
        """
        return public_name(self._work)

    @sid.setter
    def sid(self, value: object) -> None:
        raise AttributeError(
            "The sid cannot be chosen. For a new token, call app.session_interface.regenerate(session)."
        )

    @property
    def new(self) -> bool:  # type: ignore[override]  # an attribute in SessionMixin, though applications never set it
        """Whether nothing is stored yet, like ``is_new``."""
        return self.is_new

    @property
    def modified(self) -> bool:
        """Whether this request has changed something so far, including nested values. You never need to set it."""
        work = self._work
        if work.data is None:
            return False
        return work.saved or work.data.find_changes() or work.next_credential is not None or work.state == "destroyed"

    @modified.setter
    def modified(self, value: bool) -> None:
        """Do nothing, because changes are found without it."""

    @property
    def accessed(self) -> bool:
        """Whether the session was accessed. If so, the response has ``Vary: Cookie``."""
        return self._work.accessed

    @accessed.setter
    def accessed(self, value: bool) -> None:
        """Do nothing, because Flask also sets this if ``flask.session`` is only referenced."""

    def clear(self) -> None:
        """End the session, like ``destroy``. Data written afterwards starts a new session with another token.

        Flask applications call this to log in and out (its tutorial does), and both have to change the token. As with
        Flask's own sessions, Flask-Login's remember cookie stays.
        """
        super().destroy()

    def destroy(self) -> None:
        super().destroy()
        work = self._work
        if work.phase is OPEN and work.has_response and work.backend.browser_sends and sends_remember_cookie():
            # Otherwise that cookie would log the visitor in again. Flask-Login removes it, and this key.
            super().__setitem__(_REMEMBER, "clear")

    def atomic(self, function: Callable[[dict[str, Any]], T]) -> T:
        # A user id that was stored without a signal is a login: atomic() must not save it under the token from before.
        follow_stored_user(self._work)
        return super().atomic(function)

    def __getitem__(self, key: str) -> Any:
        if key != _FLASHES:
            return super().__getitem__(key)
        if messages := self._messages():
            return messages
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        if key == _REMEMBER and not self._work.backend.browser_sends:
            # Flask-Login then ignores its remember cookie. Otherwise a script that sends its token in a header would be
            # logged in by that cookie, and get a token for it.
            return "clear"
        return Mapping.get(self, key, default)  # This calls __getitem__.

    def __contains__(self, key: object) -> bool:
        if key == _REMEMBER and self._work.data is None:
            # Flask-Login asks this after each request. A request that never used the session has not logged in or out.
            # Loading the session now could raise an outage, which would replace the application's own response.
            return False
        return bool(self._messages()) if key == _FLASHES else super().__contains__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key == _FLASHES:
            self._set_messages(value)
        else:
            super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        if key != _FLASHES:
            super().__delitem__(key)
        elif key in self:
            self._set_messages([])
        else:
            raise KeyError(key)

    def update(self, other: Any = (), /, **more: Any) -> None:
        items = dict(other, **more)
        if _FLASHES in items:
            self[_FLASHES] = items.pop(_FLASHES)
        super().update(items)

    def _messages(self) -> FlashedMessages:
        """Return category and message of all flashed messages.

        Flask keeps all messages in one list, so overlapping requests would lose some. Here each message has its own
        internal key, as with ``Session.flash``.
        """
        data = self._work.data or self._work.load()
        flashed = self._flashed
        if flashed is None or not flashed.is_current(data) or len(flashed) != len(flashed.keys):
            flashed = self._flashed = FlashedMessages(self._work)
        return flashed

    def _set_messages(self, messages: Iterable[tuple[str, Any]]) -> None:
        """Replace the flashed messages by ``messages``, which are usually the same ones and one more."""
        data = self._work.writable()
        flashed = self._flashed
        if flashed is None or messages is not flashed or not flashed.is_current(data):
            messages = list(messages)
            flashed = self._messages()
            if messages[: len(flashed)] != flashed:
                for key in flashed.keys:
                    data.delete(key)
                flashed = self._messages()
            flashed.extend(messages[len(flashed) :])
        now = self._work.backend.settings.clock()
        for category, message in flashed[len(flashed.keys) :]:
            flashed.keys.append(put_message(data, to_stored(message), category, now))
        flashed.mark_stored()


# For applications that ask isinstance(session, SecureCookieSession).
SecureCookieSession.register(FlaskSession)


def register_with_flask_session() -> None:
    """Let ``isinstance(session, ServerSideSession)`` be true, if Flask-Session is installed."""
    try:
        from flask_session.base import ServerSideSession
    except ImportError:
        return
    ServerSideSession.register(FlaskSession)
