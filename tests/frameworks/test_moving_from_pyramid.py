"""Moving from Pyramid's signed cookie and from pyramid_session_redis: both write, and nobody is logged out."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("pyramid", reason="pip install pyramid pyramid_retry pyramid_session_redis")

from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory
from webob.cookies import SignedSerializer

from tests.support.client import Client
from tests.support.servers.shared import valkey
from tests.support.site import Browser, Site, log_out, read
from wsgi_session import ConfigError
from wsgi_session.moving import PyramidCookie, PyramidSessionRedis
from wsgi_session.stores import MemoryStore

SECRET = "the secret of the session factory"
OURS = "51c9e07d6a4b4f0c9d2f8e7a1b3c5d6e"


class Policy:
    """A security policy with Pyramid's own helper, which keeps the user's id in the session."""

    helper = SessionAuthenticationHelper()

    def authenticated_userid(self, request: Any) -> Any:
        return self.helper.authenticated_userid(request)

    def identity(self, request: Any) -> Any:
        return self.authenticated_userid(request)

    def permits(self, request: Any, context: Any, permission: Any) -> bool:
        return True

    def remember(self, request: Any, userid: Any, **options: Any) -> Any:
        return self.helper.remember(request, userid, **options)

    def forget(self, request: Any, **options: Any) -> Any:
        return self.helper.forget(request, **options)


def pyramid_site(set_up: Callable[[Any], None], **settings: Any) -> Any:
    from pyramid.security import forget, remember

    def log_in(request: Any) -> Any:
        remember(request, "7")
        request.session["cart"] = ["bun"]
        request.session.flash("Welcome")
        request.session.flash("Careful", queue="warnings")
        return {"csrf": request.session.get_csrf_token()}

    def home(request: Any) -> Any:
        session = request.session
        flashes = [session.pop_flash(), session.pop_flash("warnings")]
        return {"user": request.authenticated_userid, "cart": session.get("cart"), "flashes": flashes}

    def log_out(request: Any) -> Any:
        forget(request)
        return {}

    config = Configurator(settings=settings)
    config.set_security_policy(Policy())
    set_up(config)
    for path, view in (("/", home), ("/login", log_in), ("/logout", log_out)):
        config.add_route(path, path)
        config.add_view(view, route_name=path, renderer="json")
    return config.make_wsgi_app()


def with_ours(reader: Any) -> Any:
    return pyramid_site(
        lambda config: config.include("wsgi_session.integrations.pyramid"),
        **{"wsgi_session.secret": OURS, "wsgi_session.store": MemoryStore(), "wsgi_session.adopt": reader},
    )


BEFORE = {"user": "7", "cart": ["bun"], "flashes": [["Welcome"], ["Careful"]]}
NOBODY: dict[str, Any] = {"user": None, "cart": None, "flashes": [[], []]}


def show(client: Client) -> Any:
    return json.loads(client.open("/", lint=False).body)


def check_move(old_app: Any, reader: Any) -> None:
    old = Client(old_app)
    old.open("/login", lint=False)
    new_app = with_ours(reader)
    new = Client(new_app)
    new.jar = dict(old.jar)
    assert show(new) == BEFORE
    assert show(new) == {**BEFORE, "flashes": [[], []]}
    assert list(new.jar) == ["sid"]
    new.open("/logout", lint=False)
    assert show(new)["user"] is None
    again = Client(new_app)
    again.jar = dict(old.jar)
    assert show(again) == NOBODY
    if not reader.in_cookie:
        assert show(old) == NOBODY


class PickleSerializer:
    """As that of Pyramid 1."""

    def dumps(self, value: Any) -> bytes:
        return pickle.dumps(value)

    def loads(self, data: bytes) -> Any:
        return pickle.loads(data)


@pytest.mark.parametrize("serializer", ["json", "pickle"])
@pytest.mark.parametrize("timeout", [1200, None])
def test_a_session_in_pyramids_cookie_is_adopted(serializer: Any, timeout: int | None) -> None:
    given = {"serializer": PickleSerializer()} if serializer == "pickle" else {}
    factory = SignedCookieSessionFactory(SECRET, timeout=timeout, **given)
    old = pyramid_site(lambda config: config.set_session_factory(factory))
    check_move(old, PyramidCookie(SECRET, serializer=serializer, timeout=timeout))


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:Call to deprecated setex")
@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize("options", [{}, {"timeout": None}, {"python_expires": False}, {"set_redis_ttl": False}])
def test_a_session_of_pyramid_session_redis_is_adopted(serializer: Any, options: dict[str, Any]) -> None:
    library = pytest.importorskip("pyramid_session_redis", reason="pip install pyramid_session_redis")
    redis = pytest.importorskip("redis", reason="pip install redis")
    client = redis.Redis.from_url(valkey())
    client.flushdb()
    given: dict[str, Any] = {"redis_url": valkey(), **options}
    if serializer == "json":
        given |= {"serialize": lambda value: json.dumps(value).encode(), "deserialize": json.loads}
    factory = library.RedisSessionFactory(SECRET, **given)
    old = pyramid_site(lambda config: config.set_session_factory(factory))
    reader = PyramidSessionRedis(SECRET, client, serializer=serializer, timeout=options.get("timeout", 1200))
    Client(old).open("/login", lint=False)
    assert len(list(reader.session_ids())) == 1
    check_move(old, reader)


def signed(value: Any, salt: str = "pyramid.session.") -> str:
    text: bytes = SignedSerializer(SECRET, salt).dumps(value)
    return text.decode()


def move(reader: Any, cookie: str) -> tuple[Site, Browser]:
    site = Site(clock=time.time, adopt=reader)  # type: ignore[arg-type]
    browser = site.browser()
    browser.jar["session"] = cookie
    return site, browser


NOW = time.time()


@pytest.mark.parametrize(
    ("cookie", "reason"),
    [
        ("", "forged"),
        ("abc", "forged"),
        ("é", "forged"),
        (signed([NOW, NOW, {}], salt="another salt"), "forged"),
        (signed([NOW - 1300, NOW - 1300, {}]), "expired"),
        (signed([NOW, NOW]), "corrupt"),
        (signed(["now", NOW, {}]), "corrupt"),
        (signed([NOW, NOW, [1]]), "corrupt"),
        (signed({"a": 1}), "corrupt"),
        (signed([NOW, NOW, {"_f_": 5}]), "corrupt"),
    ],
)
def test_a_bad_cookie_gives_an_empty_session(cookie: str, reason: str) -> None:
    site, browser = move(PyramidCookie(SECRET), cookie)
    assert browser.do(read).result == {}
    assert [event["reason"] for event in site.happened("not_adopted")] == [reason]


def test_old_cookies_are_only_read() -> None:
    from wsgi_session.moving.pyramid import _Raw

    with pytest.raises(TypeError):
        _Raw().dumps({})


def test_another_spelling_of_the_same_base64_does_not_open_the_session_again() -> None:
    cookie = signed([NOW, NOW, {"a": 1}])
    _, browser = move(PyramidCookie(SECRET, user_key=None), cookie)
    assert browser.do(read).result == {"a": 1}
    browser.do(log_out)
    for again in (cookie, cookie + "=", cookie[:20] + "!" + cookie[20:]):
        browser.jar["session"] = again
        assert browser.do(read).result == {}


@pytest.mark.full
@pytest.mark.parametrize("payload", [{"m": {}, "c": NOW}, [1], {"v": 1, "m": {}}, {"v": 1, "m": [1], "c": 1}])
def test_a_payload_that_is_no_session_gives_an_empty_one(payload: Any) -> None:
    redis = pytest.importorskip("redis", reason="pip install redis")
    client = redis.Redis.from_url(valkey())
    client.set("bad", pickle.dumps(payload))

    class Text:
        def dumps(self, value: str) -> bytes:
            return value.encode()

        def loads(self, data: bytes) -> str:
            return data.decode()

    for session_id in ("bad", "none"):
        cookie = SignedSerializer(SECRET, "pyramid_session_redis.", "sha512", Text()).dumps(session_id).decode()
        site, browser = move(PyramidSessionRedis(SECRET, client), cookie)
        assert browser.do(read).result == {}
        assert len(site.happened("not_adopted")) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: PyramidCookie(""),
        lambda: PyramidCookie(SECRET, serializer="yaml"),  # type: ignore[arg-type]
        lambda: PyramidCookie(SECRET, timeout=-1),
        lambda: PyramidSessionRedis(SECRET, None),
    ],
)
def test_a_reader_refuses_invalid_options(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()
