"""``migrating://``: the two stores that it names, its error messages, and that none shows a password."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from tests.support.cli import fill, run
from tests.support.records import NOW, make_record
from wsgi_session import SessionMiddleware
from wsgi_session.errors import ConfigError
from wsgi_session.stores import MemoryStore, MigratingStore, SQLiteStore, open_store
from wsgi_session.stores.migrating.urls import inner_urls

KEY = b"k" * 32
PASSWORD = "hunter2secret"
RECORD = make_record(b"\x80")


@pytest.fixture
def urls(tmp_path: Path) -> str:
    return f"old=sqlite:///{tmp_path}/old.db&new=sqlite:///{tmp_path}/new.db?synchronous=full"


@pytest.mark.parametrize(("phase", "place"), [("prepare", 1), ("move", 0)])
def test_the_url_says_both_stores_and_the_phase(urls: str, tmp_path: Path, phase: str, place: int) -> None:
    with open_store(f"migrating://{phase}?{urls}") as store:
        assert isinstance(store, MigratingStore)
        assert [repr(each) for each in store.stores] == [
            f"SQLiteStore({str(tmp_path / name)!r})" for name in ("new.db", "old.db")
        ]
        store.create(KEY, RECORD, NOW)
        assert store.stores[place].load(KEY, NOW) == RECORD
        assert store.stores[1 - place].load(KEY, NOW) is None


def test_the_order_is_free_and_case_and_a_slash_make_no_difference(urls: str) -> None:
    old, new = urls.split("&")
    with open_store(f"Migrating://move/?{new}&{old}") as store:
        assert isinstance(store, MigratingStore)


def test_a_percent_sign_and_an_ampersand_inside_are_percent_encoded(tmp_path: Path) -> None:
    old = f"sqlite:///{tmp_path}/a%2520b.db?timeout=1%26pool=3"
    with open_store(f"migrating://move?old={old}&new=memory://") as store:
        assert isinstance(store, MigratingStore)
        assert isinstance(store.stores[1], SQLiteStore)
        assert store.stores[1].path == str(tmp_path / "a b.db")
        assert store.stores[1]._pool_size == 3


def test_a_plus_in_a_scheme_stays_a_plus() -> None:
    with open_store("migrating://move?old=memory://&new=redis+cluster://localhost:1/") as store:
        assert isinstance(store, MigratingStore)
        assert type(store.stores[0]).__name__ == "RedisStore"


def test_a_site_configured_by_text_moves(urls: str) -> None:
    config = {"session.secret": "k9" * 20, "session.store": f"migrating://move?{urls}"}
    with SessionMiddleware.from_config(lambda environ, start_response: [], config) as middleware:
        assert isinstance(middleware.store, MigratingStore)
        middleware.store.ping()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("migrating://", "the phase is missing or unknown. Write migrating://prepare"),
        ("migrating://mvoe?old=memory://&new=sqlite:///x.db", "the phase is missing or unknown"),
        ("migrating://move", "give old and new, each once"),
        ("migrating://move?old=memory://", "give old and new, each once"),
        ("migrating://move?old=memory://&new=", "give old and new, each once"),
        ("migrating://move?old=memory://&new=memory://?sweep=off&old=memory://", "give old and new, each once"),
        ("migrating://move?old=memory://&nwe=memory://", "give old and new, each once"),
        ("migrating://move?old=memory://&new=memory://", "old and new are the same store"),
        ("migrating://move?old=memory://&new=nosuch://", "No store is known for nosuch://"),
        ("migrating://move?old=memory://&new=memory://?sweep=x", "sweep='x': give on or off"),
        ("migrating://move?old=cookie://&new=memory://", "cannot be moved to or from it"),
        ("migrating://move?old=memory://&new=migrating://move?old=memory://%26new=memory://?sweep=off", "Finish that"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        open_store(url)


@pytest.mark.parametrize(
    "url",
    [
        "migrating://postgresql://app:{0}@db/app",
        "migrating://move?old=postgresql://app:{0}&x{0}@db/app&new=memory://",
        "migrating://move?old=postgresql://app:{0}@db/app?nosuch=1&new=memory://",
        "migrating://move?old=postgresql://app:{0}@db/app",
        "migrating://move?old=redis://:{0}@[db/0&new=memory://",
        "migrating://move?old=memory://&new=nosuch://:{0}@db",
        "migrating://move?old=postgresql://app:{0}@db/app&new=postgresql://app:{0}@db/app",
    ],
)
def test_no_message_shows_a_part_of_a_password(url: str) -> None:
    url = url.format(PASSWORD)
    with pytest.raises(ConfigError) as raised:
        open_store(url)
    for command in ("ping", "stats"):
        result = run(command, url)
        assert result.exit_code == 1
        assert "hunter2" not in f"{raised.value}{result.output}{result.stderr}"


def test_the_inner_urls_are_known_so_that_their_passwords_can_be_hidden() -> None:
    assert inner_urls("migrating://move?old=redis://:a%2540b@c&new=memory://") == ["redis://:a%40b@c", "memory://"]
    assert inner_urls("memory://?old=a&new=b") == []


def test_when_one_store_cannot_be_opened_the_other_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(MemoryStore, "close", lambda self: closed.append("memory"))
    with pytest.raises(ConfigError):
        open_store("migrating://move?old=nosuch://&new=memory://")
    assert closed == ["memory"]


# The commands.


@pytest.fixture
def site(tmp_path: Path) -> str:
    """Two stores: the old one has two live sessions, the new one has one, and each has one that died long ago."""
    for name, live in (("old", 2), ("new", 1)):
        with SQLiteStore(tmp_path / f"{name}.db", sweep=False) as store:
            fill(store, dead=1, live={"sid": live})
    return f"migrating://move?old=sqlite:///{tmp_path}/old.db&new=sqlite:///{tmp_path}/new.db"


def test_ping_stats_and_sweep_take_both_stores(site: str) -> None:
    assert run("ping", site).output.startswith("ok, ")
    assert run("stats", site).stdout == "live sessions: 3\n"
    assert run("sweep", site).stdout == "expired sessions removed: 2\n"


def test_init_makes_the_tables_of_those_that_have_tables(tmp_path: Path) -> None:
    path = tmp_path / "made.db"
    url = f"migrating://prepare?old=sqlite:///{tmp_path}/old.db&new=sqlite%2Bpysqlite:///{path}"
    ddl = run("init", "--sql", url)
    assert "CREATE TABLE" in ddl.stdout
    assert not path.exists()
    assert run("init", url).stdout == "ok, the tables exist\n"
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM wsgi_sessions").fetchone() == (0,)
    connection.close()
    with open_store(url) as store:
        store.create(KEY, RECORD, time.time())


def test_a_mistyped_file_of_one_of_them_is_not_made(site: str, tmp_path: Path) -> None:
    (tmp_path / "new.db").rename(tmp_path / "elsewhere.db")
    result = run("ping", site)
    assert (result.exit_code, "does not exist" in result.stderr) == (1, True)
