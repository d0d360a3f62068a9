"""Rules for every test: nothing shows a token or a secret, and in CI no test is skipped unnoticed.

``python -m pytest`` takes the quick run, ``--full`` everything, and a path everything under it.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.leaks import Watch, watching

# A process in the background (`... &` in a script) ignores Ctrl-C, and so do its children. Tests send Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Set by ``.ci/run``, which installs all that the tests need: there a skip is a failure, unless its reason begins with
#: "platform:" (this interpreter or operating system cannot run it) or "elsewhere:" (another tox environment runs it).
EVERYTHING_IS_THERE = os.environ.get("SESSIONS_SKIP_NOTHING") == "1"
ALLOWED = ("platform:", "elsewhere:")

#: What the quick run leaves out: tests that start engines, servers, browsers or other programs, and what takes long.
FULL_ONLY = frozenset(
    Path(__file__).parent / path
    for path in (
        "system",
        "faults",
        "fuzz",
        "peers",
        "frameworks/test_flask_socketio.py",
        "frameworks/test_moving_phases.py",
        "security/test_denial_of_service.py",
        "demo/test_pages.py",
        "project/test_conftest.py",
        "project/test_site.py",
        "stores/test_conformance_itself.py",
        "stores/test_deadlines.py",
        "stores/test_migrating.py",
        "stores/test_migrating_engines.py",
        "stores/test_redis.py",
        "stores/test_redis_failover.py",
        "stores/test_redis_faults.py",
        "stores/test_redis_server.py",
        "stores/test_sql.py",
        "stores/test_sql_connections.py",
        "stores/test_sql_failover.py",
        "stores/test_sql_faults.py",
        "stores/test_sql_locks.py",
        "stores/test_sql_roles.py",
        "stores/test_sql_sources.py",
        "stores/test_sqlite_log.py",
        "stores/test_url_secrets.py",
    )
)

# A slow machine is not a failure. (Under CI=true hypothesis is repeatable by itself.)
if not os.environ.get("CI"):
    hypothesis.settings.register_profile("wsgi-session", deadline=None)
    hypothesis.settings.load_profile("wsgi-session")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="run everything: over engines, servers and browsers too; 20 minutes"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Find out whether neither ``--full`` nor a path was asked for. If so, let pytest-xdist use every core."""
    if hasattr(config, "workerinput"):  # This is one of its processes, which cannot find out by themselves.
        config.option.quick = config.workerinput["quick"]
        return
    config.option.quick = not config.option.full and config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if config.option.quick and not config.option.usepdb and config.getoption("numprocesses", 0) is None:
        config.option.numprocesses = os.cpu_count()
        config.option.dist = "worksteal"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["quick"] = node.config.option.quick


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if collection_path in FULL_ONLY and config.option.quick else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let no garbage collection go through the thousands of tests while they are collected."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.quick:
        left_out = {item for item in items if item.get_closest_marker("engine") or item.get_closest_marker("full")}
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.option.quick:
        terminalreporter.write_line(
            "The quick run: without engines, servers and browsers. Everything, in 20 minutes: python -m pytest --full"
        )


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
    """The watch that notes and searches for secrets in the whole run."""
    with watching() as watch:
        yield watch


@pytest.fixture(autouse=True)
def no_token_and_no_secret_is_shown(watch: Watch) -> Iterator[None]:
    """Rule 8, in every test: neither in what the package logs, at any level, nor in a traceback with locals."""
    watch.found.clear()
    yield
    assert watch.found == []
