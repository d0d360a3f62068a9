"""A Django site with ``django.contrib.auth`` over our engine: its settings, its pages, and a server process of it.

``python -m tests.frameworks.django_site PORT FOLDER '{"SECRET_KEY": "…"}'`` serves it; FOLDER has users and sessions.
"""

from __future__ import annotations

import atexit
import json
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.test import override_settings
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from tests.support.servers.process import Server
from tests.support.stores import ENGINE, KINDS, CountingStore, Kind, counting
from wsgi_session import (
    begin_transaction,
    confirm,
    end_transaction,
    redirect_if_anonymous,
    redirect_unless_fresh,
    set_provider_session,
    user_email_or_none,
    user_or_none,
)

SECRET = "django-4c1b9f0e7a6d4f52b8c3e0d19a75f264"
OVER = [
    pytest.param(kind, id=kind.name, marks=[pytest.mark.engine] if ENGINE in kind.flags else [])
    for kind in KINDS
    if kind.name in ("memory", "sqlite", "redis", "postgresql")
]


@pytest.fixture(params=OVER)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CountingStore]:
    """The site's store, empty; Django is set up."""
    set_up()
    kind: Kind = request.param
    with kind.open(tmp_path) as inner:
        counted = counting(inner)
        with override_settings(WSGI_SESSION_STORE=counted):
            yield counted


def set_up(folder: Path | None = None, **others: Any) -> None:
    """Configure Django in this process, once, and make the tables and the users."""
    if settings.configured:
        return
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="django-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    settings.configure(
        **{
            "SECRET_KEY": SECRET,
            "ALLOWED_HOSTS": ["127.0.0.1", "testserver"],
            "ROOT_URLCONF": "tests.frameworks.django_site",
            "INSTALLED_APPS": [
                "django.contrib.auth",
                "django.contrib.contenttypes",
                "django.contrib.sessions",
                "django.contrib.messages",
            ],
            "MIDDLEWARE": [
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware",
                "wsgi_session.integrations.django.HelpersMiddleware",
            ],
            "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "users.db")}},
            # The point of the others is to be slow.
            "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
            "USE_TZ": True,
            "SESSION_ENGINE": "wsgi_session.integrations.django",
            "WSGI_SESSION_STORE": f"sqlite:///{folder}/sessions.db",
            **others,
        }
    )
    django.setup()
    if not (folder / "users.db").exists():
        call_command("migrate", verbosity=0)
        from django.contrib.auth.models import User

        for name in ("ann", "bob"):
            User.objects.create_user(name, f"{name}@example.com", name)


# The pages. Each test says what it wants from them in the query.


def show(request: HttpRequest) -> HttpResponse:
    """Tell what is in the session, and who the visitor is to Django and to our helpers."""
    return JsonResponse(
        {
            "user": request.user.get_username(),
            "session": {key: value for key, value in request.session.items() if not key.startswith("_auth")},
            "handle": getattr(request.session, "handle", None),
            "helpers": [user_or_none(request), user_email_or_none(request)],
        }
    )


def put(request: HttpRequest) -> HttpResponse:
    """Put ``key`` and ``value`` into the session; with ``gate``, look at it first, and wait at that port."""
    len(request.session.keys())
    if "gate" in request.GET:
        with socket.create_connection(("127.0.0.1", int(request.GET["gate"]))) as gate:
            gate.recv(1)
    request.session[request.GET["key"]] = request.GET.get("value")
    return HttpResponse(status=int(request.GET.get("status", "200")))


def append(request: HttpRequest) -> HttpResponse:
    """Change a value inside of the session, and say so nowhere."""
    request.session["list"].append(request.GET["value"])
    return HttpResponse()


def log_in(request: HttpRequest) -> HttpResponse:
    name = request.GET["name"]
    user = authenticate(request, username=name, password=request.GET.get("password", name))
    if user is None:
        return HttpResponse(status=403)
    login(request, user)
    if "provider_session" in request.GET:
        set_provider_session(request, request.GET["provider_session"])
    return HttpResponse(status=int(request.GET.get("status", "200")))


def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse()


def change_password(request: HttpRequest) -> HttpResponse:
    request.user.set_password(request.GET["password"])
    request.user.save()
    update_session_auth_hash(request, request.user)  # type: ignore[arg-type]
    return HttpResponse()


def say(request: HttpRequest) -> HttpResponse:
    messages.info(request, request.GET["text"])
    return redirect("/said")


def said(request: HttpRequest) -> HttpResponse:
    return JsonResponse([str(message) for message in messages.get_messages(request)], safe=False)


def profile(request: HttpRequest) -> HttpResponse:
    if found := redirect_if_anonymous(request):
        return HttpResponse(found.body, status=found.status_int, headers=found.headerlist)
    return HttpResponse(user_email_or_none(request))


def secret(request: HttpRequest) -> HttpResponse:
    """Show a page to a user who was confirmed a short time ago, by ``method`` if one is given."""
    if found := redirect_unless_fresh(request, method=request.GET.get("method")):
        return HttpResponse(found.body, status=found.status_int, headers=found.headerlist)
    return JsonResponse({"confirmed": request.session.confirmed.method})  # type: ignore[attr-defined]


def confirm_user(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"done": confirm(request, request.GET["method"])})


def to_other_site(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"state": begin_transaction(request, {"next": "/cart"})})


@csrf_exempt
def from_other_site(request: HttpRequest) -> HttpResponse:
    """Say what the login remembers, and log ``name`` in, or write into the session."""
    found = end_transaction(request, request.POST.get("state"))
    if "name" in request.POST:
        login(request, authenticate(request, username=request.POST["name"], password=request.POST["name"]))
    else:
        request.session["failed"] = True
    return JsonResponse({"found": found})


def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [
    path("", show),
    path("put", put),
    path("append", append),
    path("login", log_in),
    path("logout", log_out),
    path("password", change_password),
    path("say", say),
    path("said", said),
    path("profile", profile),
    path("secret", secret),
    path("confirm", confirm_user),
    path("to-other-site", to_other_site),
    path("from-other-site", from_other_site),
    path("nothing", nothing),
]


class DjangoServer(Server):
    """One process of the site. Several with one folder are one site."""

    name = "django"

    def __init__(self, site: Path, **others: Any) -> None:
        super().__init__()
        self._arguments = [str(site), json.dumps(others)]

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.frameworks.django_site", str(self.port), *self._arguments]

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


if __name__ == "__main__":
    from waitress import serve

    set_up(Path(sys.argv[2]), **json.loads(sys.argv[3]))
    serve(get_wsgi_application(), host="127.0.0.1", port=int(sys.argv[1]), threads=8)
