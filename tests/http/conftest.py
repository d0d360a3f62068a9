from __future__ import annotations

import pytest

from tests.support.fixtures import browser, clock, make_site, pytest_generate_tests, site, store, tmp_path

__all__ = ["browser", "clock", "make_site", "pytest_generate_tests", "site", "store", "tmp_path"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*flags): run over those stores only that have all these flags")
