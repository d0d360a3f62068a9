"""``flask.session``: ours, with what Flask and its extensions ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask.sessions import SessionMixin
from flask.wrappers import Response

from wsgi_session.integrations.flask_flashes import FlashedMessages, kept
from wsgi_session.integrations.flask_work import FlaskWork
from wsgi_session.request.flash import put_message
from wsgi_session.session import Session

# Where Flask's flash() and get_flashed_messages() look.
_FLASHES = "_flashes"
# Where Flask-Login says what the remember cookie of this answer is to become.
_REMEMBER = "_remember"


class FlaskSession(Session, SessionMixin):
    """``flask.session``: a :class:`~wsgi_session.Session` with what Flask and its extensions ask for."""

    _work: FlaskWork
    #: Saves a session that no middleware is around, and puts its cookie into the response.
    save_into: Callable[[Response], None] | None = None
    # The messages as they were handed out last.
    _flashed: FlashedMessages | None = None

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser. On the server either sort ends when the idle timeout is over.

        Changing it in a session that is stored changes the token, as ``rotate`` does. Setting it is not a look: where
        ``before_request`` does so, a request that needs no session still costs no store call.
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
    def new(self) -> bool:  # type: ignore[override]  # an attribute in SessionMixin, though nobody's to set
        """True while nothing is stored: ``is_new``."""
        return self.is_new

    @property
    def modified(self) -> bool:
        """Whether this request has changed something so far, inside nested values too. Need not be set."""
        data = self._work.data
        if data is None:
            return False
        return data.find_changes() or self._work.next_credential is not None or self._work.state == "destroyed"

    @modified.setter
    def modified(self, value: bool) -> None:
        """Do nothing: what changed is seen, and what did not change is not written."""

    @property
    def accessed(self) -> bool:
        """Whether anybody has looked: then the answer says ``Vary: Cookie``."""
        return self._work.accessed

    @accessed.setter
    def accessed(self, value: bool) -> None:
        """Do nothing: Flask sets this where ``flask.session`` is only named, too."""

    def clear(self) -> None:
        """End the session; what is written afterwards starts a fresh one, with another token: ``destroy``.

        In Flask this is how people log in and out (its tutorial does), and nobody else may know the token then.
        """
        self.destroy()

    def __getitem__(self, key: str) -> Any:
        if key != _FLASHES:
            return super().__getitem__(key)
        if messages := self._messages():
            return messages
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        return Mapping.get(self, key, default)  # By way of __getitem__.

    def __contains__(self, key: object) -> bool:
        if key == _REMEMBER and self._work.data is None:
            # Flask-Login asks after each request whether this one logged in or out. It did not if the session was never
            # looked at, and in an outage the question would replace the application's own page for it.
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
        """Return category and message of all that is flashed.

        Flask keeps one list of them in the session, where overlapping requests would lose each other's. Here they are
        what ``flash`` makes: each a record key of its own, outside the mapping.
        """
        data = self._work.data or self._work.load()
        flashed = self._flashed
        if flashed is None or not flashed.is_what_is_kept(data) or len(flashed) != len(flashed.keys):
            flashed = self._flashed = FlashedMessages(self._work)
        return flashed

    def _set_messages(self, messages: Iterable[tuple[str, Any]]) -> None:
        """Make ``messages`` what is flashed: mostly what was, and one more."""
        data = self._work.writable()
        flashed = self._flashed
        if flashed is None or messages is not flashed or not flashed.is_what_is_kept(data):
            messages = list(messages)
            flashed = self._messages()
            if messages[: len(flashed)] != flashed:
                for key in flashed.keys:
                    data.delete(key)
                flashed = self._messages()
            flashed.extend(messages[len(flashed) :])
        now = self._work.backend.settings.clock()
        for category, message in flashed[len(flashed.keys) :]:
            flashed.keys.append(put_message(data, kept(message), category, now))
        flashed.note_edits()
