"""The statements of ``SQLStore``: built with SQLAlchemy, compiled once for the dialect, then sent as text.

Each is one statement outside any transaction, which every engine makes one atomic step. The only exception is a
rotation on an engine that has no statement to write both of its rows. The statements are sent as text with parameters
in the driver's own style, because executing a SQLAlchemy construct costs more than the rest of a read.
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

_AWAIT_STANDBY = (
    "SELECT CASE WHEN current_setting('synchronous_standby_names') <> ''"
    " THEN pg_logical_emit_message(true, 'wsgi-session', '') END IS NULL"
)


class Statement(NamedTuple):
    """The SQL for the driver, and a function that converts the parameters, in ``_compile``'s order, to its style."""

    sql: str
    arrange: Callable[[Sequence[object]], Any]

    def run(self, cursor: Any, values: Sequence[object]) -> None:
        """Send it over the driver's ``cursor``, which then has the rows or the number of rows that matched."""
        cursor.execute(self.sql, self.arrange(values))


class Transaction(NamedTuple):
    """Two statements as one step; the second is omitted if the first matches no row."""

    begin: str
    first: Statement
    #: How many of the values are for the first statement.
    first_count: int
    second: Statement

    def run(self, cursor: Any, values: Sequence[object]) -> None:
        """Send both; ``cursor`` then has the number of rows that the first one matched."""
        second_cursor = cursor.connection.cursor()
        second_cursor.execute(self.begin)
        try:
            self.first.run(cursor, values[: self.first_count])
            if cursor.rowcount:
                self.second.run(second_cursor, values[self.first_count :])
            second_cursor.execute("COMMIT")
        except Exception:
            # If the connection has failed, its end rolls back everything, and the first error tells more.
            with suppress(Exception):
                second_cursor.execute("ROLLBACK")
            raise
        second_cursor.close()


class Statements:
    """Every statement on the tables of ``schema``; a comment lists the parameters of each, in order."""

    def __init__(self, schema: Schema, dialect: Dialect) -> None:
        table = schema.sessions
        column = table.c
        fields = [column[name] for name in Record._fields]

        def compiled(clause: ClauseElement, *names: str) -> Statement:
            return _compile(clause, names, dialect)

        key_matches = column.key == _parameter(table, "key")
        alive = column.expires > _now_parameter(table)
        same_version = column.version == _parameter(table, "version", "loaded_version")
        # Compares the length, because MariaDB's sql_mode EMPTY_STRING_IS_NULL reads '' as NULL.
        not_tombstone = func.char_length(column.handle) > literal_column("0")

        #: key, now
        self.load = compiled(select(*fields).where(key_matches, alive), "key", "now")
        #: every field of Record, key
        self.create = compiled(
            table.insert().values({name.name: _parameter(table, name.name) for name in [*fields, column.key]}),
            *Record._fields,
            "key",
        )
        #: every field of Record, key, now
        self.create_over_dead = compiled(
            table.update()
            .where(key_matches, column.expires <= _now_parameter(table))
            .values({name.name: _parameter(table, name.name) for name in fields}),
            *Record._fields,
            "key",
            "now",
        )
        #: data, version, touched, expires, key, the version that was loaded, now
        self.replace = compiled(
            table.update()
            .where(key_matches, same_version, alive)
            .values(
                data=_parameter(table, "data"),
                version=_parameter(table, "version"),
                touched=_greatest(table, "touched"),
                expires=_greatest(table, "expires"),
            ),
            "data",
            "version",
            "touched",
            "expires",
            "key",
            "loaded_version",
            "now",
        )
        # One UPDATE of the key, so that a concurrent revocation sees the record before or after the rotation. With an
        # INSERT and a DELETE it could see neither record.
        move = (
            table.update()
            .where(column.key == _parameter(table, "key", "old_key"), same_version, alive, not_tombstone)
            .values({name.name: _parameter(table, name.name) for name in [*fields, column.key]})
        )
        move_names = (*Record._fields, "key", "old_key", "loaded_version", "now")
        tombstone = {
            name.name: _parameter(table, name.name, f"tombstone_{name.name}") for name in [*fields, column.key]
        }
        tombstone_names = [f"tombstone_{name}" for name in (*Record._fields, "key")]
        #: every field of Record, the new key, the old key, the version that was loaded, now; every field of the
        #: tombstone, the old key
        self.rotate: Statement | Transaction
        if dialect.name == "postgresql":
            # One statement is one round trip, and stays one step behind a PgBouncer in statement pooling mode.
            moved = move.returning(literal_column("1").label("one")).cte("moved")
            insert = table.insert().from_select(list(tombstone), select(*tombstone.values()).select_from(moved))
            self.rotate = compiled(insert, *move_names, *tombstone_names)
        else:
            first = compiled(move, *move_names)
            second = compiled(table.insert().values(tombstone), *tombstone_names)
            begin = "START TRANSACTION" if dialect.name in ("mysql", "mariadb") else "BEGIN TRANSACTION"
            self.rotate = Transaction(begin, first, len(move_names), second)
        #: key, another key, now
        self.versions = compiled(
            select(column.key, column.version, column.handle).where(
                or_(key_matches, column.key == _parameter(table, "key", "other_key")), alive
            ),
            "key",
            "other_key",
            "now",
        )
        #: key, now
        dead = column.expires <= _now_parameter(table)
        self.delete_dead = compiled(table.delete().where(key_matches, dead), "key", "now")
        #: touched, expires, key, now
        self.touch = compiled(
            table.update()
            .where(key_matches, alive, not_tombstone)
            .values(touched=_greatest(table, "touched"), expires=_greatest(table, "expires")),
            "touched",
            "expires",
            "key",
            "now",
        )
        #: key
        self.delete = compiled(table.delete().where(key_matches, not_tombstone), "key")
        #: key, version
        self.delete_version = compiled(
            table.delete().where(key_matches, column.version == _parameter(table, "version")), "key", "version"
        )
        batch = [f"key_{number}" for number in range(DELETE_BATCH)]
        in_batch = column.key.in_([_parameter(table, "key", name) for name in batch])
        #: DELETE_BATCH keys
        self.delete_many = compiled(table.delete().where(in_batch, not_tombstone), *batch)
        owned = select(*(column[name] for name in OwnedSession._fields))
        owned = owned.where(column.owner == _parameter(table, "owner"), column.key > _parameter(table, "key"), alive)
        # Without the hint MySQL would scan the whole table in the order of the keys.
        for engine in ("mysql", "mariadb"):
            owned = owned.with_hint(table, f"FORCE INDEX ({schema.by_owner})", engine)
        #: owner, the key after which to begin, now, how many
        self.of_owner = compiled(owned.order_by(column.key).limit(_limit_parameter()), "owner", "key", "now", "limit")
        count = select(func.count()).select_from(table).where(alive, not_tombstone)
        #: now
        self.count = compiled(count, "now")
        #: now, namespace
        self.count_namespace = compiled(
            count.where(column.namespace == _parameter(table, "namespace")), "now", "namespace"
        )
        #: the key after which to begin, now, how many
        self.scan = compiled(
            select(column.key, *fields)
            .where(column.key > _parameter(table, "key"), alive, not_tombstone)
            .order_by(column.key)
            .limit(_limit_parameter()),
            "key",
            "now",
            "limit",
        )
        #: the time before which a swept record has expired, how many
        self.sweep = compiled(_sweep(table, dialect), "horizon", "limit")
        # Matches no row, but is a write, which a read-only server rejects.
        self.ping = compiled(table.update().where(column.expires < literal_column("0")).values(expires=column.expires))
        # A transaction that changes nothing does not wait for a synchronous standby; one that writes to the log does.
        self.await_standby = compiled(text(_AWAIT_STANDBY)) if dialect.name == "postgresql" else None
        self.schema_version = compiled(select(func.max(schema.versions.c.version)))


