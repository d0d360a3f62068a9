"""``python -m wsgi_session adopt``: all sessions of another library's store, before the switch."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.foreign import OldLibrary
from tests.support.site import Browser, Site, read
from wsgi_session import StoreUnavailable
from wsgi_session.moving import Adopt, FlaskCookie, Foreign
from wsgi_session.stores import SQLiteStore

DATA = {"cart": ["bun"]}


@pytest.fixture
def old() -> OldLibrary:
    now = time.time()
    old = OldLibrary()
    for number in range(3):
        old.records[f"live{number}"] = Foreign({**DATA, "n": number}, expires=now + 3600, user_id=str(number))
    old.records["dead"] = Foreign(DATA, expires=now - 1)
    old.records["odd"] = Foreign({**DATA, "price": object()})
    return old


@pytest.fixture
def module(old: OldLibrary, monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("shop_before")
    module.READER, module.ADOPT, module.NOTHING = old, Adopt(old, unsupported="refuse"), None  # type: ignore[attr-defined]
    module.COOKIE = FlaskCookie("a key")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(tmp_path / "sessions.db") as store:
        yield store


def adopt(store: SQLiteStore, source: str, *options: str) -> Any:
    return run("adopt", "--from", source, "--to", f"sqlite:///{store.path}", *options)


def visit(store: SQLiteStore, reader: Any, session_id: str) -> tuple[Site, Browser]:
    site = Site(store, clock=time.time, adopt=reader)  # type: ignore[arg-type]
    browser = site.browser()
    browser.header = f"old={session_id}"
    return site, browser


def test_every_session_is_adopted_and_the_visitor_finds_it(module: str, store: SQLiteStore, old: OldLibrary) -> None:
    done = adopt(store, f"{module}:READER")
    assert done.exit_code == 0
    assert done.output == "adopted: 4\nexpired: 1\nwith dropped keys: 1\n"
    assert store.count(time.time(), "sid") == 4
    assert len(old.records) == 5
    _, browser = visit(store, old, "live1")
    assert browser.do(read).result == {**DATA, "n": 1}
    assert "live1" not in old.records
    assert store.count(time.time(), "sid") == 4


def test_the_old_store_can_be_away_afterwards(module: str, store: SQLiteStore, old: OldLibrary) -> None:
    adopt(store, f"{module}:READER")
    old.is_down = True
    _, browser = visit(store, old, "live1")
    assert browser.do(read).result == {**DATA, "n": 1}
    assert browser.do(read).result == {**DATA, "n": 1}


def test_what_changed_there_before_the_visit_counts(module: str, store: SQLiteStore, old: OldLibrary) -> None:
    adopt(store, f"{module}:READER")
    old.records["live1"] = Foreign({"cart": ["pie"]}, user_id="1")
    _, browser = visit(store, old, "live1")
    assert browser.do(read).result == {"cart": ["pie"]}


def test_a_logout_there_before_the_visit_counts(module: str, store: SQLiteStore, old: OldLibrary) -> None:
    adopt(store, f"{module}:READER")
    del old.records["live1"]
    site, browser = visit(store, old, "live1")
    for _ in range(2):
        assert browser.do(read).result == {}
    assert list(site.middleware.sessions.of({"id": "1"})) == []


def test_two_first_visits_at_once_get_one_session(module: str, store: SQLiteStore, old: OldLibrary) -> None:
    adopt(store, f"{module}:READER")
    for when in (old.before, old.after):
        session_id = "live1" if when is old.before else "live2"
        site, browser = visit(store, old, session_id)
        other = browser.copy()
        when["load"] = partial(other.do, read)
        assert browser.do(read).result == {**DATA, "n": int(session_id[-1])}
        assert browser.jar == other.jar
        assert len(list(site.middleware.sessions.of({"id": session_id[-1]}))) == 1


def test_a_second_run_adopts_only_what_is_left(module: str, store: SQLiteStore, old: OldLibrary) -> None:
    adopt(store, f"{module}:READER")
    old.records["new"] = Foreign(DATA)
    assert adopt(store, f"{module}:READER").output == ("adopted before: 4\nexpired: 1\nadopted: 1\n")


def test_a_dry_run_writes_nothing(module: str, store: SQLiteStore, old: OldLibrary) -> None:
    done = adopt(store, f"{module}:ADOPT", "--dry-run")
    assert done.output == "would be adopted: 3\nexpired: 1\nunsupported: 1\n"
    assert store.count(time.time()) == 0
    assert len(old.records) == 5


def test_the_sites_timeouts_apply(module: str, store: SQLiteStore, old: OldLibrary) -> None:
    now = time.time()
    old.records = {"old": Foreign(DATA, now - 86_400 * 100, now)}
    assert adopt(store, f"{module}:READER").output == "expired: 1\n"
    options = ("--absolute-timeout", "none", "--idle-timeout", "12h", "--namespace", "shop")
    assert adopt(store, f"{module}:READER", *options).output == "adopted: 1\n"
    assert store.count(now, "shop") == 1


def test_an_empty_store_says_so(module: str, store: SQLiteStore, old: OldLibrary) -> None:
    old.records.clear()
    assert adopt(store, f"{module}:READER").output == "no sessions found\n"


def test_an_outage_of_the_old_store_says_what_was_done(module: str, store: SQLiteStore, old: OldLibrary) -> None:
    first = old._call

    def fail(name: str, work: Any) -> Any:
        if len(old.calls) == 2:
            raise StoreUnavailable("the old store does not answer")
        return first(name, work)

    old._call = fail  # type: ignore[method-assign]
    done = adopt(store, f"{module}:READER")
    assert done.exit_code == 1
    assert (done.stdout, done.stderr) == ("adopted: 2\n", "Error: the old store does not answer\n")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("shop_before", "module:name"),
        ("no_such_module_at_all:ADOPT", "cannot be imported"),
        ("shop_before:ADOPTS", "shop_before has no ADOPTS"),
        ("shop_before:NOTHING", "give a reader"),
        ("shop_before:COOKIE", "cannot list its sessions"),
    ],
)
def test_a_wrong_source_is_named(module: str, store: SQLiteStore, source: str, said: str) -> None:
    done = adopt(store, source)
    assert done.exit_code == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_cookie_sessions_cannot_be_adopted_in_advance(module: str) -> None:
    done = run("adopt", "--from", f"{module}:READER", "--to", "cookie://")
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr


def test_progress_is_shown_on_a_terminal(
    module: str, store: SQLiteStore, old: OldLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsgi_session.cli import stores as commands

    shown: list[str] = []
    monkeypatch.setattr(commands, "BATCH", 2)
    monkeypatch.setattr(commands, "show_progress", shown.append)
    adopt(store, f"{module}:READER")
    assert shown == ["2 read, 2 adopted ...", "4 read, 3 adopted ...", ""]


@pytest.mark.parametrize(
    "arguments", [["revoke-user", "id:0"], ["revoke-everyone"], ["revoke-everyone", "--anonymous"]]
)
@pytest.mark.parametrize("option", ["--not-adopted", "", "--dry-run --not-adopted"])
def test_a_command_that_ends_sessions_lets_older_foreign_ones_not_be_adopted_on_request(
    arguments: list[str], option: str, store: SQLiteStore
) -> None:
    old, began = OldLibrary(), time.time() - 60
    for name, user_id in (("user", "0"), ("guest", None)):
        old.records[name] = Foreign(DATA, began, began, user_id=user_id)
    _, browser = visit(store, old, "nobody")
    browser.do(lambda session: session.update(a=1))  # The site has used the store: a command makes no file.
    command, *operands = arguments
    result = run(command, f"sqlite:///{store.path}", *operands, *option.split())
    assert result.exit_code == 0, result.output
    assert visit(store, old, "user")[1].do(read).result == ({} if option == "--not-adopted" else DATA)
    everybody = option == "--not-adopted" and "--anonymous" in arguments
    assert visit(store, old, "guest")[1].do(read).result == ({} if everybody else DATA)
