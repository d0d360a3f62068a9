"""A site that says in plain text who is there, by itself or below a path. It trusts every form: no test is of that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from wsgiref.util import shift_path_info

from webob import Request, Response
from webob.exc import HTTPNotFound, HTTPSeeOther

from wsgi_session import SessionMiddleware, get_session, login, logout, next_url, redirect_if_anonymous
from wsgi_session.config.keygen import new_secret

ANN = {"id": 1, "name": "Ann", "email": "ann@example.com"}


def count(request: Request) -> Any:
    session = get_session(request)
    session["count"] = session.get("count", 0) + 1
    return Response(f"count {session['count']}", content_type="text/plain")


def profile(request: Request) -> Any:
    if response := redirect_if_anonymous(request):
        return response
    session = get_session(request)
    return Response(f"{session['user']['email']}, count {session.get('count', 0)}", content_type="text/plain")


def log_in(request: Request) -> Any:
    if request.method == "GET":
        return Response("please log in", content_type="text/plain")
    login(request, ANN, remember="remember" in request.POST)
    return HTTPSeeOther(location=next_url(request, f"{request.script_name}/profile"))


def log_out(request: Request) -> Any:
    logout(request)
    return HTTPSeeOther(location=f"{request.script_name}/cookies")


PAGES = {"/count": count, "/profile": profile, "/login": log_in, "/logout": log_out}


def site(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    page = PAGES.get(environ["PATH_INFO"], lambda request: HTTPNotFound())
    response: Iterable[bytes] = page(Request(environ))(environ, start_response)
    return response


def mounted(mount: str, cookie_path: str) -> Any:
    """Put the site below ``mount``, which is "" or one segment. Beside it are pages that show what cookies they got."""
    with_sessions = SessionMiddleware(site, secret=new_secret(), store="memory://", cookie_path=cookie_path)

    def whole(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in {f"{mount}/cookies", "/cookies", "/shopping"}:
            if mount:
                assert f"/{shift_path_info(environ)}" == mount
            return with_sessions(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ.get("HTTP_COOKIE", "no cookie").encode()]

    return whole
