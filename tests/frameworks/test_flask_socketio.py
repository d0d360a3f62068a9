"""Flask-SocketIO on a real server, over a websocket and over polling: what a session is in an event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask import request, session

pytest.importorskip("flask_socketio", reason="pip install flask-socketio python-socketio[client] simple-websocket")

import socketio
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from flask_socketio import SocketIO
from werkzeug.serving import make_server

from tests.frameworks.flask_site import ANN, SECRET, Visitor, new_app
from tests.frameworks.paste import run
from wsgi_session import HeadersAlreadySent, begin_transaction, get_session, login, logout, user_or_none
from wsgi_session.integrations.flask import FlaskSessions
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import FakeClock


class Site:
    """An application with Flask-SocketIO, served; its views and its events do what the test gives them."""

    def __init__(self, stack: ExitStack, order: str, manage_session: bool, **options: Any) -> None:
        self.told: list[tuple[str, Any]] = []
        self.clock = FakeClock()
        self.app = app = new_app()
        self.visitor = Visitor(app)
        # A client that polls can leave only when its poll ends, which the next ping does.
        self.socketio = SocketIO(async_mode="threading", manage_session=manage_session, ping_interval=1)
        options = {"store": MemoryStore(), "clock": self.clock, "on_event": self._tell, **options}
        steps: list[Callable[[], object]] = [
            lambda: FlaskSessions(app, **options),
            lambda: self.socketio.init_app(app),
        ]
        for step in steps if order == "sessions first" else steps[::-1]:
            step()
        LoginManager(app).user_loader(User)
        self.middleware = app.extensions["wsgi_session"]
        self.function: Callable[[], Any]
        self.errors: list[Exception] = []
        self.socketio.on_event("do", lambda: self.function())
        self.socketio.on_error_default(self._fail)
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        self.url = f"http://127.0.0.1:{server.port}"
        for end in (thread.join, server.server_close, server.shutdown):
            stack.callback(end)
        self._stack = stack

    def _tell(self, name: str, data: Any) -> None:
        self.told.append((name, dict(data)))

    def _fail(self, error: Exception) -> str:
        self.errors.append(error)
        return type(error).__name__

    def connect(self, transport: str) -> Client:
        return Client(self, self._stack, transport)


class Client:
    """A browser that is connected, with the cookies that the site's visitor has now."""

    def __init__(self, site: Site, stack: ExitStack, transport: str) -> None:
        self._site = site
        self._client = socketio.Client()
        cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in (site.visitor.client._cookies or {}).values())
        self._client.connect(site.url, headers={"Cookie": cookies} if cookies else {}, transports=[transport])
        if transport == "websocket":
            # Else it waits three seconds for the server to close it first.
            websocket = self._client.eio.ws
            websocket.close = partial(websocket.close, timeout=0)
        stack.callback(self._client.disconnect)

    def do(self, function: Callable[[], Any]) -> Any:
        """Call the function in an event; return its result, or the name of the error."""
        self._site.function = function
        return self._client.call("do", timeout=30)


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = name


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["sessions first", "socketio first"])
def order(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["websocket", "polling"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def site(stack: ExitStack, order: str) -> Site:
    return Site(stack, order, manage_session=False)


def put(**values: Any) -> Callable[[], None]:
    return lambda: session.update(values)


def see() -> dict[str, Any]:
    return dict(session)


def dropped(site: Site) -> list[Any]:
    return [data["keys"] for name, data in site.told if name == "dropped"]


def test_every_event_reads_what_is_stored_by_then_and_keeps_what_it_writes(site: Site, transport: str) -> None:
    site.visitor.do(put(page=1))
    client = site.connect(transport)
    assert client.do(see) == {"page": 1}
    for number in (2, 3):
        assert client.do(put(event=number)) is None
        assert client.do(see) == {"page": number - 1, "event": number}
        site.visitor.do(put(page=number))
        assert client.do(see) == {"page": number, "event": number}
        assert site.visitor.do(see) == {"page": number, "event": number}
    assert (site.errors, dropped(site)) == ([], [])


def test_events_of_one_client_that_run_at_once_keep_each_others_keys(site: Site, transport: str) -> None:
    site.visitor.do(put(page=1))
    client, other = site.connect(transport), site.connect(transport)

    def slow() -> None:
        session["slow"] = get_session(request)["page"]
        other.do(put(quick=1))
        get_session(request)["helper"] = 1

    assert client.do(slow) is None
    assert site.visitor.do(see) == {"page": 1, "slow": 1, "quick": 1, "helper": 1}


def test_what_an_event_changes_inside_a_value_is_kept(site: Site, transport: str) -> None:
    site.visitor.do(put(cart=["apple"]))
    client = site.connect(transport)
    assert client.do(lambda: session["cart"].append("pear")) is None
    assert client.do(lambda: get_session(request).atomic(lambda data: data["cart"].append("bun"))) is None
    assert site.visitor.do(see) == {"cart": ["apple", "pear", "bun"]}


def test_a_write_without_a_session_is_dropped_with_an_event_each_time(site: Site, transport: str) -> None:
    client = site.connect(transport)
    for number in (1, 2):
        assert client.do(put(a=number)) is None
        assert dropped(site) == [["a"]] * number
        assert client.do(see) == {}
    assert site.middleware.sessions.count() == 0
    assert site.errors == []


def test_a_login_in_an_event_is_refused_and_leaves_the_session_its_token(site: Site, transport: str) -> None:
    site.visitor.do(put(a=1))
    client = site.connect(transport)
    for change in (
        lambda: login(request, ANN),
        lambda: login_user(User("ann")),
        lambda: get_session(request).rotate(),
        lambda: begin_transaction(request, {}),
        lambda: (session["a"], setattr(session, "permanent", True)),
    ):
        assert client.do(change) == HeadersAlreadySent.__name__
    assert client.do(lambda: setattr(session, "permanent", True)) is None
    assert [site.visitor.do(see), client.do(see)] == [{"a": 1}] * 2


@pytest.mark.parametrize("end", [lambda: logout(request), lambda: session.clear(), logout_user], ids=["", "clear", "L"])
def test_a_logout_in_an_event_ends_the_session(site: Site, transport: str, end: Callable[[], Any]) -> None:
    site.visitor.do(lambda: login_user(User("ann")))
    client = site.connect(transport)
    assert client.do(lambda: user_or_none(request)) == {"id": "ann"}

    def end_and_write() -> None:
        end()
        session["a"] = 1

    client.do(end_and_write)
    assert dropped(site) == [["a"]]
    assert [client.do(see), site.visitor.do(see)] == [{}, {}]
    assert site.middleware.sessions.count() == 0


def test_a_logout_elsewhere_is_seen_by_the_next_event(site: Site, transport: str) -> None:
    site.visitor.do(lambda: login_user(User("ann"), remember=True))
    site.visitor.client.delete_cookie("remember_token")
    client = site.connect(transport)
    assert client.do(lambda: current_user.get_id()) == "ann"
    site.middleware.sessions.revoke_all({"id": "ann"})
    assert client.do(lambda: [current_user.get_id(), user_or_none(request)]) == [None, None]


def test_a_remembered_visitor_without_a_session_is_known_and_nothing_is_kept(site: Site, transport: str) -> None:
    site.visitor.do(lambda: login_user(User("ann"), remember=True))
    site.visitor.client.delete_cookie("session")
    client = site.connect(transport)
    for _ in range(2):
        assert client.do(lambda: current_user.get_id()) == "ann"
    assert site.errors == []
    assert site.middleware.sessions.count() == 1


def test_an_event_puts_off_the_renewal_of_the_cookie_to_the_next_request(site: Site, transport: str) -> None:
    site.visitor.do(lambda: (session.update(a=1), setattr(session, "permanent", True)))
    client = site.connect(transport)
    site.clock.advance(20 * 86_400)
    client.do(put(b=2))
    site.visitor.do(see)
    assert site.visitor.cookie.attributes["max-age"] == str(31 * 86_400)


def test_a_closed_session_that_is_found_again_is_replaced_by_a_fresh_one(site: Site) -> None:
    """A thread of the application's own, say, that opens the request once more after the answer."""
    kept: list[Any] = []
    site.visitor.do(lambda: (session.update(a=1), kept.append(request.environ)))
    site.visitor.do(lambda: (session.update(a=2), kept.append(request.environ)))
    for number in (3, 4):
        with site.app.request_context(kept[1]):
            assert session["a"] == number - 1
            session["a"] = number
            site.app.session_interface.save_session(site.app, session, site.app.response_class())
        assert site.visitor.do(see) == {"a": number}
    with site.app.request_context(kept[1]):
        # Nothing was looked at.
        site.app.session_interface.save_session(site.app, request.environ["session"], site.app.response_class())
    assert site.visitor.do(see) == {"a": 4}


def test_with_a_session_in_the_cookie_nothing_that_an_event_writes_is_kept(
    stack: ExitStack, order: str, transport: str
) -> None:
    pytest.importorskip("cryptography", reason="pip install wsgi-session[crypto]")
    site = Site(stack, order, manage_session=False, store="cookie://")
    site.visitor.do(put(a=1))
    client = site.connect(transport)
    for number in (1, 2):
        assert client.do(put(b=1)) is None
        assert client.do(see) == {"a": 1}
        assert dropped(site) == [["b"]] * number


def test_a_copy_that_flask_socketio_manages_is_the_connections_own(
    stack: ExitStack, order: str, transport: str
) -> None:
    site = Site(stack, order, manage_session=True)
    site.visitor.do(put(a=1))
    client = site.connect(transport)
    assert client.do(see) == {"a": 1}
    for number in (1, 2):
        client.do(put(b=number))
        site.visitor.do(put(a=number))
        assert client.do(see) == {"a": 1, "b": number}
    assert client.do(lambda: login_user(User("ann"))) is True
    assert client.do(lambda: current_user.get_id()) == "ann"
    assert site.visitor.do(see) == {"a": 2}
    assert site.errors == []


def test_the_test_client_of_flask_socketio_sees_the_same(site: Site) -> None:
    site.visitor.do(put(a=1))
    client = site.socketio.test_client(site.app, flask_test_client=site.visitor.client)
    for number in (1, 2):
        site.function = put(b=number)
        client.emit("do", callback=True)
        site.visitor.do(put(a=number))
        site.function = see
        assert client.emit("do", callback=True) == {"a": number, "b": number}
    client.disconnect()


def test_the_example_of_the_documentation_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run("Websockets and server-sent events", SECRET=SECRET)
    with names["app"].extensions["wsgi_session"]:
        visitor = names["app"].test_client()
        with visitor.session_transaction() as transaction:
            transaction["a"] = 1
        client = names["socketio"].test_client(names["app"], flask_test_client=visitor)
        client.emit("seen", 7)
        with visitor.session_transaction() as transaction:
            assert dict(transaction) == {"a": 1, "seen": 7}
        client.disconnect()
