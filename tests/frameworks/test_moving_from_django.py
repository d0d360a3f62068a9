"""Moving from Django's own engines: Django itself logs in and writes, and nobody is logged out."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.test import Client as DjangoClient
from django.test import override_settings

from tests.frameworks.django_site import SECRET, set_up
from tests.support import ROOT
from tests.support.cli import run as run_command
from tests.support.servers.shared import valkey
from tests.support.site import Browser, Site, log_out, read
from wsgi_session import ConfigError, StoreUnavailable, Unsupported
from wsgi_session.moving import Adopt, DjangoSessions
from wsgi_session.request.login import OWNER
from wsgi_session.session import work_of

KEYS = ("_auth_user_id", "_auth_user_backend", "_auth_user_hash", "cart")


@pytest.fixture(autouse=True)
def django() -> None:
    set_up()


@pytest.fixture(params=["db", "cached_db", "cache", "file", "signed_cookies"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Django's site with one of its engines."""
    options: dict[str, Any] = {"SESSION_ENGINE": f"django.contrib.sessions.backends.{request.param}"}
    if request.param in ("cache", "cached_db"):
        url = valkey()
        redis = pytest.importorskip("redis", reason="pip install redis")
        redis.Redis.from_url(url).flushdb()
        options["CACHES"] = {
            "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url, "KEY_PREFIX": "shop"}
        }
    if request.param == "file":
        options["SESSION_FILE_PATH"] = str(tmp_path)
        # Django keeps the path on the class.
        store = import_module("django.contrib.sessions.backends.file").SessionStore
        if "_storage_path" in vars(store):
            del store._storage_path
    with override_settings(**options):
        yield request.param


def reader(engine: str, folder: Path, **options: Any) -> DjangoSessions:
    database = f"sqlite:///{settings.DATABASES['default']['NAME']}"
    places: dict[str, dict[str, Any]] = {
        "db": {"store": database},
        "cached_db": {"store": database, "cache": valkey() if engine == "cached_db" else None},
        "cache": {"store": valkey() if engine == "cache" else None},
        "file": {"store": folder},
        "signed_cookies": {},
    }
    given = places[engine]
    prefix = {"cache_prefix": "shop:1:"}
    return DjangoSessions(engine, SECRET, **given, **prefix, **options)  # type: ignore[arg-type]


def log_in_there() -> DjangoClient:
    """Let Django log Ann in, with something in her session."""
    client = DjangoClient()
    assert client.login(username="ann", password="ann")
    session = client.session
    session["cart"] = ["bun"]
    session.save()
    if settings.SESSION_ENGINE.endswith("signed_cookies"):
        client.cookies["sessionid"] = session.session_key or ""
    return client


def move(reader: Any, cookie: str, **options: Any) -> tuple[Site, Browser]:
    site = Site(clock=time.time, adopt=reader, **options)  # type: ignore[arg-type]
    browser = site.browser()
    browser.header = f"sessionid={cookie}"
    return site, browser


@pytest.mark.full
def test_a_login_of_django_is_adopted(engine: str, tmp_path: Path) -> None:
    old = log_in_there()
    cookie = old.cookies["sessionid"].value
    before = {key: old.session[key] for key in KEYS}
    source = reader(engine, tmp_path)
    if engine != "signed_cookies":
        assert cookie in list(source.session_ids())
    site, browser = move(source, cookie)
    found = browser.do(lambda s: (s.copy(), work_of(s).peek(OWNER), s.expires)).result
    assert found[0] == before
    assert found[1] == f"id:{before['_auth_user_id']}"
    assert len(site.happened("adopted")) == 1
    # Django does not know it any more, unless it is in the cookie.
    if engine != "signed_cookies":
        other = DjangoClient()
        other.cookies["sessionid"] = cookie
        assert other.session.get("cart") is None
    browser.do(log_out)
    browser.header = f"sessionid={cookie}"
    assert browser.do(read).result == {}


@pytest.mark.full
def test_djangos_own_expiry_counts(engine: str, tmp_path: Path) -> None:
    old = log_in_there()
    session = old.session
    session.set_expiry(100)
    session.save()
    cookie = session.session_key if engine == "signed_cookies" else old.cookies["sessionid"].value
    source = reader(engine, tmp_path)
    session_id = source.identify(str(cookie), time.time())
    foreign = source.load(session_id, time.time())
    assert foreign is not None
    assert foreign.touched == pytest.approx(time.time(), abs=5)
    assert foreign.expires == pytest.approx(time.time() + (14 * 86_400 if engine == "signed_cookies" else 100), abs=5)
    if engine != "signed_cookies":
        session.set_expiry(timedelta(seconds=200))
        session.save()
        foreign = source.load(session_id, time.time())
        assert foreign is not None
        assert foreign.expires == pytest.approx(time.time() + 200, abs=5)


