"""The page on SQL stores is correct."""

from __future__ import annotations

import re

from tests.support import ROOT
from wsgi_session.stores.sql import SQLStore
from wsgi_session.stores.sql.source import OPTIONS

PAGE = (ROOT / "docs" / "stores-sql.md").read_text("utf-8")


def test_the_page_shows_the_sql_that_init_prints() -> None:
    (shown,) = re.findall(r"```sql\n(.*?)```", PAGE, re.S)
    with SQLStore("postgresql://db/shop") as store:
        assert shown == store.ddl()


def test_the_page_lists_every_option_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE, re.M))
    assert rows.keys() == OPTIONS.keys()
    query = "&".join(f"{name}={default}" for name, default in rows.items())
    with SQLStore("postgresql://db/shop") as plain, SQLStore.from_url(f"postgresql://db/shop?{query}") as given:
        for store in (plain, given):
            database, timeout = store._database, store._source.driver.timeout
            seen = (store._schema.sessions.fullname, database.create, store._auto_sweep, database._pool_size, timeout)
            assert seen == ("wsgi_sessions", True, True, 8, 2.0)
