"""A missing or misspelt option, or one of another library, raises a ConfigError that says what to write."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from wsgi_session import ConfigError, SessionMiddleware
from wsgi_session.config import naming
from wsgi_session.config.text import PARSERS

SECRET = "naming-9d1f6a27c3e04b58a1d27f60e39b4c85"
OPTIONS = dict.fromkeys(PARSERS, "")


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    raise NotImplementedError


def refusal(*arguments: Any, **options: Any) -> str:
    """Return the message for these arguments; check that it is the same for options as text."""
    with pytest.raises(ConfigError) as caught:
        SessionMiddleware(*arguments, **options)
    said = str(caught.value)
    if arguments:
        prefixed = {f"app.{name}": value for name, value in options.items()}
        with pytest.raises(ConfigError) as caught:
            SessionMiddleware.from_config(application, prefixed, prefix="app.")
        assert str(caught.value).replace("app.", "") == said
    return said


def given(**more: Any) -> str:
    return refusal(application, secret=SECRET, store="memory://", **more)


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("idle_timout", "idle_timeout"),
        ("idletimeout", "idle_timeout"),
        ("IDLE_TIMEOUT", "idle_timeout"),
        ("absolute_timeouts", "absolute_timeout"),
        ("cookie_same_site", "cookie_samesite"),
        ("cookie_names", "cookie_name"),
        ("cookie_secured", "cookie_secure"),
        ("environ_keys", "environ_key"),
        ("maxsize", "max_size"),
        ("on_events", "on_event"),
        ("touch_intervall", "touch_interval"),
    ],
)
def test_a_misspelt_option_is_told_the_nearest(option: str, meant: str) -> None:
    assert given(**{option: "5"}) == f"{option}: did you mean {meant}?"


def test_an_option_that_resembles_none_is_told_all_options() -> None:
    said = given(zzz="5")
    assert said.startswith("zzz: no such option. The options are: secret, store, encrypt, environ_key, ")
    assert said.endswith("clock.")


@pytest.mark.parametrize(
    ("option", "ours"),
    [
        # Beaker.
        ("type", "store"),
        ("data_dir", "store"),
        ("url", "store"),
        ("lock_dir", "leave it out"),
        ("timeout", "idle_timeout"),
        ("session.timeout", "idle_timeout"),
        ("beaker.session.type", "store"),
        ("cookie_expires", "cookie_persistent"),
        ("key", "cookie_name"),
        ("auto", "leave it out"),
        ("httponly", "leave it out"),
        ("secure", "cookie_secure"),
        ("samesite", "cookie_samesite"),
        ("validate_key", "secret"),
        ("encrypt_key", "secret"),
        ("save_accessed_time", "leave it out"),
        ("data_serializer", "leave it out"),
        ("table_name", "?table="),
        # Flask-Session, and Flask.
        ("SESSION_TYPE", "store"),
        ("SESSION_REDIS", "store"),
        ("SESSION_FILE_DIR", "store"),
        ("SESSION_PERMANENT", "cookie_persistent"),
        ("PERMANENT_SESSION_LIFETIME", "idle_timeout"),
        ("SESSION_USE_SIGNER", "leave it out"),
        ("SESSION_KEY_PREFIX", "?prefix="),
        ("SECRET_KEY", "secret"),
        ("SESSION_SQLALCHEMY_TABLE", "?table="),
        ("SESSION_SERIALIZATION_FORMAT", "leave it out"),
        # Django.
        ("SESSION_ENGINE", "store"),
        ("SESSION_COOKIE_AGE", "idle_timeout"),
        ("cookie_age", "idle_timeout"),
        ("SESSION_EXPIRE_AT_BROWSER_CLOSE", "cookie_persistent"),
        ("SESSION_SAVE_EVERY_REQUEST", "leave it out"),
        ("SESSION_COOKIE_HTTPONLY", "leave it out"),
        # Starlette, Pyramid, express.
        ("secret_key", "secret"),
        ("session_cookie", "cookie_name"),
        ("max_age", "idle_timeout"),
        ("same_site", "cookie_samesite"),
        ("https_only", "cookie_secure"),
        ("path", "cookie_path"),
        ("domain", "cookie_domain"),
        ("reissue_time", "touch_interval"),
        ("resave", "leave it out"),
    ],
)
def test_an_option_of_another_library_is_told_which_of_ours_does_that(option: str, ours: str) -> None:
    said = given(**{option: "5"})
    assert said.startswith(f"{option} is not an option here: ")
    assert ours in said


@pytest.mark.parametrize("option", ["SESSION_COOKIE_NAME", "SESSION_COOKIE_SECURE", "SESSION_COOKIE_SAMESITE"])
def test_an_option_named_as_ours_with_a_prefix_is_told_our_name(option: str) -> None:
    assert given(**{option: "5"}) == f"{option}: did you mean {option.removeprefix('SESSION_').lower()}?"


def test_nothing_of_ours_is_taken_for_anothers() -> None:
    assert not set(naming._OTHER_LIBRARIES) & set(PARSERS)


def test_every_option_that_is_advised_is_one_of_ours() -> None:
    for advice in naming._OTHER_LIBRARIES.values():
        words = advice.removeprefix("write ").split()
        assert advice.startswith("leave it out: ") or words[0].strip(",:") in PARSERS or words[0][0] == "?"


@pytest.mark.parametrize("missing", ["secret", "store"])
def test_a_missing_option_is_told_with_what_to_give(missing: str) -> None:
    options = {"secret": SECRET, "store": "memory://"}
    del options[missing]
    said = refusal(application, **options)
    assert said.startswith(f"{missing} is missing. Give ")
    assert {"secret": "python -m wsgi_session keygen", "store": "sqlite:///sessions.db"}[missing] in said


def test_a_missing_application_is_told_too() -> None:
    assert refusal(secret=SECRET, store="memory://").startswith("app is missing. Give the WSGI application")
    assert refusal().startswith("app is missing. ")


def test_options_without_their_names_are_told_to_have_them() -> None:
    for arguments in ((application, SECRET), (application, SECRET, "memory://")):
        with pytest.raises(ConfigError, match=r"write SessionMiddleware\(app, secret=…, store=…\)"):
            SessionMiddleware(*arguments)  # type: ignore[call-arg]


def test_the_application_may_be_given_by_its_name() -> None:
    with SessionMiddleware(app=application, secret=SECRET, store="memory://") as middleware:
        assert middleware.app is application


def test_the_signature_is_the_one_that_is_written() -> None:
    parameters = inspect.signature(SessionMiddleware).parameters
    assert list(parameters) == ["app", *OPTIONS]
    assert parameters["idle_timeout"].annotation == "timedelta | float"


@pytest.mark.full
def test_mypy_tells_a_misspelt_and_a_missing_option(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="elsewhere: tox -e types has mypy")
    program = tmp_path / "program.py"
    program.write_text(
        "from typing import Any\n"
        "from wsgi_session import SessionMiddleware\n"
        "def site(app: Any) -> None:\n"
        "    SessionMiddleware(app, secret='x', store='memory://', idle_timeout=5)\n"
        "    SessionMiddleware(app, secret='x', store='memory://', idle_timout=5)\n"
        "    SessionMiddleware(app, secret='x')\n"
        "    SessionMiddleware(app, secret='x', store=5)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    errors = [
        line.partition("error: ")[2]
        for line in done.stdout.splitlines()
        if str(program.name) in line and "error" in line
    ]
    assert len(errors) == 3, done.stdout
    assert "idle_timout" in errors[0]
    assert 'Missing named argument "store"' in errors[1]
    assert 'Argument "store"' in errors[2]
