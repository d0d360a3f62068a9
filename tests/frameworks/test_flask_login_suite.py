"""Flask-Login's own tests, from the source distribution of the version that is installed, over our sessions."""

from __future__ import annotations

import importlib.util
import sys
import unittest
from typing import Any

import pytest
from flask import Flask
from flask_login import LoginManager

from tests.frameworks.flask_site import SECRET
from tests.frameworks.theirs import run, their_tests_in
from wsgi_session.integrations.flask import FlaskSessions
from wsgi_session.stores import MemoryStore

# Its tests use what Flask-Login and Flask deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def cases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> list[type[unittest.TestCase]]:
    pytest.importorskip("semantic_version", reason="pip install semantic_version")
    folder = their_tests_in(request, tmp_path_factory, "Flask-Login", "*/tests/test_login.py")
    spec = importlib.util.spec_from_file_location("flask_login_tests", folder / "tests" / "test_login.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    spec.loader.exec_module(module)
    init_app = LoginManager.init_app

    def init_both(manager: LoginManager, app: Flask, *args: Any, **options: Any) -> None:
        if "wsgi_session" not in app.extensions:
            FlaskSessions(app, secret=SECRET, store=MemoryStore())
        init_app(manager, app, *args, **options)

    monkeypatch.setattr(LoginManager, "init_app", init_both)
    found = [value for value in vars(module).values() if isinstance(value, type)]
    return [value for value in found if issubclass(value, unittest.TestCase) and value.__module__ == module.__name__]


def test_flask_logins_own_tests_pass(cases: list[type[unittest.TestCase]]) -> None:
    for case in cases:
        run(case, at_least=1)
    assert sum(unittest.defaultTestLoader.loadTestsFromTestCase(case).countTestCases() for case in cases) > 100
