"""Find out how to connect to a database: from a URL or a ready engine to dialect, driver and a name without secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import URL, AssertionPool, Engine, SingletonThreadPool, StaticPool, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.stores.sql.connections import Connect, engine_connector
from wsgi_session.stores.sql.drivers import Driver, driver_of, with_driver
from wsgi_session.stores.urls.options import hidden_pairs, parse_count, parse_query, parse_seconds, parse_switch
from wsgi_session.stores.urls.parts import read_addresses, special_character_error, without_secrets

# Finds the hosts in a URL in the same way as SQLAlchemy.
_HOSTS = re.compile(r"(?P<before>[\w+]+://(?:[^:/]*(?::[^@]*)?@)?)(?P<hosts>[^/?]*)")
# The drivers that accept several hosts: those that use libpq.
_LIBPQ = ("psycopg", "psycopg2")
_PORT = 5432

#: The options of ``SQLStore`` in a URL's query. All other options are passed to the driver.
OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "table": str,
    "create": parse_switch,
    "sweep": parse_switch,
    "pool": parse_count,
    "timeout": parse_seconds,
}


class Source(NamedTuple):
    """A database, and how to connect to it."""

    #: The URL without secrets, for messages.
    name: str
    #: The complete URL, which no message may contain.
    url: HiddenText
    dialect: Dialect
    driver: Driver
    connect: Connect


def source_of(database: str | Engine, timeout: float) -> Source:
    """Return the source of connections to ``database``; nothing is connected yet."""
    if isinstance(database, Engine):
        return _of_engine(database, timeout)
    if not isinstance(database, str):
        raise ConfigError(f"database is a {type(database).__name__}: give a SQLAlchemy URL or a (synchronous) Engine.")
    name = without_secrets(database)
    dialect = _load_dialect(database, name)
    driver = driver_of(dialect, timeout)
    return Source(name, HiddenText(database), dialect, driver, _connector(database, name, dialect, driver))


def split_options(url: str) -> tuple[str, dict[str, Any]]:
    """Return ``url`` with only the driver's options in its query, and the options of ``SQLStore``."""
    name = without_secrets(url)
    if "#" in url:
        raise ConfigError(f"{name}: there is a # in the URL. Write it as %23.")
    base_url, _, query = HiddenText(url).partition("?")
    if "@" in query:
        raise special_character_error(url)
    dialect = _load_dialect(base_url, name)
    driver_options = driver_of(dialect, timeout=1.0).options()
    if dialect.driver in _LIBPQ:
        base_url, query = _hosts_from_query(base_url, query)
    # If the driver's options are not known here, accept every name; the driver itself raises for unknown ones.
    names = [option for option, _ in hidden_pairs(query)] if driver_options is None else driver_options
    options = parse_query(name, query, {**dict.fromkeys(names, HiddenText), **OPTIONS})
    store_options = {option: options.pop(option) for option in OPTIONS if option in options}
    return _with_options(base_url, options, name), store_options


def _of_engine(engine: Engine, timeout: float) -> Source:
    name = without_secrets(engine.url.render_as_string(hide_password=True))
    if isinstance(engine.pool, (StaticPool, SingletonThreadPool, AssertionPool)):
        raise ConfigError(
            f"The engine of {name} shares one connection, because its poolclass is {type(engine.pool).__name__}. "
            "Give an engine with another poolclass, or a URL."
        )
    dialect_class = type(engine.dialect)
    # A new dialect, because the application's own may have options that change how SQL is written.
    dialect = dialect_class(dbapi=engine.dialect.loaded_dbapi)  # type: ignore[call-arg]
    url = HiddenText(engine.url.render_as_string(hide_password=False))
    return Source(name, url, dialect, driver_of(dialect, timeout), engine_connector(engine))


def _connector(database: str, name: str, dialect: Dialect, driver: Driver) -> Connect:
    try:
        positional, named = dialect.create_connect_args(_parse_url(database, name))
    except (ArgumentError, TypeError, ValueError):
        raise ConfigError(f"{name}: the driver does not accept this URL.") from None
    # A traceback that passes through connect() shows these values.
    positional = [_hide(value) for value in positional]
    named = {option: _hide(value) for option, value in named.items()}

    def connect(timeout: float) -> Any:
        return dialect.connect(*positional, **{**driver.arguments(timeout), **named})

    return connect


def _with_options(base_url: HiddenText, options: Mapping[str, str], name: str) -> HiddenText:
    """Return ``base_url`` with ``options`` as its query."""
    hosts = _hosts(base_url)
    several = hosts if "," in hosts else ""
    without_hosts = _with_hosts(base_url, "") if several else base_url
    # The URL object is not put into a local variable, because its repr shows the query.
    rendered = HiddenText(
        _parse_url(without_hosts, name).update_query_dict(options).render_as_string(hide_password=False)
    )
    return _with_hosts(rendered, several) if several else rendered


