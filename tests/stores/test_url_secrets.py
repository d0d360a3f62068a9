"""No message, traceback or repr shows the part of a URL before its last @, or a password in its query."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.cli import run
from tests.support.leaks import Watch
from tests.support.servers.valkey import Valkey
from wsgi_session import ConfigError, SessionMiddleware, StoreUnavailable
from wsgi_session.stores import open_store
from wsgi_session.stores.memory import MemoryStore
from wsgi_session.stores.urls.parts import redact_passwords, redact_urls

# Each part is long enough for the watch to recognise it.
FIRST, SECOND = "q8Zw3Rk9Lm2TqXbVn5Yc1Hd6Jg4Ps0Fa7UeW", "tB5oKx0Ry8Nd3Qe6Cz1Mv9Ah2Gj4Lf7PsWiU"
USER = "ann-of-the-site"
SCHEMES = (
    "memory",
    "sqlite",
    "cookie",
    "redis",
    "rediss",
    "unix",
    "redis+cluster",
    "redis+sentinel",
    "postgresql",
    "postgres",
    "mysql",
    "mariadb",
    "sqlite+pysqlite",
    "nosuch",
)
SPECIAL = "/?#[]@:%&= \u2100"


def urls() -> Iterator[str]:
    for scheme in SCHEMES:
        host = "/srv/run.sock" if scheme in ("unix", "sqlite") else "127.0.0.1:1/x"
        for special in SPECIAL:
            yield f"{scheme}://{USER}:{FIRST}{special}{SECOND}@{host}"
            yield f"{scheme}://:{FIRST}{special}{SECOND}@{host}?nosuch=1"
        # Some libraries end user and password before the last @.
        yield f"{scheme}://{USER}:{FIRST}@/{SECOND}@{host}"
        yield f"{scheme}://{USER}:{FIRST}@{SECOND}@127.0.0.1:1,127.0.0.1:port/x"
        yield f"{scheme}://{FIRST}/{SECOND}@{host}"
        # A mistake after a correct login.
        yield f"{scheme}://{USER}:{quote(FIRST + '/' + SECOND, safe='')}@127.0.0.1:port/x/y/z"
        # A missing @, and an extra one.
        yield f"{scheme}://:{FIRST}"
        yield f"{USER}:{FIRST}@{scheme}://host"
        if scheme in ("redis", "rediss", "redis+cluster", "redis+sentinel", "memory", "cookie"):
            yield f"{scheme}:///{FIRST}@host/x"
        # In the query.
        for option in ("password", "sentinel_password", "passwd"):
            yield f"{scheme}://127.0.0.1:1/x?{option}={FIRST}&timeout=never"
            yield f"{scheme}://127.0.0.1:1/x?{option}={FIRST}@{SECOND}"
            yield f"{scheme}://127.0.0.1:1/x?{option}={FIRST}&{SECOND}"
            yield f"{scheme}://127.0.0.1:1/x?{option}={FIRST}&{option}={SECOND}"


def said_of(url: str) -> str:
    """Return the errors of opening and using the store for ``url``, and the store's repr."""
    try:
        with open_store(url) as store:
            said = repr(store)
            try:
                store.ping()
            except StoreUnavailable as error:
                said += "".join(traceback.format_exception(error))
            return said
    except ConfigError as error:
        return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("url", sorted(urls()), ids=lambda url: url.replace(FIRST, "P").replace(SECOND, "Q"))
def test_no_message_no_traceback_and_no_repr_shows_user_or_password(url: str, watch: Watch) -> None:
    for part in (FIRST, SECOND):
        watch.note(part)
    watch.forget_places()
    said = said_of(url)
    for part in (USER, FIRST, SECOND):
        assert part not in said
    assert watch.found == []


def test_no_error_of_the_middleware_shows_a_password(watch: Watch) -> None:
    watch.note(FIRST)
    url = f"postgresql://{USER}:{FIRST}@127.0.0.1/x"
    secret = "5f0c6e9ab1d24738"  # Too short.
    for make in (
        lambda: SessionMiddleware(application, secret=secret, store=url),
        lambda: SessionMiddleware(application, secret=secret, store=url, idle_timout=5),  # type: ignore[call-arg]
        lambda: SessionMiddleware(application, secret, url),  # type: ignore[call-arg,misc]
        lambda: SessionMiddleware.from_config(application, {"session.secret": secret, "session.store": url}),
        lambda: SessionMiddleware.from_config(application, {"session.store": url}),
    ):
        watch.forget_places()
        with pytest.raises(ConfigError) as caught:
            make()  # type: ignore[no-untyped-call]
        assert FIRST not in "".join(traceback.format_exception(caught.value)).replace(url, "")
        assert watch.found == []


def application(environ: Any, start_response: Any) -> Any:
    raise NotImplementedError


@pytest.mark.parametrize("special", "/?")
def test_what_is_special_is_refused_with_how_to_write_it(special: str) -> None:
    for scheme in ("redis", "rediss", "redis+cluster", "redis+sentinel"):
        with pytest.raises(ConfigError, match=r"percent-encode .* / is %2F, \? is %3F"):
            open_store(f"{scheme}://:pass{special}word@cache:6379/0")


