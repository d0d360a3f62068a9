"""What ``SQLStore`` says to the engine: built with SQLAlchemy, compiled once for the dialect, then sent as text.

Each is one statement outside any transaction, which every engine makes one atomic step; but for a rotation where the
engine has no statement that writes both of its rows. Executing a Core construct
costs more than all the rest of a read; text and parameters in the driver's own style cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ClauseElement,
    ColumnElement,
    Table,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import Integer

from wsgi_session.stores.contract import DELETE_BATCH, OwnedSession, Record
from wsgi_session.stores.sql.schema import Schema


class Statement(NamedTuple):
    """A text for the driver, and how it wants the parameters, which are given in the order of ``_compile``'s names."""

    sql: str
    arrange: Callable[[Sequence[object]], Any]

    def run(self, cursor: Any, values: Sequence[object]) -> None:
        """Send it over the driver's ``cursor``, which then has the rows, or how many matched."""
        cursor.execute(self.sql, self.arrange(values))


class Transaction(NamedTuple):
    """Two statements as one step; the second is left out if the first matches nothing."""

    begin: str
    first: Statement
    #: How many of the values are for the first.
    taken: int
    second: Statement

    def run(self, cursor: Any, values: Sequence[object]) -> None:
        """Send all of it; ``cursor`` then says how many rows the first one matched."""
        beside = cursor.connection.cursor()
        beside.execute(self.begin)
        try:
            self.first.run(cursor, values[: self.taken])
            if cursor.rowcount:
                self.second.run(beside, values[self.taken :])
            beside.execute("COMMIT")
        except Exception:
            # Where the connection is what has failed, its end has undone everything, and the first error says more.
            with suppress(Exception):
                beside.execute("ROLLBACK")
            raise
        beside.close()


class Statements:
    """Every statement on the tables of ``schema``, each with the parameters that it takes, in order."""

    def __init__(self, schema: Schema, dialect: Dialect) -> None:
        table = schema.sessions
        column = table.c
        fields = [column[name] for name in Record._fields]

        def compiled(clause: ClauseElement, *names: str) -> Statement:
            return _compile(clause, names, dialect)

        here = column.key == _given(table, "key")
        alive = column.expires > _now(table)
        same_version = column.version == _given(table, "version", "loaded_version")
        # By its length: MariaDB's sql_mode EMPTY_STRING_IS_NULL takes '' for NULL.
        real = func.char_length(column.handle) > literal_column("0")

        #: key, now
        self.load = compiled(select(*fields).where(here, alive), "key", "now")
        #: every field of Record, key
        self.create = compiled(
            table.insert().values({name.name: _given(table, name.name) for name in [*fields, column.key]}),
            *Record._fields, "key",
        )  # fmt: skip
        #: every field of Record, key, now
        self.create_over_dead = compiled(
            table.update()
            .where(here, column.expires <= _now(table))
            .values({name.name: _given(table, name.name) for name in fields}),
            *Record._fields, "key", "now",
        )  # fmt: skip
        #: data, version, touched, expires, key, the version that was loaded, now
        self.replace = compiled(
            table.update()
            .where(here, same_version, alive)
            .values(
                data=_given(table, "data"),
                version=_given(table, "version"),
                touched=_later(table, "touched"),
                expires=_later(table, "expires"),
            ),
            "data", "version", "touched", "expires", "key", "loaded_version", "now",
        )  # fmt: skip
        # One UPDATE of the key, so that a revocation which runs at the same time meets the record before or after,
        # never in between: an INSERT and a DELETE would slip through it.
        moved = (
            table.update()
            .where(column.key == _given(table, "key", "old_key"), same_version, alive, real)
            .values({name.name: _given(table, name.name) for name in [*fields, column.key]})
        )
        moved_names = (*Record._fields, "key", "old_key", "loaded_version", "now")
        tombstone = {name.name: _given(table, name.name, f"tombstone_{name.name}") for name in [*fields, column.key]}
        tombstone_names = [f"tombstone_{name}" for name in (*Record._fields, "key")]
        #: every field of Record, the new key, the old key, the version that was loaded, now; every field of the
        #: tombstone, the old key
        self.rotate: Statement | Transaction
        if dialect.name == "postgresql":
            # One statement is one round trip, and stays one step behind a PgBouncer that pools by statement.
            done = moved.returning(literal_column("1").label("one")).cte("moved")
            left = table.insert().from_select(list(tombstone), select(*tombstone.values()).select_from(done))
            self.rotate = compiled(left, *moved_names, *tombstone_names)
        else:
            left = table.insert().values(tombstone)
            first, second = compiled(moved, *moved_names), compiled(left, *tombstone_names)
            begin = "START TRANSACTION" if dialect.name in ("mysql", "mariadb") else "BEGIN TRANSACTION"
            self.rotate = Transaction(begin, first, len(moved_names), second)
        #: key, another key, now
        self.versions = compiled(
            select(column.key, column.version, column.handle).where(
                or_(here, column.key == _given(table, "key", "other_key")), alive
            ),
            "key", "other_key", "now",
        )  # fmt: skip
        #: key, now
        self.delete_dead = compiled(table.delete().where(here, column.expires <= _now(table)), "key", "now")
        #: touched, expires, key, now
        self.touch = compiled(
            table.update()
            .where(here, alive, real)
            .values(touched=_later(table, "touched"), expires=_later(table, "expires")),
            "touched", "expires", "key", "now",
        )  # fmt: skip
        #: key
        self.delete = compiled(table.delete().where(here, real), "key")
        #: key, version
        self.delete_version = compiled(
            table.delete().where(here, column.version == _given(table, "version")), "key", "version"
        )
        places = [f"key_{place}" for place in range(DELETE_BATCH)]
        #: as many keys as a batch has
        self.delete_many = compiled(
            table.delete().where(column.key.in_([_given(table, "key", place) for place in places]), real), *places
        )
        listed = select(*(column[name] for name in OwnedSession._fields))
        listed = listed.where(column.owner == _given(table, "owner"), column.key > _given(table, "key"), alive)
        # MySQL would go through the whole table in the order of the keys.
        for engine in ("mysql", "mariadb"):
            listed = listed.with_hint(table, f"FORCE INDEX ({schema.by_owner})", engine)
        #: owner, the key after which to begin, now, how many
        self.of_owner = compiled(
            listed.order_by(column.key).limit(_limit()), "owner", "key", "now", "limit"
        )
        count = select(func.count()).select_from(table).where(alive, real)
        #: now
        self.count = compiled(count, "now")
        #: now, namespace
        self.count_namespace = compiled(count.where(column.namespace == _given(table, "namespace")), "now", "namespace")
        #: the key after which to begin, now, how many
        self.scan = compiled(
            select(column.key, *fields)
            .where(column.key > _given(table, "key"), alive, real)
            .order_by(column.key)
            .limit(_limit()),
            "key", "now", "limit",
        )  # fmt: skip
        #: the time before which what expired is swept, how many
        self.sweep = compiled(_sweep(table, dialect), "horizon", "limit")
        # Matches nothing, and is a write all the same: refused where nothing can be written.
        self.ping = compiled(table.update().where(column.expires < literal_column("0")).values(expires=column.expires))
        self.schema_version = compiled(select(func.max(schema.versions.c.version)))


