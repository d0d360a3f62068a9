"""How many queries of Django's database connection a session costs: the table of docs/frameworks.md."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from tests.frameworks.django_site import set_up
from tests.frameworks.django_visitor import visitor
from tests.support import ROOT

# In the order in which one visitor does them.
REQUESTS = {
    "saves a new session": ("/put", {"key": "a", "value": "1"}),
    "reads the session": ("/", {}),
    "changes the session": ("/put", {"key": "a", "value": "2"}),
    "logs in": ("/login", {"name": "ann"}),
    "changes the password of the user": ("/password", {"password": "ann"}),
    "logs out": ("/logout", {}),
}
PAGE = ROOT / "docs" / "frameworks.md"


@pytest.fixture
def client() -> Client:
    set_up()
    return visitor()


def session_queries(client: Client, path: str, query: dict[str, str]) -> int:
    """Return how many queries one request makes, beside those for the user."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path, query).status_code == 200
    return sum("auth_user" not in query["sql"] for query in queries.captured_queries)


def test_the_page_says_how_many_queries_djangos_own_engine_makes(client: Client) -> None:
    page = PAGE.read_text("utf-8")
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
        for what, request in REQUESTS.items():
            assert f"| {what} | {session_queries(client, *request)} | 0 |" in page


def test_a_session_of_ours_costs_no_query_of_djangos_connection(client: Client) -> None:
    with override_settings(WSGI_SESSION_STORE="memory://"):
        assert [session_queries(client, *request) for request in REQUESTS.values()] == [0] * len(REQUESTS)
