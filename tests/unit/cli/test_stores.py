"""``python -m wsgi_session``: the output and the exit code of each command."""

from __future__ import annotations

import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.bare import Bare
from tests.support.cli import fill, run
from wsgi_session.__main__ import main
from wsgi_session.cli import cli
from wsgi_session.cli import opening as commands
from wsgi_session.cli.opening import reporting_errors
from wsgi_session.cli.stores import BATCH
from wsgi_session.config.keygen import new_secret
from wsgi_session.config.options import check_secrets
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores import Record, Store
from wsgi_session.stores.sqlite import SQLiteStore

HOUR = 3600.0
FULL = 5


def python(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``python -m wsgi_session`` in a new process; ``code`` runs before it."""
    run_module = f"sys.argv[1:] = {arguments!r}; runpy.run_module('wsgi_session', run_name='__main__')"
    command = ["-c", f"import runpy, sys; {code}; {run_module}"] if code else ["-m", "wsgi_session", *arguments]
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def forget_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the modules of the commands be imported again."""
    for name in [name for name in sys.modules if name.startswith("wsgi_session.cli")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with two live sessions of ``sid``, one of ``admin``, and ``FULL`` that died long ago."""
    path = tmp_path / "sessions.db"
    with SQLiteStore(path, sweep=False) as store:
        fill(store, dead=FULL, live={"sid": 2, "admin": 1})
    return f"sqlite:///{path}"


def rows(url: str) -> int:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        (number,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
    finally:
        connection.close()
    return int(number)


# keygen


def test_keygen_prints_a_fresh_secret_that_the_middleware_takes_and_nothing_else() -> None:
    first, second = python("keygen"), python("keygen")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.count("\n") == 1
    assert first.stdout != second.stdout
    assert check_secrets(first.stdout.strip())


def test_a_secret_passes_through_shells_and_ini_files_as_it_is() -> None:
    assert new_secret().isalnum()


def test_keygen_is_a_command_among_the_others_too() -> None:
    assert "keygen" in run("--help").output
    assert check_secrets(run("keygen").output.strip())


NO_CLICK = "sys.modules['click'] = None"


def test_keygen_works_without_click() -> None:
    done = python("keygen", code=NO_CLICK)
    assert (done.returncode, done.stderr) == (0, "")
    assert check_secrets(done.stdout.strip())


def test_without_click_the_rest_says_what_to_install() -> None:
    done = python("stats", "sqlite:///sessions.db", code=NO_CLICK)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'wsgi-session[cli]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_another_missing_module_is_not_taken_for_click(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["wsgi_session", "stats"])
    forget_commands(monkeypatch)
    monkeypatch.setitem(sys.modules, "wsgi_session.stores.urls.opening", None)
    with pytest.raises(ModuleNotFoundError, match=r"wsgi_session\.stores\.urls"):
        main()


def test_main_makes_a_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["wsgi_session", "keygen"])
    main()
    assert check_secrets(capsys.readouterr().out.strip())


def test_main_says_which_version_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["wsgi_session", "--version"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"wsgi-session {version('wsgi-session')}\n"


def test_main_without_click_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["wsgi_session", "stats"])
    forget_commands(monkeypatch)
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit, match="needs click"):
        main()


# ping and stats


def test_ping_says_that_the_store_answers(url: str) -> None:
    result = run("ping", url)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("ok, ")


def test_stats_counts_the_live_sessions(url: str) -> None:
    assert run("stats", url).stdout == "live sessions: 3\n"


def test_stats_counts_those_of_one_middleware(url: str) -> None:
    assert run("stats", url, "--namespace", "admin").stdout == "live sessions: 1\n"


def test_the_store_may_stand_in_the_environment(url: str) -> None:
    assert run("stats", WSGI_SESSION_STORE=url).stdout == "live sessions: 3\n"


# sweep


def test_sweep_removes_what_is_dead_and_says_how_much(url: str) -> None:
    result = run("sweep", url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"expired sessions removed: {FULL}\n", "")
    assert rows(url) == 3
    assert run("sweep", url).stdout == "expired sessions removed: 0\n"


def test_a_move_between_two_stores_says_what_its_stores_are() -> None:
    both = "migrating://move?old=redis://127.0.0.1:1&new=redis://127.0.0.1:2"
    result = run("sweep", both)
    assert (result.exit_code, "RedisStore has nothing to sweep" in result.stderr) == (1, True), result.output
    assert run("init", both).stdout == "ok, no tables are needed for RedisStore\n"


def test_sweep_stops_at_its_limit(url: str) -> None:
    assert run("sweep", url, "--limit", "2").stdout == "expired sessions removed: 2\n"
    assert rows(url) == 3 + FULL - 2


def test_a_limit_that_allows_nothing_is_refused(url: str) -> None:
    assert run("sweep", url, "--limit", "0").exit_code == 2
    assert rows(url) == 3 + FULL


def test_a_sweep_goes_on_until_nothing_dead_is_left(url: str) -> None:
    with SQLiteStore(url.removeprefix("sqlite:///"), sweep=False) as store:
        fill(store, dead=BATCH + 1, live={})
    assert run("sweep", url).stdout == f"expired sessions removed: {BATCH + 1 + FULL}\n"


def test_a_limit_over_several_batches_is_kept(url: str) -> None:
    with SQLiteStore(url.removeprefix("sqlite:///"), sweep=False) as store:
        fill(store, dead=BATCH + 10, live={})
    assert run("sweep", url, "--limit", str(BATCH + 1)).stdout == f"expired sessions removed: {BATCH + 1}\n"


def test_on_a_terminal_the_sweep_shows_how_far_it_is(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = pty.openpty()
    try:
        with open(theirs, "w", closefd=False) as terminal:
            monkeypatch.setattr(sys, "stderr", terminal)
            cli(["sweep", url], standalone_mode=False)
        shown = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert shown == f"\r\x1b[K{FULL} removed ...\r\x1b[K"
    assert capsys.readouterr().out == f"expired sessions removed: {FULL}\n"


class Interrupted(SQLiteStore):
    """Raises an error after one batch of one session."""

    def __init__(self, path: str, happens: Callable[[], object]) -> None:
        super().__init__(path)
        self.happens = happens
        self.swept = 0

    def sweep(self, limit: int, now: float) -> int:
        if self.swept:
            self.happens()
        self.swept += super().sweep(1, now)
        return self.swept


def test_ctrl_c_stops_the_sweep_and_says_what_was_done(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Interrupted(url.removeprefix("sqlite:///"), lambda: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(commands, "open_store", lambda url: store)
    result = run("sweep", url)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "Stopped: 1 expired sessions removed so far. Run it again to continue.\n"
    assert rows(url) == 3 + FULL - 1


def test_a_sweep_that_the_store_breaks_off_says_what_was_done(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(commands, "open_store", lambda url: Interrupted(url.removeprefix("sqlite:///"), fail))
    result = run("sweep", url)
    assert result.exit_code == 1
    assert result.stderr == "Failed after 1 expired sessions were removed.\nError: the disk is full\n"


# What goes wrong


@pytest.mark.parametrize(
    ("command", "message"),
    [("stats", "Bare does not support count(). Use a store that does"), ("sweep", "Bare has nothing to sweep")],
)
def test_what_a_store_does_not_offer_is_said(command: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "open_store", lambda url: Bare())
    result = run(command, "bare://")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {message}")


def test_stats_of_a_store_that_cannot_count_looks_at_every_session(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()

    class Uncounted(Bare):
        def scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
            for number in range(BATCH + 5):
                namespace = "admin" if number < 3 else "sid"
                yield b"%032d" % number, Record(b"", b"", "h", now, now, now + HOUR, namespace=namespace)

    assert len(list(Uncounted().scan(now))) == BATCH + 5
    monkeypatch.setattr(commands, "open_store", lambda url: Uncounted())
    result = run("stats", "bare://")
    assert (result.exit_code, result.stdout) == (0, f"live sessions: {BATCH + 5}\n")
    assert "cannot count: reading every session" in result.stderr
    assert run("stats", "bare://", "--namespace", "admin").stdout == "live sessions: 3\n"


def test_no_error_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Bare):
        def ping(self) -> None:
            raise StoreUnavailable("cannot connect to bare://app:hunter2%21@db/1 as app with hunter2!")

    monkeypatch.setattr(commands, "open_store", lambda url: Failing())
    result = run("ping", "bare://app:hunter2%21@db/1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: cannot connect to bare://***@db/1 as app with ***\n"


@pytest.mark.parametrize("command", ["ping", "stats", "sweep"])
def test_a_mistyped_file_is_not_made(command: str, tmp_path: Path) -> None:
    result = run(command, f"sqlite:///{tmp_path}/sesions.db")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "sesions.db does not exist" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_sessions_of_another_process_s_memory_are_out_of_reach() -> None:
    result = run("stats", "memory://")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: MemoryStore lives inside the process that serves the site")


def test_a_reader_that_has_gone_is_no_error_of_the_store(url: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "wsgi_session", "stats", url]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_an_unknown_store_is_one_line_and_no_traceback() -> None:
    done = python("stats", "sqllite:///sessions.db")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: No store is known for sqllite://")
    assert done.stderr.count("\n") == 1


def test_a_store_is_asked_for_if_none_is_given() -> None:
    result = run("stats", WSGI_SESSION_STORE="")
    assert result.exit_code == 2
    assert "URL" in result.stderr


def test_copy_moves_every_live_session_and_says_how_many(url: str, tmp_path: Path) -> None:
    new = f"sqlite:///{tmp_path / 'new.db'}"
    result = run("copy", url, new)
    assert (result.exit_code, result.stdout) == (0, "sessions moved: 3\n")
    assert run("stats", new).stdout == "live sessions: 3\n"
    assert run("stats", url).stdout == "live sessions: 0\n"
    assert run("copy", url, new).stdout == "sessions moved: 0\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "Stopped: 1 sessions moved so far. Run it again to continue."),
        (StoreUnavailable("the disk is full"), 1, "Failed after 1 sessions were moved."),
    ],
)
def test_a_copy_that_is_stopped_says_how_far_it_got_and_goes_on_from_there(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    new = f"sqlite:///{tmp_path / 'new.db'}"
    created: list[Any] = []

    class Stopped(SQLiteStore):
        def create(self, key: bytes, record: Record, now: float) -> None:
            if created:
                raise error
            created.append(key)
            super().create(key, record, now)

    monkeypatch.setattr(commands, "open_store", lambda given: Stopped(given.removeprefix("sqlite:///")))
    result = run("copy", url, new)
    assert result.exit_code == code
    assert said in result.stderr
    monkeypatch.undo()
    assert run("copy", url, new).stdout == "sessions moved: 2\n"
    assert run("stats", new).stdout == "live sessions: 3\n"


def test_a_copy_that_can_never_work_is_not_to_be_run_again(url: str) -> None:
    for old, new in ((url, "cookie://"), ("cookie://", url)):
        result = run("copy", old, new)
        assert result.exit_code == 1
        assert "again" not in result.stderr


def test_a_copy_to_the_store_itself_or_from_or_to_a_move_moves_nothing(url: str, tmp_path: Path) -> None:
    itself = url.replace("sessions.db", "./sessions.db")
    (tmp_path / "also").symlink_to(tmp_path)
    itself_too = f"sqlite:///{tmp_path / 'also' / 'sessions.db'}"
    other = tmp_path / "new.db"
    with SQLiteStore(other) as store:
        store.ping()
    move = f"migrating://move?old={url}&new=sqlite:///{other}"
    refused = [(url, url, "same store"), (url, itself, "same store"), (url, itself_too, "same store")]
    for old, new, said in [*refused, (move, url, "MigratingStore"), (url, move, "MigratingStore")]:
        result = run("copy", old, new)
        assert (result.exit_code, result.stdout) == (1, "")
        assert said in result.stderr
        assert run("stats", url).stdout == "live sessions: 3\n"


def test_ctrl_c_while_a_store_does_not_answer_is_130(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(store: Store, now: float, namespace: str | None = None) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(SQLiteStore, "count", interrupted)
    result = run("stats", url)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Stopped.\n")


def test_copy_from_a_store_in_memory_says_who_can_reach_it(tmp_path: Path) -> None:
    result = run("copy", "memory://", f"sqlite:///{tmp_path / 'new.db'}")
    assert result.exit_code == 1
    assert "lives inside the process" in result.stderr


def test_a_reader_that_has_gone_is_left_to_the_command_line_library() -> None:
    with pytest.raises(BrokenPipeError), reporting_errors("memory://"):
        raise BrokenPipeError
