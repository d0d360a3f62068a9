"""All errors have one base class, and carry their details."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import copy
from typing import Any

import pytest

from wsgi_session import SessionMiddleware, errors
from wsgi_session.errors import (
    ConfigError,
    HeadersAlreadySent,
    KeyExists,
    SessionError,
    SessionGone,
    SessionMissing,
    SessionTooLarge,
    StoreUnavailable,
    Unsupported,
    UnsupportedValue,
)

EVERY = {
    ConfigError: {},
    SessionMissing: {"key": "session"},
    SessionGone: {"handle": "h"},
    StoreUnavailable: {"retry_after": 30, "answer_lost": True},
    SessionTooLarge: {"size": 2, "limit": 1, "largest": (("a", 2),)},
    UnsupportedValue: {"path": "cart[3].price"},
    HeadersAlreadySent: {},
    Unsupported: {"operation": "count"},
    KeyExists: {},
}


def test_the_table_has_every_error_of_the_package() -> None:
    found = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert found == {SessionError, *EVERY}


@pytest.mark.parametrize(("kind", "data"), EVERY.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_every_error_is_a_session_error_with_its_message_and_data(
    kind: type[SessionError], data: dict[str, Any]
) -> None:
    error = kind("what was given: what to give", **data)
    assert isinstance(error, SessionError)
    assert str(error) == "what was given: what to give"
    assert {name: getattr(error, name) for name in data} == data
    assert kind.__doc__


@pytest.mark.parametrize(("kind", "data"), EVERY.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_every_error_comes_out_of_a_worker_process_as_it_was(kind: type[SessionError], data: dict[str, Any]) -> None:
    error = kind("what was given: what to give", **data)
    for other in (pickle.loads(pickle.dumps(error)), copy(error)):
        assert (type(other), str(other), vars(other)) == (kind, str(error), vars(error))


def test_the_errors_of_a_wrong_value_are_also_pythons_own() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(UnsupportedValue, TypeError)
    assert not issubclass(KeyExists, KeyError), "a KeyError's text is its repr, and session[...] raises those"


def test_what_is_not_said_has_a_default_that_promises_nothing() -> None:
    outage = StoreUnavailable("down")
    assert (outage.retry_after, outage.answer_lost) == (5, False)
    assert SessionGone("gone").handle is None
    assert SessionTooLarge("large", size=2, limit=1).largest == ()


@pytest.mark.parametrize("name", ["memory", "sqlite", "redis", "sql", "middleware"])
def test_what_could_not_be_made_can_be_shown_with_its_local_variables(name: str) -> None:
    """Error reporters show local variables: Python 3.10's ``TracebackException`` fails if a ``repr`` raises."""
    pytest.importorskip("redis")
    from redis import Redis

    from wsgi_session.stores import MemoryStore, SQLiteStore
    from wsgi_session.stores.redis import RedisStore
    from wsgi_session.stores.sql import SQLStore

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise NotImplementedError

    makers: dict[str, tuple[str, Callable[[], object]]] = {
        "memory": ("MemoryStore", lambda: MemoryStore(0)),
        "sqlite": ("SQLiteStore", lambda: SQLiteStore("")),
        "redis": ("RedisStore", lambda: RedisStore(Redis(), prefix="")),
        "sql": ("SQLStore", lambda: SQLStore("postgresql://", pool_size=0)),
        "middleware": ("SessionMiddleware", lambda: SessionMiddleware(app, secret="", store="memory://")),
    }
    kind, make = makers[name]
    with pytest.raises(ConfigError) as caught:
        make()
    shown = []
    trace = caught.value.__traceback__
    while trace is not None:
        shown += [repr(value) for value in trace.tb_frame.f_locals.values() if type(value).__name__ == kind]
        trace = trace.tb_next
    assert shown
    assert all("half made" in text for text in shown)
