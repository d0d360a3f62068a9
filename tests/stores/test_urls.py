"""``open_store``: the store that a URL names, and the messages for a URL that names none."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from wsgi_session.errors import ConfigError
from wsgi_session.stores import MemoryStore, SQLiteStore, Store, open_store
from wsgi_session.stores.urls.opening import ENTRY_POINT_GROUP
from wsgi_session.stores.urls.options import (
    choice_parser,
    parse_count,
    parse_query_options,
    parse_seconds,
    parse_switch,
)
from wsgi_session.stores.urls.parts import without_secrets

PASSWORD = "hunter2"


def test_memory_is_a_memory_store() -> None:
    with open_store("memory://") as store:
        assert repr(store) == "MemoryStore(max_sessions=100000)"


def test_memory_takes_its_bound_and_whether_it_sweeps() -> None:
    with open_store("memory://?max_sessions=7&sweep=off") as store:
        assert isinstance(store, MemoryStore)
        assert store._max_sessions == 7
        assert store._auto_sweep is False


def test_three_slashes_name_a_path_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:///sessions.db") as store:
        assert repr(store) == f"SQLiteStore({str(tmp_path / 'sessions.db')!r})"


def test_four_slashes_name_a_path_from_the_root(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/a%20b%3F.db") as store:
        assert repr(store) == f"SQLiteStore({str(tmp_path / 'a b?.db')!r})"


def test_sqlite_takes_its_options(tmp_path: Path) -> None:
    with open_store(f"SQLite:///{tmp_path}/x.db?synchronous=full&timeout=2.5&pool=3&sweep=off") as store:
        assert isinstance(store, SQLiteStore)
        seen = (store._file._synchronous, store._busy_timeout, store._pool_size, store._auto_sweep)
        assert seen == ("full", 2.5, 3, False)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sessions.db", r"'sessions\.db' is not a URL: it has no '://'. Write sqlite:///sessions\.db"),
        ("sqlite:/sessions.db", r"'sqlite…' is not a URL: it has no '://'"),
        ("", r"'' is not a URL"),
        ("nosuch://host/1", r"No store is known for nosuch://. The known schemes are: .*memory://.*sqlite://"),
        (
            "memory://?max_session=5",
            r"'max_session' .did you mean max_sessions.*. The options are: max_sessions, sweep",
        ),
        ("memory://?max_sessions=0", r"max_sessions='0': give a whole number, 1 or more"),
        ("memory://?max_sessions=", r"max_sessions='': give a whole number"),
        ("memory://?max_sessions=5&max_sessions=6", r"'max_sessions' is given twice"),
        ("memory://cache", r"memory://cache: .* Write memory://"),
        ("sqlite://sessions.db", r"write sqlite:///sessions\.db"),
        ("sqlite://", r"write sqlite:///sessions\.db"),
        ("sqlite:///", r"write sqlite:///sessions\.db"),
        ("sqlite:///a#b.db", r"a # in the URL. Write it as %23"),
        ("sqlite:///:memory:", r"write memory://"),
        ("sqlite:///x.db?synchronous=off", r"synchronous='off': give normal or full"),
        ("sqlite:///x.db?timeout=soon", r"timeout='soon': give a number of seconds, more than 0"),
        ("sqlite:///x.db?timeout=-1", r"timeout='-1': give a number of seconds"),
        ("sqlite:///x.db?timeout=inf", r"timeout='inf': give a number of seconds"),
        ("sqlite:///x.db?pool=two", r"pool='two': give a whole number"),
        ("sqlite:///x.db?sweep=no", r"sweep='no': give on or off"),
        ("sqlite:///x.db?mode=ro", r"no option 'mode'. The options are: pool, sweep, synchronous, timeout"),
    ],
)
def test_a_url_that_names_no_store_is_refused_with_what_to_write(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_store(url)


def test_a_url_that_takes_no_options_says_so() -> None:
    with pytest.raises(ConfigError, match=r"no option 'x'. The options are: none"):
        parse_query_options("some://where?x=1", {})


@pytest.mark.parametrize(
    "url",
    [
        f"nosuch://ann:{PASSWORD}@host/0",
        f"memory://ann:{PASSWORD}@host",
        f"memory://ann:{PASSWORD}?@host",
        f"memory://?password={PASSWORD}",
        f"sqlite://ann:{PASSWORD}@/x.db",
        f"sqlite:///x.db?timeout=0&password={PASSWORD}",
        f"nosuch:ann:{PASSWORD}@host",
        f"nosuch?{PASSWORD}",
    ],
)
def test_no_message_shows_a_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(url)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value)).replace(url, "")


def test_brackets_in_a_password_are_to_be_percent_encoded() -> None:
    for scheme in ("redis", "redis+cluster", "redis+sentinel"):
        with pytest.raises(ConfigError, match=r"\*\*\*@host/0: percent-encode special characters .*\[ is %5B"):
            open_store(f"{scheme}://ann:pass[word@host/0")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://ann:secret@host:6379/0?password=secret", "redis://***@host:6379/0"),
        ("redis://:se@cret@host/0", "redis://***@host/0"),
        ("redis://:se/cret@host/0", "redis://***@host/0"),
        # It is not known whether the password ends there or continues in the query.
        ("redis://:se/cr?et@host/0#f", "redis://***"),
        ("postgresql://host/db?password=se@cret", "postgresql://***"),
        # Without an @, the text in the place of a port may be a password.
        ("redis://ann:secret", "redis://ann:***"),
        ("redis://[::1]:6379,b:70/0", "redis://[::1]:6379,b:70/0"),
        ("//ann:secret@host", "***"),
        ("secret@redis://host", "***"),
        ("redis://host/0", "redis://host/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("no url", "no url"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_options_come_back_as_what_they_are() -> None:
    parsers: dict[str, Callable[[str], object]] = {
        "a": parse_seconds,
        "b": parse_count,
        "c": parse_switch,
        "d": choice_parser("x", "y"),
        "e": str,
    }
    seen = parse_query_options("some://where?a=1.5&b=12&c=on&d=y&e=%26", parsers)
    assert seen == {"a": 1.5, "b": 12, "c": True, "d": "y", "e": "&"}


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return a function that installs a distribution with one entry point of the group."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(scheme: str, target: str) -> None:
        name = f"published{len(list(tmp_path.iterdir()))}"
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[wsgi_session.stores]\n{scheme} = {target}\n")
        importlib.invalidate_caches()

    return install


opened: list[str] = []


def published_store(url: str) -> Store:
    opened.append(url)
    return MemoryStore(max_sessions=3)


def test_a_published_store_is_opened_by_its_scheme_with_the_whole_url(publish: Callable[[str, str], None]) -> None:
    publish("mine+tls", f"{__name__}:published_store")
    url = f"mine+tls://ann:{PASSWORD}@host/1?x=2"
    with open_store(url) as store:
        assert repr(store) == "MemoryStore(max_sessions=3)"
    assert opened == [url]
    with pytest.raises(ConfigError, match=r"The known schemes are: .*mine\+tls://"):
        open_store("nosuch://")


def published_nothing(url: str) -> None:
    return None


def test_what_a_published_store_returns_is_a_store(publish: Callable[[str, str], None]) -> None:
    publish("empty", f"{__name__}:published_nothing")
    with pytest.raises(
        ConfigError, match=r"published_nothing, published for empty://, returned a NoneType, not a Store"
    ):
        open_store("empty://host")


@pytest.mark.parametrize(
    ("scheme", "meant"), [("sqllite", "sqlite"), ("postgressql", "postgresql"), ("memory+x", "memory")]
)
def test_a_misspelt_scheme_is_told_the_nearest(scheme: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"for {re.escape(scheme)}:// \(did you mean {meant}://\?\). The known "):
        open_store(f"{scheme}://host")


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_a_published_store_does_not_take_the_place_of_a_bundled_one(
    publish: Callable[[str, str], None], scheme: str
) -> None:
    publish(scheme, "no_such_module:at_all")
    with pytest.raises(ConfigError, match=r"no option 'x'"):
        open_store(f"{scheme}:///x.db?x=1" if scheme == "sqlite" else "memory://?x=1")


def test_a_published_store_whose_library_is_missing_says_what_is_missing(publish: Callable[[str, str], None]) -> None:
    publish("theirs", "their_missing_module:open")
    with pytest.raises(
        ConfigError, match=r"theirs:// .*No module named 'their_missing_module'.*Install what"
    ) as caught:
        open_store("theirs://host")
    assert isinstance(caught.value.__cause__, ImportError)


EXTRAS = {"redis.urls": "redis", "sql.store": "sql", "cookie": "crypto"}
PUBLISHED = entry_points(group=ENTRY_POINT_GROUP)
OURS = [entry for entry in PUBLISHED if entry.module.removeprefix("wsgi_session.stores.") in EXTRAS]


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.name)
def test_a_store_of_ours_whose_library_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, entry: EntryPoint
) -> None:
    monkeypatch.setitem(sys.modules, entry.module, None)  # so that its import fails
    extra = EXTRAS[entry.module.removeprefix("wsgi_session.stores.")]
    with pytest.raises(ConfigError, match=rf"pip install 'wsgi-session\[{extra}\]'"):
        open_store(f"{entry.name}://host")
