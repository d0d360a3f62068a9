"""django-allauth's own tests, of which each of its projects runs a part."""

from __future__ import annotations

from tests.peers.peer import FEWER_QUERIES, Command, Peer, Suite, pytest_command

PROJECTS = ("regular", "headless_only", "account_only", "login_required_mw")
REASONS = {
    "*::test_access_token_query_counts[[]*": FEWER_QUERIES,
    "*::test_authentication_query_counts[[]*": FEWER_QUERIES,
}


def _suite(project: str) -> Suite:
    def command(ours: bool) -> Command:
        theirs = f"tests.projects.{project}.settings"
        settings = "allauth_ours" if ours else theirs
        return pytest_command(f"--ds={settings}", "tests/", environ={"ALLAUTH_SETTINGS": theirs})

    return Suite(f"django-allauth: {project}", command, REASONS)


PEER = Peer(
    name="allauth",
    distribution="django-allauth",
    suites=[_suite(project) for project in PROJECTS],
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
