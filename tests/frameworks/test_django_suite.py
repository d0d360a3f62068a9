"""Django's own session tests, from the source distribution of the Django that is installed, over our engine."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tarfile
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import django
import pytest
from django.conf import settings
from django.test import SimpleTestCase, TestCase
from django.test.utils import modify_settings, override_settings

from tests.frameworks.django_site import store
from wsgi_session.integrations.django import SessionStore
from wsgi_session.stores import Store

__all__ = ["store"]

#: Those that look into the table of Django's own engine, whatever SESSION_ENGINE says. What they hold Django to is held
#: by test_a_session_that_is_emptied_stays and test_what_was_deleted_cannot_be_saved_and_what_was_flushed_begins_anew.
OF_ANOTHER_ENGINE = {"test_empty_session_saved", "test_session_update_error_redirect"}


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the package ``sessions_tests`` is: downloaded once, and kept in pytest's cache if it has one."""
    kept_for_ever = getattr(request.config, "cache", None)
    cache = kept_for_ever.mkdir("django") if kept_for_ever else tmp_path_factory.mktemp("django")
    kept = cache / django.__version__
    if not kept.exists():
        partial = Path(tempfile.mkdtemp(dir=cache))
        _extract(_download(partial), partial / "sessions_tests")
        with contextlib.suppress(OSError):  # Another interpreter's tests were at the same, and first.
            partial.rename(kept)
    return kept


def _download(folder: Path) -> Path:
    wanted = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", f"django=={django.__version__}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"let pip reach a package index for: pip download {' '.join(wanted)}: {done.stderr[-300:]}")
    (archive,) = folder.iterdir()
    return archive


def _extract(archive: Path, package: Path) -> None:
    package.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            inside = Path(member.name)
            if inside.match("*/tests/sessions_tests/*.py") and (source := tar.extractfile(member)):
                (package / inside.name).write_bytes(source.read())
    archive.unlink()


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


def run(case: type[unittest.TestCase], at_least: int) -> None:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    problems = [text for _, text in (*result.errors, *result.failures)]
    assert not problems, "\n".join(problems)
    assert not result.skipped, result.skipped
    assert result.testsRun >= at_least, f"only {result.testsRun} tests were found"
