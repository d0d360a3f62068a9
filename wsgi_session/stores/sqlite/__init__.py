"""Sessions in an SQLite file."""

from wsgi_session.stores.sqlite.store import SQLiteStore as SQLiteStore