def _parameter(table: Table, column: str, name: str = "") -> BindParameter[Any]:
    # SQLAlchemy reserves the column's own name, hence the prefix.
    return bindparam(f"p_{name or column}", type_=table.c[column].type)


def _now_parameter(table: Table) -> BindParameter[Any]:
    return _parameter(table, "expires", "now")


def _limit_parameter() -> BindParameter[int]:
    return bindparam("p_limit", type_=Integer())


def _greatest(table: Table, column: str) -> ColumnElement[Any]:
    """Return the later of the stored and the new time. (GREATEST is called max on SQLite, and missing elsewhere.)"""
    stored, new = table.c[column], _parameter(table, column)
    return case((stored < new, new), else_=stored)


def _sweep(table: Table, dialect: Dialect) -> ClauseElement:
    """Return the DELETE of one batch. It skips rows that other transactions have locked, and repeats the condition."""
    dead = table.c.expires < _parameter(table, "expires", "horizon")
    some = select(table.c.key).where(dead).order_by(table.c.expires).limit(_limit_parameter())
    some = some.with_for_update(skip_locked=True)
    if dialect.name == "postgresql":
        # A CTE with locks runs once; a subquery might run again for every row that it is joined with.
        batch = some.cte("dead")
        return table.delete().where(and_(table.c.key == batch.c.key, dead))
    if dialect.name in ("mysql", "mariadb"):
        # STRAIGHT_JOIN fixes the order: any other plan reads, and waits for, rows that are not in the batch.
        name = dialect.identifier_preparer.format_table(table)  # quoted, so that S608 does not apply below
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
    # Parameters that the dialect itself adds (SQLite: OFFSET 0).
    constants = {name: value for name, value in compiled.params.items() if name not in parameters}
    if not compiled.positional:
        return Statement(str(compiled), lambda values: dict(zip(parameters, values, strict=True)) | constants)
    names = [*parameters, *constants]
    order = [names.index(name) for name in compiled.positiontup or ()]
    added = tuple(constants.values())
    return Statement(str(compiled), lambda values: [(*values, *added)[index] for index in order])
