"""A site under a session middleware, and browsers that visit it: wsgiref's validator stands on both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from tests.support.stores import CountingStore, counting
from wsgi_session import Session, SessionMiddleware, login, logout
from wsgi_session.stores import Store
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.testing.clock import FakeClock

SECRET = "d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8"
ANN = {"id": 1, "name": "Ann", "email": "ann@example.com"}
BOB = {"id": 2, "name": "Bob", "email": "bob@example.com"}

StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Cookie(NamedTuple):
    """One Set-Cookie, taken apart."""

    name: str
    value: str
    #: Lower-case names; ``True`` where there is no value.
    attributes: dict[str, Any]

    @property
    def removes(self) -> bool:
        return self.attributes.get("max-age") == "0"


class Answer:
    """What a client got, and what the application's function returned."""

    def __init__(self) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.result: Any = None

    @property
    def code(self) -> int:
        return int(self.status[:3])

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} went out {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def cookies(self) -> list[Cookie]:
        return [parse_cookie(value) for value in self.all("Set-Cookie")]

    @property
    def cookie(self) -> Cookie | None:
        """The one cookie that was set or removed, ``None`` if none was."""
        assert len(self.cookies) < 2, f"more than one Set-Cookie: {self.cookies}"
        return self.cookies[0] if self.cookies else None

    def __repr__(self) -> str:
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"


def parse_cookie(value: str) -> Cookie:
    first, *rest = value.split("; ")
    name, _, text = first.partition("=")
    attributes: dict[str, Any] = {}
    for part in rest:
        key, equals, given = part.partition("=")
        assert key.lower() not in attributes, f"{key} stands twice in {value!r}"
        attributes[key.lower()] = given if equals else True
    return Cookie(name, text, attributes)


class Server:
    """One request as a server makes it: what PEP 3333 asks of servers, and nothing more."""

    def __init__(self, log: list[str]) -> None:
        self.answer = Answer()
        self.log = log
        self.sent = False

    def run(self, app: Application, environ: dict[str, Any]) -> Answer:
        body = app(environ, self.start_response)
        try:
            for chunk in body:
                self.write(chunk)
            self.sent = True
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        assert self.answer.status, "the application never called start_response"
        return self.answer

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if exc_info is not None and self.sent:
            raise exc_info[1].with_traceback(exc_info[2])
        assert exc_info is not None or not self.answer.status, "start_response was forwarded twice without exc_info"
        self.log.append("answer")
        self.answer.status, self.answer.headers = status, headers
        return self.write

    def write(self, data: bytes) -> None:
        assert self.answer.status, "body before the status"
        self.sent = True
        self.answer.body += data


class Site:
    """A middleware over a counting store. Which application it wraps is for each visit to say."""

    def __init__(self, store: Store, clock: FakeClock, **options: Any) -> None:
        self.calls: CountingStore = store if isinstance(store, CountingStore) else counting(store)
        self.clock = clock
        self.events: list[tuple[str, dict[str, Any]]] = []
        given: dict[str, Any] = {
            "secret": SECRET,
            "clock": clock,
            "on_event": lambda name, data: self.events.append((name, dict(data))),
            **options,
        }
        self.cookie_path: str = options.get("cookie_path", "/")
        # That one is known by its type, and keeps nothing: there are no calls to count.
        taken = store if isinstance(store, CookieStore) else self.calls
        self.middleware = SessionMiddleware(_dispatch, store=taken, **given)

    def browser(self, **environ: Any) -> Browser:
        return Browser(self, **environ)

    def happened(self, name: str) -> list[dict[str, Any]]:
        """Return the data of each event called ``name``."""
        return [data for event, data in self.events if event == name]

    def forget(self) -> None:
        self.calls.forget()
        self.events.clear()


class Browser:
    """One visitor: keeps cookies as browsers do, and sends them."""

    def __init__(self, site: Site, **environ: Any) -> None:
        self.site = site
        self.jar: dict[str, str] = {}
        #: What every request of this browser has in its environ.
        self.environ = environ

    def do(self, function: Callable[[Session], Any], **environ: Any) -> Answer:
        """Visit a page that calls ``function(session)`` and says 200; ``answer.result`` is what it returned."""
        results: list[Any] = []

        def page(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            results.append(function(environ["session"]))
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"page"]

        answer = self.visit(page, **environ)
        answer.result = results[0] if results else None
        return answer

    def visit(self, app: Application, *, lint: bool = True, **environ: Any) -> Answer:
        """Make one request that ``app`` answers. ``lint=False``: without wsgiref's validator, which wraps bodies."""
        request = self.request(_linted(app) if lint else app, **environ)
        around: Any = validator(self.site.middleware) if lint else self.site.middleware
        answer = Server(self.site.calls.log).run(around, request)
        self.keep(answer, request)
        return answer

    def request(self, app: Application, **environ: Any) -> dict[str, Any]:
        """Return the environ of a request that ``app`` will answer."""
        given: dict[str, Any] = {**self.environ, **environ, "test.app": app}
        if self.jar:
            given.setdefault("HTTP_COOKIE", self.header)
        if self.site.cookie_path != "/":
            # Where nothing else is said, the request is one that the cookie is sent with.
            given.setdefault("SCRIPT_NAME", self.site.cookie_path)
            given.setdefault("PATH_INFO", "")
        given.setdefault("wsgi.input", BytesIO())
        given.setdefault("QUERY_STRING", "")
        setup_testing_defaults(given)
        return given

    @property
    def header(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.jar.items())

    @property
    def token(self) -> str:
        """The signed token in the jar; a failure if there is not exactly one cookie."""
        (value,) = self.jar.values()
        return value

    def copy(self) -> Browser:
        """Return a browser with the same cookies, which knows nothing of what this one gets later."""
        other = Browser(self.site, **self.environ)
        other.jar = dict(self.jar)
        return other

    def keep(self, answer: Answer, request: dict[str, Any]) -> None:
        for cookie in answer.cookies:
            _check_that_a_browser_takes_it(cookie, request["wsgi.url_scheme"])
            if cookie.removes:
                self.jar.pop(cookie.name, None)
            else:
                self.jar[cookie.name] = cookie.value


def _check_that_a_browser_takes_it(cookie: Cookie, scheme: str) -> None:
    attributes = cookie.attributes
    secure = "secure" in attributes
    if cookie.name.startswith("__Secure-"):
        assert secure, cookie
    if cookie.name.startswith("__Host-"):
        assert secure, cookie
        assert attributes["path"] == "/", cookie
        assert "domain" not in attributes, cookie
    if attributes.get("samesite") == "None" or "partitioned" in attributes:
        assert secure, cookie
    if scheme == "https":
        assert secure or not cookie.name.startswith("__"), cookie


def _linted(app: Application) -> Application:
    """Return ``app`` behind wsgiref's validator, which wants text under every key without a dot."""

    def inside(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        environ["session"] = environ.pop("test.session")
        return app(environ, start_response)

    checked: Any = validator(inside)

    def outside(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        environ["test.session"] = environ.pop("session")
        result: Iterable[bytes] = checked(environ, start_response)
        return result

    return outside


def _dispatch(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    app: Application = environ["test.app"]
    return app(environ, start_response)


def page(body: Iterable[bytes] = (b"page",), status: str = "200 OK", *headers: tuple[str, str]) -> Application:
    """Return an application that looks at no session."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain"), *headers])
        return list(body)

    return app


def put(**values: Any) -> Callable[[Session], None]:
    """Return a function that writes ``values`` into a session."""
    return lambda session: session.update(values)


def read(session: Session) -> dict[str, Any]:
    return session.copy()


def log_in(user: dict[str, Any], **options: Any) -> Callable[[Session], None]:
    """Return a function that logs ``user`` in."""
    return lambda session: login({"session": session}, user, **options)


def log_out(session: Session) -> None:
    logout({"session": session})
