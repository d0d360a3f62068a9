"""Device-bound logins with Django: django.contrib.auth's logins are bound, and a copied cookie is dead."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.test import override_settings

from tests.frameworks.django_site import set_up
from tests.support.client import Application, StartResponse
from tests.support.device import DeviceClient
from wsgi_session.backends.binding import BOUND_SECONDS
from wsgi_session.integrations.django import SessionStore, sessions
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import FakeClock

BELOW = "wsgi_session.integrations.django_device.DeviceBoundMiddleware"
SECURE = {"SESSION_COOKIE_SECURE": True, "ALLOWED_HOSTS": ["localhost"]}


def middleware() -> list[str]:
    from django.conf import settings

    first, *rest = [name for name in settings.MIDDLEWARE if name != BELOW]
    return [first, BELOW, *rest]


def stripped(app: Any) -> Application:
    """Return ``app`` as behind a server: without the space that Django puts before a Set-Cookie value."""

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [(name, value.strip()) for name, value in headers])

        body: Iterable[bytes] = app(environ, start)
        return body

    return application


@pytest.fixture
def heard() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def visitor(heard: list[tuple[str, dict[str, Any]]]) -> Iterator[DeviceClient]:
    set_up()
    clock = FakeClock()
    options = {
        "experimental_device_bound": True,
        "clock": clock,
        "on_event": lambda name, data: heard.append((name, dict(data))),
    }
    given = {"MIDDLEWARE": middleware(), "WSGI_SESSION_STORE": MemoryStore(), "WSGI_SESSION_OPTIONS": options, **SECURE}
    with override_settings(**given):
        client = DeviceClient(stripped(get_wsgi_application()))
        client.clock = clock
        yield client


def get(client: DeviceClient, path: str) -> str:
    return client.open(path, base_url="https://localhost", lint=False).text


def who(client: DeviceClient) -> str:
    name: str = json.loads(get(client, "/"))["user"]
    return name


def bind(visitor: DeviceClient) -> None:
    get(visitor, "/login?name=ann")
    wait(visitor)
    assert who(visitor) == "ann"


def wait(visitor: DeviceClient) -> None:
    clock: Any = visitor.clock
    clock.advance(BOUND_SECONDS)


def thief_of(visitor: DeviceClient) -> DeviceClient:
    thief = DeviceClient(visitor.app)
    thief.clock, thief.jar = visitor.clock, {"sessionid": visitor.jar["sessionid"]}
    return thief


def test_a_login_is_bound_and_a_copied_cookie_is_dead(
    visitor: DeviceClient, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    bind(visitor)
    assert [name for name, _ in heard].count("device_bound") == 1
    thief = thief_of(visitor)
    assert who(thief) == ""
    assert thief.jar["sessionid"] == visitor.jar["sessionid"]
    assert who(visitor) == "ann"
    for _ in range(3):
        wait(visitor)
        assert who(visitor) == "ann"
    assert [name for name, _ in heard].count("device_missing") == 1


def test_a_logout_removes_both_cookies(visitor: DeviceClient) -> None:
    bind(visitor)
    get(visitor, "/logout")
    assert visitor.jar == {}


def test_a_job_opens_a_bound_session_by_its_key(visitor: DeviceClient) -> None:
    bind(visitor)
    assert SessionStore(visitor.jar["sessionid"])["_auth_user_id"]
    assert len(sessions().of({"id": 1})) == 1


def test_a_renewal_neither_saves_nor_prolongs_the_session(visitor: DeviceClient) -> None:
    bind(visitor)
    (before,) = sessions().of({"id": 1})
    wait(visitor)
    assert visitor.refresh().code == 200
    (after,) = sessions().of({"id": 1})
    assert (after.expires, after.last_seen) == (before.expires, before.last_seen)


@pytest.mark.parametrize("by_thief", [False, True], ids=["", "thief"])
def test_no_request_of_the_protocol_prolongs_a_session_that_every_request_saves(
    visitor: DeviceClient, by_thief: bool
) -> None:
    bind(visitor)
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        (before,) = sessions().of({"id": 1})
        wait(visitor)
        if by_thief:
            assert thief_of(visitor).post("/device-bound/refresh", {}).code == 404
        else:
            assert visitor.refresh().code == 200
        assert sessions().of({"id": 1}) == [before]
        # A visitor without a session gets none.
        stranger = DeviceClient(visitor.app)
        assert stranger.post("/device-bound/refresh", {}).code == 404
        assert stranger.jar == {}
        assert who(visitor) == "ann"


def test_without_the_option_the_middleware_does_nothing(visitor: DeviceClient) -> None:
    with override_settings(WSGI_SESSION_OPTIONS={"clock": visitor.clock}):
        get(visitor, "/login?name=ann")
        assert set(visitor.jar) == {"sessionid"}
        assert visitor.post("/device-bound/register", {}).code == 404


def test_a_login_that_fails_is_not_bound(visitor: DeviceClient) -> None:
    from django.http import HttpRequest, HttpResponse

    from wsgi_session.integrations.django_device import DeviceBoundMiddleware

    for status, expected in ((500, False), (200, True)):
        request = HttpRequest()
        request.session = SessionStore()
        request.session["_auth_user_id"] = "1"
        request.session.log_in()
        answer = DeviceBoundMiddleware(lambda _: HttpResponse()).process_response(request, HttpResponse(status=status))
        assert ("Secure-Session-Registration" in answer) is expected


def test_a_cookie_path_without_the_endpoints_binds_nothing(visitor: DeviceClient) -> None:
    with override_settings(SESSION_COOKIE_PATH="/shop/"):
        get(visitor, "/login?name=ann")
    assert visitor.invitation == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"MIDDLEWARE": []}, r"experimental_device_bound needs 'wsgi_session.*DeviceBoundMiddleware' in MIDDLEWARE"),
        ({"SESSION_COOKIE_DOMAIN": "example.com"}, "experimental_device_bound and cookie_domain"),
        ({"WSGI_SESSION_OPTIONS": {"experimental_device_bound": "device"}}, "experimental_device_bound='device'"),
    ],
)
def test_settings_that_cannot_work_are_refused(visitor: DeviceClient, settings: dict[str, Any], message: str) -> None:
    store = MemoryStore()
    with (
        override_settings(WSGI_SESSION_STORE=store, **settings),
        pytest.raises(ImproperlyConfigured, match=message),
    ):
        sessions()


def test_a_middleware_that_is_taken_away_later_is_missed_at_once() -> None:
    set_up()
    given = {"WSGI_SESSION_STORE": MemoryStore(), "WSGI_SESSION_OPTIONS": {"experimental_device_bound": True}, **SECURE}
    with override_settings(MIDDLEWARE=middleware(), **given):
        SessionStore()
        others = [name for name in middleware() if name != BELOW]
        with override_settings(MIDDLEWARE=others), pytest.raises(ImproperlyConfigured, match=BELOW):
            SessionStore()
