"""From a URL, or a ready engine, to what connects: the dialect, the driver, and a name that may be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import URL, AssertionPool, Engine, SingletonThreadPool, StaticPool, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from wsgi_session.errors import ConfigError
from wsgi_session.stores.options import count, query_options, seconds, switch, without_secrets
from wsgi_session.stores.sql_connections import Connect, from_engine
from wsgi_session.stores.sql_drivers import Driver, driver_of, with_driver

#: What ``SQLStore`` takes in a URL's query; what else stands there is the driver's.
OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "table": str,
    "create": switch,
    "sweep": switch,
    "pool": count,
    "timeout": seconds,
}


class Source(NamedTuple):
    """Where connections come from."""

    #: Without password.
    name: str
    dialect: Dialect
    driver: Driver
    connect: Connect


def source_of(database: str | Engine, timeout: float) -> Source:
    """Return what connects to ``database``; nothing is connected yet."""
    if isinstance(database, Engine):
        return _of_engine(database, timeout)
    if not isinstance(database, str):
        raise ConfigError(f"database is a {type(database).__name__}: give a SQLAlchemy URL or a (synchronous) Engine")
    url = _parsed(database)
    name = without_secrets(database)
    dialect = _dialect(url, name)
    driver = driver_of(dialect, timeout)
    _check_database(url, dialect, name)
    try:
        positional, named = dialect.create_connect_args(url)
    except (ArgumentError, TypeError, ValueError):
        raise ConfigError(f"{name}: the driver takes no such URL") from None

    def connect(patience: float) -> Any:
        return dialect.connect(*positional, **{**driver.arguments(patience), **named})

    return Source(name, dialect, driver, connect)


def split_options(url: str) -> tuple[str, dict[str, Any]]:
    """Return ``url`` with nothing in its query but what is the driver's, and ``SQLStore``'s own options."""
    name = without_secrets(url)
    if "#" in url:
        raise ConfigError(f"{name}: there is a # in the URL: write it as %23")
    place, _, query = url.partition("?")
    parsed = _parsed(place)
    given = parse_qsl(query, keep_blank_values=True)
    dialect = _dialect(parsed, name)
    hosts = tuple(host for option, host in given if option == "host") if dialect.name == "postgresql" else ()
    if len(hosts) > 1:  # As SQLAlchemy spells it: host=a:5432&host=b:5432.
        given = [pair for pair in given if pair[0] != "host"]
        url = f"{place}?{urlencode(given)}"
    known = driver_of(dialect, timeout=1.0).options()
    # Where only the driver knows, every name is taken, and wrong ones are the driver's to refuse.
    drivers = dict.fromkeys((option for option, _ in given) if known is None else known, str)
    options = query_options(url, {**drivers, **OPTIONS})
    ours = {option: options.pop(option) for option in OPTIONS if option in options}
    if len(hosts) > 1:
        options["host"] = hosts
    return parsed.set(query=options).render_as_string(hide_password=False), ours


def _of_engine(engine: Engine, timeout: float) -> Source:
    name = without_secrets(engine.url.render_as_string(hide_password=True))
    if isinstance(engine.pool, (StaticPool, SingletonThreadPool, AssertionPool)):
        raise ConfigError(
            f"the engine of {name} shares one connection by its {type(engine.pool).__name__}: "
            "give one with another poolclass, or a URL"
        )
    dialect_class = type(engine.dialect)
    # A fresh one: the application may have given its own options that change how SQL is written.
    dialect = dialect_class(dbapi=engine.dialect.loaded_dbapi)  # type: ignore[call-arg]
    return Source(name, dialect, driver_of(dialect, timeout), from_engine(engine))


def _parsed(url: str) -> URL:
    name = without_secrets(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not chained: SQLAlchemy's message may hold the password.
        raise ConfigError(
            f"{name} is no SQLAlchemy URL: write postgresql://user:password@host:5432/database, "
            "with whatever is special in the password percent-encoded; several hosts: "
            "postgresql://user:password@/database?host=a:5432&host=b:5432"
        ) from None
    if "@" in (parsed.host or ""):
        raise ConfigError(f"{name}: there is an @ in the password: write it as %40")
    return with_driver(parsed)


def _dialect(url: URL, name: str) -> Dialect:
    try:
        dialect_class = url.get_dialect()
    except NoSuchModuleError:
        raise ConfigError(f"{name}: SQLAlchemy knows no {url.drivername}://; is its package installed?") from None
    if dialect_class.is_async:
        raise ConfigError(f"{name}: {dialect_class.driver} is for asyncio, and WSGI is not: name another driver")
    try:
        return dialect_class(dbapi=dialect_class.import_dbapi())  # type: ignore[call-arg]
    except ImportError as error:
        raise ConfigError(
            f"{name}: its driver is not installed ({error}): pip install 'wsgi-session[sql]', which brings psycopg and "
            "PyMySQL, or the one that the URL names"
        ) from error


def _check_database(url: URL, dialect: Dialect, name: str) -> None:
    if dialect.name == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigError(f"{name}: each connection to it would have sessions of its own: write memory://")
    if dialect.name == "oracle":
        raise ConfigError(f"{name}: Oracle takes an empty text for NULL, which the store contract does not survive")