def test_what_sqlalchemy_takes_is_taken() -> None:
    for special in "/[]:":
        with open_store(f"postgresql://ann:pass{special}word@db/shop") as store:
            assert repr(store) == "SQLStore('postgresql+psycopg://***@db/shop', table='wsgi_sessions')"


# A store of another package that quotes its URL.


class Talkative(MemoryStore):
    multiprocess = True

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = str(url)

    def ping(self) -> None:
        raise StoreUnavailable(f"cannot reach {self.url}")

    def scan(self, now: float) -> Any:
        raise StoreUnavailable(f"cannot reach {self.url}")

    def count(self, now: float, namespace: str | None = None) -> int:
        if "broken" in self.url:
            raise LookupError(f"no host in {self.url}")
        return 1


@pytest.fixture
def legacy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish ``legacy://``."""
    info = tmp_path / "legacy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: legacy\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[wsgi_session.stores]\nlegacy = {__name__}:Talkative\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


@pytest.mark.usefixtures("legacy")
@pytest.mark.parametrize("login", ["ann:OldPassw0rd", ":OldPassw0rd", "OldPassw0rd", "ann:Old%2FPassw0rd"])
def test_the_command_line_shows_neither_password_of_copy(login: str, tmp_path: Path) -> None:
    old, new = f"legacy://{login}@old/1", "legacy://bob:NewPassw0rd@new/1"
    sqlite = f"sqlite:///{tmp_path}/x.db"
    for arguments in (("ping", old), ("copy", old, sqlite), ("copy", new, old), ("copy", old, new)):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert re.fullmatch(r"Error: cannot reach legacy://\*\*\*@(old|new)/1", result.stderr.splitlines()[-1])
        assert "Passw0rd" not in result.output


@pytest.mark.usefixtures("legacy")
@pytest.mark.parametrize("option", ["password", "auth_token", "client_secret", "pwd", "api-key"])
def test_the_command_line_knows_a_password_in_the_query(option: str) -> None:
    result = run("ping", f"legacy://host/1?x=1&{option}=Qu3ryPassw0rd")
    assert (result.exit_code, "Passw0rd" in result.output) == (1, False)


@pytest.mark.usefixtures("legacy")
def test_a_traceback_on_the_command_line_shows_no_password() -> None:
    result = run("stats", "legacy://ann:OldPassw0rd@broken/1")
    assert result.exit_code == 1
    assert "LookupError: no host in legacy://***@broken/1" in result.stderr
    assert "Passw0rd" not in result.output


@pytest.mark.parametrize(
    ("url", "text", "shown"),
    [
        ("redis://:p@ss/w:rd@host/0", "at redis://:p@ss/w:rd@host/0", "at redis://***@host/0"),
        ("mysql://host/db?password=hunter2&x=1", "with hunter2", "with ***"),
        ("redis://host?sentinel_password=hunter2", "with hunter2", "with ***"),
        ("redis://u:hunter2%2F@host", "with hunter2/ or 'hunter2%2F'", "with *** or '***'"),
        ("redis://u:a%20b%27c@host", 'with "a b\'c", a+b%27c, a%20b%27c', 'with "***", ***, ***'),
        ("postgresql://u:p@host/db", "postgresql://u:p@host/db: no psycopg", "postgresql://***@host/db: no psycopg"),
        ("redis://host?password=abc", "redis://host?password=abc: abc", "redis://host?password=***: abc"),
        ("sqlite:////srv/a:b@c.db", "at /srv/a:b@c.db", "at /srv/a:b@c.db"),
        ("sqlite:///sessions.db", "at sqlite:///sessions.db", "at sqlite:///sessions.db"),
        ("no url", "at no url", "at no url"),
    ],
)
def test_passwords_are_blotted_out_wherever_a_url_has_them(url: str, text: str, shown: str) -> None:
    assert redact_urls(text, [url]) == shown


def test_without_a_password_nothing_is_blotted_out() -> None:
    assert redact_passwords("as it is", [""]) == "as it is"


# A server that quotes the commands it gets, because its AUTH was renamed, as on some hosted servers.


@pytest.fixture(scope="module")
def without_auth() -> Iterator[Valkey]:
    server = Valkey("--rename-command", "AUTH", "")
    server.start()
    yield server
    server.kill()


@pytest.mark.engine
@pytest.mark.parametrize(
    "url",
    [
        f"redis://{USER}:{FIRST}@127.0.0.1:PORT/0",
        f"redis://:{FIRST}@127.0.0.1:PORT/0",
        f"redis+cluster://{USER}:{FIRST}@127.0.0.1:PORT",
        f"redis+sentinel://:{FIRST}@127.0.0.1:PORT/mine?sentinel_password={SECOND}",
    ],
)
def test_what_a_server_without_a_login_quotes_is_not_passed_on(url: str, without_auth: Valkey, watch: Watch) -> None:
    for part in (FIRST, SECOND):
        watch.note(part)
    watch.forget_places()
    with pytest.raises(Exception, match=f"unknown command 'AUTH'.*{FIRST}"):
        without_auth.execute("AUTH", FIRST)
    said = said_of(url.replace("PORT", str(without_auth.port)))
    assert "StoreUnavailable" in said
    assert FIRST not in said
    assert SECOND not in said
    assert watch.found == []
