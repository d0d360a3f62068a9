"""The commands for sessions: their arguments, their progress, and what goes wrong."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from wsgi_session import SessionMiddleware, StoreUnavailable
from wsgi_session.__main__ import main
from wsgi_session.backends import revocation
from wsgi_session.cli import cli, sessions
from wsgi_session.stores import Record, SQLiteStore
from wsgi_session.testing import plant, read

SECRET = "d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8"


def no_site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return []


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with 30 sessions of one user."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    with SessionMiddleware(no_site, secret=SECRET, store=url) as middleware:
        for _ in range(30):
            plant(middleware, {"user": {"id": 5}})
    return url


def put(url: str, handle: str) -> None:
    now = time.time()
    with SQLiteStore(url.removeprefix("sqlite:///")) as store:
        store.create(os.urandom(32), Record(b"\x80", os.urandom(16), handle, now, now, now + 60, namespace="sid"), now)


@pytest.mark.parametrize("handle", ["-h00000000000000", "--00000000000000", "-000000000000000"])
def test_a_handle_may_look_like_an_option(url: str, handle: str) -> None:
    put(url, handle)
    assert f"handle:     {handle}\n" in run("show", url, handle).stdout
    assert run("revoke", url, handle).stdout == "sessions ended: 1\n"


@pytest.mark.parametrize(("command", "operand"), [("show", "HANDLE"), ("revoke", "HANDLE"), ("revoke-user", "OWNER")])
def test_the_url_may_stand_in_the_environment_and_one_of_both_is_needed(url: str, command: str, operand: str) -> None:
    given = "id:5" if operand == "OWNER" else "nobody"
    dry = ["--dry-run"] * (operand == "OWNER")
    with_url, without = run(command, url, given, *dry), run(command, given, *dry, WSGI_SESSION_STORE=url)
    assert (with_url.exit_code, with_url.output) == (without.exit_code, without.output)
    for arguments in ([], [given], [url, given, given], [url, ""]):
        result = run(command, *arguments, WSGI_SESSION_STORE="")
        assert result.exit_code == 2, arguments
        assert f"Give URL {operand}; or set WSGI_SESSION_STORE, and give {operand}." in result.stderr


@pytest.mark.parametrize("command", ["show", "revoke", "revoke-user"])
def test_a_url_in_place_of_the_operand_is_wrong_usage_and_its_password_is_not_shown(url: str, command: str) -> None:
    for given in (["postgresql://shop:hunter2@db/shop"], [url, "redis://:hunter2@cache"]):
        result = run(command, *given, WSGI_SESSION_STORE=url)
        assert result.exit_code == 2
        assert "hunter2" not in result.output
    assert run("revoke-user", url, "id://5", "--json").stdout == '{"ended": 0}\n'


@pytest.mark.parametrize("arguments", [["revoke-user", "{url}", "ann"], ["list", "{url}", "--user", "5"]])
def test_what_is_no_owner_is_wrong_usage_and_ends_nothing(url: str, arguments: list[str]) -> None:
    result = run(*[argument.format(url=url) for argument in arguments])
    assert result.exit_code == 2
    assert "is not an owner. Give the user mapping, or an owner such as 'id:5'" in result.stderr
    assert run("stats", url).stdout == "live sessions: 30\n"


@pytest.mark.parametrize("owner", ["id:5\x00", "id:5 ", "ID:5", "id:\udcff", "email:id:5", "id:6"])
def test_the_owner_is_compared_byte_for_byte(url: str, owner: str) -> None:
    result = run("revoke-user", url, owner)
    assert result.stdout in ("", "sessions ended: 0\n")
    assert run("stats", url).stdout == "live sessions: 30\n"


def test_an_owner_that_is_no_valid_text_lists_nothing_on_a_real_command_line(url: str) -> None:
    command: list[str | bytes] = [sys.executable, "-m", "wsgi_session", "revoke-user", url, b"id:\xff"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, b"sessions ended: 0\n")


@pytest.mark.parametrize("command", [["revoke-user", "{url}", "id:5"], ["revoke-everyone", "{url}"]])
@pytest.mark.parametrize("option", [[], ["--dry-run"], ["--json"]])
def test_a_command_that_ends_nothing_asks_for_the_name_of_the_cookie(
    url: str, command: list[str], option: list[str]
) -> None:
    arguments = [argument.format(url=url) for argument in command]
    wrong = run(*arguments, *option, "--cookie-name", "session")
    assert (wrong.exit_code, wrong.stdout.count("\n")) == (0, 1)
    assert wrong.stderr.startswith("No session was found. If the site's cookie has another name")
    assert run(*arguments, *option).stderr == ""


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "h"], ["revoke", "h"], ["revoke-user", "id:5"], ["revoke-everyone"], ["broken"]]
)
def test_a_store_without_a_list_says_so(arguments: list[str]) -> None:
    command, *rest = arguments
    result = run(command, "cookie://", *rest)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: cookie:// keeps sessions in the browsers, so they cannot be listed")


def on_terminal(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """Return what the command shows on a terminal, on stderr."""
    ours, theirs = pty.openpty()
    try:
        with open(theirs, "w", closefd=False) as terminal:
            monkeypatch.setattr(sys, "stderr", terminal)
            cli(arguments, standalone_mode=False)
        shown = b""
        while not shown.endswith(b"\x1b[K"):  # The terminal may pass the output on in parts.
            shown += os.read(ours, 10_000)
        return shown.decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_on_a_terminal_the_commands_show_how_far_they_are(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "STEP", 20)
    assert on_terminal(monkeypatch, "broken", url) == "\r\x1b[K20 read ...\r\x1b[K"
    shown = on_terminal(monkeypatch, "revoke-user", url, "id:5")
    assert shown == "\r\x1b[K20 ended ...\r\x1b[K30 ended ...\r\x1b[K"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "Stopped: 20 sessions ended so far. Run it again to continue.\n"),
        (StoreUnavailable("the disk is full"), 1, "Failed after 20 sessions were ended.\nError: the disk is full\n"),
    ],
)
@pytest.mark.parametrize("arguments", [["revoke-user", "id:5"], ["revoke-everyone"]])
def test_a_revocation_that_is_stopped_says_how_far_it_got_and_the_next_one_ends_the_rest(
    url: str, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: BaseException, code: int, said: str
) -> None:
    delete_many: Callable[..., int] = SQLiteStore.delete_many
    calls: list[object] = []

    def stopped(store: SQLiteStore, keys: list[bytes]) -> int:
        calls.append(keys)
        if len(calls) == 2:
            raise error
        return delete_many(store, keys)

    monkeypatch.setattr(SQLiteStore, "delete_many", stopped)
    monkeypatch.setattr(revocation, "PAUSE", 0.0)
    command, *rest = arguments
    result = run(command, url, *rest)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", said)
    assert run(command, url, *rest).stdout == "sessions ended: 10\n"


def test_the_script_calls_itself_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv, name in (("/usr/bin/wsgi-session", "wsgi-session"), ("/x/__main__.py", "python -m wsgi_session")):
        monkeypatch.setattr(sys, "argv", [argv, "list", "--help"])
        with pytest.raises(SystemExit):
            main()
        assert f"Usage: {name} list " in capsys.readouterr().out


def test_a_store_that_other_processes_cannot_see_is_refused() -> None:
    assert "lives inside the process" in run("list", "memory://").stderr


def test_a_command_works_on_the_sessions_of_one_tenant(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tenants.db"
    options: dict[str, Any] = {"secret": SECRET, "store": url, "cookie_name": "shop"}
    with SessionMiddleware(no_site, namespace=lambda environ: environ["HTTP_HOST"], **options) as middleware:
        cookies = {}
        for host in ("a.example", "b.example", "münchen.example/x"):
            cookies[host] = plant(middleware, {"user": {"id": 5}}, environ={"HTTP_HOST": host})
            shown = run("list", url, "--cookie-name", "shop", "--tenant", host, "--json").stdout
            assert [json.loads(line)["owner"] for line in shown.splitlines()] == ["id:5"]
        assert run("list", url, "--cookie-name", "shop").stdout == ""
        assert run("stats", url, "--cookie-name", "shop", "--tenant", "a.example").stdout == "live sessions: 1\n"
        counted = run("stats", url, "--tenant", "a.example", WSGI_SESSION_COOKIE_NAME="shop")
        assert counted.stdout == "live sessions: 1\n", "the variable counts as for the other commands"
        ended = run("revoke-user", url, "id:5", "--tenant", "a.example", WSGI_SESSION_COOKIE_NAME="shop")
        assert ended.stdout == "sessions ended: 1\n"
        left = {host: read(middleware, cookie, environ={"HTTP_HOST": host}) for host, cookie in cookies.items()}
    assert [host for host, data in left.items() if data] == ["b.example", "münchen.example/x"]
    empty = run("list", url, "--tenant", "")
    assert (empty.exit_code, "--tenant is empty: give the tenant's name." in empty.stderr) == (2, True)


def test_a_record_that_was_damaged_by_hand_does_not_hide_the_other_sessions(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    put(f"sqlite:///{path}", "intact")
    put(f"sqlite:///{path}", "damaged")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE sessions SET handle = x'ff', created = -1e11, touched = 2e11 WHERE handle = 'damaged'")
    database.close()
    for flags in ((), ("--json",)):
        result = run("list", f"sqlite:///{path}", "--anonymous", *flags)
        assert result.exit_code == 0, result.output
        assert "intact" in result.stdout
        assert len(result.stdout.splitlines()) == 2


@pytest.mark.parametrize(("data", "size"), [("7", None), ("'text'", 4)])
def test_a_session_whose_data_was_edited_to_another_type_is_shown(tmp_path: Path, data: str, size: int | None) -> None:
    path = tmp_path / "sessions.db"
    put(f"sqlite:///{path}", "damaged")
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE sessions SET data = {data}")
    database.close()
    result = run("show", f"sqlite:///{path}", "damaged", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["size"] == size
