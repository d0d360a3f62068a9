"""A real MariaDB, from Debian."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.support.servers.process import Server, need

REMEDY = "apt-get install -y mariadb-server"


class MariaDB(Server):
    """One server, with the user ``root``, no password, and the database ``test``."""

    name = "mariadb"

    def __init__(self, *settings: str) -> None:
        self._settings = settings
        self._program = need("mariadbd", REMEDY)
        install = need("mariadb-install-db", REMEDY)
        super().__init__()
        self._data = self.folder / "data"
        subprocess.run(
            [
                install,
                "--no-defaults",
                f"--datadir={self._data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *self._as(),
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
        )

    @property
    def url(self) -> str:
        return f"mariadb://root@127.0.0.1:{self.port}/test"

    def command(self) -> Sequence[str]:
        return [
            self._program,
            "--no-defaults",
            f"--datadir={self._data}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            "--max-connections=500",
            "--innodb-buffer-pool-size=64M",
            # The tests kill only the process, so nothing has to be flushed to the disk.
            "--innodb-flush-log-at-trx-commit=2",
            *self._settings,
            *self._as(),
        ]

    def answers(self) -> bool:
        import pymysql

        try:
            self.execute("CREATE DATABASE IF NOT EXISTS test", database=None)
        except pymysql.OperationalError:
            return False
        return True

    def execute(self, sql: str, database: str | None = "test") -> list[tuple[Any, ...]]:
        """Run a statement as the administrator, and return its rows."""
        import pymysql

        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True, connect_timeout=2
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def _as(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []
