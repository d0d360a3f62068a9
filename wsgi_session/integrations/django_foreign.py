"""The backend of a Django site that takes over the sessions of another library."""

from __future__ import annotations

from wsgi_session.backends.base import Transactions
from wsgi_session.backends.settings import Settings
from wsgi_session.integrations.django_keys import KeyBackend
from wsgi_session.moving.adopt import make_adopt
from wsgi_session.moving.adoption import Adoption
from wsgi_session.moving.backend import EndsForeign
from wsgi_session.stores.contract import Store


class AdoptingKeyBackend(EndsForeign, KeyBackend):
    """The sessions of a Django site, and those that it adopts. ``cookie_age``: SESSION_COOKIE_AGE, in seconds."""

    def __init__(
        self, store: Store, transactions: Transactions, settings: Settings, adopt: object, cookie_age: float
    ) -> None:
        KeyBackend.__init__(self, store, transactions, settings)
        checked = make_adopt(adopt)
        same_name = any(reader.cookie_name == settings.cookie_name for reader in checked.readers)
        self.adoption = Adoption(self, checked, same_name=same_name)
        self.adoption.limit_first_idle(cookie_age)
