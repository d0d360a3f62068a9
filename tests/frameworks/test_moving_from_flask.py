"""Moving from Flask's own sessions and from Flask-Session: the real libraries write, and nobody is logged out."""

from __future__ import annotations

import hashlib
import pickle
import sys
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy
from flask import Flask, flash, get_flashed_messages, session
from flask.testing import FlaskClient
from markupsafe import Markup

from tests.frameworks.moving_shop import KEY, make_app
from tests.support.servers.shared import valkey
from wsgi_session import ConfigError, StoreUnavailable, Unsupported
from wsgi_session.integrations.flask import FlaskSessions
from wsgi_session.moving import Adopt, FlaskCookie, FlaskSessionStore, Reader
from wsgi_session.stores import MemoryStore

flask_session = pytest.importorskip("flask_session", reason="pip install Flask-Session cachelib Flask-SQLAlchemy")

BEFORE = {"user": "7", "cart": ["bun", {"price": 1.5}], "flashes": [["message", "Welcome"], ["html", "<b>back</b>"]]}
NOBODY: dict[str, Any] = {"user": None, "cart": None, "flashes": []}


def browse(app: Flask, client: FlaskClient | None = None) -> FlaskClient:
    """Return a browser of ``app``, with the cookies of another."""
    browser = app.test_client()
    for cookie in () if client is None else client._cookies.values():  # type: ignore[union-attr]
        browser.set_cookie(cookie.key, cookie.value)
    return browser


def move(reader: Reader | Adopt, store: MemoryStore, **config: Any) -> tuple[Flask, list[tuple[str, Any]]]:
    """Return the same shop with our sessions."""
    events: list[tuple[str, Any]] = []
    app = make_app(**config)
    FlaskSessions(app, store=store, adopt=reader, on_event=lambda name, data: events.append((name, dict(data))))
    return app, events


def names(events: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in events]


def check_move(old: Flask, reader: Reader, **config: Any) -> None:
    """Move a logged-in visitor, and log them out."""
    before = browse(old)
    assert before.get("/login").text == "in"
    store = MemoryStore()
    new, events = move(reader, store, **config)
    browser = browse(new, before)
    assert browser.get("/").json == BEFORE
    assert names(events).count("adopted") == 1
    assert browser.get("/").json == {**BEFORE, "flashes": []}
    middleware = new.extensions["wsgi_session"]
    assert len(list(middleware.sessions.of({"id": "7"}))) == 1
    assert browser.get("/logout").text == "out"
    assert browser.get("/").json == {**NOBODY, "cart": BEFORE["cart"]}
    # With the old cookie in hand.
    assert browse(new, before).get("/").json == NOBODY
    if not reader.in_cookie:
        assert browse(old, before).get("/").json == NOBODY


@pytest.mark.parametrize("name", ["session", "sid"])
def test_a_session_in_flasks_cookie_is_adopted(name: str) -> None:
    check_move(make_app(), FlaskCookie(KEY), SESSION_COOKIE_NAME=name)


def test_flasks_cookie_by_a_key_that_was_replaced() -> None:
    old = make_app()
    old.secret_key = "the key before"
    check_move(old, FlaskCookie([KEY, "the key before"]))


def test_the_types_of_flasks_cookie_come_over() -> None:
    old = make_app()
    values = {
        "tuple": (1, (2,)),
        "bytes": b"\x00\xff",
        "uuid": UUID(int=5),
        "time": datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "markup": Markup("<b>"),
        "tagged": {" t": [1]},
        "large": "x" * 3000,
    }

    @old.get("/fill")
    def fill() -> str:
        session.update(values)
        flash({"a": 1})  # type: ignore[arg-type]
        flash(Markup("<b>"))
        return ""

    before = browse(old)
    before.get("/fill")
    new, _ = move(FlaskCookie(KEY), MemoryStore())
    seen: dict[str, Any] = {}

    @new.get("/see")
    def see() -> str:
        seen.update(session)
        seen["flashed"] = get_flashed_messages()
        return ""

    browse(new, before).get("/see")
    assert seen == {**values, "flashed": [{"a": 1}, Markup("<b>")]}
    assert isinstance(seen["flashed"][1], Markup)


def test_a_cookie_that_unpacks_to_a_huge_session_is_not_adopted() -> None:
    old = make_app()

    @old.get("/fill")
    def fill() -> str:
        session["a"] = "x" * 1_100_000
        return ""

    before = browse(old)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before.get("/fill")
    new, events = move(FlaskCookie(KEY), MemoryStore())
    assert browse(new, before).get("/").json == NOBODY
    assert [data["reason"] for name, data in events if name == "not_adopted"] == ["too_large"]


