"""Moving from Beaker: Beaker itself writes the sessions of each of its types, and nobody is logged out."""

from __future__ import annotations

import dbm.dumb
import pickle
import sys
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.servers.shared import valkey
from tests.support.site import Browser, Site, log_out, read
from wsgi_session import ConfigError, StoreUnavailable, Unsupported
from wsgi_session.integrations.beaker import SessionMiddleware as DropIn
from wsgi_session.moving import BeakerStore, NotAdopted

beaker = pytest.importorskip("beaker.middleware", reason="pip install Beaker")

SECRET = "the secret of Beaker"
OURS = "51c9e07d6a4b4f0c9d2f8e7a1b3c5d6e"
SESSION = {"auth.userid": "7", "cart": ["bun", {"price": 1.5}]}
ENCRYPTED = {"encrypt_key": "an encrypt key", "validate_key": "a validate key"}


def beaker_site(folder: Path, **options: Any) -> Any:
    """Return an application with Beaker's middleware, whose pages fill and show the session."""

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        session = environ["beaker.session"]
        if environ["PATH_INFO"] == "/fill":
            session.update(SESSION)
            session.save()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [repr(session.get("cart")).encode()]

    given = {f"session.{key}": value for key, value in options.items()}
    return beaker.SessionMiddleware(app, {"session.data_dir": str(folder), **given})


def move(reader: BeakerStore, cookie: str) -> tuple[Site, Browser]:
    site = Site(clock=time.time, adopt=reader)  # type: ignore[arg-type]
    browser = site.browser()
    browser.jar["beaker.session.id"] = cookie
    return site, browser


def visit_beaker(app: Any) -> str:
    """Return the cookie of a visitor of Beaker's site, with something in the session."""
    old = Client(app)
    old.open("/fill", lint=False)
    # Beaker begins the header with a space.
    return old.jar[" beaker.session.id"]


CASES: list[Any] = []
for its_type in ("file", "dbm", "ext:redis", "cookie"):
    for serializer in ("pickle", "json"):
        for crypto in ({}, ENCRYPTED):
            marks = [pytest.mark.full] if its_type == "ext:redis" else []
            CASES.append(pytest.param(its_type, serializer, crypto, marks=marks))


@pytest.mark.parametrize(("type", "serializer", "crypto"), CASES)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.filterwarnings("ignore:Call to deprecated setex")
def test_a_session_of_each_type_of_beaker_is_adopted(
    tmp_path: Path, type: str, serializer: str, crypto: dict[str, str], signed: bool
) -> None:
    where: Any = {"ext:redis": valkey, "cookie": lambda: None}.get(type, lambda: tmp_path)()
    theirs: dict[str, Any] = {"type": type, "data_serializer": serializer, "timeout": 3600, **crypto}
    ours: dict[str, Any] = {"data_serializer": serializer, "timeout": 3600, **crypto}
    if type == "ext:redis":
        theirs["url"] = where
    if type == "cookie":
        theirs.setdefault("validate_key", "a validate key")
        ours.setdefault("validate_key", "a validate key")
    elif signed:
        theirs["secret"] = ours["secret"] = SECRET
    app = beaker_site(tmp_path, **theirs)
    cookie = visit_beaker(app)
    reader = BeakerStore(type, where, **ours)  # type: ignore[arg-type]
    if type != "cookie":
        assert reader.identify(cookie, 0) in list(reader.session_ids())
    site, browser = move(reader, cookie)
    assert browser.do(read).result == SESSION
    (adopted,) = site.middleware.sessions.of({"id": 7})
    assert adopted.created.timestamp() == pytest.approx(time.time(), abs=30)
    assert list(browser.jar) == ["sid"]
    if type != "cookie":
        back = Client(app)
        back.jar["beaker.session.id"] = cookie
        assert back.open("/", lint=False).body == b"None"
    browser.do(log_out)
    browser.jar["beaker.session.id"] = cookie
    assert browser.do(read).result == {}


def test_the_drop_in_for_beaker_adopts_too(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        session = environ["beaker.session"]
        body = repr(session.get("cart")).encode()
        if environ["PATH_INFO"] == "/logout":
            session.delete()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]

    cookie = visit_beaker(beaker_site(tmp_path, type="file", secret=OURS))
    reader = BeakerStore("file", tmp_path, secret=OURS)
    new = DropIn(app, {"session.url": "memory://", "session.secret": OURS, "session.adopt": reader})
    browser, thief = Client(new), Client(new)
    browser.jar = {"beaker.session.id": cookie}
    thief.jar = {"beaker.session.id": cookie}
    for _ in range(2):
        assert browser.open("/", lint=False).body == repr(SESSION["cart"]).encode()
    browser.open("/logout", lint=False)
    assert browser.open("/", lint=False).body == thief.open("/", lint=False).body == b"None"


def make_table(url: str, session_id: str, data: bytes) -> None:
    """Make Beaker's table with a row. (Beaker's own code needs SQLAlchemy 1.)"""
    from sqlalchemy import NullPool, create_engine, text

    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE beaker_cache (id INTEGER, namespace TEXT, data BLOB)"))
        connection.execute(text("INSERT INTO beaker_cache VALUES (1, :id, :data)"), {"id": session_id, "data": data})


@pytest.mark.parametrize("type", ["ext:database", "ext:sqla"])
def test_a_session_in_beakers_table_is_adopted(tmp_path: Path, type: Any) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    data = {"_creation_time": time.time(), "_accessed_time": time.time(), **SESSION}
    make_table(url, "0123456789abcdef", pickle.dumps({"session": b64encode(pickle.dumps(data)).decode()}))
    reader = BeakerStore(type, url, timeout=60)
    assert list(reader.session_ids()) == ["0123456789abcdef"]
    _, browser = move(reader, "0123456789abcdef")
    assert browser.do(read).result == SESSION
    assert list(reader.session_ids()) == []


