"""The watch that every test stands under sees what it is there for."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import wsgi_session
from tests.support.leaks import Watch, as_shown, frames_of, is_ours
from wsgi_session import ConfigError, Session, SessionMiddleware, StoreUnavailable
from wsgi_session.config.secrets import HiddenText
from wsgi_session.cookies import tokens
from wsgi_session.middleware import internals_of
from wsgi_session.request.work import Work
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import plant

SECRET = "3b5d1c9f77e04a2c8d6e0f1a9b8c7d6e"
logger = logging.getLogger("wsgi_session")


def raise_with(token: object) -> None:
    """Raise one of our errors with ``token`` in a frame that looks like one of ours."""
    code = compile(
        "def raising(token):\n    raise error('the store failed')",
        str(Path(wsgi_session.__file__).with_name("x.py")),
        "exec",
    )
    space: dict[str, object] = {"error": StoreUnavailable}
    exec(code, space)
    space["raising"](token)  # type: ignore[operator]


def test_a_token_in_a_local_variable_of_ours_is_seen(watch: Watch) -> None:
    for token in (tokens.new_token(), [tokens.new_token().decode()], tokens.csrf_token(tokens.new_token())):
        with pytest.raises(StoreUnavailable):
            raise_with(token)
        assert watch.found == ["token in raising, wsgi_session/x.py:2"]
        watch.found.clear()
        watch.forget_places()


def test_what_is_no_token_and_what_is_hidden_is_not(watch: Watch) -> None:
    for text in ("A" * 86, tokens.new_token()[:20], HiddenText(tokens.new_token().decode())):
        with pytest.raises(StoreUnavailable):
            raise_with(text)
        watch.forget_places()
    assert watch.found == []


@pytest.mark.parametrize("level", [logging.DEBUG, logging.ERROR])
def test_a_token_or_a_secret_in_a_log_line_is_seen_at_every_level(watch: Watch, level: int) -> None:
    cookie = plant(SessionMiddleware(lambda environ, start_response: [], secret=SECRET, store=MemoryStore()), {"k": 1})
    for text in (cookie, SECRET):
        logger.log(level, "seen: %s", text)
        assert len(watch.found) == 1, watch.found
        assert watch.found.pop().startswith("a log line of wsgi_session: 'seen: %s'")


def test_looking_at_a_session_in_a_local_variable_does_not_load_it() -> None:
    store = MemoryStore()
    middleware = SessionMiddleware(lambda environ, start_response: [], secret=SECRET, store=store)
    session = Session(Work(internals_of(middleware).backend, {"HTTP_COOKIE": "sid=x"}))
    assert as_shown(session) == "<Session, not loaded>"


def test_the_environ_is_the_servers_and_no_other_dict_is() -> None:
    assert as_shown({"HTTP_COOKIE": "sid=x", "wsgi.url_scheme": "http"}) == ""
    assert as_shown({"REQUEST_METHOD": "POST", "webob._parsed_post_vars": "csrf_token=x"}) == ""
    assert as_shown({"sid": "x"}) == "{'sid': 'x'}"


def test_the_frames_of_an_error_are_those_of_its_causes_too() -> None:
    try:
        try:
            SessionMiddleware(None, secret=SECRET, store="memory://")  # type: ignore[arg-type]
        except ConfigError as error:
            raise LookupError from error
    except LookupError as error:
        ours = [frame.f_code.co_name for frame in frames_of(error) if is_ours(frame)]
    assert ours == ["checked", "__init__", "check_app"]
