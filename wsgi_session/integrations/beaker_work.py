"""The unit of work of a request under Beaker's interface, and of a session outside of any request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from wsgi_session.backends.base import Backend, Credential
from wsgi_session.cookies.cookie import check_cookie_options
from wsgi_session.errors import ConfigError
from wsgi_session.integrations.beaker_cookie import Place, store_place, stored_place
from wsgi_session.request.commit import save
from wsgi_session.request.data import Data
from wsgi_session.request.loading import VALIDATED, client_of
from wsgi_session.request.records import Login
from wsgi_session.request.states import SET
from wsgi_session.request.work import Work

# What load() needs of a request's environ, besides the credential.
_OF_REQUEST = ("wsgi.url_scheme", "SCRIPT_NAME", "PATH_INFO", "REQUEST_METHOD", "HTTP_SEC_FETCH_SITE")


class BeakerSettings(NamedTuple):
    """The settings that all sessions of one middleware share."""

    autosave: bool = False
    #: The cookie's domain and path, as configured.
    place: Place = Place()
    secure: bool | Literal["auto"] = "auto"


class BeakerWork(Work):
    """A unit of work whose changes are saved only if the application asks for it, as with Beaker."""

    beaker = BeakerSettings()
    #: Whether the application has called ``save()``.
    dirty = False
    #: Whether the application has called ``delete()``: then an empty session is not stored.
    deleted = False
    #: The cookie's domain and path for this session.
    place: Place
    #: The parts of the environ that are needed to load the session again.
    request: Mapping[str, Any] = {}

    def load(self) -> Data:
        if self.environ:
            names = [self.backend.credential_key, *_OF_REQUEST]
            if self.backend.settings.describe is not None:
                names += client_of(self.environ, self.backend.credential_key)
            self.request = {name: self.environ[name] for name in names if name in self.environ}
        data = super().load()
        if VALIDATED in data.changed and not (self.dirty or self.beaker.autosave):
            # Otherwise validate would be called in each request until the application calls save().
            self.dirty = True
            save(self, data)
            self.dirty = False
            # If another request ends the session before this one's response, no cookie may be set.
            self.cookie_unconfirmed = self.cookie is SET
            data = self.data or data
        self.place = stored_place(self, data, self.beaker.place)
        return data

    def set_place(self, place: Place) -> None:
        """Store ``place`` with the session, and let the commit send the cookie there.

        Raises ``ConfigError`` for an invalid place, and over https if the configuration has neither a domain nor a
        path: browsers bind such a cookie to its host.
        """
        self.open()
        if place == self.place:
            return
        check_cookie_options("name", place.path, place.domain, False, "Lax", False)
        secure = self.beaker.secure
        if self.beaker.place == Place() and (secure is True or (secure == "auto" and self.scheme == "https")):
            raise ConfigError(
                f"The cookie cannot be set for {place.domain or place.path!r}: over https, its name starts with "
                "__Host-, which binds it to one host and the path '/'. Set session.cookie_domain in the configuration: "
                "then each request can set another one."
            )
        store_place(self.writable(needs_cookie=True), place)
        self.place = place
        if self.record is not None:
            # The commit then checks that no other request has ended the session.
            self.cookie, self.cookie_unconfirmed = SET, True

    def intend_login(self, login: Login, keys: tuple[str | bytes, ...]) -> None:
        super().intend_login(login, keys)
        self.dirty = True

    def mark_to_save(self) -> None:
        """Let the commit save every change, and create a new session even if it is empty."""
        self.writable()
        self.dirty = True
        if self.record is None and not self.deleted:
            self.next_credential = self.next_credential or self.backend.new_credential()
            self.create_if_empty = True

    def data_to_save(self, data: Data) -> Data:
        # Like a login, a confirmation is saved even without save(): confirm() promises a new token.
        saving = self.dirty or self.beaker.autosave or self.confirming is not None
        return data if saving else Data(data.stored, data.limit)


class DetachedWork(BeakerWork):
    """A unit of work outside of any request, for a session that was found by its id, or a new one."""

    def __init__(self, backend: Backend, beaker: BeakerSettings, credential: Credential | None) -> None:
        super().__init__(backend, {})
        self.beaker = beaker
        self.credential = credential

    def load(self) -> Data:
        if self.credential is None:
            return super().load()
        now = self.backend.settings.clock()
        data = self.start(self.backend.look_up(self.credential, now), now)
        self.place = stored_place(self, data, self.beaker.place)
        return data
