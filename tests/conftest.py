"""What every test stands under: nothing shows a token or a secret, and in CI nothing is skipped unseen."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator

import hypothesis
import pytest

from tests.leaks import Watch, watching

# Who is started in the background (`... &` in a script) ignores Ctrl-C, and so does whatever he starts. Tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Set by ``.ci/run``, which installs all that the tests need: there a skip is a failure, unless its reason begins with
#: "platform:" (this interpreter or operating system cannot run it) or "elsewhere:" (another tox environment runs it).
EVERYTHING_IS_THERE = os.environ.get("SESSIONS_SKIP_NOTHING") == "1"
ALLOWED = ("platform:", "elsewhere:")

# A slow machine is no failure. (Under CI=true hypothesis is repeatable by itself.)
if not os.environ.get("CI"):
    hypothesis.settings.register_profile("wsgi-session", deadline=None)
    hypothesis.settings.load_profile("wsgi-session")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (EVERYTHING_IS_THERE and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if reason.removeprefix("Skipped: ").startswith(ALLOWED):
        return
    report.outcome = "failed"
    report.longrepr = f"skipped, though everything should be there: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.fixture(scope="session", autouse=True)
def watch() -> Iterator[Watch]:
    """What is noted and searched for in the whole run."""
    with watching() as watch:
        yield watch


@pytest.fixture(autouse=True)
def no_token_and_no_secret_is_shown(watch: Watch) -> Iterator[None]:
    """Rule 8, in every test: neither in what the package logs, at any level, nor in a traceback with locals."""
    watch.found.clear()
    yield
    assert watch.found == []
