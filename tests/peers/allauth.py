"""django-allauth's own tests, with the settings of each of its projects.

``regular`` has all of its applications, ``login_required_mw`` another middleware. The others have fewer
applications, and run a part of the same tests.
"""

from __future__ import annotations

from tests.peers.peer import FEWER_QUERIES, Command, Peer, Suite, pytest_command

PROJECTS = ("regular", "account_only", "headless_only", "login_required_mw")
_COUNTS = {
    "*::test_access_token_query_counts[[]*": FEWER_QUERIES,
    "*::test_authentication_query_counts[[]*": FEWER_QUERIES,
}
#: Those of each project.
REASONS = {"regular": _COUNTS, "headless_only": _COUNTS, "login_required_mw": _COUNTS}


def _suite(project: str) -> Suite:
    def command(ours: bool) -> Command:
        settings = f"tests.projects.{project}.settings"
        plugins = ["allauth_ours"] if ours else []
        environ = {"ALLAUTH_SETTINGS": settings}
        return pytest_command(f"--ds={settings}", "tests/", plugins=plugins, environ=environ)

    return Suite(f"django-allauth: {project}", command, REASONS.get(project, {}))


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
