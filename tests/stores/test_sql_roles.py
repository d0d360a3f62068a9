"""SQLStore if one database user creates the tables, and another one serves the site."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.support import ROOT
from tests.support.cli import run
from tests.support.servers.postgres import Postgres
from wsgi_session.errors import StoreUnavailable
from wsgi_session.stores.sql import SQLStore

PAGE = (ROOT / "docs" / "stores-sql.md").read_text("utf-8")
TABLES = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'wsgi_sessions%'"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    server.start()
    server.execute("CREATE ROLE site LOGIN")
    server.execute("GRANT CREATE ON SCHEMA public TO site")
    yield server
    server.remove(os.getpid())


@pytest.fixture
def server(postgres: Postgres) -> Postgres:
    postgres.execute("DROP TABLE IF EXISTS wsgi_sessions, wsgi_sessions_schema")
    return postgres


def sites(server: Postgres) -> str:
    return server.url.replace("//postgres@", "//site@")


@pytest.mark.parametrize("command", ["ping", "stats", "sweep"])
def test_no_command_makes_tables_that_the_site_could_not_use(server: Postgres, command: str) -> None:
    result = run(command, server.url)
    assert result.exit_code == 1
    assert "Create them with python -m wsgi_session init URL" in result.stderr
    assert server.execute(TABLES) == [(0,)]
    with SQLStore(sites(server)) as store:
        store.ping()
    assert run(command, server.url).exit_code == 0


@pytest.mark.parametrize("create", ["on", "off"])
def test_tables_of_another_user_are_told_of_with_what_to_grant_and_the_page_s_grants_suffice(
    server: Postgres, create: str
) -> None:
    assert run("init", server.url).exit_code == 0
    with SQLStore.from_url(f"{sites(server)}?create={create}") as store:
        grants = "GRANT SELECT, INSERT, UPDATE, DELETE ON wsgi_sessions; GRANT SELECT ON wsgi_sessions_schema"
        with pytest.raises(StoreUnavailable, match=re.escape(grants)):
            store.ping()
        (block,) = re.findall(r"```postgresql\n(.*?)```", PAGE, re.S)
        for line in block.splitlines():
            server.execute(line)
        store.ping()


def test_a_migration_may_run_twice(server: Postgres) -> None:
    with SQLStore(server.url) as store:
        for _ in range(2):
            for statement in store.ddl().split(";\n"):
                server.execute(statement) if statement else None
        store.ping()
    assert server.execute("SELECT version FROM wsgi_sessions_schema") == [(1,)]