def _hosts_from_query(base_url: HiddenText, query: HiddenText) -> tuple[HiddenText, HiddenText]:
    """Move several hosts in SQLAlchemy's notation (``?host=a:5432&host=b``) in front of the path, as libpq expects."""
    hosts = [host for option, host in hidden_pairs(query) if option == "host"]
    if len(hosts) < 2:
        return base_url, query
    others = "&".join(pair for pair in query.split("&") if not pair.startswith("host="))
    return _with_hosts(base_url, ",".join(hosts)), HiddenText(others)


def _hosts(url: str) -> HiddenText:
    match = _HOSTS.match(url)
    return HiddenText("" if match is None else match["hosts"])


def _with_hosts(url: str, hosts: str) -> HiddenText:
    return HiddenText(_HOSTS.sub(lambda match: match["before"] + hosts, url, count=1))


def _several_hosts(url: str) -> dict[str, str]:
    """Return libpq's options for the hosts of ``url``; an empty dictionary if there is only one host."""
    hosts = _hosts(url)
    if "," not in hosts:
        return {}
    addresses = read_addresses(url, hosts, _PORT)
    return {"host": ",".join(host for host, _ in addresses), "port": ",".join(str(port) for _, port in addresses)}


def _parse_url(url: str, name: str) -> URL:
    """Parse ``url`` and name its driver. A ``repr`` of the result does not show the password or the query's values."""
    several = _several_hosts(url)
    try:
        # SQLAlchemy cannot parse several hosts: it reads a comma as the end of a port.
        parsed = make_url(_with_hosts(url, "") if several else url)
    except (ArgumentError, ValueError):
        # Do not chain SQLAlchemy's error: its message may contain the password.
        raise ConfigError(
            f"{name} is not a SQLAlchemy URL. Write postgresql://user:password@host:5432/database, "
            "with special characters in the password percent-encoded."
        ) from None
    password = None if parsed.password is None else HiddenText(parsed.password)
    query = {option: _hide(value) for option, value in parsed.query.items()}
    parsed = with_driver(parsed).set(password=password, query={**query, **several})
    if several and parsed.drivername.partition("+")[2] not in _LIBPQ:
        raise ConfigError(f"{name}: give one host. Only psycopg and psycopg2, for PostgreSQL, accept several.")
    return parsed


def _hide(value: Any) -> Any:
    return HiddenText(value) if isinstance(value, str) else value


def _check_login(url: str, name: str) -> None:
    """Raise ``ConfigError`` if SQLAlchemy would read a part of user and password as the host or the database."""
    base_url = HiddenText(url).partition("?")[0]
    rest = HiddenText(_HOSTS.sub(r"\g<hosts>", base_url, count=1))
    before = base_url[: len(base_url) - len(rest)]
    # The path of a file, after an empty host, may contain an @.
    if before and "@" in rest and (before.endswith("@") or not rest.startswith("/")):
        raise ConfigError(f"{name}: percent-encode user and password. They contain an @ (%40) or a / (%2F).")


def _without_login(url: str, name: str) -> URL:
    """Return a URL of only the driver and the database of ``url``, which may be shown."""
    return URL.create(_parse_url(url, name).drivername, database=_parse_url(url, name).database)


def _load_dialect(url: str, name: str) -> Dialect:
    """Return the dialect for ``url`` with its driver imported, or raise ``ConfigError`` if that is not possible."""
    _check_login(url, name)
    shown = _without_login(url, name)
    try:
        dialect_class = shown.get_dialect()
    except NoSuchModuleError:
        raise ConfigError(f"{name}: SQLAlchemy has no {shown.drivername}://. Is its package installed?") from None
    if dialect_class.is_async:
        raise ConfigError(f"{name}: {dialect_class.driver} is for asyncio, not for WSGI. Name another driver.")
    try:
        dialect: Dialect = dialect_class(dbapi=dialect_class.import_dbapi())  # type: ignore[call-arg]
    except ImportError as error:
        raise ConfigError(
            f"{name}: its driver is not installed ({error}). Run pip install 'wsgi-session[sql]', which installs "
            "psycopg and PyMySQL, or install the driver that the URL names."
        ) from error
    if dialect.name == "sqlite" and shown.database in (None, "", ":memory:"):
        raise ConfigError(f"{name}: each connection would have a separate database. Write memory://.")
    if dialect.name == "oracle":
        raise ConfigError(f"{name}: Oracle stores an empty text as NULL. Use another database.")
    return dialect
