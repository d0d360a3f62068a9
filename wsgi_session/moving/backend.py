"""The backend of a middleware with the option ``adopt``: a store that takes over sessions of other libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from wsgi_session.backends.base import Credential, Loaded
from wsgi_session.backends.device_bound import DeviceBoundBackend
from wsgi_session.backends.header import TokenHeader
from wsgi_session.backends.server import StoreBackend
from wsgi_session.errors import ConfigError
from wsgi_session.moving.adopt import Adopt, make_adopt
from wsgi_session.moving.adoption import Adoption
from wsgi_session.moving.records import ADOPTED
from wsgi_session.stores.contract import Record


def adopting_backend(
    adopt: object, namespace: object, header: TokenHeader | None, *, bound: bool
) -> Callable[..., StoreBackend]:
    """Return what makes the backend of a middleware with these options, or raise ``ConfigError``."""
    checked = make_adopt(adopt)
    if namespace is not None:
        raise ConfigError(
            "adopt: a session of another library does not say to which tenant it belongs, so it would open at each "
            "of them. Leave out namespace=, or give each tenant a middleware of its own with its own cookie_name."
        )
    if header is not None and header.only:
        raise ConfigError(
            "adopt: a session of another library comes in a cookie, which transport='header' does not read. Give "
            "transport='both', or leave out one of the two."
        )
    return partial(BoundAdoptingBackend if bound else AdoptingBackend, adopt=checked)


class EndsForeign(StoreBackend):
    """A backend with an adoption. A session that ends here ends in the other library, too."""

    adoption: Adoption

    def delete(self, credential: Credential, record: Record, now: float) -> None:
        super().delete(credential, record, now)
        self.adoption.end_adopted(record, now)
        self.adoption.end_named(credential, now)

    def end(self, credential: Credential, now: float) -> Record | None:
        record = super().end(credential, now) if credential.key else None
        if record is not None:
            self.adoption.end_adopted(record, now)
        self.adoption.end_named(credential, now)
        return record

    def revoke_foreign(self, owner: bytes | None, now: float, *, anonymous: bool = False) -> None:
        self.adoption.revoke(owner, now, anonymous=anonymous)

    def forget(self, credential: Credential) -> None:
        if credential.key:
            super().forget(credential)
        self.adoption.end_named(credential, self.settings.clock())


class AdoptingBackend(EndsForeign):
    """The sessions of one middleware, in a store, and those that it adopts."""

    def __init__(self, *parts: Any, adopt: Adopt) -> None:
        """Take over sessions of ``adopt``; ``parts`` are the arguments of ``StoreBackend``."""
        super().__init__(*parts)
        cookies, settings = self._cookies, self.settings
        # Django sets its cookie itself, under the name without a prefix.
        names = (cookies.http.name, cookies.https.name, settings.cookie_name)
        same_name = any(reader.cookie_name in names for reader in adopt.readers)
        if same_name and adopt.keep_old:
            raise ConfigError(
                "adopt: with keep_old=True, processes of both kinds set their cookies. Give this middleware another "
                f"cookie_name than {settings.cookie_name!r}."
            )
        # Only requests whose Cookie header contains this may have a foreign session: a search for one name costs the
        # least. With several readers, and in the first phase, it is empty, and every request is looked at.
        self._name = adopt.readers[0].cookie_name if len(adopt.readers) == 1 and not adopt.keep_old else ""
        self.adoption = Adoption(self, adopt, same_name=same_name)

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the request's live session, or the one that it adopts."""
        loaded = StoreBackend.load(self, environ, now)
        # Without a local variable for the header, which error reporters would show.
        if self._name not in environ.get("HTTP_COOKIE", "") and ADOPTED not in loaded[3]:
            return loaded
        return self.adoption.apply(loaded, environ, now)

    def report_tampered(self, look_signed: Iterable[bool], cookies: int = 1) -> None:
        """Report a cookie that none of our secrets signed, unless a foreign cookie has our cookie's name."""
        if not self.adoption.same_name:
            super().report_tampered(look_signed, cookies)

    def set_cookies(self, environ: Mapping[str, Any], credential: Credential, max_age: float | None) -> list[str]:
        cookies = super().set_cookies(environ, credential, max_age)
        return cookies + self._removals(environ) if self.adoption.must_remove(environ) else cookies

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        return super().remove_cookies(environ) + self._removals(environ)

    def _removals(self, environ: Mapping[str, Any]) -> list[str]:
        return self.adoption.removals(environ, self._cookies.of(environ).name)


class BoundAdoptingBackend(DeviceBoundBackend, AdoptingBackend):
    """A backend with ``adopt`` and ``experimental_device_bound``. A session is bound from its next login on."""
