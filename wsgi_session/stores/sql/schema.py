"""The two tables of ``SQLStore``: the sessions, and one row that says of which version they are.

Keys, versions and owners are bytes, and texts are compared as bytes too: the engine's own collation (case, accents,
trailing spaces) has no say in who somebody is. Times are seconds since the epoch in double precision, as a record has
them.
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

#: Of the tables below: those of a newer one are refused.
SCHEMA_VERSION = 1

# PostgreSQL keeps at most 63 bytes of a name, and what an index's name adds must fit too.
_NAME = re.compile(r"(?:(?P<schema>[A-Za-z_][A-Za-z0-9_]{0,62})\.)?(?P<table>[A-Za-z_][A-Za-z0-9_]{0,47})")


class Schema:
    """The tables as SQLAlchemy knows them, and the statements that make them."""

    def __init__(self, name: str) -> None:
        match = _NAME.fullmatch(name)
        if match is None:
            raise ConfigError(
                f"table={name!r}: give a name of at most 48 ASCII letters, digits and _, such as 'wsgi_sessions', "
                "if need be with a schema in front: 'auth.wsgi_sessions'"
            )
        table, schema = match["table"], match["schema"]
        metadata = MetaData(schema=schema)
        #: One row a session. The data stands last: it is the long one.
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
            # With the key, so that a page of an owner's sessions begins where the last one ended.
            Index(self.by_owner, owner, key, postgresql_where=owned, sqlite_where=owned),
        ]
        self.versions = Table(
            f"{table}_schema", metadata, Column("version", Integer(), primary_key=True, autoincrement=False),
            mysql_engine="InnoDB", mariadb_engine="InnoDB",
        )  # fmt: skip

    def statements(self, dialect: Dialect) -> list[str]:
        """Return the statements that make everything, the row with the version last: where it stands, all is made."""
        # MySQL knows no IF NOT EXISTS for an index: see SQLStore.init.
        repeatable = dialect.name not in ("mysql", "mariadb")
        # A migration may run twice.
        missing = select(literal(SCHEMA_VERSION).label("version")).where(~select(self.versions.c.version).exists())
        insert = self.versions.insert().from_select(["version"], missing)
        clauses: list[ExecutableDDLElement] = [
            CreateTable(self.sessions, if_not_exists=True),
            *(CreateIndex(index, if_not_exists=repeatable) for index in self._indexes),
            CreateTable(self.versions, if_not_exists=True),
        ]
        made = [re.sub(r"\s+\n", "\n", str(clause.compile(dialect=dialect))).strip() for clause in clauses]
        last = str(insert.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        return [*made, " ".join(last.split())]


def _bytes(length: int) -> TypeEngine[bytes]:
    # Not BINARY, which pads. What MySQL indexes must have a length.
    return LargeBinary().with_variant(mysql.VARBINARY(length), "mysql", "mariadb")


def _text() -> TypeEngine[str]:
    # MySQL's binary collations differ by version, and the older ones ignore trailing spaces: there it is kept as UTF-8.
    return (
        String(255)
        .with_variant(Text(collation="C"), "postgresql")
        .with_variant(mysql.VARBINARY(1020), "mysql", "mariadb")
    )