def _given(table: Table, column: str, name: str = "") -> BindParameter[Any]:
    # Core keeps the column's own name for itself.
    return bindparam(f"p_{name or column}", type_=table.c[column].type)


def _now(table: Table) -> BindParameter[Any]:
    return _given(table, "expires", "now")


def _limit() -> BindParameter[int]:
    return bindparam("p_limit", type_=Integer())


def _later(table: Table, column: str) -> ColumnElement[Any]:
    """Return the later of what is stored and what is given. (GREATEST is max on SQLite, and missing elsewhere.)"""
    stored, given = table.c[column], _given(table, column)
    return case((stored < given, given), else_=stored)


def _sweep(table: Table, dialect: Dialect) -> ClauseElement:
    """Return the DELETE of one batch, which passes over rows that others hold, and repeats the condition."""
    dead = table.c.expires < _given(table, "expires", "horizon")
    some = select(table.c.key).where(dead).order_by(table.c.expires).limit(_limit()).with_for_update(skip_locked=True)
    if dialect.name == "postgresql":
        # A CTE that locks is carried out once; a subquery might be again for every row that it is joined with.
        once = some.cte("dead")
        return table.delete().where(and_(table.c.key == once.c.key, dead))
    if dialect.name in ("mysql", "mariadb"):
        # In this order: any other plan looks at, and waits for, rows that are not in the batch.
        name = dialect.identifier_preparer.format_table(table)  # quoted, which is why S608 has nothing to say below
        return text(
            f"DELETE {name} FROM (SELECT `key` FROM {name} WHERE expires < :p_horizon ORDER BY expires"  # noqa: S608
            f" LIMIT :p_limit FOR UPDATE SKIP LOCKED) AS dead STRAIGHT_JOIN {name} ON {name}.`key` = dead.`key`"
            f" WHERE {name}.expires < :p_horizon"
        )
    return table.delete().where(and_(table.c.key.in_(select(some.subquery("dead").c.key)), dead))


def _compile(clause: ClauseElement, names: Sequence[str], dialect: Dialect) -> Statement:
    compiled = clause.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    parameters = [f"p_{name}" for name in names]
    # What the dialect itself adds (SQLite: OFFSET 0).
    constants = {name: value for name, value in compiled.params.items() if name not in parameters}
    if not compiled.positional:
        return Statement(str(compiled), lambda values: dict(zip(parameters, values, strict=True)) | constants)
    known = [*parameters, *constants]
    places = [known.index(name) for name in compiled.positiontup or ()]
    added = tuple(constants.values())
    return Statement(str(compiled), lambda values: [(*values, *added)[place] for place in places])
