"""freezegun and time-machine work in the tests of applications with Flask, Django and Pyramid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from webob import Request

from tests.support.frozen import LIBRARIES, MOMENTS, frozen
from tests.support.stores import ENGINE, KINDS, Kind
from wsgi_session import login, user_email_or_none
from wsgi_session.stores import Store

SECRET = "frozen-4f0d7c1e9b3a4d6f8e2a5c7b9d1f3e60"
ANN = {"id": 1, "email": "ann@example.com"}
IDLE = timedelta(days=14)
OVER = [
    pytest.param(kind, id=kind.name, marks=[pytest.mark.engine] if ENGINE in kind.flags else [])
    for kind in KINDS
    if kind.name in ("memory", "sqlite", "redis", "postgresql")
]
Application = Callable[..., Any]


@pytest.fixture(params=OVER)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    kind: Kind = request.param
    with kind.open(tmp_path) as store:
        yield store


def flask_application(store: Store) -> Application:
    pytest.importorskip("flask", reason="pip install Flask")
    from flask import Flask, flash, request, session

    from wsgi_session.integrations.flask import FlaskSessions

    app = Flask("site", static_folder=None)
    app.config.update(SECRET_KEY=SECRET, PERMANENT_SESSION_LIFETIME=IDLE)
    FlaskSessions(app, store=store)

    @app.route("/login")
    def log_in() -> str:
        login(request, ANN)
        session.permanent = True
        session["at"] = datetime.now(timezone.utc)
        flash("Welcome")
        return "in"

    @app.route("/")
    def page() -> str:
        return f"{user_email_or_none(request)} {session.get('at')}"

    return app.wsgi_app


def pyramid_application(store: Store) -> Application:
    pytest.importorskip("pyramid", reason="pip install pyramid")
    from pyramid.config import Configurator
    from pyramid.response import Response

    settings = {"wsgi_session.secret": SECRET, "wsgi_session.store": store, "wsgi_session.idle_timeout": IDLE}
    config = Configurator(settings=settings)
    config.include("wsgi_session.integrations.pyramid")

    def log_in(request: Any) -> Any:
        login(request, ANN)
        request.session["at"] = datetime.now(timezone.utc)
        request.session.flash("Welcome")
        return Response("in")

    def page(request: Any) -> Any:
        return Response(f"{user_email_or_none(request)} {request.session.get('at')}")

    for path, view in (("/login", log_in), ("/", page)):
        config.add_route(view.__name__, path)
        config.add_view(view, route_name=view.__name__)
    application: Application = config.make_wsgi_app()
    return application


def django_application(store: Store) -> Application:
    pytest.importorskip("django", reason="pip install Django")
    from django.contrib.auth import get_user_model
    from django.contrib.auth import login as django_login
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.test import override_settings
    from django.urls import path

    from tests.frameworks.django_site import set_up

    set_up()

    def log_in(request: HttpRequest) -> HttpResponse:
        django_login(request, get_user_model().objects.get(username="ann"))
        request.session["at"] = datetime.now(timezone.utc)
        return HttpResponse("in")

    def page(request: HttpRequest) -> HttpResponse:
        # Django notes activity only where something is saved.
        request.session.modified = bool(request.session.get("at"))
        return HttpResponse(f"{user_email_or_none(request)} {request.session.get('at')}")

    class Urls:
        urlpatterns = (path("login", log_in), path("", page))

    site = get_wsgi_application()

    def application(environ: Any, start_response: Any) -> Any:
        seconds = IDLE.total_seconds()
        with override_settings(ROOT_URLCONF=Urls, WSGI_SESSION_STORE=store, SESSION_COOKIE_AGE=seconds):
            return site(environ, start_response)

    return application


@pytest.mark.parametrize("moment", MOMENTS, ids=["past", "future"])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("make", [flask_application, pyramid_application, django_application])
def test_a_session_lives_and_ends_by_the_frozen_time(
    make: Callable[[Store], Application], store: Store, library: str, moment: datetime
) -> None:
    application = make(store)
    cookie = ""

    def visit(path: str = "/") -> str:
        nonlocal cookie
        request = Request.blank(path, base_url="http://127.0.0.1", headers={"Cookie": cookie} if cookie else {})
        response = request.get_response(application)
        assert response.status_int == 200, response.text
        for header in response.headers.getall("Set-Cookie"):
            cookie = header.partition(";")[0]
        return str(response.text)

    with frozen(library, moment) as move:
        assert visit("/login") == "in"
        live = f"ann@example.com {moment.isoformat(' ')}"
        assert visit() == live
        move(IDLE - timedelta(minutes=1))
        assert visit() == live
        move(IDLE - timedelta(minutes=1))
        assert visit() == live
        move(IDLE + timedelta(minutes=1))
        assert visit() == "None None"
