"""SQLStore: the database of a URL or an engine, and the refusals, whose messages never show the password."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from click.testing import CliRunner
from sqlalchemy import AssertionPool, Engine, NullPool, SingletonThreadPool, StaticPool, create_engine, text

from tests.support.records import NOW, make_record
from tests.support.servers.shared import mariadb, pgbouncer, postgres
from wsgi_session.cli import cli
from wsgi_session.errors import ConfigError, StoreUnavailable
from wsgi_session.stores import SWEEP_EVERY, Outcome, open_store
from wsgi_session.stores.sql import SQLStore

KEY = bytes(range(32))
SECRET = "tea@4:/?"
SPELT = "tea%404%3A%2F%3F"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+pysqlite:///{tmp_path / 'sessions.db'}"


# URLs.


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://db/shop", "postgresql+psycopg"),
        ("postgres://db/shop", "postgresql+psycopg"),
        ("postgresql+psycopg://db/shop", "postgresql+psycopg"),
        ("mysql://db/shop", "mysql+pymysql"),
        ("mariadb://db/shop", "mariadb+pymysql"),
        ("mariadb+pymysql://db/shop", "mariadb+pymysql"),
    ],
)
def test_a_url_opens_the_store_over_the_driver_that_the_manual_names(url: str, driver: str) -> None:
    with open_store(url) as store:
        assert isinstance(store, SQLStore)
        dialect = store._source.dialect
        assert f"{dialect.name}+{dialect.driver}" == driver
        assert repr(store) == f"SQLStore('{driver}://db/shop', table='wsgi_sessions')"


def test_options_of_the_store_and_of_the_driver_stand_in_one_query() -> None:
    url = "postgresql://db/shop?sslmode=require&table=auth.visits&pool=3&timeout=0.5&create=off&sweep=off"
    with SQLStore.from_url(url) as store:
        assert store._schema.sessions.fullname == "auth.visits"
        assert store._source.driver.timeout == 0.5
        database = store._database
        assert (database._pool_size, database.create, store._auto_sweep) == (3, False, False)
    with SQLStore.from_url("mysql://db/shop?ssl_ca=/etc/ca.pem&unix_socket=/run/db") as store:
        assert store._source.driver.timeout == 2.0


def test_what_a_url_says_goes_before_our_defaults(tmp_path: Path) -> None:
    with SQLStore.from_url(f"sqlite+pysqlite:///{tmp_path}/x.db?uri=true&timeout=7") as store:
        assert store.load(KEY, NOW) is None


@pytest.mark.parametrize(
    "query", ["host=a:1&host=b:2", "pool=3&host=a:1&sslmode=require&host=b:2", "host=a,b&port=1,2"]
)
def test_several_hosts_may_be_spelt_as_sqlalchemy_does_and_as_libpq_does(query: str) -> None:
    with SQLStore.from_url(f"postgresql://ann:{SPELT}@/shop?{query}") as store:
        # psycopg tries the hosts one after another, and its error names the last one.
        with pytest.raises(StoreUnavailable, match=r"a.*b|b.*a"):
            store.ping()
        assert store._database._pool_size == (3 if "pool" in query else 8)


def test_several_hosts_are_not_for_drivers_that_take_one() -> None:
    with pytest.raises(ConfigError, match="'host' is given twice"):
        SQLStore.from_url("mysql://ann@/shop?host=a&host=b")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "postgresql://db/shop?pol=3",
            r".pol. .did you mean pool.*. The options are: .*connect_timeout, create.*table",
        ),
        (
            "mysql://db/shop?pol=3",
            r".pol. .did you mean pool.*. The options are: .*ssl_ca, .*sweep, table",
        ),
        ("postgresql://db/shop?pool=0", "pool='0': give a whole number, 1 or more"),
        ("postgresql://db/shop?pool=1&pool=2", "'pool' is given twice"),
        ("postgresql://db/shop?create=no", "create='no': give on or off"),
        ("postgresql://db/shop?table=a;b", "table='a;b': give a name of at most 48"),
        ("postgresql://db/shop?timeout=9999", r"timeout=9999\.0: give a number of seconds, more than 0 and at most"),
        ("postgresql://db:port/shop", r"is not a SQLAlchemy URL. Write postgresql://user:password@host:5432"),
        ("postgresql://db/shop#x", "there is a # in the URL. Write it as %23"),
        ("postgresql+asyncpg://db/shop", "asyncpg is for asyncio, not for WSGI"),
        ("postgresql+tea://db/shop", r"SQLAlchemy has no postgresql\+tea://"),
        ("sqlite+pysqlite://", "Write memory://"),
        ("sqlite+pysqlite:///:memory:", "Write memory://"),
    ],
)
def test_a_url_that_cannot_work_says_what_to_write(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SQLStore.from_url(url)


def test_a_driver_that_is_not_installed_is_named_with_what_installs_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(ConfigError, match=r"psycopg2.*pip install 'wsgi-session\[sql\]'"):
        SQLStore("postgresql+psycopg2://db/shop")


def test_oracle_which_knows_no_empty_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.dialects.oracle.oracledb import OracleDialect_oracledb

    monkeypatch.setattr(OracleDialect_oracledb, "import_dbapi", classmethod(lambda cls: None))
    with pytest.raises(ConfigError, match="Oracle stores an empty text as NULL"):
        SQLStore("oracle+oracledb://db/shop")


@pytest.mark.parametrize("name", ["", "a" * 49, "1a", "a b", "a.b.c", 'a"', "é"])
def test_a_table_name_that_engines_disagree_on_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="give a name of at most 48 ASCII letters"):
        SQLStore("postgresql://db/shop", table=name)


@pytest.mark.parametrize("options", [{"pool_size": 0}, {"pool_size": True}, {"timeout": 0}, {"timeout": 3601}])
def test_an_option_that_cannot_work_says_what_to_give(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"=.*: give "):
        SQLStore("postgresql://db/shop", **options)


def test_what_is_neither_a_url_nor_an_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match="database is a int: give a SQLAlchemy URL"):
        SQLStore(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{SPELT}@127.0.0.1:1/shop",
        f"mysql://ann:{SPELT}@127.0.0.1:1/shop",
        f"postgresql://ann:{SECRET}@127.0.0.1:1/shop",
        f"mysql://ann:{SECRET}@127.0.0.1:1/shop",
        f"postgresql://ann:{SPELT}@127.0.0.1:1/shop?tabel=x",
        "postgresql://ann:tea@tea@127.0.0.1:1/shop",
        f"postgresql://127.0.0.1:1/shop?password={SPELT}&connect_timeout=x",
        f"nosuch://ann:{SPELT}@127.0.0.1:1/shop",
        f"postgresql://ann:{SPELT}@127.0.0.1:port/shop",
    ],
)
def test_no_message_and_no_repr_shows_the_password(url: str) -> None:
    said = []
    try:
        with SQLStore.from_url(url) as store:
            said.append(repr(store))
            store.ping()
    except (ConfigError, StoreUnavailable) as error:
        shown: BaseException | None = error
        while shown is not None:
            said.append(str(shown))
            shown = shown.__cause__
    assert said
    assert not [text for text in said if "tea" in text]


# Engines.


@pytest.fixture(params=[postgres, mariadb], ids=["postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The application's own engine, whose pool has only one connection."""
    url = request.param().replace("postgresql://", "postgresql+psycopg://").replace("mariadb://", "mariadb+pymysql://")
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    yield engine
    engine.dispose()


