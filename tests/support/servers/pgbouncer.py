"""A real PgBouncer, from Debian, in transaction mode: each transaction may have another server connection."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.servers.postgres import Postgres
from tests.support.servers.process import Server, as_nobody, hand_over, need

REMEDY = "apt-get install -y pgbouncer"


class PgBouncer(Server):
    """A PgBouncer in front of ``postgres``, with fewer connections to it than there are clients."""

    name = "pgbouncer"

    def __init__(self, postgres: Postgres) -> None:
        self._program = need("pgbouncer", REMEDY)
        super().__init__()
        hand_over(self.folder)
        self._settings = self.folder / "pgbouncer.ini"
        self._settings.write_text(
            f"""
[databases]
postgres = host=127.0.0.1 port={postgres.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 500
server_login_retry = 1
"""
        )

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> Sequence[str]:
        return [self._program, str(self._settings)]

    def answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def user(self) -> str | None:
        return as_nobody()
