"""django-allauth's own tests, with the settings of its project ``regular``, which has all of its applications.

Its other projects run parts of the same tests with fewer applications.
"""

from __future__ import annotations

from tests.peers.peer import FEWER_QUERIES, Command, Peer, Suite, pytest_command

SETTINGS = "tests.projects.regular.settings"
REASONS = {
    "*::test_access_token_query_counts[[]*": FEWER_QUERIES,
    "*::test_authentication_query_counts[[]*": FEWER_QUERIES,
}


def _command(ours: bool) -> Command:
    settings = "allauth_ours" if ours else SETTINGS
    return pytest_command(f"--ds={settings}", "tests/", environ={"ALLAUTH_SETTINGS": SETTINGS})


PEER = Peer(
    name="allauth",
    distribution="django-allauth",
    suites=[Suite("django-allauth", _command, REASONS)],
    requirements=[
        "django-allauth[mfa,openid,socialaccount,steam,headless,idp-oidc]",
        "pytest>=8.3.5,<9",
        "pytest-asyncio==1.3.0",
        "pytest-django>=4.11,<4.13",
        "Pillow",
        "PyYAML",
        "psycopg2-binary",
        "djangorestframework",
        "django-ninja",
    ],
)
