"""Django's own tests of sessions, logins, messages, CSRF, the admin site and the test client."""

from __future__ import annotations

from tests.peers.peer import Command, Peer, Suite

SUITES = (
    "sessions_tests",
    "auth_tests",
    "messages_tests",
    "csrf_tests",
    "admin_views",
    "test_client",
    "test_client_regress",
)
REASONS: dict[str, dict[str, str]] = {}


def _suite(name: str) -> Suite:
    def command(ours: bool) -> Command:
        settings = "django_ours" if ours else "django_theirs"
        arguments = ["runtests.py", f"--settings={settings}", "--parallel=1", "--verbosity=1", name]
        # The sources themselves are the Django under test, as its developers run them.
        return Command(arguments, {"PYTHONPATH": ".."}, "tests")

    return Suite(f"Django: {name}", command, REASONS.get(name, {}))


PEER = Peer(
    name="django",
    distribution="Django",
    suites=[_suite(name) for name in SUITES],
    requirements=["Pillow", "PyYAML", "jinja2", "argon2-cffi", "bcrypt", "docutils", "tblib", "aiosmtpd", "tzdata"],
)
