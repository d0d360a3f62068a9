"""A client of a WSGI application, in this process: it calls the application as a server, and keeps cookies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from wsgiref.validate import validator

from webob import Request

StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Cookie(NamedTuple):
    """One parsed Set-Cookie header."""

    name: str
    value: str
    #: By lower-case name; ``True`` for an attribute without a value.
    attributes: dict[str, Any]

    @property
    def removes(self) -> bool:
        return self.attributes.get("max-age") == "0"


class Answer:
    """The response that a client received, and the result of the application's function."""

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
    def text(self) -> str:
        return self.body.decode()

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
        assert key.lower() not in attributes, f"{key} occurs twice in {value!r}"
        attributes[key.lower()] = given if equals else True
    return Cookie(name, text, attributes)


class Server:
    """One request as a server runs it: what PEP 3333 requires of servers, and nothing more."""

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


class Client:
    """One visitor of an application, who keeps and sends cookies as a browser does."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.jar: dict[str, str] = {}
        #: The last answer.
        self.answer = Answer()
        #: Gets the entry ``"answer"`` when the status of a response is sent.
        self.log: list[str] = []

    def open(self, path: str, *, lint: bool = True, **options: Any) -> Answer:
        """Request a page; ``options`` are those of ``webob.Request.blank``: ``POST``, ``headers``, ``environ``."""
        environ = Request.blank(path, **options).environ
        # With the validator, as with a server, the input can be read only once.
        environ.pop("webob.is_body_seekable", None)
        return self.send(environ, lint=lint)

    def send(self, environ: dict[str, Any], *, lint: bool = True) -> Answer:
        """Make a request with this environ, and with this client's cookies unless it has a Cookie header.

        ``lint=False``: without wsgiref's validator, which wraps bodies and refuses environs with any mistake.
        """
        if self.jar:
            environ.setdefault("HTTP_COOKIE", self.header)
        app: Any = validator(self.app) if lint else self.app
        answer = Server(self.log).run(app, environ)
        self.keep(answer, environ["wsgi.url_scheme"])
        self.answer = answer
        return answer

    def keep(self, answer: Answer, scheme: str) -> None:
        """Store the cookies of a response that came over ``scheme``."""
        for cookie in answer.cookies:
            _check_that_a_browser_takes_it(cookie, scheme)
            if cookie.removes:
                self.jar.pop(cookie.name, None)
            else:
                self.jar[cookie.name] = cookie.value

    @property
    def header(self) -> str:
        """The Cookie header to send; empty without cookies. Setting it replaces every cookie."""
        return "; ".join(f"{name}={value}" for name, value in self.jar.items())

    @header.setter
    def header(self, header: str) -> None:
        self.jar = dict(pair.split("=", 1) for pair in header.split("; ") if pair)

    @property
    def token(self) -> str:
        """The signed token in the jar; a failure if there is not exactly one cookie."""
        (value,) = self.jar.values()
        return value


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
