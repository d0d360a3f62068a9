"""Beaker's own tests: those of its session, and those of its middleware, which only its interface decides.

Its newest source distribution has no tests any more, so these are of the last one that has them.
"""

from __future__ import annotations

from tests.peers.peer import Command, Peer, Suite, pytest_command

SUITES = {
    "test_session": ("tests/test_session.py",),
    "middleware": (
        "tests/test_increment.py",
        "tests/test_cookie_only.py",
        "tests/test_cookie_domain_only.py",
        "tests/test_domain_setting.py",
        "tests/test_cookie_expires.py",
    ),
}
_COOKIE_SESSION = "calls Beaker's class CookieSession itself, without the middleware"
_REPRESENTATION = "looks into the bytes or the text that Beaker makes of a session"
_DOMAIN = "sets another domain in a request, which raises an error that names cookie_domain"
REASONS: dict[str, dict[str, str]] = {"test_session": {}, "middleware": {}}


def _suite(name: str) -> Suite:
    def command(ours: bool) -> Command:
        return pytest_command(*SUITES[name], plugins=["beaker_ours"] if ours else [])

    return Suite(f"Beaker: {name}", command, REASONS[name])


PEER = Peer(
    name="beaker",
    distribution="Beaker==1.13.0",
    suites=[_suite(name) for name in SUITES],
    requirements=["pytest>=9.0.3", "WebTest>=3.0.7", "cryptography>=48.0.1", "pycryptodome"],
)
