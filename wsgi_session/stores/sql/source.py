"""From a URL, or a ready engine, to what connects: the dialect, the driver, and a name that may be shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import URL, AssertionPool, Engine, SingletonThreadPool, StaticPool, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.stores.sql.connections import Connect, from_engine
from wsgi_session.stores.sql.drivers import Driver, driver_of, with_driver
from wsgi_session.stores.urls.options import count, hidden_pairs, read_query, seconds, switch
from wsgi_session.stores.urls.parts import read_addresses, special_character_error, without_secrets

# Where the hosts stand in a URL, as SQLAlchemy finds them.
_HOSTS = re.compile(r"(?P<before>[\w+]+://(?:[^:/]*(?::[^@]*)?@)?)(?P<hosts>[^/?]*)")
# The drivers that take several hosts: those over libpq.
_LIBPQ = ("psycopg", "psycopg2")
_PORT = 5432

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
    #: With it: what must not stand in any message.
    url: HiddenText
    dialect: Dialect
    driver: Driver
    connect: Connect


def source_of(database: str | Engine, timeout: float) -> Source:
    """Return what connects to ``database``; nothing is connected yet."""
    if isinstance(database, Engine):
        return _of_engine(database, timeout)
    if not isinstance(database, str):
        raise ConfigError(f"database is a {type(database).__name__}: give a SQLAlchemy URL or a (synchronous) Engine")
    name = without_secrets(database)
    dialect = _dialect(database, name)
    driver = driver_of(dialect, timeout)
    return Source(name, HiddenText(database), dialect, driver, _connect(database, name, dialect, driver))


def split_options(url: str) -> tuple[str, dict[str, Any]]:
    """Return ``url`` with nothing in its query but what is the driver's, and ``SQLStore``'s own options."""
    name = without_secrets(url)
    if "#" in url:
        raise ConfigError(f"{name}: there is a # in the URL: write it as %23")
    place, _, query = HiddenText(url).partition("?")
    if "@" in query:
        raise special_character_error(url)
    dialect = _dialect(place, name)
    known = driver_of(dialect, timeout=1.0).options()
    if dialect.driver in _LIBPQ:
        place, query = _hosts_from_query(place, query)
    # Where only the driver knows, every name is taken, and wrong ones are the driver's to refuse.
    names = [option for option, _ in hidden_pairs(query)] if known is None else known
    options = read_query(name, query, {**dict.fromkeys(names, HiddenText), **OPTIONS})
    ours = {option: options.pop(option) for option in OPTIONS if option in options}
    return _with_options(place, options, name), ours


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
    url = HiddenText(engine.url.render_as_string(hide_password=False))
    return Source(name, url, dialect, driver_of(dialect, timeout), from_engine(engine))


def _connect(database: str, name: str, dialect: Dialect, driver: Driver) -> Connect:
    try:
        positional, named = dialect.create_connect_args(_parsed(database, name))
    except (ArgumentError, TypeError, ValueError):
        raise ConfigError(f"{name}: the driver takes no such URL") from None
    # A traceback that passes through connect() shows what it uses.
    positional = [_hide(value) for value in positional]
    named = {option: _hide(value) for option, value in named.items()}

    def connect(patience: float) -> Any:
        return dialect.connect(*positional, **{**driver.arguments(patience), **named})

    return connect


def _with_options(place: HiddenText, options: Mapping[str, str], name: str) -> HiddenText:
    """Return the URL ``place`` with ``options`` as its query."""
    hosts = _hosts(place)
    several = hosts if "," in hosts else ""
    alone = _with_hosts(place, "") if several else place
    # No local variable holds the URL: its repr shows the query.
    rendered = HiddenText(_parsed(alone, name).update_query_dict(options).render_as_string(hide_password=False))
    return _with_hosts(rendered, several) if several else rendered


def _hosts_from_query(place: HiddenText, query: HiddenText) -> tuple[HiddenText, HiddenText]:
    """Move several hosts that are written as SQLAlchemy does (``?host=a:5432&host=b``) to where libpq has them."""
    hosts = [host for option, host in hidden_pairs(query) if option == "host"]
    if len(hosts) < 2:
        return place, query
    others = "&".join(pair for pair in query.split("&") if not pair.startswith("host="))
    return _with_hosts(place, ",".join(hosts)), HiddenText(others)


def _hosts(url: str) -> HiddenText:
    match = _HOSTS.match(url)
    return HiddenText("" if match is None else match["hosts"])


def _with_hosts(url: str, hosts: str) -> HiddenText:
    return HiddenText(_HOSTS.sub(lambda match: match["before"] + hosts, url, count=1))


def _several_hosts(url: str) -> dict[str, str]:
    """Return libpq's options for the hosts of ``url``, none if it has only one."""
    hosts = _hosts(url)
    if "," not in hosts:
        return {}
    addresses = read_addresses(url, hosts, _PORT)
    return {"host": ",".join(host for host, _ in addresses), "port": ",".join(str(port) for _, port in addresses)}


