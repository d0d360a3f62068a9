"""The two tables of ``SQLStore``: one for the sessions, and one with a single row, the version of the schema.

Keys, versions and owners are bytes, and text is compared as bytes too, so that the engine's collation (case, accents,
trailing spaces) never decides whether two names are the same. Times are seconds since the epoch in double precision, as
in a record.
"""

from __future__ import annotations

import re

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    literal,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement
from sqlalchemy.types import TypeEngine

from wsgi_session.errors import ConfigError

#: Version of the tables below. Tables of another version are rejected.
SCHEMA_VERSION = 1

# PostgreSQL uses only the first 63 bytes of a name, and the suffixes of the index names must fit too.
_NAME = re.compile(r"(?:(?P<schema>[A-Za-z_][A-Za-z0-9_]{0,62})\.)?(?P<table>[A-Za-z_][A-Za-z0-9_]{0,47})")


class Schema:
    """The tables as SQLAlchemy objects, and the statements that create them."""

    def __init__(self, name: str) -> None:
        match = _NAME.fullmatch(name)
        if match is None:
            raise ConfigError(
                f"table={name!r}: give a name of at most 48 ASCII letters, digits and _, such as 'wsgi_sessions', "
                "or with a schema 'auth.wsgi_sessions'."
            )
        table, schema = match["table"], match["schema"]
        metadata = MetaData(schema=schema)
        #: One row per session. The data is the last column, because it is the longest.
        self.sessions = Table(
            table,
            metadata,
            Column("key", _bytes(32), primary_key=True),
            Column("version", _bytes(16), nullable=False),
            Column("handle", _text(), nullable=False),
            Column("created", Double(), nullable=False),
            Column("touched", Double(), nullable=False),
            Column("expires", Double(), nullable=False),
            Column("owner", _bytes(32)),
            Column("persistent", Boolean(), nullable=False),
            Column("idle", Double()),
            Column("namespace", _text(), nullable=False),
            Column("data", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb"), nullable=False),
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )
        owner, key = self.sessions.c.owner, self.sessions.c.key
        owned = owner.is_not(None)
        self.by_owner = f"{table}_by_owner"
        self._indexes = [
            Index(f"{table}_by_expires", self.sessions.c.expires),
            # Includes the key, so that a page of an owner's sessions can begin where the last one ended.
            Index(self.by_owner, owner, key, postgresql_where=owned, sqlite_where=owned),
        ]
        self.versions = Table(
            f"{table}_schema",
            metadata,
            Column("version", Integer(), primary_key=True, autoincrement=False),
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )

    def statements(self, dialect: Dialect) -> list[str]:
        """Return the statements that create everything. The last one inserts the version, once all the rest exists."""
        # MySQL has no IF NOT EXISTS for an index; Database ignores its error "duplicate key name".
        if_not_exists = dialect.name not in ("mysql", "mariadb")
        # A migration may run twice, so insert the version only if the table is empty.
        version = select(literal(SCHEMA_VERSION).label("version")).where(~select(self.versions.c.version).exists())
        insert = self.versions.insert().from_select(["version"], version)
        clauses: list[ExecutableDDLElement] = [
            CreateTable(self.sessions, if_not_exists=True),
            *(CreateIndex(index, if_not_exists=if_not_exists) for index in self._indexes),
            CreateTable(self.versions, if_not_exists=True),
        ]
        creates = [re.sub(r"\s+\n", "\n", str(clause.compile(dialect=dialect))).strip() for clause in clauses]
        last = str(insert.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        return [*creates, " ".join(last.split())]


def _bytes(length: int) -> TypeEngine[bytes]:
    # VARBINARY, because BINARY pads its values, and MySQL needs a length for an indexed column.
    return LargeBinary().with_variant(mysql.VARBINARY(length), "mysql", "mariadb")


def _text() -> TypeEngine[str]:
    # MySQL's binary collations differ by version, and older ones ignore trailing spaces. So MySQL stores UTF-8 bytes.
    return (
        String(255)
        .with_variant(Text(collation="C"), "postgresql")
        .with_variant(mysql.VARBINARY(1020), "mysql", "mariadb")
    )