def test_a_session_that_ends_with_the_browser_does_so_here(tmp_path: Path) -> None:
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
        old = log_in_there()
        session = old.session
        session.set_expiry(0)
        session.save()
        _, browser = move(reader("db", tmp_path), str(session.session_key))
        (cookie,) = [cookie for cookie in browser.do(read).cookies if cookie.name == "sid"]
        assert "max-age" not in cookie.attributes


def signed(
    data: Any, at: float | None = None, key: str = SECRET, salt: str | None = None, compress: bool = True
) -> str:
    from unittest.mock import patch

    from django.core import signing

    moment = time.time() if at is None else at
    with patch("django.core.signing.time.time", lambda: moment):
        return signing.dumps(
            data, key=key, salt=salt or "django.contrib.sessions.backends.signed_cookies", compress=compress
        )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: signed({"a": 1}, key="another key"), "forged"),
        (lambda: signed({"a": 1}, salt="another salt"), "forged"),
        (lambda: signed({"a": 1}) + "x", "forged"),
        (lambda: signed({"a": 1}, time.time() - 15 * 86_400), "expired"),
        (lambda: signed({"a": 1}, time.time() + 86_400), "corrupt"),
        (lambda: signed([1]), "corrupt"),
        (lambda: signed({"a": "x" * 1_100_000}), "too_large"),
        (lambda: "", "forged"),
        (lambda: "a:b:c", "forged"),
        (lambda: "é", "forged"),
    ],
)
def test_a_bad_signed_cookie_gives_an_empty_session(make: Any, reason: str) -> None:
    site, browser = move(DjangoSessions("signed_cookies", SECRET), make())
    assert browser.do(read).result == {}
    assert [data["reason"] for data in site.happened("not_adopted")] == [reason]


@pytest.mark.parametrize("compress", [False, True])
def test_a_signed_cookie_of_a_key_that_was_replaced_is_accepted(compress: bool) -> None:
    reader = DjangoSessions("signed_cookies", ["new key", SECRET])
    _, browser = move(reader, signed({"a": "x" * 200}, compress=compress))
    assert browser.do(read).result == {"a": "x" * 200}


def test_a_signed_object_without_a_time_is_refused() -> None:
    from django.core.signing import Signer

    salt = "django.contrib.sessions.backends.signed_cookies"
    for text in ("e30", "e30:1234567890"):
        site, browser = move(DjangoSessions("signed_cookies", SECRET), Signer(key=SECRET, salt=salt).sign(text))
        assert browser.do(read).result == {}
        assert [data["reason"] for data in site.happened("not_adopted")] == ["corrupt"]


@pytest.mark.parametrize("cookie", ["../../etc/passwd", "short", "UPPERCASEKEY", "a" * 100, "abc/defgh"])
def test_a_key_that_django_never_makes_is_not_looked_up(tmp_path: Path, cookie: str) -> None:
    site, browser = move(DjangoSessions("file", SECRET, tmp_path), cookie)
    assert browser.do(read).result == {}
    assert [data["reason"] for data in site.happened("not_adopted")] == ["forged"]


def test_an_empty_or_old_session_file_is_no_session(tmp_path: Path) -> None:
    path = tmp_path / "sessionidabcdefgh"
    path.write_bytes(b"")
    source = DjangoSessions("file", SECRET, tmp_path)
    for name in ("abcdefgh", "unknownkey"):
        assert source.load(name, time.time()) is None
    path.write_text(signed({"a": 1}, salt="django.contrib.sessions.SessionStore"))
    os.utime(path, (0, time.time() - 15 * 86_400))
    site, browser = move(source, "abcdefgh")
    assert browser.do(read).result == {}
    assert [data["reason"] for data in site.happened("not_adopted")] == ["expired"]


@pytest.mark.full
def test_a_session_in_a_cache_without_expiry_is_adopted() -> None:
    redis = pytest.importorskip("redis", reason="pip install redis")
    client = redis.Redis.from_url(valkey())
    client.flushdb()
    for name in ("abcdefgh", "NOT A KEY"):
        client.set(f":1:django.contrib.sessions.cache{name}", pickle.dumps({"a": 1}))
    source = DjangoSessions("cache", store=client)
    assert list(source.session_ids()) == ["abcdefgh"]
    _, browser = move(source, "abcdefgh")
    assert browser.do(read).result == {"a": 1}


