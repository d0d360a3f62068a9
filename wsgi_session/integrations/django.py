"""Django: ``SESSION_ENGINE``, and ``request.session`` is kept in our stores, by our rules.

::

    SESSION_ENGINE = "wsgi_session.integrations.django"
    WSGI_SESSION_STORE = "sqlite:///sessions.db"
    WSGI_SESSION_OPTIONS = {"absolute_timeout": timedelta(days=90)}  # if you like: absolute_timeout, max_size, on_event

Django's own ``SessionMiddleware`` stays: it says when to save, and writes the cookie, by Django's SESSION_COOKIE_*
settings. SECRET_KEY signs what is in it; what SECRET_KEY_FALLBACKS signed is good too. SESSION_COOKIE_NAME is the
namespace: two sites over one store give it two names.

What differs from Django's own engines:

* A save carries the keys that this request changed, on top of what others have saved by then. A change inside a value
  is seen without ``session.modified = True``.
* ``session_key`` is the secret that the browser holds; no store has it. What names a session, in a log or a table, is
  ``session.handle``.
* ``cycle_key()`` takes effect with the save, in one step: if the request fails, the visitor keeps the session he had.
* A cookie that opens nothing is left alone, as a login in a parallel request may just have replaced it; ``flush()``
  removes it. A write to a session that ended meanwhile is answered with 400, as with Django's engines.
* SESSION_SERIALIZER is for ``encode()`` and ``decode()`` only. Values come back as the types they went in; what cannot
  be kept is an ``UnsupportedValue`` (a ``TypeError``) at the assignment.
* While the store is out of order, a look at the session raises ``StoreUnavailable``: Django answers 500, and the
  visitor keeps the cookie.
* A login with ``django.contrib.auth`` has a new key and handle, and can be ended from elsewhere: :func:`sessions`.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY as USER_ID
from django.contrib.auth import user_logged_in
from django.contrib.sessions.backends.base import UpdateError
from django.dispatch import receiver
from django.http import HttpRequest

from wsgi_session.backends.base import Bearer
from wsgi_session.cookies import tokens
from wsgi_session.integrations.django_answer import leave_alone
from wsgi_session.integrations.django_async import AsynchronousSession
from wsgi_session.integrations.django_site import HelpersMiddleware as HelpersMiddleware
from wsgi_session.integrations.django_site import backend
from wsgi_session.integrations.django_site import sessions as sessions
from wsgi_session.integrations.logins import file_login, owner_named
from wsgi_session.request import commit as saving
from wsgi_session.request.records import touched_times
from wsgi_session.request.work import Draft
from wsgi_session.session import Session
from wsgi_session.stores.contract import Sweeps

_SWEEP_BATCH = 1000


class SessionStore(AsynchronousSession):
    """``request.session``. A subclass may have a ``get_session_cookie_age()`` of its own, as Django's engines may."""

    # There once it is looked at, under Django's own name.
    _session_cache: Session
    _modified = False
    # Whether the store was out of order at a look.
    _failed = False

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._backend = backend()

    @property
    def handle(self) -> str | None:
        """The public name, for device lists and logs; ``None`` while nothing is stored. It opens nothing."""
        return self._draft.handle

    @property
    def modified(self) -> bool:
        """Whether there is something to save: also a change inside a value, or a signature by an older secret."""
        if not self._modified and (draft := self._loaded) is not None:
            before = draft.values.changed.copy()
            draft.values.collect()
            live = draft.bearer if draft.record is not None else None
            self._modified = draft.values.changed != before or (live is not None and not live.current)
        return self._modified

    @modified.setter
    def modified(self, modified: bool) -> None:
        self._modified = modified

    def is_empty(self) -> bool:
        """Whether there is neither a session nor anything to save: Django then removes the cookie.

        A cookie that opens nothing is left alone, as a login in a parallel request may have replaced it by now.
        """
        draft = self._loaded
        if self._failed:
            # In an outage there is nothing to ask, and the application may have answered with a page of its own.
            return leave_alone()
        if draft is None or draft.state not in ("unknown", "tampered", "rotated"):
            return super().is_empty()
        return False if self._session_cache else leave_alone()

    # In the store.

    def load(self) -> Session:  # type: ignore[override]  # a mapping that is no dict
        """Read what is stored, without this request's changes. A key that opens nothing is forgotten."""
        draft = self._look_up(self._open(self.session_key))
        if draft.state == "new" and self.session_key is not None:
            draft.state = "tampered"
            self._backend.settings.events("tampered", cookies=1)
            self._backend._cookies.warn_of_foreign(map(tokens.looks_signed, [self.session_key]))
        if draft.record is None:
            self._session_key = None
        return _session_of(draft)

    def exists(self, session_key: str | None) -> bool:
        """Whether the key opens a session. One that ``cycle_key()`` has replaced does not."""
        bearer = self._open(session_key)
        del session_key  # A traceback may show what is here.
        found, own = self._look_up(bearer), self._loaded
        if found.record is None or found.bearer is None:
            return False
        replaced = own.bearer if own is not None and own.next_bearer is not None else None
        return replaced is None or replaced.key != found.bearer.key

    def create(self) -> None:
        """Store a new session with what is in this one. The one that it comes from stays as it is."""
        values = {} if self._loaded is None else self._session_cache.copy()
        self._session_key = None
        self._session_cache = self.load()
        self._session_cache.update(values)
        self.save()
        self.modified = True

    def save(self, must_create: bool = False) -> None:
        """Save what this request changed; ``UpdateError`` if the session ended meanwhile."""
        if must_create:
            self.create()
            return
        draft = self._draft
        self._file(draft)
        now = draft.backend.settings.clock()
        self._prolong(draft, now)
        # What is saved is stored, in Django also if it is empty.
        draft.wanted = True
        if not saving.save(draft) and not self._touch(draft, now):
            raise UpdateError
        if draft.record is None or draft.bearer is None:
            raise UpdateError
        self._session_key = self._signed(draft.bearer)
        if self._backend.sweep_due:
            self._backend.sweep(now)

    def log_in(self) -> None:
        """Note that ``django.contrib.auth`` has just logged somebody in: each login has a key and a handle of its own.

        So of two logins at once both get a session, the second one too, whose session the first has moved.
        """
        draft = self._draft
        file_login(draft, self[USER_ID], USER_ID)
        assert draft.next_bearer is not None
        self._session_key = self._signed(draft.next_bearer)

    def delete(self, session_key: str | None = None) -> None:
        """End the session of that key, by default this one, which cannot be saved any more then."""
        own = session_key is None or session_key == self.session_key
        bearer = self._open(session_key)
        del session_key
        draft = self._draft if own else self._look_up(bearer)
        if draft.record is not None:
            draft.destroy()
            draft.dead = True

    def flush(self) -> None:
        """End the session, now and everywhere. What is written afterwards starts a new one."""
        draft = self._draft
        draft.destroy()
        self._session_key = None
        # What comes with a key that was just replaced changes nothing, and says nothing to the browser.
        self._modified = self._modified or not draft.dead

    def cycle_key(self) -> None:
        """Take a new key, with the same data, from the save on."""
        bearer = self._draft.next_bearer = self._backend.draw()
        self._session_key = self._signed(bearer)
        self.modified = True

    def clear(self) -> None:
        """Drop every key, those that another request adds meanwhile too. The session itself stays."""
        self._draft.values.clear()
        self.modified = True

    def setdefault(self, key: str, value: Any) -> Any:  # type: ignore[override]  # Django's own has no overloads
        """As a ``dict`` does. If a login builds the session anew, the value that was there is kept too."""
        self.modified = self.modified or key not in self._session
        return self._session.setdefault(key, value)

    @classmethod
    def clear_expired(cls) -> None:
        """Remove what has been dead for over an hour: the command ``clearsessions``. Some engines do so themselves."""
        store, clock = backend().store, backend().settings.clock
        while isinstance(store, Sweeps) and store.sweep(_SWEEP_BATCH, clock()):
            pass

    async def _aget_session(self, no_load: bool = False) -> Session:
        if self._loaded is None:
            await sync_to_async(self._get_session)()
        return self._get_session()

    # How it comes to be.

    def _get_session(self, no_load: bool = False) -> Session:
        self.accessed = True
        if self._loaded is None:
            self._failed = True
            self._session_cache = self.load()
            self._failed = False
        return self._session_cache

    _session = property(_get_session)

    @property
    def _loaded(self) -> Draft | None:
        session: Session | None = self.__dict__.get("_session_cache")
        return None if session is None else session._draft

    @property
    def _draft(self) -> Draft:
        draft = self._get_session()._draft
        assert draft is not None
        return draft

    def _open(self, session_key: str | None) -> Bearer | None:
        """Return who bears the session of that key, ``None`` if we did not sign it."""
        opened = self._backend._tokens.open(session_key) if session_key is not None else None
        if opened is None:
            return None
        token, current = opened
        return Bearer(token, current, tokens.key_of(token))

    def _look_up(self, bearer: Bearer | None) -> Draft:
        """Return what is stored, judged by the current settings and by what ``set_expiry()`` left in it."""
        # A copy: each save has settings of its own.
        own = copy(self._backend)
        now = own.settings.clock()
        if bearer is None:
            return Draft(own, now, ("new", None, None, {}))
        draft = Draft(own, now, own.look_up(bearer, now))
        if draft.record is not None and now >= self._ends(draft, draft.record.touched):
            return Draft(own, now, ("unknown", bearer, None, {}))
        return draft

    def _ends(self, draft: Draft, touched: float) -> float:
        """Return when the session dies if it was last saved at ``touched``."""
        expiry = _session_of(draft)._peek("_session_expiry")
        saved = datetime.fromtimestamp(touched, timezone.utc)
        return self.get_expiry_date(modification=saved, expiry=expiry).timestamp()

    def _prolong(self, draft: Draft, now: float) -> None:
        """Let the record live as long as the session is to. A life once promised to the store is never shortened."""
        idle = self._ends(draft, now) - now
        if draft.record is not None:
            # Alive up to this save, however short its life is from now on: _look_up() goes by that.
            idle = max(idle, now - draft.record.touched + 1)
        draft.backend.settings = replace(draft.backend.settings, idle=idle, touch_interval=0.0)

    def _file(self, draft: Draft) -> None:
        """File the session under the user who was put into it by hand, so that it can be found and revoked."""
        user = _session_of(draft)._peek(USER_ID)
        if user is None or (draft.login is not None and draft.login.owner == owner_named(user)):
            return
        filed_under = tokens.owner_key(draft.backend.settings.namespace, owner_named(user))
        if draft.record is None or draft.record.owner != filed_under:
            file_login(draft, user, USER_ID)

    def _touch(self, draft: Draft, now: float) -> bool:
        """Note a save that changes nothing: it prolongs the session's life all the same."""
        assert draft.record is not None and draft.bearer is not None
        touched, expires = touched_times(draft.record, now, draft.backend.settings, touching=True)
        moment = draft.judged_at(now)
        return moment is not None and draft.backend.touch(draft.bearer, touched, expires, moment)

    def _signed(self, bearer: Bearer) -> str:
        return self._backend._tokens.sign(bearer.token)


def _session_of(draft: Draft) -> Session:
    session = Session(draft.backend, {})
    session._draft = draft
    return session


@receiver(user_logged_in)
def _follow_login(*, request: HttpRequest, **told: object) -> None:
    session = getattr(request, "session", None)
    if isinstance(session, SessionStore):
        session.log_in()
