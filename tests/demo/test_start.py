"""``python -m demo``: no set-up to start with, nothing lost by a restart, a clear word when it cannot."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from demo.secret import NoSecret, kept_secret
from tests.support import ROOT
from tests.support.curl import FIREFOX, Curl
from tests.support.demo import Demo

Start = Callable[..., Demo]


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_needs_no_set_up_and_says_where_it_is(start: Start, tmp_path: Path) -> None:
    demo = start()
    assert re.fullmatch(r"The Cookie Jar is open:  http://127\.0\.0\.1:[1-9]\d*\n", demo.first_line)
    assert (tmp_path / "demo.db").exists()


def test_the_secret_is_kept_and_only_its_owner_can_read_it(start: Start, tmp_path: Path) -> None:
    start().end()
    secret = tmp_path / "demo.secret"
    assert stat.filemode(secret.stat().st_mode) == "-rw-------"
    kept = secret.read_text()
    assert len(kept.strip()) >= 32
    start().end()
    assert secret.read_text() == kept
    assert sorted(path.name for path in tmp_path.glob("demo.secret*")) == ["demo.secret"]


def test_a_login_survives_a_restart(start: Start, visitor: Callable[..., Curl]) -> None:
    before = start()
    ann = visitor(FIREFOX, before.address)
    ann.log_in()
    before.end()
    ann.address = start().address
    assert "Welcome, Ann Archer!" in ann.get("/profile").words


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_ends_cleanly(start: Start, how: signal.Signals) -> None:
    demo = start()
    code, output = demo.end(how)
    assert (code, output.splitlines()[-1]) == (0, "Closed.")
    assert demo.errors.read_text() == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_demo_closes_its_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "always::ResourceWarning")
    demo = Demo(tmp_path, "--port", "0", "--host", host)
    code, _ = demo.end()
    assert (code, demo.errors.read_text()) == (0, "")


def test_a_secret_and_a_store_of_ones_own_leave_no_files(
    start: Start, visitor: Callable[..., Curl], tmp_path: Path
) -> None:
    demo = start("--secret", "7 dwarfs and 32 bytes make a good secret", "--store", "memory://", "--threads", "2")
    ann = visitor(FIREFOX, demo.address)
    ann.log_in()
    assert ann.get("/profile").status == 200
    demo.end()
    assert not list(tmp_path.glob("demo.*"))


def test_a_port_in_use_is_named_together_with_what_to_write(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(tmp_path, "--port", str(port))
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: Port {port} on 127.0.0.1 is in use, perhaps by another demo. "
        f"Choose another port with --port {port + 1}, or any free port with --port 0.\n"
    )


def test_of_the_last_port_the_one_before_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        with suppress(OSError):  # Another process has the port, which serves the test as well.
            taken.bind(("127.0.0.1", 65_535))
            taken.listen()
        done = run(tmp_path, "--port", "65535")
    assert "Choose another port with --port 65534, " in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pytest.param(b"\n", marks=pytest.mark.full),
        pytest.param(b"short\n", marks=pytest.mark.full),
        "Schlüssel mit über 32 Bytes, nicht ASCII".encode(),
        pytest.param(b"\xff" * 40, marks=pytest.mark.full),
    ],
)
def test_a_file_with_no_secret_is_named_together_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "demo.secret").write_bytes(content)
    done = run(tmp_path, "--store", "memory://")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: demo.secret does not contain a secret of at least 32 ASCII characters. "
        "Delete the file, and the demo will create a new one.\n"
    )


def test_where_no_file_can_be_made_a_secret_of_ones_own_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "demo.secret"
    with pytest.raises(NoSecret) as caught:
        kept_secret(path)
    assert str(caught.value) == (
        f"Cannot store a secret in {path}: No such file or directory. Pass one with --secret TEXT instead."
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--secret", "short"], "secret"),
        (["--store", "nosuch://store"], "nosuch"),
        pytest.param(["--store", "sqlite:///no/such/folder/demo.db"], "no/such/folder", marks=pytest.mark.full),
        (["--port", "99999"], "99999"),
        pytest.param(["--threads", "0"], "threads", marks=pytest.mark.full),
        pytest.param(["--host", "no.such.host.invalid"], "no.such.host.invalid", marks=pytest.mark.full),
    ],
)
def test_what_cannot_work_is_said_in_a_line_and_not_in_a_traceback(
    tmp_path: Path, options: list[str], said: str
) -> None:
    done = run(tmp_path, *options)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_option(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    for option in ("--host", "--port", "--store", "--secret", "--threads"):
        assert option in done.stdout
    assert not list(tmp_path.iterdir())
