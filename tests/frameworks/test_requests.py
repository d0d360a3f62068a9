"""The helpers take each framework's own request object, and the form stays there for the application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.missing import why_missing
from tests.support.requests import URLENCODED, make_environ, with_body
from tests.support.site import ANN
from wsgi_session import (
    SessionMiddleware,
    check_csrf,
    get_session,
    login,
    next_url,
    redirect_if_anonymous,
    user_email_or_none,
    user_or_none,
)
from wsgi_session.config.keygen import new_secret
from wsgi_session.testing import plant

Helper = Callable[[Any], Any]
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
#: Asks a helper with the framework's request; then shows the form's field ``item``, and what is in the file ``file``.
Build = Callable[[Helper], Application]

BOUNDARY = "a-boundary"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def with_webob(helper: Helper) -> Application:
    from webob import Response
    from webob.dec import wsgify

    @wsgify
    def app(request: Any) -> Any:
        answer = helper(request)
        file = request.POST.get("file")
        return Response(show(answer, request.POST.get("item"), file.file.read() if file is not None else b""))

    return app


def with_werkzeug(helper: Helper) -> Application:
    from werkzeug import Request, Response

    @Request.application
    def app(request: Any) -> Any:
        answer = helper(request)
        file = request.files.get("file")
        return Response(show(answer, request.form.get("item"), file.read() if file else b""))

    return app


def with_flask(helper: Helper) -> Application:
    from flask import Flask, request

    app = Flask(__name__)

    @app.route("/", methods=["GET", "POST"])
    def view() -> str:
        answer = helper(request)
        file = request.files.get("file")
        return show(answer, request.form.get("item"), file.read() if file else b"")

    return app.wsgi_app


def with_pyramid(helper: Helper) -> Application:
    from pyramid.config import Configurator
    from pyramid.response import Response

    def view(request: Any) -> Any:
        answer = helper(request)
        file = request.POST.get("file")
        return Response(show(answer, request.POST.get("item"), file.file.read() if file is not None else b""))

    config = Configurator()
    config.add_route("home", "/")
    config.add_view(view, route_name="home")
    return config.make_wsgi_app()


def with_bottle(helper: Helper) -> Application:
    from bottle import Bottle, request

    app = Bottle()

    @app.route("/", ["GET", "POST"])
    def view() -> str:
        answer = helper(request)
        file = request.files.get("file")
        return show(answer, request.forms.getunicode("item"), file.file.read() if file else b"")

    return app


def with_falcon(helper: Helper) -> Application:
    import falcon

    class Home:
        def on_get(self, req: Any, resp: Any) -> None:
            resp.text = show(helper(req), None, b"")

        def on_post(self, req: Any, resp: Any) -> None:
            answer = helper(req)
            fields, file = {}, b""
            if req.content_type == URLENCODED:
                fields = req.get_media()
            else:
                for part in req.get_media():
                    if part.filename:
                        file = part.stream.read()
                    else:
                        fields[part.name] = part.text
            resp.text = show(answer, fields.get("item"), file)

    app = falcon.App()
    app.add_route("/", Home())
    return app


def with_cherrypy(helper: Helper) -> Application:
    import cherrypy

    class Home:
        @cherrypy.expose
        def index(self, item: str | None = None, file: Any = None, **others: Any) -> str:
            answer = helper(cherrypy.request)
            for other in others.values():
                if hasattr(other, "file"):
                    other.file.close()
            if file is None:
                return show(answer, item, b"")
            with file.file:
                return show(answer, item, file.file.read())

    return cherrypy.Application(Home(), "/")


def with_webpy(helper: Helper) -> Application:
    import web

    class Home:
        def GET(self) -> str:  # noqa: N802
            return self.POST()

        def POST(self) -> str:  # noqa: N802
            answer = helper(web.ctx)
            form = web.input(item=None, file={})
            file = form.file.file.read() if hasattr(form.file, "file") else b""
            return show(answer, form.item, file)

    return web.application(("/", Home)).wsgifunc()


def show(answer: Any, item: str | None, file: bytes) -> str:
    return repr((answer, item, file))


BUILDERS = {
    "webob": with_webob,
    "werkzeug": with_werkzeug,
    "flask": with_flask,
    "pyramid": with_pyramid,
    "bottle": with_bottle,
    "falcon": with_falcon,
    "cherrypy": with_cherrypy,
    "web": with_webpy,
}


class Site:
    """One application in one framework, and a visitor who keeps the cookie."""

    def __init__(self, build: Build) -> None:
        self._helper: Helper = check_csrf
        app = build(lambda request: self._helper(request))
        self.middleware = SessionMiddleware(app, secret=new_secret(), store="memory://")
        self.cookie = plant(self.middleware, {})

    def ask(self, helper: Helper, environ: dict[str, Any]) -> Any:
        """Make a request; return what ``helper`` answered, and what the application then found in the form."""
        self._helper = helper
        seen: list[str] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            seen.append(status)
            return lambda data: None

        body = self.middleware({**environ, "HTTP_COOKIE": self.cookie}, start_response)
        text = b"".join(body).decode()
        getattr(body, "close", lambda: None)()
        assert seen == ["200 OK"], (seen, text)
        return eval(text)


@pytest.fixture(params=BUILDERS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    pytest.importorskip(request.param, reason=why_missing("web.py" if request.param == "web" else request.param))
    site = Site(BUILDERS[request.param])
    with site.middleware:
        yield site


def posted(kind: str, fields: dict[str, str], file: bytes) -> dict[str, Any]:
    """Return the environ of a POST whose input can be read once, as a socket."""
    if kind == URLENCODED:
        body = "&".join(f"{name}={value}" for name, value in fields.items()).encode()
    else:
        parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}'.encode() for name in fields]
        parts.append(b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + file)
        body = b"".join(b"--%s\r\n%s\r\n" % (BOUNDARY.encode(), part) for part in parts)
        body += f"--{BOUNDARY}--\r\n".encode()
    return with_body(body, kind)


def test_the_helpers_take_the_frameworks_request(site: Site) -> None:
    def who(request: Any) -> Any:
        redirect = redirect_if_anonymous(request)
        user = user_or_none(request) or {"name": "stranger"}
        return user["name"], user_email_or_none(request), getattr(redirect, "location", None)

    assert site.ask(who, make_environ(query="a=b"))[0] == ("stranger", None, "/login?next=/%3Fa%3Db")
    site.cookie = plant(site.middleware, {"user": ANN})
    assert site.ask(who, make_environ(query="a=b"))[0] == ("Ann", "ann@example.com", None)


def test_logging_in_takes_the_frameworks_request(site: Site) -> None:
    def log_in(request: Any) -> Any:
        login(request, ANN)
        return get_session(request).owner, next_url(request)

    assert site.ask(log_in, make_environ(query="next=/cart"))[0] == ("id:1", "/cart")


@pytest.mark.parametrize("kind", [URLENCODED, MULTIPART], ids=["urlencoded", "multipart"])
def test_the_token_is_found_in_the_form_which_stays_there_for_the_application(site: Site, kind: str) -> None:
    token = site.ask(lambda request: get_session(request).csrf_token, make_environ())[0]
    file = b"a file\r\nof two lines" if kind == MULTIPART else b""
    for given in (token, "wrong"):
        environ = posted(kind, {"csrf_token": given, "item": "apple"}, file)
        assert site.ask(check_csrf, environ) == (given == token, "apple", file)


def test_a_page_of_this_site_needs_no_token_and_another_site_is_refused_with_one(site: Site) -> None:
    token = site.ask(lambda request: get_session(request).csrf_token, make_environ())[0]
    for origin, allowed in (("same-origin", True), ("same-site", False), ("cross-site", False)):
        environ = posted(URLENCODED, {"csrf_token": token, "item": "apple"}, b"")
        assert site.ask(check_csrf, {**environ, "HTTP_SEC_FETCH_SITE": origin})[:2] == (allowed, "apple")


def test_a_token_that_is_sent_as_a_file_is_a_wrong_token(site: Site) -> None:
    token = site.ask(lambda request: get_session(request).csrf_token, make_environ())[0]
    environ = posted(MULTIPART, {'csrf_token"; filename="token.txt': token}, b"a file")
    assert site.ask(check_csrf, environ)[0] is False
    wrong: list[Any] = [token.encode(), None, [token], object()]
    for given in wrong:
        answer = site.ask(partial(check_csrf, token=given), posted(URLENCODED, {}, b""))
        assert answer[0] is False


@pytest.mark.parametrize("kind", [URLENCODED, MULTIPART], ids=["urlencoded", "multipart"])
def test_where_to_go_after_the_login_is_found_in_the_form(site: Site, kind: str) -> None:
    environ = posted(kind, {"next": "/cart", "item": "apple"}, b"a file" if kind == MULTIPART else b"")
    assert site.ask(next_url, environ)[:2] == ("/cart", "apple")
