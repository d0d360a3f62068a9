"""Redis URLs: the server and settings of each, and the messages for invalid ones."""

from __future__ import annotations

import traceback
from importlib.metadata import entry_points
from typing import Any

import pytest

from wsgi_session.errors import ConfigError, StoreUnavailable

pytest.importorskip("redis", reason="no Redis client here: pip install redis hiredis")

from wsgi_session.stores.redis import urls
from wsgi_session.stores.redis.urls import open_url

PASSWORD = "hunter2"


def settings(url: str) -> dict[str, Any]:
    """Return the settings of the connections of the store for ``url``."""
    with open_url(url) as store:
        link: Any = store._client
        found: dict[str, Any] = link._source.connection_kwargs
        return {**found, "class": link._source.connection_class.__name__, "size": link._pool._size}


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix", "redis+cluster", "redis+sentinel"])
def test_each_scheme_is_published(scheme: str) -> None:
    (entry,) = entry_points(group="wsgi_session.stores", name=scheme)
    assert entry.load() is open_url


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://", {"host": "localhost", "port": 6379, "db": 0, "username": None, "password": None}),
        ("redis://cache", {"host": "cache", "port": 6379, "class": "Connection"}),
        ("redis://cache:7000/3", {"host": "cache", "port": 7000, "db": 3}),
        ("redis://[::1]:7000/", {"host": "::1", "port": 7000, "db": 0}),
        ("redis://:pw@cache", {"username": None, "password": "pw"}),
        ("redis://ann:p%40w%2F@cache", {"username": "ann", "password": "p@w/"}),
        ("redis://cache", {"socket_timeout": 1.0, "socket_connect_timeout": 0.5, "size": 64}),
        (
            "redis://cache?timeout=2.5&connect_timeout=3&pool=7",
            {"socket_timeout": 2.5, "socket_connect_timeout": 3.0, "size": 7},
        ),
        ("rediss://cache", {"class": "SSLConnection", "host": "cache", "ssl_check_hostname": True}),
        ("rediss://cache?ssl_ca_certs=/ca.pem", {"ssl_ca_certs": "/ca.pem"}),
        ("rediss://c?ssl_certfile=/c.pem&ssl_keyfile=/k.pem", {"ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem"}),
        ("unix:///run/redis.sock", {"path": "/run/redis.sock", "db": 0, "class": "UnixDomainSocketConnection"}),
        ("unix://ann:pw@/run/a%20b.sock?db=2", {"path": "/run/a b.sock", "db": 2, "username": "ann", "password": "pw"}),
        ("redis+sentinel://s1,s2:7000/mine", {"class": "SentinelManagedConnection", "socket_timeout": 1.0}),
        (
            "redis+sentinel://ann:pw@s1/mine/4?tls=on",
            {"class": "SentinelManagedSSLConnection", "ssl_check_hostname": True},
        ),
        ("redis+sentinel://ann:pw@s1/mine/4", {"db": 4}),
        ("redis+sentinel://ann:pw@s1/mine", {"username": "ann", "password": "pw"}),
    ],
)
def test_a_url_says_where_and_how(url: str, wanted: dict[str, Any]) -> None:
    found = settings(url)
    assert {name: found.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("url", ["redis://cache", "rediss://cache", "unix:///s", "redis+sentinel://s1/mine"])
def test_redis_py_sends_nothing_again_by_itself(url: str) -> None:
    found = settings(url)
    assert found["retry"]._retries == 0
    assert not found.get("retry_on_error")
    assert not found.get("retry_on_timeout")


def test_a_cluster_over_tls_needs_a_client_that_checks_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis-py 5 drops the setting, and would accept the certificate of another server."""
    url = "redis+cluster://ann:pw@c?tls=on"
    monkeypatch.setattr(urls, "REDIS_ALLOWED_KEYS", ["ssl"])
    with pytest.raises(ConfigError, match="needs redis 6 or newer") as caught:
        open_url(url)
    assert "pw" not in str(caught.value)
    open_url("redis+cluster://c").close()
    monkeypatch.setattr(urls, "REDIS_ALLOWED_KEYS", ["ssl", "ssl_check_hostname"])
    open_url(url).close()


def test_sentinels_are_asked_with_their_own_login() -> None:
    with open_url(
        "redis+sentinel://ann:pw@s1,[::1]:7000/a%2Fb?sentinel_username=w&sentinel_password=x&tls=on"
    ) as store:
        pool: Any = store._client._source  # type: ignore[union-attr]
        assert pool.service_name == "a/b"
        found = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    assert [(one["host"], one["port"]) for one in found] == [("s1", 26379), ("::1", 7000)]
    for one in found:
        assert (one["username"], one["password"], one["db"]) == ("w", "x", 0)
        assert (one["socket_timeout"], one["retry"]._retries) == (0.5, 0), "of two, within 1 s together"


def test_sentinels_that_name_nobody_are_told_of_without_their_password() -> None:
    """redis-py 6.3 to 7.3 puts each Sentinel's password into its message, and so into tracebacks."""
    url = f"redis+sentinel://ann@127.0.0.1:1/mine?sentinel_password={PASSWORD}"
    with open_url(url) as store, pytest.raises(StoreUnavailable, match=r"No Sentinel names a primary\.$") as caught:
        store.ping()
    assert str(caught.value.__cause__) == "No Sentinel names a primary."
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_sentinels_without_a_login_of_their_own_get_none() -> None:
    with open_url("redis+sentinel://ann:pw@s1/mine") as store:
        pool: Any = store._client._source  # type: ignore[union-attr]
        (sentinel,) = pool.sentinel_manager.sentinels
        found = sentinel.connection_pool.connection_kwargs
    assert (found["username"], found["password"]) == (None, None)


def test_a_store_shows_where_it_is_and_no_secret() -> None:
    for url, shown in (
        (f"redis://ann:{PASSWORD}@cache:7000/1", "RedisStore(cache:7000, prefix='session:')"),
        ("unix:///run/s?prefix=a", "RedisStore(/run/s, prefix='a')"),
        (f"redis+sentinel://ann:{PASSWORD}@s1/mine", "RedisStore(mine (through Sentinel), prefix='session:')"),
        (f"redis+cluster://ann:{PASSWORD}@n1,n2", "RedisStore(a cluster, prefix='session:')"),
    ):
        with open_url(url) as store:
            assert repr(store) == shown


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://cache?retry=3", r"no option 'retry'. The options are: connect_timeout, pool, prefix, timeout, wait"),
        ("redis://cache?ssl_ca_certs=x", r"no option 'ssl_ca_certs'"),
        ("rediss://cache?x=1", r"options are: connect_timeout, pool, prefix, ssl_ca_certs, ssl_certfile, ssl_keyfile"),
        ("unix:///s?x=1", r"options are: connect_timeout, db, pool"),
        ("redis+cluster://c?x=1", r"options are: connect_timeout, pool, prefix, ssl_ca_certs, .*, tls, wait"),
        ("redis+sentinel://c/m?x=1", r"options are: .*, sentinel_password, sentinel_username, .*, tls, wait"),
        ("redis://cache?timeout=0", r"timeout='0': give a number of seconds, more than 0"),
        ("redis://cache?connect_timeout=soon", r"connect_timeout='soon': give a number of seconds"),
        ("redis://cache?wait=0", r"wait='0': give a whole number, 1 or more"),
        ("redis://cache?pool=x", r"pool='x': give a whole number"),
        ("redis://cache?prefix=", r"prefix='': give at least one character"),
        ("redis://cache?pool=1&pool=2", r"'pool' is given twice"),
        ("redis://cache/sessions", r"'sessions' is not a database's number. Give .*, such as 0"),
        ("redis://cache/-1", r"'-1' is not a database's number"),
        ("redis://cache:port", r"'cache:\*\*\*' is not an address. Write host, host:6379 or \[::1\]:6379"),
        ("redis://cache:70000", r"'cache:70000' is not an address"),
        ("redis://::1", r"':\*\*\*' is not an address"),
        ("redis://a,b", r"give one host. For several hosts write redis\+cluster:// or redis\+sentinel://"),
        ("redis://cache/0#x", r"there is a # in the URL. Write it as %23"),
        ("unix://run/redis.sock", r"give the path of the socket, such as unix:///run/redis\.sock"),
        ("unix://", r"give the path of the socket, such as unix:///run/redis\.sock"),
        ("unix:///s?db=x", r"db='x': give the number of a database"),
        ("redis+cluster://c/3", r"a cluster has only one database. Remove the path"),
        ("redis+cluster://c:x", r"'c:\*\*\*' is not an address"),
        ("redis+cluster://c?tls=yes", r"tls='yes': give on or off"),
        ("redis+sentinel://s1", r"name the service of the Sentinels, such as host:26379/mymaster"),
        ("redis+sentinel://s1/mine/x", r"'x' is not a database's number"),
        ("redis+sentinel://s1:x/mine", r"'s1:\*\*\*' is not an address. Write host, host:26379"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_with_what_to_write(url: str, message: str) -> None:
    scheme, _, rest = url.partition("://")
    for given in (url, f"{scheme}://ann:{PASSWORD}@{rest}"):
        with pytest.raises(ConfigError, match=message) as caught:
            open_url(given)
        assert PASSWORD not in str(caught.value)
