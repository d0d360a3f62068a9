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

from wsgi_session.backends.base import Credential, Loaded
from wsgi_session.backends.server import StoreBackend
from wsgi_session.cookies import tokens
from wsgi_session.integrations.django_answer import leave_alone
from wsgi_session.integrations.django_async import AsynchronousSession
from wsgi_session.integrations.django_site import HelpersMiddleware as HelpersMiddleware
from wsgi_session.integrations.django_site import backend
from wsgi_session.integrations.django_site import sessions as sessions
from wsgi_session.integrations.logins import log_in_as, owner_named
from wsgi_session.request.commit import save
from wsgi_session.request.ending import destroy
from wsgi_session.request.work import Work
from wsgi_session.session import Session, work_of
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
        return self._work.handle

    @property
    def modified(self) -> bool:
        """Whether there is something to save: also a change inside a value, or a signature by an older secret."""
        if not self._modified and (work := self._loaded) is not None:
            data = work.data or work.load()
            before = data.changed.copy()
            data.find_changes()
            live = work.credential if work.record is not None else None
            self._modified = data.changed != before or (live is not None and not live.current)
        return self._modified

    @modified.setter
    def modified(self, modified: bool) -> None:
        self._modified = modified

    def is_empty(self) -> bool:
        """Whether there is neither a session nor anything to save: Django then removes the cookie.

        A cookie that opens nothing is left alone, as a login in a parallel request may have replaced it by now.
        """
        work = self._loaded
        if self._failed:
            # In an outage there is nothing to ask, and the application may have answered with a page of its own.
            return leave_alone()
        if work is None or work.state not in ("unknown", "tampered", "rotated"):
            return super().is_empty()
        return False if self._session_cache else leave_alone()

    # In the store.

    def load(self) -> Session:  # type: ignore[override]  # a mapping that is no dict
        """Read what is stored, without this request's changes. A key that opens nothing is forgotten."""
        work = self._look_up(self._backend.credential_of(self.session_key))
        if work.state == "new" and self.session_key is not None:
            work.state = "tampered"
            self._backend.report_tampered(map(tokens.looks_signed, [self.session_key]))
        if work.record is None:
            self._session_key = None
        return Session(work)

    def exists(self, session_key: str | None) -> bool:
        """Whether the key opens a session. One that ``cycle_key()`` has replaced does not."""
        credential = self._backend.credential_of(session_key)
        del session_key  # A traceback may show what is here.
        found, own = self._look_up(credential), self._loaded
        if found.record is None or found.credential is None:
            return False
        replaced = own.credential if own is not None and own.next_credential is not None else None
        return replaced is None or replaced.key != found.credential.key

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
        work = self._work
        self._take_owner(work)
        now = work.backend.settings.clock()
        self._prolong(work, now)
        # What is saved is stored, in Django also if it is empty.
        work.create_if_empty = True
        if not save(work, work.data or work.load()) and not self._touch(work, now):
            raise UpdateError
        if work.record is None or work.credential is None:
            raise UpdateError
        self._session_key = self._backend.cookie_value(work.credential)
        if self._backend.sweep_due:
            self._backend.sweep(now)

    def log_in(self) -> None:
        """Note that ``django.contrib.auth`` has just logged somebody in: each login has a key and a handle of its own.

        So of two logins at once both get a session, the second one too, whose session the first has moved.
        """
        work = self._work
        log_in_as(work, self[USER_ID], USER_ID)
        assert work.next_credential is not None
        self._session_key = self._backend.cookie_value(work.next_credential)

    def delete(self, session_key: str | None = None) -> None:
        """End the session of that key, by default this one, which cannot be saved any more then."""
        own = session_key is None or session_key == self.session_key
        credential = self._backend.credential_of(session_key)
        del session_key
        work = self._work if own else self._look_up(credential)
        if work.record is not None:
            destroy(work)
            work.ended = True

    def flush(self) -> None:
        """End the session, now and everywhere. What is written afterwards starts a new one."""
        work = self._work
        destroy(work)
        self._session_key = None
        # A request with a key that was just replaced changes nothing, and leaves the browser's cookie alone.
        self._modified = self._modified or not work.ended

    def cycle_key(self) -> None:
        """Take a new key, with the same data, from the save on."""
        credential = self._work.next_credential = self._backend.new_credential()
        self._session_key = self._backend.cookie_value(credential)
        self.modified = True

    def clear(self) -> None:
        """Drop every key, those that another request adds meanwhile too. The session itself stays."""
        (self._work.data or self._work.load()).clear()
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
    def _loaded(self) -> Work | None:
        session: Session | None = self.__dict__.get("_session_cache")
        return None if session is None else work_of(session)

    @property
    def _work(self) -> Work:
        return work_of(self._get_session())

    def _look_up(self, credential: Credential | None) -> Work:
        """Return what is stored, judged by the current settings and by what ``set_expiry()`` left in it."""
        # A copy: each save has settings of its own.
        own = copy(self._backend)
        now = own.settings.clock()
        work = _loaded_work(own, ("new", None, None, {}) if credential is None else own.look_up(credential, now), now)
        if work.record is not None and now >= self._end(work, work.record.touched):
            return _loaded_work(own, ("unknown", credential, None, {}), now)
        return work

    def _end(self, work: Work, touched: float) -> float:
        """Return when the session ends if it was last saved at ``touched``."""
        expiry = work.peek("_session_expiry")
        saved = datetime.fromtimestamp(touched, timezone.utc)
        return self.get_expiry_date(modification=saved, expiry=expiry).timestamp()

    def _prolong(self, work: Work, now: float) -> None:
        """Let the record live as long as the session is to. An end that the store was given is never moved forward."""
        idle = self._end(work, now) - now
        if work.record is not None:
            # Alive up to this save, however short its life is from now on: _look_up() goes by that.
            idle = max(idle, now - work.record.touched + 1)
        settings = work.backend.settings
        lifetime = replace(settings.lifetime, idle=idle, touch_interval=0.0)
        work.backend.settings = replace(settings, lifetime=lifetime)

    def _take_owner(self, work: Work) -> None:
        """Give the session the owner who was put into it by hand, so that it can be found and revoked."""
        user = work.peek(USER_ID)
        if user is None or (work.login is not None and work.login.owner == owner_named(user)):
            return
        owner = tokens.owner_key(work.backend.settings.namespace, owner_named(user))
        if work.record is None or work.record.owner != owner:
            log_in_as(work, user, USER_ID)

    def _touch(self, work: Work, now: float) -> bool:
        """Record a save that changes nothing: it prolongs the session's life as well."""
        record, credential = work.record, work.credential
        assert record is not None and credential is not None
        lifetime = work.backend.settings.lifetime
        touched, expires = lifetime.times_after(record, now, touching=True)
        moment = lifetime.judged_at(record, now, work.loaded_at)
        return moment is not None and work.backend.touch(credential, touched, expires, moment)


def _loaded_work(backend: StoreBackend, loaded: Loaded, now: float) -> Work:
    work = Work(backend, {})
    work.start(loaded, now)
    return work


@receiver(user_logged_in)
def _follow_login(*, request: HttpRequest, **told: object) -> None:
    session = getattr(request, "session", None)
    if isinstance(session, SessionStore):
        session.log_in()