# Flask-Session.


def with_redis(**config: Any) -> tuple[Flask, Any]:
    redis = pytest.importorskip("redis", reason="pip install redis")
    client = redis.Redis.from_url(valkey())
    client.flushdb()
    app = make_app(SESSION_TYPE="redis", SESSION_REDIS=client, **config)
    flask_session.Session(app)
    return app, client


@pytest.mark.full
@pytest.mark.parametrize("serializer", ["msgpack", "json"])
@pytest.mark.parametrize("given", ["url", "client"])
def test_a_session_of_flask_session_in_redis_is_adopted(serializer: str, given: str) -> None:
    old, client = with_redis(SESSION_SERIALIZATION_FORMAT=serializer)
    check_move(old, FlaskSessionStore(valkey() if given == "url" else client))
    assert client.keys("session:*") == []


@pytest.mark.full
def test_flask_session_in_redis_with_signed_ids() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old, client = with_redis(SESSION_USE_SIGNER=True, SESSION_KEY_PREFIX="shop[*]:")
    reader = FlaskSessionStore(client, secret_keys=KEY, key_prefix="shop[*]:")
    client.set("shop:other", b"1")
    before = browse(old)
    before.get("/login")
    assert [f"shop[*]:{name}".encode() for name in reader.session_ids()] == client.keys("shop\\[[*]\\]:*")
    check_move(old, reader)
    new, events = move(reader, MemoryStore())
    forger = browse(new)
    forger.set_cookie("session", "forged.signature")
    assert forger.get("/").json == NOBODY
    assert [data["reason"] for _, data in events] == ["forged"]


@pytest.mark.full
@pytest.mark.parametrize("protocol", range(6))
def test_flask_session_in_redis_as_older_releases_have_pickled_it(protocol: int) -> None:
    _, client = with_redis()
    session_id = "a0c1-from-before-0.7"
    data = {"_user_id": "7", "_permanent": True, "cart": ["bun", {"price": 1.5}], "_flashes": [("message", "Welcome")]}
    client.set(f"session:{session_id}", pickle.dumps(data, protocol), ex=3600)
    new, _ = move(FlaskSessionStore(client), MemoryStore())
    browser = browse(new)
    browser.set_cookie("session", session_id)
    assert browser.get("/").json == {**BEFORE, "flashes": [["message", "Welcome"]]}


@pytest.mark.full
@pytest.mark.parametrize(
    "value",
    [b"", b"\xc1", b"\x80\x04.", b"5", b"null", b"[1]", pickle.dumps(None), b'{"a":', b"\x81\xa1a\xc7\x01\x05x"],
)
def test_a_value_in_redis_that_is_no_session_gives_an_empty_one(value: bytes) -> None:
    _, client = with_redis()
    client.set("session:bad", value)
    new, events = move(FlaskSessionStore(client), MemoryStore())
    browser = browse(new)
    browser.set_cookie("session", "bad")
    assert browser.get("/").json == NOBODY
    assert set(names(events)) <= {"not_adopted", "adopted", "keys_dropped"}


@pytest.mark.full
def test_an_outage_of_redis_is_a_503() -> None:
    reader = FlaskSessionStore("redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable):
        reader.delete("any")
    with pytest.raises(StoreUnavailable):
        next(reader.session_ids())
    new, _ = move(reader, MemoryStore())
    browser = browse(new)
    browser.set_cookie("session", "any")
    assert browser.get("/").status_code == 503


@pytest.mark.parametrize("hash_method", [hashlib.sha256, hashlib.md5])
@pytest.mark.parametrize("given", ["path", "url"])
def test_a_session_of_flask_session_in_a_folder_is_adopted(tmp_path: Path, hash_method: Any, given: str) -> None:
    cachelib = pytest.importorskip("cachelib", reason="pip install cachelib")
    cache = cachelib.FileSystemCache(str(tmp_path), hash_method=hash_method)
    old = make_app(SESSION_TYPE="cachelib", SESSION_CACHELIB=cache)
    flask_session.Session(old)
    check_move(old, FlaskSessionStore(tmp_path if given == "path" else f"file://{tmp_path}"))


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "corrupt"), (b"\0\0\0\0x", "unsupported"), (b"\1\0\0\0N.", "unknown")]
)
def test_a_damaged_or_expired_file_gives_an_empty_session(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / hashlib.sha256(b"session:a").hexdigest()).write_bytes(content)
    new, events = move(FlaskSessionStore(tmp_path), MemoryStore())
    browser = browse(new)
    browser.set_cookie("session", "a")
    assert browser.get("/").json == NOBODY
    assert [data["reason"] for _, data in events] == [reason]


