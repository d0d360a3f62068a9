"""Django's own session tests, from the source distribution of the Django that is installed, over our engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from django.conf import settings
from django.test import SimpleTestCase, TestCase
from django.test.utils import modify_settings, override_settings

from tests.frameworks.django_site import store
from tests.frameworks.theirs import run, their_tests_in
from wsgi_session.integrations.django import SessionStore
from wsgi_session.stores import Store

__all__ = ["store"]

# ``python -m tests.peers`` runs these tests too, and more of Django's, over one store.
pytestmark = pytest.mark.full
#: It looks into the table of Django's own engine, whatever SESSION_ENGINE says. The behaviour that it expects is tested
#: by test_a_session_that_is_emptied_stays.
OF_ANOTHER_ENGINE = {"test_empty_session_saved"}


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the package ``sessions_tests`` is."""
    return their_tests_in(request, tmp_path_factory, "Django", "*/tests/sessions_tests/*.py")


@pytest.fixture
def their_tests(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module ``sessions_tests.tests`` of Django, in a site that has its application."""
    monkeypatch.syspath_prepend(folder)
    with modify_settings(INSTALLED_APPS={"append": "sessions_tests"}):
        from sessions_tests import tests

        yield tests


@pytest.mark.parametrize("time_zones", [False, True], ids=["naive", "aware"])
def test_djangos_own_tests_of_session_engines_pass(store: Store, their_tests: ModuleType, time_zones: bool) -> None:
    case = type("OurSessionTests", (their_tests.SessionTestsMixin, SimpleTestCase), {"backend": SessionStore})
    with override_settings(USE_TZ=time_zones):
        run(case, at_least=60)


def test_djangos_own_tests_of_its_session_middleware_pass(store: Store, their_tests: ModuleType) -> None:
    left_out = dict.fromkeys(OF_ANOTHER_ENGINE)
    case = type("OurMiddlewareTests", (their_tests.SessionMiddlewareTests, TestCase), left_out)
    assert SessionStore.__module__ == settings.SESSION_ENGINE
    run(case, at_least=10)
