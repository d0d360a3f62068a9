"""Django: set ``SESSION_ENGINE``, and ``request.session`` is kept in a store of this package, by its rules.

::

    SESSION_ENGINE = "wsgi_session.integrations.django"
    WSGI_SESSION_STORE = "sqlite:///sessions.db"
    WSGI_SESSION_OPTIONS = {"absolute_timeout": timedelta(days=90)}  # optional

Keep Django's own ``SessionMiddleware``: it decides when to save, and sets the cookie by Django's SESSION_COOKIE_*
settings. SESSION_COOKIE_NAME is the namespace: give two sites that share a store different names. SECRET_KEY has no
effect on session keys; if it changes, ``django.contrib.auth`` logs users out unless SECRET_KEY_FALLBACKS has it.

How this differs from Django's own engines:

* A save writes only the keys that this request changed, merged with what other requests have saved by then. A change
  inside a value is found without ``session.modified = True``.
* ``session_key`` has 40 characters. It is the secret that the browser has; no store contains it. To identify a session
  in a log or a table, use ``session.handle``.
* ``cycle_key()`` takes effect when the session is saved, or when code of the same request asks for one of the two keys.
  If the request fails before that, the visitor keeps the old key.
* ``Session.objects`` of ``django.contrib.sessions.models`` raises ``Unsupported``, because no session is in that table.
* A cookie that is not accepted is not removed, because a login in a parallel request may just have replaced it;
  ``flush()`` removes it. A write to a session that ended meanwhile is answered with 400, as with Django's engines.
* SESSION_SERIALIZER is used by ``encode()`` and ``decode()`` only. Values keep their types; assigning a value that
  cannot be stored raises ``UnsupportedValue`` (a ``TypeError``).
* While the store is down, any access to the session raises ``StoreUnavailable``: Django answers 500, and the visitor
  keeps the cookie.
* A login with ``django.contrib.auth`` gets a new key and handle, and an administrator can end it: :func:`sessions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

from django.contrib.auth import SESSION_KEY as USER_ID
from django.contrib.auth import user_logged_in
from django.contrib.sessions.backends.base import UpdateError
from django.dispatch import receiver
from django.http import HttpRequest

from wsgi_session.backends.base import Credential, Loaded
from wsgi_session.integrations.django_adopt import AdoptMiddleware as AdoptMiddleware
from wsgi_session.integrations.django_adopt import adopted_work
from wsgi_session.integrations.django_answer import neither_remove_nor_save
from wsgi_session.integrations.django_bound import bound_work
from wsgi_session.integrations.django_cookie import SessionWithCookie
from wsgi_session.integrations.django_owner import note_login, set_owner
from wsgi_session.integrations.django_pending import remember, save_pending
from wsgi_session.integrations.django_site import HelpersMiddleware as HelpersMiddleware
from wsgi_session.integrations.django_site import backend, sweep_all
from wsgi_session.integrations.django_site import sessions as sessions
from wsgi_session.integrations.django_table import guard_table
from wsgi_session.integrations.django_times import expires, set_idle_timeout, started_work, touch
from wsgi_session.integrations.logins import log_in_as, owner_with_id
from wsgi_session.request.commit import save
from wsgi_session.request.fields import NO_ENVIRON
from wsgi_session.request.loading import client_of
from wsgi_session.request.work import Work
from wsgi_session.session import Session, work_of


class SessionStore(SessionWithCookie):
    """``request.session``. A subclass may override ``get_session_cookie_age()``, as with Django's engines."""

    # Set on first access. The name is Django's.
    _session_cache: Session
    _modified = False
    # Whether the store was down when the session was accessed.
    _failed = False
    # The owner of the last login that was saved here.
    _saved_login: str | None = None

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._backend = backend()

    @property
    def handle(self) -> str | None:
        """The public name, for device lists and logs; ``None`` while nothing is stored. It is not a credential."""
        return self._work.handle

    @property
    def modified(self) -> bool:
        """Whether there is something to save: also a change inside a value."""
        if not self._modified and (work := self._loaded) is not None:
            data = work.data or work.load()
            before = data.changed.copy()
            data.find_changes()
            self._modified = data.changed != before
        return self._modified

    @modified.setter
    def modified(self, modified: bool) -> None:
        self._modified = modified

    def is_empty(self) -> bool:
        """Whether there is neither a session nor anything to save: Django then removes the cookie."""
        work = self._loaded
        if self._failed:
            # In an outage it is not known whether there is a session. The application may have caught the error and
            # sent its own page.
            return neither_remove_nor_save()
        if self.sent_for_device and self._session_key is not None:
            # With SESSION_SAVE_EVERY_REQUEST, Django would save the session, even without the second cookie.
            return neither_remove_nor_save()
        if work is None or work.state not in ("unknown", "tampered", "rotated"):
            return super().is_empty() or self.would_replace_another()
        return False if self._session_cache else neither_remove_nor_save()

    # Methods that use the store.

    def load(self) -> Session:  # type: ignore[override]  # a mapping, but not a dict
        """Load the stored session, without this request's changes. A key that is not accepted is discarded."""
        work = adopted_work(self, self._look_up(self._backend.credential_of(self.session_key)))
        work = bound_work(self, self._backend, work)
        if work.state == "new" and self.session_key is not None:
            work.state = "tampered"
            self._backend.settings.events("tampered", cookies=1)
        if work.record is None:
            self._session_key = None
        return Session(work)

    def exists(self, session_key: str | None) -> bool:
        """Return whether the key belongs to a live session. A key that ``cycle_key()`` has replaced does not."""
        credential = self._backend.credential_of(session_key)
        del session_key  # A traceback may show local variables.
        return self._look_up(credential).record is not None

    def create(self) -> None:
        """Store this session's data as a new session. The session that was loaded stays unchanged.

        If another request has ended the loaded session, its data may belong to a user who logged out: it is not kept.
        """
        # A key that cycle_key() has replaced must open nothing afterwards.
        self.save_new_key()
        loaded = self._loaded
        ended = loaded is not None and loaded.ended and loaded.ended_record is not None
        values = {} if loaded is None or ended else self._session_cache.copy()
        self._session_key = None
        self._session_cache = self.load()
        self._session_cache.update(values)
        self.save()
        self.modified = True

    def save(self, must_create: bool = False) -> None:
        """Save what this request changed. Raises ``UpdateError`` if the session has ended meanwhile."""
        if must_create:
            self.create()
            return
        work = self._work
        set_owner(work)
        now = work.backend.settings.clock()
        set_idle_timeout(work, expires(self, work, now) - now, now)
        # As in Django, a save stores the session even if it is empty.
        work.create_if_empty = True
        login = work.login
        if not save(work, work.data or work.load()) and not touch(work, now):
            raise UpdateError
        if work.record is None or work.credential is None:
            raise UpdateError
        if login is not None:
            self._saved_login = login.owner
        self._session_key = self._backend.session_key_of(work.credential)
        if self._backend.sweep_due:
            self._backend.sweep(now)

    def log_in(self, environ: Mapping[str, Any] = NO_ENVIRON) -> None:
        """Give the session a new key and handle after a login with ``django.contrib.auth``; ``environ`` for describe.

        If two requests log in at once, each gets its own session, although the first login has moved the session that
        both had loaded.
        """
        work, user_id = self._work, self[USER_ID]
        saved = work.record is not None and work.next_credential is None and self._saved_login == owner_with_id(user_id)
        if saved:
            # Another receiver of the signal has saved this login, and may have noted its key.
            note_login(work)
            return
        work.environ = client_of(environ, work.backend.credential_key)
        log_in_as(work, user_id, USER_ID)
        assert work.next_credential is not None
        self._take_key(work.next_credential)

    def delete(self, session_key: str | None = None) -> None:
        """End the session with that key, by default this one, which then cannot be saved any more."""
        is_this = session_key is None or session_key == self.session_key
        credential = self._backend.credential_of(session_key)
        del session_key
        work = self._work if is_this else self._look_up(credential)
        if work.record is not None:
            work.destroy()
            work.ended = True

    def flush(self) -> None:
        """End the session immediately: its record is deleted. Data written afterwards starts a new session."""
        work = self._work
        work.destroy()
        self._session_key = None
        # If another request has just ended or rotated the session, the browser's new cookie must not be removed.
        self._modified = self._modified or not work.ended

    def cycle_key(self) -> None:
        """Give the session a new key, with the same data.

        If the request fails, the visitor keeps the old key: the store changes when this session is saved, or before, as
        soon as another ``SessionStore`` of this request asks for either key.
        """
        credential = self._work.next_credential = self._backend.new_credential()
        self._take_key(credential)
        self.modified = True

    def save_new_key(self) -> None:
        """Save the session if its key is still to be changed, because other code asks for one of the keys."""
        loaded = self._loaded
        if loaded is None or loaded.next_credential is None:
            return
        try:
            self.save()
        except UpdateError:
            # It has ended meanwhile, so neither key opens anything. The save at the end of the request reports that.
            pass

    def clear(self) -> None:
        """Delete every key, including keys that other requests add meanwhile. The session itself stays."""
        (self._work.data or self._work.load()).clear()
        self.modified = True

    def setdefault(self, key: str, value: Any) -> Any:  # type: ignore[override]  # Django's own has no overloads
        """Like ``dict.setdefault()``. An existing value is saved again if the stored session has lost it meanwhile."""
        self.modified = self.modified or key not in self._session
        return self._session.setdefault(key, value)

    @classmethod
    def clear_expired(cls) -> None:
        """Remove records that expired more than an hour ago, for the command ``clearsessions``."""
        sweep_all()

    # Loading on first access, and saving.

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

    def _take_key(self, credential: Credential) -> None:
        """Show the session's next key as its key."""
        self._session_key = self._backend.session_key_of(credential)
        remember(self, self._work.credential, credential)

    def _look_up(self, credential: Credential | None) -> Work:
        """Load the session; apply the current settings to it, and the expiry that ``set_expiry()`` stored in it."""
        if credential is not None:
            save_pending(credential)
        # A copy, because set_idle_timeout() changes the settings for one save.
        backend = copy(self._backend)
        now = backend.settings.clock()
        loaded: Loaded = ("new", None, None, {}) if credential is None else backend.look_up(credential, now)
        work = started_work(backend, loaded, now)
        if work.record is not None and now >= expires(self, work, work.record.touched):
            return started_work(backend, ("unknown", credential, None, {}), now)
        return work


guard_table(SessionStore)


@receiver(user_logged_in)
def _log_in(*, request: HttpRequest, **kwargs: object) -> None:
    session = getattr(request, "session", None)
    if isinstance(session, SessionStore):
        session.log_in(request.META)