def test_a_file_without_expiry_is_adopted(tmp_path: Path) -> None:
    (tmp_path / hashlib.md5(b"session:a").hexdigest()).write_bytes(b"\0\0\0\0" + pickle.dumps({"cart": [1]}))
    new, _ = move(FlaskSessionStore(tmp_path), MemoryStore())
    browser = browse(new)
    browser.set_cookie("session", "a")
    assert browser.get("/").json == {**NOBODY, "cart": [1]}


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / hashlib.md5(b"session:a").hexdigest()).write_bytes(bytes(5_000_000))
    new, events = move(FlaskSessionStore(tmp_path), MemoryStore())
    browser = browse(new)
    browser.set_cookie("session", "a")
    assert browser.get("/").json == NOBODY
    assert [data["reason"] for _, data in events] == ["too_large"]


def test_a_folder_that_cannot_be_read_is_a_503(tmp_path: Path) -> None:
    (tmp_path / hashlib.sha256(b"session:a").hexdigest()).mkdir()
    reader = FlaskSessionStore(tmp_path)
    new, _ = move(reader, MemoryStore())
    browser = browse(new)
    browser.set_cookie("session", "a")
    assert browser.get("/").status_code == 503
    with pytest.raises(StoreUnavailable):
        reader.delete("a")
    with pytest.raises(Unsupported):
        next(reader.session_ids())


def test_a_session_of_flask_session_in_a_database_is_adopted(tmp_path: Path) -> None:
    extension = pytest.importorskip("flask_sqlalchemy", reason="pip install Flask-SQLAlchemy")
    url = f"sqlite:///{tmp_path / 'old.db'}"
    old = make_app(SQLALCHEMY_DATABASE_URI=url, SESSION_TYPE="sqlalchemy")
    old.config["SESSION_SQLALCHEMY"] = extension.SQLAlchemy(old)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flask_session.Session(old)
        reader = FlaskSessionStore(url)
        before = browse(old)
        before.get("/login")
        assert len(list(reader.session_ids())) == 1
        check_move(old, reader)
        with old.app_context():
            engine = old.config["SESSION_SQLALCHEMY"].engine
        check_move(old, FlaskSessionStore(engine))
        engine.dispose()


def test_a_row_that_has_expired_or_has_no_date_is_not_adopted(tmp_path: Path) -> None:
    from sqlalchemy import NullPool, create_engine, text

    engine = create_engine(f"sqlite:///{tmp_path / 'old.db'}", poolclass=NullPool)
    reader = FlaskSessionStore(engine)
    new, events = move(reader, MemoryStore())
    browser = browse(new)
    browser.set_cookie("session", "a")
    assert browser.get("/").status_code == 503  # There is no table.
    with pytest.raises(StoreUnavailable):
        reader.delete("a")
    with pytest.raises(StoreUnavailable):
        next(reader.session_ids())
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE sessions (session_id TEXT, data TEXT, expiry TEXT)"))
        connection.execute(text("INSERT INTO sessions VALUES ('session:a', '{}', NULL)"))
    events.clear()
    assert browser.get("/").json == NOBODY
    assert [data["reason"] for _, data in events] == ["unknown"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: FlaskSessionStore("sessions.db"),
        lambda: FlaskSessionStore("nosuch://host"),
        lambda: FlaskSessionStore(5),
        lambda: FlaskSessionStore(None),
        lambda: FlaskSessionStore(sqlalchemy.MetaData()),
    ],
)
def test_a_wrong_store_is_named(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize(("package", "store"), [("redis", "redis://host"), ("sqlalchemy", "sqlite:///a.db")])
def test_a_missing_package_is_named(package: str, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("wsgi_session.moving.") and name.endswith("_place")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match="pip install"):
        FlaskSessionStore(store)


def test_an_engine_without_rows_and_data_as_text() -> None:
    from wsgi_session.moving.places import seconds_of_date

    assert seconds_of_date("2033-05-18 03:33:20") == 2_000_000_000.0
    assert seconds_of_date("2033-05-18T05:33:20+02:00") == 2_000_000_000.0
    assert seconds_of_date("never") == seconds_of_date(None) == 0.0


def test_a_client_that_decodes_is_refused() -> None:
    redis = pytest.importorskip("redis", reason="pip install redis")
    with pytest.raises(ConfigError, match="decode_responses"):
        FlaskSessionStore(redis.Redis(decode_responses=True))
