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
_INSIDE = "looks into Beaker's own file, cookie or object, not at what the session does"
_ACTIVITY = "expects each access to be recorded; here it is recorded once in touch_interval"
REASONS: dict[str, dict[str, str]] = {
    "test_session": {
        "*::test_session": "encrypt_key for a session in a store, which the drop-in refuses: it encrypts only cookies",
        "*::test_regenerate_id": _INSIDE,
        "*::test_cookies_*abled": _INSIDE,
        "*::test_file_based_replace_optimization": _INSIDE,
        "*::test_use_json_serializer_without_encryption_key": _INSIDE,
        "*::test_invalidate_corrupt": _INSIDE,
        "*::test_invalidate_invalid_signed_cookie": "invalidate_corrupt=False: a bad cookie never raises an error here",
        "*::test_saves_if_session_*": _ACTIVITY,
        "*::test_accessed_time_off_saves_atime_when_saving": _ACTIVITY,
    },
    "middleware": {
        "*::test_cookie_expires": _INSIDE,
        "*::test_cookie_exprires_2": _INSIDE,
        "*::test_set_cookie_expires": _INSIDE,
        "*::test_json_serializer": _INSIDE,
        "*::test_pickle_serializer": _INSIDE,
        "*::test_custom_serializer": "a serializer of the application's own, which the drop-in refuses",
        "*::test_cookie_id": "expects the session's data in its repr, which never shows data here",
        "*::test_cookie_path_properly_set_after_delete": "a cookie is removed only if the browser has sent it",
        "*::test_expires": "the cookie has Max-Age in place of Expires",
    },
}


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
