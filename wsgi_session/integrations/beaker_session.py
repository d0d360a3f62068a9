"""``environ["beaker.session"]``: a session with the methods, attributes and keys of Beaker's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from wsgi_session.backends.base import Credential
from wsgi_session.cookies.tokens import store_key
from wsgi_session.errors import StoreUnavailable, Unsupported
from wsgi_session.integrations.beaker_cookie import Place
from wsgi_session.integrations.beaker_work import BeakerWork, DetachedWork
from wsgi_session.integrations.logins import revert
from wsgi_session.request.commit import save
from wsgi_session.request.states import OPEN, SET
from wsgi_session.session import Session, work_of

_KEY_SIZE = 32


class BeakerSession(Session):
    """A :class:`~wsgi_session.Session` with the interface of Beaker's.

    Unless ``auto`` is on, changes are saved only if :meth:`save` was called, before them or after them. What acts
    immediately needs no ``save()``: ``delete()``, ``atomic()``, ``login()``.
    """

    _work: BeakerWork

    def __bool__(self) -> bool:
        """Return True, even if the session is empty: applications test it to see whether there is a session."""
        return True

    # Keys that Beaker stores in each session. They are not in keys(), and not saved.

    def __getitem__(self, key: str) -> Any:
        try:
            return super().__getitem__(key)
        except KeyError:
            if key not in _COMPUTED:
                raise
            return _COMPUTED[key](self)

    def get(self, key: str, default: Any = None) -> Any:
        return Mapping.get(self, key, default)  # This calls __getitem__.

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (isinstance(key, str) and key in _COMPUTED)

    def __delitem__(self, key: str) -> None:
        if key not in _COMPUTED or super().__contains__(key):
            super().__delitem__(key)

    def has_key(self, name: str) -> bool:
        """Return whether the key exists."""
        return name in self

    # Properties.

    @property
    def id(self) -> str:
        """The session's id: the store's key for it, as 64 hexadecimal digits. It is not in the cookie.

        The id changes with the token. It gives no access to a browser, but it does to code that calls
        :meth:`get_by_id`, so treat it as a secret.
        """
        work = self._work
        work.open()
        credential = work.next_credential or work.credential
        if credential is None:
            # If the session is stored later, it gets this id.
            credential = work.next_credential = work.backend.new_credential()
            work.create_if_empty = work.beaker.autosave
        return (credential.key or store_key(credential.token)).hex()

    @property
    def created(self) -> float:  # type: ignore[override]  # a datetime in Session
        """When the session was created, in seconds since the epoch; for a new session, the time of its first use."""
        work = self._work.open()
        return work.loaded_at if work.created is None else work.created

    @property
    def last_accessed(self) -> float | None:
        """The last recorded activity in seconds since the epoch; ``None`` while new. See ``touch_interval``."""
        record = self._work.open().record
        return None if record is None else record.touched

    @property
    def domain(self) -> str | None:
        """The cookie's domain. Setting it sends this session's cookie there; it is stored with the session.

        Over https, this needs a configured ``cookie_domain`` or ``cookie_path``: else it raises ``ConfigError``.
        """
        self._work.open()
        return self._work.place.domain

    @domain.setter
    def domain(self, value: str | None) -> None:
        self._work.set_place(Place(value, self.path))

    @property
    def path(self) -> str:
        """The cookie's path. It can be set like :attr:`domain`."""
        self._work.open()
        return self._work.place.path

    @path.setter
    def path(self, value: str) -> None:
        self._work.set_place(Place(self.domain, value))

    @property
    def csrf_token(self) -> str:
        work = self._work.open()
        if work.record is None and work.next_credential is not None:
            # The id was read: the token is there already, but the session has to be stored.
            work.writable()
            work.create_if_empty = True
        return super().csrf_token

    # Methods.

    def save(self, accessed_only: bool = False) -> None:
        """Let the end of the request save every change, including changes that follow.

        A new session is created even if it is empty, except after :meth:`delete`. ``accessed_only=True`` does nothing,
        because activity is recorded anyway. Raises ``StoreUnavailable`` in an outage, and ``HeadersAlreadySent`` if a
        new session needs a cookie too late.
        """
        if not accessed_only:
            self._work.mark_to_save()

    def persist(self) -> None:
        """Save immediately what the end of the request would save: nothing without :meth:`save` or ``auto``.

        With ``auto``, this creates a new session even if it is empty. What was persisted stays saved if the request
        fails afterwards. Raises as :meth:`save` does.
        """
        if self._work.beaker.autosave:
            self._work.mark_to_save()
        if self._work.dirty:
            self._store()

    def dirty(self) -> bool:
        """Return whether this request has called :meth:`save` or :meth:`delete`."""
        return self._work.dirty or (self._work.data is not None and self._work.state == "destroyed")

    def accessed(self) -> bool:
        """Return whether this request has used the session."""
        return self._work.accessed

    def delete(self) -> None:
        """End the session immediately, and remove its cookie, as ``destroy()`` does."""
        self.destroy()
        self._work.deleted = True

    def invalidate(self) -> None:
        """End the session immediately. What is saved afterwards is a new session, with another id."""
        self.destroy()

    def revert(self) -> None:
        """Discard every change of this request that was not saved yet, also a login."""
        revert(self._work)

    def load(self) -> None:
        """Discard every change of this request that was not saved yet, and load the session again at its next use."""
        work = self._work
        if work.data is None or work.state == "destroyed":
            return
        if work.backend.compares and work.phase is OPEN:
            work.reset(work.request)
        else:
            # Nothing newer can be loaded: the session is in the cookie, or the cookie was sent already.
            self.revert()

    def regenerate_id(self) -> None:
        """Give the session a new token and a new id, and keep its data; the same as ``rotate()``."""
        work = self._work
        self.rotate()
        if work.record is None and not work.deleted:
            work.next_credential = work.backend.new_credential()

    def get_by_id(self, id: str) -> BeakerSession | None:
        """Return another session of this tenant by its :attr:`id`; ``None`` if there is none, or if it has ended.

        Its ``save()`` saves immediately. Raises ``Unsupported`` with ``cookie://``, and ``StoreUnavailable``.
        """
        work = self._work
        if not work.backend.compares:
            raise Unsupported(
                "cookie:// cannot find a session by its id, because only the browser has it. Use another type, such as "
                "file with a data_dir.",
                operation="get_by_id",
            )
        try:
            key = bytes.fromhex(id)
        except (ValueError, TypeError):
            return None
        if len(key) != _KEY_SIZE:
            return None
        found = DetachedWork(work.backend, work.beaker, Credential(b"", True, key))
        record, settings = found.open().record, work.backend.settings
        # No signature binds an id to its tenant. A session of beaker.get_session() belongs to none.
        own = record is not None and record.namespace in (settings.namespace, settings.cookie_name)
        return DetachedSession(found) if own else None

    def lock(self) -> NoReturn:
        """Raise ``Unsupported``: sessions have no locks."""
        raise Unsupported(
            "Sessions have no locks. Overlapping requests keep each other's keys; for a counter or a stock, use "
            "session.atomic(function).",
            operation="lock",
        )

    unlock = lock

    def _store(self) -> None:
        """Save the changes immediately; after the headers, leave them to the end of the response."""
        work = self._work
        data = work.data or work.load()
        if work.phase is not OPEN:
            return
        try:
            save(work, data)
        except StoreUnavailable as error:
            work.note_outage(error)
            raise
        # If another request ends the session before this one's response, no cookie may be set.
        work.cookie_unconfirmed = work.cookie is SET


class DetachedSession(BeakerSession):
    """A session outside of any request: of ``get_by_id``, or a new one of ``environ["beaker.get_session"]()``.

    No browser gets a cookie for it. ``save()`` saves immediately.
    """

    def save(self, accessed_only: bool = False) -> None:
        super().save(accessed_only)
        self.persist()


_COMPUTED: dict[str, Callable[[BeakerSession], Any]] = {
    "_id": lambda session: session.id,
    "_creation_time": lambda session: session.created,
    "_accessed_time": lambda session: work_of(session).open().loaded_at,
    "_domain": lambda session: session.domain,
    "_path": lambda session: session.path,
}