def write_file(folder: Path, data: Any, session_id: str = "0123456789abcdef") -> None:
    path = folder / "container_file" / session_id[0] / session_id[:2] / f"{session_id}.cache"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(data))


def packed(data: Any) -> dict[str, str]:
    return {"session": b64encode(pickle.dumps(data)).decode()}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "corrupt"),
        ({"session": b"bytes"}, "corrupt"),
        ({"session": "no base64 at all"}, "corrupt"),
        (packed([1]), "corrupt"),
        (packed({}), "unknown"),
        (packed({"_accessed_time": time.time() - 100}), "expired"),
        (packed({"_accessed_time": "now"}), "corrupt"),
        ("no dict", "corrupt"),
    ],
)
def test_a_record_that_is_no_session_gives_an_empty_one(tmp_path: Path, data: Any, reason: str) -> None:
    write_file(tmp_path, data)
    site, browser = move(BeakerStore("file", tmp_path, timeout=60), "0123456789abcdef")
    assert browser.do(read).result == {}
    assert [event["reason"] for event in site.happened("not_adopted")] == [reason]


def test_a_session_without_times_is_adopted(tmp_path: Path) -> None:
    write_file(tmp_path, packed({"a": 1}))
    _, browser = move(BeakerStore("file", tmp_path, timeout=60, user_key=None), "0123456789abcdef")
    assert browser.do(read).result == {"a": 1}


@pytest.mark.parametrize("cookie", ["x" * 60, "../../../etc", "a", "é" * 60, '""'])
def test_a_bad_cookie_is_not_looked_up(tmp_path: Path, cookie: str) -> None:
    site, browser = move(BeakerStore("file", tmp_path, secret=SECRET), cookie)
    assert browser.do(read).result == {}
    assert [event["reason"] for event in site.happened("not_adopted")] == ["forged"]
    with pytest.raises(NotAdopted):
        BeakerStore("file", tmp_path).identify("../../../etc", 0)


def test_a_json_bomb_is_not_adopted(tmp_path: Path) -> None:
    write_file(tmp_path, {"session": b64encode(zlib.compress(b'{"a":"' + b"x" * 2_000_000 + b'"}')).decode()})
    site, browser = move(BeakerStore("file", tmp_path, data_serializer="json"), "0123456789abcdef")
    assert browser.do(read).result == {}
    assert [event["reason"] for event in site.happened("not_adopted")] == ["too_large"]


def test_an_encrypted_session_by_another_key_is_not_adopted(tmp_path: Path) -> None:
    cookie = visit_beaker(beaker_site(tmp_path, type="cookie", **ENCRYPTED))
    other = {**ENCRYPTED, "encrypt_key": "another key"}
    site, browser = move(BeakerStore("cookie", **other), cookie)  # type: ignore[arg-type]
    assert browser.do(read).result == {}
    assert [event["reason"] for event in site.happened("not_adopted")] == ["corrupt"]


def test_dbm_files_of_pythons_own_format(tmp_path: Path) -> None:
    path = tmp_path / "container_dbm" / "0" / "01" / "0123456789abcdef.dbm"
    path.parent.mkdir(parents=True)
    with dbm.dumb.open(str(path), "c") as entries:
        entries[b"other"] = b"1"
    reader = BeakerStore("dbm", tmp_path)
    assert reader.load("0123456789abcdef", 0) is None
    with dbm.dumb.open(str(path), "c") as entries:
        entries[b"session"] = pickle.dumps(packed(SESSION)["session"])
    assert list(reader.session_ids()) == ["0123456789abcdef"]
    _, browser = move(reader, "0123456789abcdef")
    assert browser.do(read).result == SESSION
    assert list(path.parent.iterdir()) == []


def test_a_damaged_dbm_file_or_one_that_cannot_be_deleted_is_an_outage(tmp_path: Path) -> None:
    path = tmp_path / "container_dbm" / "0" / "01" / "0123456789abcdef.dbm"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no dbm file at all")
    reader = BeakerStore("dbm", tmp_path)
    with pytest.raises(StoreUnavailable):
        reader.load("0123456789abcdef", 0)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreUnavailable):
        reader.delete("0123456789abcdef")
    assert reader.load("fedcba9876543210", 0) is None


def test_encryption_without_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigError, match="pip install"):
        BeakerStore("cookie", **ENCRYPTED)  # type: ignore[arg-type]


def test_other_files_in_the_folder_are_no_sessions(tmp_path: Path) -> None:
    write_file(tmp_path, {}, "with.dots.in.it")
    (tmp_path / "container_file" / "readme.txt").write_text("")
    assert list(BeakerStore("file", tmp_path).session_ids()) == []


def test_cookies_cannot_be_listed() -> None:
    reader = BeakerStore("cookie", validate_key="a key")
    reader.delete("anything")
    with pytest.raises(Unsupported):
        list(reader.session_ids())


@pytest.mark.parametrize(
    "make",
    [
        lambda: BeakerStore("memory"),  # type: ignore[arg-type]
        lambda: BeakerStore("cookie"),
        lambda: BeakerStore("file"),
        lambda: BeakerStore("file", Path("."), data_serializer="yaml"),  # type: ignore[arg-type]
        lambda: BeakerStore("file", Path("."), encrypt_key="alone"),
    ],
)
def test_a_reader_refuses_invalid_options(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()