def test_a_folder_that_is_missing_is_an_outage(tmp_path: Path) -> None:
    source = DjangoSessions("file", SECRET, tmp_path / "missing")
    with pytest.raises(StoreUnavailable):
        source.load("abcdefgh", time.time())
    with pytest.raises(StoreUnavailable):
        list(source.session_ids())


# Without a store: through Django's own connection.


@pytest.fixture
def own_time_zone() -> Iterator[None]:
    """Give the process its time zone back: Django changes that of the whole process with its setting."""
    before = os.environ.get("TZ")
    yield
    os.environ.pop("TZ", None)
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("own_time_zone")
@pytest.mark.parametrize("zone", [True, False])
def test_djangos_own_connection_reads_lists_and_deletes_what_the_database_has(*, zone: bool) -> None:
    with override_settings(
        SESSION_ENGINE="django.contrib.sessions.backends.db", USE_TZ=zone, TIME_ZONE="America/Chicago"
    ):
        session = log_in_there().session
        session.set_expiry(100)
        session.save()
        key, source, now = str(session.session_key), DjangoSessions("db", SECRET), time.time()
        found = source.load(key, now)
        assert found is not None
        assert found.data["cart"] == ["bun"]
        assert found.expires == pytest.approx(now + 100, abs=5)
        assert source.load(key, now + 200) is None
        assert source.load("abcdefgh", now) is None
        assert key in list(source.session_ids())
        source.delete(key)
        assert source.load(key, now) is None
        assert key not in list(source.session_ids())


def test_a_database_of_django_that_does_not_answer_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    source = DjangoSessions("db", SECRET)

    def fail(*args: Any, **named: Any) -> None:
        raise OperationalError("no such table: django_session")

    monkeypatch.setattr("django.db.models.QuerySet.filter", fail)
    with pytest.raises(StoreUnavailable, match=r"django\.contrib\.sessions"):
        source.load("abcdefgh", time.time())


def test_without_django_its_connection_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsgi_session.moving.django_table.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="give a SQLAlchemy URL"):
        DjangoSessions("cached_db", SECRET, cache="redis://localhost")


def test_where_django_is_not_set_up_yet_the_first_use_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(apps, "ready", False)

    def set_up_django() -> None:
        calls.append("setup")
        monkeypatch.setattr(apps, "ready", True)

    monkeypatch.setattr("django.setup", set_up_django)
    assert DjangoSessions("db", SECRET).load("abcdefgh", time.time()) is None
    assert calls == ["setup"]


def test_a_command_sets_django_up(tmp_path: Path) -> None:
    """As ``python -m wsgi_session adopt`` does with DJANGO_SETTINGS_MODULE."""
    (tmp_path / "shop_settings.py").write_text(
        "INSTALLED_APPS = ['django.contrib.sessions']\n"
        f"DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': {str(tmp_path / 'db')!r}}}}}\n"
        "USE_TZ = True\n"
        "from wsgi_session.moving import DjangoSessions\n"
        "ADOPT = DjangoSessions('db', 'a secret key')\n"
    )
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "shop_settings", "PYTHONPATH": f"{tmp_path}:{ROOT}"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("django", "migrate")
    store = f"sqlite:///{tmp_path}/sessions.db"
    assert (
        run("wsgi_session", "adopt", "--django", "--from", "shop_settings:ADOPT", "--to", store)
        == "no sessions found\n"
    )


def test_signed_cookies_cannot_be_listed() -> None:
    source = DjangoSessions("signed_cookies", SECRET)
    source.delete("anything")
    with pytest.raises(Unsupported):
        list(source.session_ids())


def test_a_reader_refuses_invalid_options(tmp_path: Path) -> None:
    for make in (
        lambda: DjangoSessions("memory", SECRET),  # type: ignore[arg-type]
        lambda: DjangoSessions("signed_cookies"),
        lambda: DjangoSessions("cache"),
    ):
        with pytest.raises(ConfigError):
            make()


# Within Django: the session engine changes, and the site stays.