def _parsed(url: str, name: str) -> URL:
    """Return the parts of ``url`` with its driver named. What may be a password in it does not show in a ``repr``."""
    several = _several_hosts(url)
    try:
        # SQLAlchemy takes a comma for the end of a port.
        parsed = make_url(_with_hosts(url, "") if several else url)
    except (ArgumentError, ValueError):
        # Not chained: SQLAlchemy's message may hold the password.
        raise ConfigError(
            f"{name} is not a SQLAlchemy URL: write postgresql://user:password@host:5432/database, "
            "with whatever is special in the password percent-encoded"
        ) from None
    password = None if parsed.password is None else HiddenText(parsed.password)
    query = {option: _hide(value) for option, value in parsed.query.items()}
    parsed = with_driver(parsed).set(password=password, query={**query, **several})
    if several and parsed.drivername.partition("+")[2] not in _LIBPQ:
        raise ConfigError(f"{name}: give one host; PostgreSQL over psycopg or psycopg2 takes several")
    return parsed


def _hide(value: Any) -> Any:
    return HiddenText(value) if isinstance(value, str) else value


def _check_login(url: str, name: str) -> None:
    """Raise ``ConfigError`` if SQLAlchemy would take a part of user and password for the host or the database."""
    place = HiddenText(url).partition("?")[0]
    rest = HiddenText(_HOSTS.sub(r"\g<hosts>", place, count=1))
    before = place[: len(place) - len(rest)]
    # A path of a file, after nothing, may hold an @.
    if before and "@" in rest and (before.endswith("@") or not rest.startswith("/")):
        raise ConfigError(f"{name}: percent-encode user and password: there is an @ (%40) or a / (%2F) in them")


def _bare(url: str, name: str) -> URL:
    """Return what may be shown of ``url``: driver and database."""
    return URL.create(_parsed(url, name).drivername, database=_parsed(url, name).database)


def _dialect(url: str, name: str) -> Dialect:
    """Return the dialect for ``url`` with its driver loaded, or raise ``ConfigError`` if there can be none."""
    _check_login(url, name)
    bare = _bare(url, name)
    try:
        dialect_class = bare.get_dialect()
    except NoSuchModuleError:
        raise ConfigError(f"{name}: SQLAlchemy knows no {bare.drivername}://; is its package installed?") from None
    if dialect_class.is_async:
        raise ConfigError(f"{name}: {dialect_class.driver} is for asyncio, and WSGI is not: name another driver")
    try:
        dialect: Dialect = dialect_class(dbapi=dialect_class.import_dbapi())  # type: ignore[call-arg]
    except ImportError as error:
        raise ConfigError(
            f"{name}: its driver is not installed ({error}): pip install 'wsgi-session[sql]', which brings psycopg and "
            "PyMySQL, or the one that the URL names"
        ) from error
    if dialect.name == "sqlite" and bare.database in (None, "", ":memory:"):
        raise ConfigError(f"{name}: each connection to it would have sessions of its own: write memory://")
    if dialect.name == "oracle":
        raise ConfigError(f"{name}: Oracle takes an empty text for NULL, which the store contract does not survive")
    return dialect
