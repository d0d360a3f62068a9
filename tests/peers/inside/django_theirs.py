"""Settings for Django's own tests, as its developers run them, with a runner that reports each test."""

from __future__ import annotations

import unittest

from django.test.runner import DiscoverRunner
from report_unittest import ReportingResult
from test_sqlite import *  # noqa: F403  (Django's own settings for SQLite)

TEST_RUNNER = "django_theirs.Runner"


class Runner(DiscoverRunner):
    def get_resultclass(self) -> type[unittest.TextTestResult]:
        return ReportingResult