@pytest.fixture(params=["URL", "Django's connection"])
def ours(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The settings of the site with our engine, which adopts Django's sessions in the database."""
    source = reader("db", tmp_path) if request.param == "URL" else DjangoSessions("db", SECRET)
    return {
        "SESSION_ENGINE": "wsgi_session.integrations.django",
        "WSGI_SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db",
        "WSGI_SESSION_OPTIONS": {"adopt": source},
    }


def log_in_with_the_old_engine() -> str:
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
        old = DjangoClient()
        assert old.get("/login", {"name": "ann"}).status_code == 200
        assert old.get("/put", {"key": "cart", "value": "bun"}).status_code == 200
        return old.cookies["sessionid"].value


def shown(client: DjangoClient) -> tuple[str, dict[str, Any]]:
    found = client.get("/").json()
    return found["user"], found["session"]


def test_a_site_of_django_changes_its_engine_and_nobody_is_logged_out(ours: dict[str, Any]) -> None:
    cookie = log_in_with_the_old_engine()
    with override_settings(**ours):
        client, thief = DjangoClient(), DjangoClient()
        client.cookies["sessionid"] = thief.cookies["sessionid"] = cookie
        assert shown(client) == ("ann", {"cart": "bun"})
        assert client.cookies["sessionid"].value != cookie
        assert shown(client) == ("ann", {"cart": "bun"})
        client.get("/put", {"key": "cart", "value": "pie"})
        assert shown(client) == ("ann", {"cart": "pie"})
        client.get("/logout")
        assert shown(client) == ("", {})
        assert shown(thief) == ("", {})
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
        assert not DjangoClient().session.exists(cookie)


def test_sessions_adopted_in_advance_are_open_to_a_site_of_django_when_the_old_store_is_away(
    ours: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = log_in_with_the_old_engine()
    source = ours["WSGI_SESSION_OPTIONS"]["adopt"]
    module = ModuleType("shop_before")
    module.ADOPT = source  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    command = ["adopt", "--from", "shop_before:ADOPT", "--to", ours["WSGI_SESSION_STORE"]]
    refused = run_command(*command)
    assert (refused.exit_code, "--django" in refused.stderr) == (2, True)
    result = run_command(*command, "--django")
    assert (result.exit_code, "adopted: " in result.stdout) == (0, True), result.output

    def fail(*args: object) -> None:
        raise StoreUnavailable("switched off")

    monkeypatch.setattr(source, "load", fail)
    monkeypatch.setattr(source, "delete", fail)
    with override_settings(**ours):
        client = DjangoClient()
        client.cookies["sessionid"] = cookie
        assert shown(client) == ("ann", {"cart": "bun"})
        client.get("/logout")
        client.cookies["sessionid"] = cookie
        assert shown(client) == ("", {})


def test_an_unknown_old_key_gives_an_empty_session(ours: dict[str, Any]) -> None:
    with override_settings(**ours):
        client = DjangoClient()
        client.cookies["sessionid"] = "abcdefghijklmnopqrstuvwxyz012345"
        assert shown(client) == ("", {})
        assert client.get("/login", {"name": "bob"}).status_code == 200
        assert shown(client)[0] == "bob"


@pytest.mark.parametrize("keep_old", [True, False])
def test_an_old_cookie_of_another_name_is_read_and_removed_by_the_middleware(
    ours: dict[str, Any], keep_old: bool, tmp_path: Path
) -> None:
    cookie = log_in_with_the_old_engine()
    adopt = Adopt(reader("db", tmp_path), keep_old=keep_old)
    middleware = list(settings.MIDDLEWARE)
    middleware.insert(1, "wsgi_session.integrations.django.AdoptMiddleware")
    changed = {**ours, "WSGI_SESSION_OPTIONS": {"adopt": adopt}, "MIDDLEWARE": middleware, "SESSION_COOKIE_NAME": "sid"}
    with override_settings(**changed):
        client = DjangoClient()
        client.cookies["sessionid"] = cookie
        assert client.get("/nothing").status_code == 200
        assert client.cookies["sessionid"].value == cookie
        assert shown(client) == ("ann", {"cart": "bun"})
        assert client.cookies["sessionid"].value == (cookie if keep_old else "")
        assert shown(client) == ("ann", {"cart": "bun"})
        client.get("/logout")
        assert client.cookies["sessionid"].value == ""
        assert client.cookies["sid"].value == ""
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
        assert not DjangoClient().session.exists(cookie)


def test_the_middleware_does_nothing_without_the_option(ours: dict[str, Any]) -> None:
    middleware = list(settings.MIDDLEWARE)
    middleware.insert(1, "wsgi_session.integrations.django.AdoptMiddleware")
    with override_settings(**{**ours, "WSGI_SESSION_OPTIONS": {}, "MIDDLEWARE": middleware}):
        client = DjangoClient()
        assert client.get("/login", {"name": "bob"}).status_code == 200
        assert shown(client)[0] == "bob"


def test_the_first_phase_needs_another_cookie_name(ours: dict[str, Any], tmp_path: Path) -> None:
    adopt = Adopt(reader("db", tmp_path), keep_old=True)
    with (
        override_settings(**{**ours, "WSGI_SESSION_OPTIONS": {"adopt": adopt}}),
        pytest.raises(ImproperlyConfigured, match="cookie_name"),
    ):
        DjangoClient().get("/login", {"name": "bob"})
