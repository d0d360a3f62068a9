"""Runs what docs/frameworks.md has for one framework, and visits it.

    python -m tests.frameworks.paste HEADING

in an empty folder prints, as JSON, what a stranger and what Ann got. A process for each: Django has one configuration.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from webob import Request

from tests.support import ROOT
from tests.support.pages import python_of, section
from wsgi_session import SessionMiddleware
from wsgi_session.config.keygen import new_secret
from wsgi_session.testing import plant

PAGE = ROOT / "docs" / "frameworks.md"
#: What a browser sends with a script's request.
SCRIPT = {"Sec-Fetch-Mode": "cors"}
ANN = {"id": 1, "name": "Ann", "email": "ann@example.com"}


def run(heading: str, **names: Any) -> dict[str, Any]:
    """Run the section's Python; return the names that it leaves behind, ``names`` among them."""
    names["__name__"] = __name__
    exec(compile(python_of(section(PAGE.read_text("utf-8"), heading)), str(PAGE), "exec"), names)
    return names


def visit_any(heading: str) -> list[tuple[int, str | None, str]]:
    secret = new_secret()
    app = run(heading, SECRET=secret)["app"]
    # Another middleware with the same secret and store logs Ann in.
    cookie_name = "session" if heading == "Flask" else "sid"
    with SessionMiddleware(app, secret=secret, store="sqlite:///sessions.db", cookie_name=cookie_name) as middleware:
        cookie = plant(middleware, {"user": ANN})
    requests: tuple[dict[str, str], ...] = ({}, {"Cookie": cookie}, SCRIPT)
    answers = [Request.blank("/profile", headers=headers).get_response(app) for headers in requests]
    return [(answer.status_int, answer.location, answer.text) for answer in answers]


def visit_django() -> list[tuple[int, str | None, str]]:
    """Visit a new project, with what the page adds to its settings and its views."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.urls import path

    contrib = "django.contrib"
    middleware = [
        f"{contrib}.sessions.middleware.SessionMiddleware",
        f"{contrib}.auth.middleware.AuthenticationMiddleware",
    ]
    names = run("Django", MIDDLEWARE=middleware)
    settings.configure(
        SECRET_KEY=new_secret(),
        ALLOWED_HOSTS=["testserver"],
        ROOT_URLCONF=type("urls", (), {"urlpatterns": [path("profile", names["profile"])]}),
        INSTALLED_APPS=[f"{contrib}.auth", f"{contrib}.contenttypes", f"{contrib}.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "users.db"}},
        **{name: value for name, value in names.items() if name.isupper()},
    )
    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    stranger, script = client.get("/profile"), client.get("/profile", headers=SCRIPT)
    client.force_login(User.objects.create_user("ann", "ann@example.com"))
    answers = [stranger, client.get("/profile"), script]
    return [(answer.status_code, answer.headers.get("Location"), answer.text) for answer in answers]


if __name__ == "__main__":
    (heading,) = sys.argv[1:]
    print(json.dumps(visit_django() if heading == "Django" else visit_any(heading)))
