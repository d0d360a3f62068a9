"""The stores of other libraries, asked for ids that only an attacker sends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import create_engine, text

from wsgi_session.errors import StoreUnavailable
from wsgi_session.moving import BeakerStore, FlaskSessionStore, NotAdopted


@pytest.mark.parametrize("value", ["", "a\0", "caf\xe9", "a b", "\x7f", "x" * 256])
def test_an_id_that_a_database_may_refuse_is_forged(value: str) -> None:
    reader = FlaskSessionStore(Path("flask_session"))
    with pytest.raises(NotAdopted) as caught:
        reader.identify(value, 0.0)
    assert caught.value.reason == "forged"


def test_an_id_in_another_case_opens_nothing_in_a_database_that_ignores_case(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE sessions (session_id TEXT COLLATE NOCASE, data BLOB, expiry TEXT)"))
        connection.execute(text("INSERT INTO sessions VALUES ('session:abc', '{\"a\": 1}', '2100-01-01 00:00:00')"))
    engine.dispose()
    reader = FlaskSessionStore(url)
    found = reader.load("abc", 1e9)
    assert found is not None
    assert found.data == {"a": 1}
    assert reader.load("ABC", 1e9) is None


@pytest.mark.parametrize(
    ("message", "expected"), [("WRONGTYPE Operation against a key", NotAdopted), ("READONLY", StoreUnavailable)]
)
def test_a_key_of_another_kind_in_redis_is_no_outage(message: str, expected: type[Exception]) -> None:
    class Server(Redis):
        def get(self, name: Any) -> Any:
            raise ResponseError(message)

    with pytest.raises(expected):
        FlaskSessionStore(Server()).load("queue", 1e9)


@pytest.mark.parametrize("name", ["old.db", "a b#c%20d.db"])
def test_a_sqlite_file_is_found_from_every_working_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    engine = create_engine(f"sqlite:///{name}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE sessions (session_id TEXT, data BLOB, expiry TEXT)"))
        connection.execute(text("INSERT INTO sessions VALUES ('session:abc', '{\"a\": 1}', '2100-01-01 00:00:00')"))
    engine.dispose()
    reader = FlaskSessionStore(f"sqlite:///{name}")
    monkeypatch.chdir("/")
    found = reader.load("abc", 1e9)
    assert found is not None
    assert found.data == {"a": 1}


def test_a_wrong_path_of_the_old_store_is_an_outage_and_logs_nobody_out(tmp_path: Path) -> None:
    folder, file = tmp_path / "no_such_folder", tmp_path / "no_such.db"
    beaker = [BeakerStore("file", folder), BeakerStore("dbm", folder)]
    for reader in (FlaskSessionStore(folder), FlaskSessionStore(f"sqlite:///{file}"), *beaker):
        with pytest.raises(StoreUnavailable, match="no_such"):
            reader.load("abc", 1e9)
    for reader in beaker:
        with pytest.raises(StoreUnavailable, match="no_such"):
            list(reader.session_ids())
    assert not list(tmp_path.iterdir()), "reading must not create an empty database"
