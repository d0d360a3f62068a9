"""The tests of Flask, and of the extensions whose logins and tokens live in its session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.peers.peer import Command, Peer, Suite, pytest_command

_SETTINGS_ONCE = (
    "changes a setting between two requests; settings are read once, when FlaskSessions(app) is called, so that a "
    "mistake is an error at the start"
)
_REFRESH = (
    "tests SESSION_REFRESH_EACH_REQUEST, which is ignored: the cookie is sent again when the recorded activity extends "
    "its life"
)
FLASK_REASONS = {
    "*::test_session_using_session_settings": "sets SESSION_COOKIE_HTTPONLY=False, which is refused",
    "*::test_session_using_samesite_attribute": _SETTINGS_ONCE,
    "*::test_session_secret_key_fallbacks": _SETTINGS_ONCE,
    "*::test_session_expiration": "looks for Expires in the cookie, which has Max-Age instead; browsers know both",
    "*::test_session_cookie_setting": _REFRESH,
    "*::test_session_refresh_vary": _REFRESH,
}
WTF_REASONS = {
    "*::test_same_origin": (
        "begins a session over http and goes on over https, which has a cookie of its own here, one that nobody on the "
        "network can set"
    ),
}
_PRIVATE = "looks for Cache-Control without `private`, which every response that sets our cookie has"
SECURITY_REASONS = {
    "*::test_override_cache_control": _PRIVATE,
    "*::test_no_cache_control": _PRIVATE,
}


def _peer(
    distribution: str,
    requirements: Sequence[str],
    reasons: Mapping[str, str] | None = None,
    plugins: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Peer:
    def command(ours: bool) -> Command:
        return pytest_command(*options, "tests", plugins=["flask_ours", *plugins] if ours else [])

    suite = Suite(distribution, command, reasons or {})
    return Peer(distribution.lower(), distribution, [suite], requirements)


PEERS = (
    # Its tests import what newer versions of pytest do not have.
    _peer("Flask", ["pytest<9", "python-dotenv", "asgiref"], FLASK_REASONS),
    _peer("Flask-Login", ["pytest", "semantic_version"]),
    _peer("Flask-WTF", ["pytest", "email_validator", "flask-babel"], WTF_REASONS),
    _peer("Flask-Dance", ["Flask-Dance[test]"]),
    _peer(
        "Flask-Security",
        [
            "Flask-Security[babel,fsqla,common,mfa]",
            "Flask-SQLAlchemy-Lite",
            "authlib",
            "cbor2",
            "freezegun",
            "mongoengine",
            "mongomock",
            "peewee",
            "pytest",
            "requests",
            "sqlalchemy<2.1",
            "sqlalchemy-utils",
            "zxcvbn",
        ],
        SECURITY_REASONS,
        ["flask_security_ours"],
        # Its own options need a plugin that the tool switches off, and turn warnings of its dependencies into errors.
        ["-o", "addopts=", "-W", "ignore"],
    ),
)
