"""Several hosts in one URL, including IPv6 addresses, on every release of Python."""

from __future__ import annotations

import sys
import urllib.parse
from typing import Any

import pytest

from wsgi_session import ConfigError
from wsgi_session.stores import open_store

_urlsplit = urllib.parse.urlsplit


def strict_urlsplit(url: str, *arguments: Any, **named: Any) -> Any:
    """Behave like urlsplit of Python 3.10.17, 3.11.12, 3.12.9 and 3.13.2 or later, also on an older release.

    Those releases allow brackets only around a single host.
    """
    parts = _urlsplit(url, *arguments, **named)
    before, bracket, bracketed = parts.netloc.rpartition("@")[2].partition("[")
    after = bracketed.partition("]")[2]
    if bracket and (before or (after and not after.startswith(":"))):
        raise ValueError("Invalid IPv6 URL")
    return parts


@pytest.fixture(autouse=True)
def newer_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [*sys.modules.values()]:
        if getattr(module, "urlsplit", None) is _urlsplit:
            monkeypatch.setattr(module, "urlsplit", strict_urlsplit)


def test_the_stand_in_refuses_what_newer_releases_refuse() -> None:
    for url in ("redis://s1,[::1]:7000/a", "redis://[::1]x/a"):
        with pytest.raises(ValueError, match="Invalid IPv6 URL"):
            urllib.parse.urlsplit(url)
    assert urllib.parse.urlsplit("redis://u:p@[::1]:7000/a").port == 7000


HOSTS = [
    ("s1,[::1]:7000", [("s1", None), ("::1", 7000)]),
    ("[::1]:7000,[2001:db8::2]", [("::1", 7000), ("2001:db8::2", None)]),
    ("[::1],s2:7001,s3", [("::1", None), ("s2", 7001), ("s3", None)]),
]


@pytest.mark.parametrize("login", ["", "ann:pw@", ":p%5Bw%40@"])
@pytest.mark.parametrize(("hosts", "wanted"), HOSTS)
def test_sentinels_may_have_ipv6_addresses(login: str, hosts: str, wanted: list[tuple[str, int | None]]) -> None:
    pytest.importorskip("redis", reason="no Redis client here: pip install redis hiredis")
    with open_store(f"redis+sentinel://{login}{hosts}/mine") as store:
        sentinels = store._client._source.sentinel_manager.sentinels  # type: ignore[attr-defined]
        found = [one.connection_pool.connection_kwargs for one in sentinels]
    assert [(one["host"], one["port"]) for one in found] == [(host, port or 26379) for host, port in wanted]


@pytest.mark.parametrize("login", ["", "ann:pw@"])
@pytest.mark.parametrize(("hosts", "wanted"), HOSTS)
def test_the_nodes_of_a_cluster_may_have_ipv6_addresses(
    login: str, hosts: str, wanted: list[tuple[str, int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_urls = pytest.importorskip("wsgi_session.stores.redis.urls", reason="no Redis client here")
    asked: list[Any] = []

    def ask(startup_nodes: list[Any], **settings: Any) -> Any:
        asked.extend(startup_nodes)
        raise OSError("nobody is there")

    monkeypatch.setattr(redis_urls, "SlotClient", ask)
    with open_store(f"redis+cluster://{login}{hosts}") as store, pytest.raises(Exception, match="nobody is there"):
        store.ping()
    assert sorted((node.host, node.port) for node in asked) == sorted((host, port or 6379) for host, port in wanted)


@pytest.mark.parametrize("login", ["", "ann:pw@", "ann:p/w@"])
@pytest.mark.parametrize(("hosts", "wanted"), HOSTS)
def test_postgresql_takes_several_hosts_as_libpq_writes_them(
    login: str, hosts: str, wanted: list[tuple[str, int | None]]
) -> None:
    arguments = connect_arguments(f"postgresql://{login}{hosts}/shop?target_session_attrs=read-write&pool=3")
    assert arguments["host"] == ",".join(host for host, _ in wanted)
    assert arguments["port"] == ",".join(str(port or 5432) for _, port in wanted)
    assert (arguments["dbname"], arguments["target_session_attrs"]) == ("shop", "read-write")


def test_postgresql_takes_several_hosts_as_sqlalchemy_writes_them() -> None:
    for query in ("host=a:5433&host=b", "host=a,b&port=5433,5432"):
        arguments = connect_arguments(f"postgresql://ann:pw@/shop?{query}&sslmode=require")
        assert (arguments["host"], arguments["port"]) == ("a,b", "5433,5432")
        assert (arguments["user"], arguments["password"], arguments["sslmode"]) == ("ann", "pw", "require")


def test_a_store_shows_all_its_hosts() -> None:
    pytest.importorskip("psycopg", reason="no PostgreSQL driver here: pip install 'psycopg[binary]'")
    with open_store("postgresql://ann:pw@h1:5433,[::1]/shop?pool=2") as store:
        assert repr(store) == "SQLStore('postgresql+psycopg://***@h1:5433,[::1]/shop', table='wsgi_sessions')"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://h1,h2:port/shop", r"'h2:\*\*\*' is not an address. Write host, host:5432 or \[::1\]:5432"),
        ("mysql://h1,h2/shop", "give one host. Only psycopg and psycopg2, for PostgreSQL, accept several"),
        ("redis+sentinel://s1,[::1/mine", r"is not an address. Write host, host:26379 or \[::1\]:26379"),
        ("redis+cluster://s1,::1", r"is not an address. Write host, host:6379 or \[::1\]:6379"),
    ],
)
def test_what_is_no_host_is_refused_with_what_to_write(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_store(url)


def connect_arguments(url: str) -> dict[str, Any]:
    """Return the arguments with which the driver is called for ``url``."""
    pytest.importorskip("psycopg", reason="no PostgreSQL driver here: pip install 'psycopg[binary]'")
    seen: dict[str, Any] = {}

    def connect(*positional: Any, **named: Any) -> Any:
        seen.update(named)
        raise OSError("nobody is there")

    with open_store(url) as store:
        source = store._source  # type: ignore[attr-defined]
        source.dialect.connect = connect
        with pytest.raises(OSError, match="nobody is there"):
            source.connect(5.0)
    return seen
