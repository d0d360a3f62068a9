"""Django's own tests of sessions, logins, messages, CSRF, the admin site and the test client."""

from __future__ import annotations

from tests.peers.peer import FEWER_QUERIES, Command, Peer, Suite

SUITES = (
    "sessions_tests",
    "auth_tests",
    "messages_tests",
    "csrf_tests",
    "admin_views",
    "test_client",
    "test_client_regress",
)
#: Why tests of a suite fail only with ours.
REASONS = {
    "sessions_tests": {
        "*.SessionMiddlewareTests.test_empty_session_saved": "looks into the table of Django's own engine, which has "
        "no sessions with ours: `Session.objects` raises an error",
    },
    "auth_tests": {
        "*.LoginTest.test_session_key_flushed_on_login_after_password_change": "expects that a logged-in user who logs "
        "in again keeps the session key: with ours, each login changes it",
        "*.TestLoginRequiredMiddleware.test_protected_view_logged_in_performance": FEWER_QUERIES,
    },
    "admin_views": {
        "*.AdminCustomQuerysetTest.test_changelist_view_count_queries": FEWER_QUERIES,
        "*.AdminSearchTest.test_no_total_count": FEWER_QUERIES,
        "*.AdminSearchTest.test_reset_link": FEWER_QUERIES,
        "*.test_group_permission_performance": FEWER_QUERIES,
        "*.test_user_permission_performance": FEWER_QUERIES,
    },
}


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