def test_the_applications_open_transaction_is_its_own(engine: Engine) -> None:
    table = f"app_{os.urandom(4).hex()}"
    with SQLStore(engine, table=f"sessions_{table}") as store, engine.connect() as connection:
        connection.execute(text(f"CREATE TABLE {table} (name VARCHAR(20))"))
        connection.commit()
        connection.execute(text(f"INSERT INTO {table} VALUES ('ours')"))
        kept = make_record()
        store.create(KEY, kept, NOW)
        assert store.replace(KEY, changed := kept._replace(version=os.urandom(16)), kept.version, NOW) is Outcome.SAVED
        connection.rollback()
        assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0
        assert store.load(KEY, NOW) == changed
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_connections_are_made_as_the_engine_makes_them(engine: Engine) -> None:
    made: list[object] = []
    sqlalchemy.event.listen(engine, "connect", lambda connection, entry: made.append(connection))
    with SQLStore(engine, table=f"sessions_{os.urandom(4).hex()}") as store:
        store.ping()
        ours = len(made)
    assert ours
    with engine.connect():  # although the store has opened connections
        assert len(made) == ours + 1


def test_what_a_listener_set_before_us_stays_set() -> None:
    engine = create_engine(postgres().replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    schema = f"schema_{os.urandom(4).hex()}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    # As in SQLAlchemy's documentation: the transaction is still open afterwards.
    sqlalchemy.event.listen(
        engine, "connect", lambda connection, entry: connection.execute(f"SET search_path TO {schema}").close()
    )
    with SQLStore(engine) as store:
        store.create(KEY, make_record(), NOW)
    with engine.connect() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {schema}.wsgi_sessions")).scalar() == 1


@pytest.mark.parametrize("pool", [StaticPool, SingletonThreadPool, AssertionPool])
def test_an_engine_that_shares_one_connection_is_refused(sqlite_url: str, pool: type[sqlalchemy.Pool]) -> None:
    with pytest.raises(ConfigError, match=f"its poolclass is {pool.__name__}"):
        SQLStore(create_engine(sqlite_url, poolclass=pool))


def test_an_engine_over_any_dialect_will_do(sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)
    with SQLStore(engine) as store:
        kept = make_record()
        store.create(KEY, kept, NOW)
        assert store.load(KEY, NOW) == kept
        assert repr(store) == f"SQLStore({sqlite_url!r}, table='wsgi_sessions')"
    engine.dispose()


@pytest.mark.parametrize("mode", ["EMPTY_STRING_IS_NULL", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ORACLE"])
def test_whatever_sql_mode_the_server_is_in_a_logout_is_carried_out(mode: str) -> None:
    url = f"{mariadb()}?table=mode_{os.urandom(4).hex()}&timeout=30&sql_mode={mode}"
    owner, moved = bytes(32), bytes(range(1, 33))
    with SQLStore.from_url(url) as store:
        kept, other = make_record()._replace(owner=owner), make_record()._replace(version=os.urandom(16))
        store.create(KEY, kept, NOW)
        assert store.touch(KEY, NOW + 1, NOW + 2000, NOW)
        assert store.rotate(KEY, moved, other, kept.version, NOW) is Outcome.SAVED
        tombstone = store.load(KEY, NOW)
        assert tombstone is not None
        assert not tombstone.handle
        assert not store.delete(KEY)
        assert store.count(NOW) == 1
        assert [key for key, _ in store.scan(NOW)] == [moved]
        assert store.delete(moved)
        store.ping()


def test_an_engine_whose_driver_counts_only_rows_that_change_tells_a_live_session_from_a_dead_one() -> None:
    import pymysql

    shared = sqlalchemy.make_url(mariadb())

    def creator() -> Any:
        return pymysql.connect(host=shared.host, port=shared.port or 0, user=shared.username, database=shared.database)

    engine = create_engine("mysql+pymysql://", creator=creator)
    with SQLStore(engine, table=f"found_{os.urandom(4).hex()}", timeout=30) as store:
        store.create(KEY, make_record(), NOW)
        for _ in range(2):
            assert store.touch(KEY, NOW + 1, NOW + 2000, NOW)
        assert not store.touch(bytes(32), NOW + 1, NOW + 2000, NOW)
        assert not store.touch(KEY, NOW + 3000, NOW + 4000, NOW + 2000)
        store.delete(KEY)
        assert not store.touch(KEY, NOW + 1, NOW + 2000, NOW)
    engine.dispose()


# Connections.


def test_statements_are_prepared_where_nobody_stands_between_and_only_there() -> None:
    for url, wanted in ((postgres(), True), (pgbouncer(), False)):
        with SQLStore.from_url(f"{url}?table=prepared_{wanted}") as store:
            for _ in range(10):
                assert store.load(KEY, NOW) is None
            connections = store._database._connections
            place = connections.acquire(None, time.monotonic() + 30)
            with place.connection.cursor() as cursor:
                found = cursor.execute("SELECT statement FROM pg_prepared_statements").fetchall()
            connections.pool.release(place)
            assert any(b"prepared_" in bytes(row[0], "ascii") for row in found) is wanted


def test_what_the_engine_undid_for_the_sake_of_others_is_sent_again() -> None:
    import psycopg

    role = f"strict_{os.urandom(4).hex()}"
    with psycopg.connect(postgres(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER")
        connection.execute(f"ALTER ROLE {role} SET default_transaction_isolation = serializable")
    url = postgres().replace("postgres@", f"{role}@")
    with SQLStore.from_url(f"{url}?table={role}&timeout=20") as store:
        store.create(KEY, make_record(), NOW)

        def touch_often(worker: int) -> list[bool]:
            return [store.touch(KEY, NOW + turn, NOW + 1000 + turn + worker, NOW) for turn in range(60)]

        with ThreadPoolExecutor(6) as pool:
            assert all(all(answers) for answers in pool.map(touch_often, range(6)))


def test_a_record_that_the_server_takes_for_too_large_says_which_setting_to_raise() -> None:
    with SQLStore.from_url(f"{mariadb()}?table=large&timeout=20") as store:
        with pytest.raises(StoreUnavailable, match="max_allowed_packet"):
            store.create(KEY, make_record(bytes(17 << 20)), NOW)
        assert store.load(KEY, NOW) is None
        store.create(KEY, make_record(), NOW)


def test_a_sweep_is_due_after_so_many_creates_unless_it_is_off(sqlite_url: str) -> None:
    for options, wanted in (("", True), ("?sweep=off", False)):
        with SQLStore.from_url(sqlite_url + options) as store:
            for _ in range(SWEEP_EVERY):
                assert not store.sweep_due
                store.create(os.urandom(32), make_record(), NOW)
            assert store.sweep_due is wanted
            assert store.sweep(10, NOW) == 0
            assert not store.sweep_due


# python -m wsgi_session init


def test_init_makes_the_tables_and_does_so_twice_without_harm(sqlite_url: str) -> None:
    for _ in range(2):
        done = CliRunner().invoke(cli, ["init", sqlite_url + "?create=off"])
        assert (done.exit_code, done.output) == (0, "ok, the tables exist\n")
    with SQLStore.from_url(sqlite_url + "?create=off") as store:
        store.ping()


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("postgresql", ["key BYTEA NOT NULL", 'COLLATE "C"', "WHERE owner IS NOT NULL"]),
        ("mysql", ["`key` VARBINARY(32) NOT NULL", "data LONGBLOB NOT NULL", "ENGINE=InnoDB"]),
        ("mariadb", ["`key` VARBINARY(32) NOT NULL", "data LONGBLOB NOT NULL", "ENGINE=InnoDB"]),
    ],
)
def test_init_sql_prints_what_a_migration_needs_and_connects_to_nothing(scheme: str, words: list[str]) -> None:
    done = CliRunner().invoke(cli, ["init", f"{scheme}://ann:{SPELT}@127.0.0.1:1/shop?table=visits", "--sql"])
    assert done.exit_code == 0
    assert not [word for word in words if word not in done.output]
    last = done.output.splitlines()[-1]
    assert last.startswith("INSERT INTO visits_schema (version) SELECT 1 AS version ")
    assert last.endswith("WHERE NOT (EXISTS (SELECT visits_schema.version FROM visits_schema));")


def test_init_of_a_store_without_tables_has_nothing_to_do_and_no_sql_to_print(tmp_path: Path) -> None:
    init = ["init", f"sqlite:///{tmp_path / 'sessions.db'}"]
    done = CliRunner().invoke(cli, init)
    assert (done.exit_code, done.output) == (0, "ok, no tables are needed for SQLiteStore\n")
    done = CliRunner().invoke(cli, [*init, "--sql"])
    assert (done.exit_code, done.output) == (1, "Error: SQLiteStore needs no tables.\n")


def test_init_where_nobody_answers_is_one_line() -> None:
    done = CliRunner().invoke(cli, ["init", f"postgresql://ann:{SPELT}@127.0.0.1:1/shop"])
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert "tea" not in done.output
