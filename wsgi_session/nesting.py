"""Checks of a middleware inside another one: each needs a cookie name and an environ key of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.backends.settings import Settings
from wsgi_session.errors import ConfigError
from wsgi_session.session import Session, work_of


def check_cookie_name(environ: Mapping[str, Any], ours: Settings) -> None:
    """Raise ``ConfigError`` inside a middleware with the same cookie name: each would overwrite the cookie.

    The same applies to the response header with the token, which has one name.
    """
    for key, value in environ.items():
        theirs = work_of(value).backend.settings if isinstance(value, Session) else ours
        if _is_same_middleware(theirs, ours):
            continue
        around = f"The SessionMiddleware around this one, at environ[{key!r}], has"
        if theirs.cookie_name == ours.cookie_name:
            raise ConfigError(
                f"{around} the same cookie_name={ours.cookie_name!r}: they would overwrite each other's cookie. Give "
                "one of them another cookie_name."
            )
        if theirs.vary != "Cookie" and ours.vary != "Cookie":
            raise ConfigError(
                f"{around} a transport with a header too: a response could contain two tokens in Session-Token. Give "
                "transport='cookie' to one of them."
            )


def check_outer_session(outer: object, ours: Settings) -> None:
    """Raise ``ConfigError`` if ``outer`` is another middleware's session.

    A session of this middleware is allowed: this is then a sub-request of the request that the session belongs to.
    """
    if isinstance(outer, Session) and not _is_same_middleware(work_of(outer).backend.settings, ours):
        theirs = work_of(outer).backend.settings
        raise ConfigError(
            f"environ[{ours.environ_key!r}] contains the session of another SessionMiddleware (cookie_name="
            f"{theirs.cookie_name!r}) around this one (cookie_name={ours.cookie_name!r}). Give one of them another "
            f"environ_key{' and another cookie_name' if theirs.cookie_name == ours.cookie_name else ''}."
        )


def _is_same_middleware(one: Settings, other: Settings) -> bool:
    # Each tenant has settings of its own, and all of them report to the same events.
    return one.events is other.events
