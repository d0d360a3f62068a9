"""``Session.objects`` of ``django.contrib.sessions``: never a silent zero where our engine keeps the sessions."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.core.management import call_command
from django.test import override_settings

from tests.frameworks.django_site import set_up
from wsgi_session import Unsupported
from wsgi_session.integrations.django import SessionStore


@pytest.fixture
def table() -> Any:
    """The model ``Session``."""
    set_up()
    return apps.get_model("sessions.Session")


@pytest.mark.parametrize(
    "use",
    [
        lambda table: table.objects.all().delete(),
        lambda table: table.objects.filter(session_key="a" * 40).delete(),
        lambda table: table.objects.count(),
        lambda table: list(table.objects.iterator()),
    ],
    ids=["all", "filter", "count", "iterator"],
)
def test_each_use_is_an_error_that_says_what_to_use(table: Any, use: Callable[[Any], Any]) -> None:
    with pytest.raises(Unsupported, match=r"sessions\(\)\.revoke_all.*SessionStore\(key\)\.delete\(\)") as caught:
        use(table)
    assert caught.value.operation.startswith("Session.objects.")


def test_an_engine_made_of_ours_has_no_table_either(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ModuleType("site_engine")
    engine.SessionStore = type("SessionStore", (SessionStore,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, engine.__name__, engine)
    with override_settings(SESSION_ENGINE=engine.__name__), pytest.raises(Unsupported):
        table.objects.all()


def test_another_engine_has_its_table(table: Any) -> None:
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
        assert table.objects.using("default").filter(session_key="none").query is not None


def test_djangos_own_engine_finds_its_table_so_that_its_sessions_can_be_moved(table: Any) -> None:
    # The model's other ways, and what only looks at the model, are as they were.
    call_command("dumpdata", "sessions.session", verbosity=0)
    assert "objects" in dict(inspect.getmembers(table))
    assert inspect.unwrap(table.objects) is not None
    theirs = DatabaseSession()
    theirs["a"] = 1
    theirs.save()
    assert DatabaseSession(theirs.session_key)["a"] == 1
    theirs.delete()


SHELL = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.sessions", "wsgi_session.integrations.django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SESSION_ENGINE="wsgi_session.integrations.django",
)
django.setup()
from django.contrib.sessions.models import Session
Session.objects.all().delete()
"""


def test_where_the_engine_is_an_application_it_is_an_error_before_anything_uses_a_session() -> None:
    done = subprocess.run([sys.executable, "-c", SHELL], capture_output=True, text=True, check=False)
    assert "Unsupported: Session.objects.all is not supported" in done.stderr
