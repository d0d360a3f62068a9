"""Sessions that move from one store to another while both are in use."""

from wsgi_session.stores.migrating.store import MigratingStore as MigratingStore
