"""Sessions in PostgreSQL, MariaDB, MySQL, or any other database of SQLAlchemy's."""

from wsgi_session.stores.sql.store import SQLStore as SQLStore
