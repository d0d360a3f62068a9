"""Errors for options that are unknown or missing, with advice: a similar name, or our option for another library's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec

from wsgi_session.config.secrets import hide_secret
from wsgi_session.errors import ConfigError

_Options = ParamSpec("_Options")

KEYGEN = "Make one with: python -m wsgi_session keygen"

# What to write instead of an option of Beaker, Flask-Session, Flask, Django, Starlette or Pyramid. The options are in
# lower case, and without one of _PREFIXES.
_OTHER_LIBRARIES = {
    option: advice
    for options, advice in (
        (
            "type url db_url sa.url data_dir engine backend redis redis_url memcached mongodb sqlalchemy file_dir",
            'write store with a URL, such as "sqlite:///sessions.db" or "redis://localhost"',
        ),
        (
            "timeout lifetime permanent_session_lifetime cookie_age cookie_max_age max_age expires ttl",
            "write idle_timeout, and absolute_timeout for the maximum age of a login",
        ),
        (
            "cookie_expires permanent expire_at_browser_close",
            "write cookie_persistent: with False the cookie ends with the browser, else after idle_timeout",
        ),
        ("httponly cookie_httponly http_only", "leave it out: the cookie is always HttpOnly"),
        ("use_signer signed", "leave it out: the cookie is always signed"),
        (
            "auto resave saveuninitialized save_every_request save_accessed_time refresh_each_request",
            "leave it out: changes are always saved, and activity is recorded every touch_interval",
        ),
        ("lock_dir lock_directory", "leave it out: sessions need no locks"),
        (
            "serializer data_serializer serialization_format",
            "leave it out: values keep their types, without pickle",
        ),
        ("secure https_only", 'write cookie_secure: "auto", True or False'),
        ("samesite same_site", 'write cookie_samesite: "Lax", "Strict" or "None"'),
        ("secret_key secrets validate_key encrypt_key secret_key_fallbacks", "write secret: one, or several"),
        ("key name cookie session_cookie", "write cookie_name"),
        ("path", "write cookie_path"),
        ("domain", "write cookie_domain"),
        ("reissue_time", "write touch_interval"),
        ("key_prefix", "write ?prefix= into the URL of a Redis store"),
        ("table table_name sqlalchemy_table", "write ?table= into the URL of a SQL store"),
        ("cleanup_n_requests file_threshold", "leave it out: stores remove expired sessions by themselves"),
    )
    for option in options.split()
}
_REMEDIES = {
    "app": "Give the WSGI application that the sessions are for: SessionMiddleware(app, secret=…, store=…).",
    "secret": f"Give text or bytes that only your servers know. {KEYGEN}.",
    "store": "Give a URL, such as sqlite:///sessions.db.",
}
_PREFIXES = ("beaker.", "session.", "session_")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of ``known`` that is most similar to ``name``; ``None`` if none is similar."""
    return next(iter(get_close_matches(name.lower(), known, n=1, cutoff=0.7)), None)


def unknown_option(name: str, option: str, known: Iterable[str], spell: Callable[[str], str] = str) -> ConfigError:
    """Return the error for an option that is not one of ``known``, with advice what to write instead.

    ``name`` is the option as the user wrote it; ``spell`` turns an option's name into what the user has to write.
    """
    known = tuple(known)
    plain = option.lower()
    for prefix in _PREFIXES:
        plain = plain.removeprefix(prefix)
    near = nearest(plain, known)
    if plain in _OTHER_LIBRARIES:
        return ConfigError(f"{name} is not an option here: {_OTHER_LIBRARIES[plain]}.")
    if near is not None:
        return ConfigError(f"{name}: did you mean {spell(near)}?")
    return ConfigError(f"{name}: no such option. The options are: {', '.join(map(spell, known))}.")


def missing_option(name: str, option: str) -> ConfigError:
    """Return the error for a required option that was not given; ``name`` is the option as the user would write it."""
    return ConfigError(f"{name} is missing. {_REMEDIES[option]}")


def named_options(init: Callable[_Options, None]) -> Callable[_Options, None]:
    """Let ``init`` raise ``ConfigError`` with advice for a missing or unknown option, in place of a ``TypeError``.

    Type checkers and ``inspect.signature`` see the signature of ``init``.
    """
    parameters = inspect.signature(init).parameters
    options = [name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    required = [name for name in options if parameters[name].default is inspect.Parameter.empty]
    places = [name for name in parameters if name not in options]

    @wraps(init)
    def checked(*args: _Options.args, **given: _Options.kwargs) -> None:
        # Hide the secret first, because tracebacks may show local variables.
        given = hide_secret(given, "")  # type: ignore[assignment]
        args, surplus = args[: len(places)], len(args) - len(places)  # type: ignore[assignment]
        if surplus > 0:
            names = ", ".join(f"{name}=…" for name in required)
            raise ConfigError(f"Options are given by name: write SessionMiddleware(app, {names}).")
        for name in given:
            if name not in parameters:
                raise unknown_option(name, name, options)
        for name in (*places[len(args) :], *required):
            if name not in given:
                raise missing_option(name, name)
        init(*args, **given)

    return checked
