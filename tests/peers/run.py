"""Fetch a peer's source distribution, install it into a fresh virtual environment, and run its suites twice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.peers.peer import INSIDE, Command, Peer, Place, Suite
from tests.support import ROOT

#: Seconds that one run of one suite may take.
LIMIT = 3600
#: How many characters to show of what a command that failed has printed.
SHOWN = 3000

#: What became of each test: passed, failed or skipped.
Outcomes = Mapping[str, str]


class PeerError(Exception):
    """A peer could not be fetched, installed or run."""


@dataclass(frozen=True)
class Result:
    """What came of a suite."""

    suite: str
    #: Of the peer: its name on the package index, and the version.
    version: str
    #: How many tests ran with our sessions.
    run: int
    #: The tests that fail with the peer's own sessions.
    failing: Sequence[str]
    #: The tests that fail only with ours, each with the reason, or ``None`` if the peer's file has none.
    only_ours: Mapping[str, str | None]
    #: The patterns that explain nothing, because no such test fails only with ours.
    needless: Sequence[str]

    @property
    def unexplained(self) -> list[str]:
        return [test for test, reason in self.only_ours.items() if reason is None]


def run_peer(peer: Peer, suites: Sequence[Suite], folder: Path, say: Callable[[str], None]) -> list[Result]:
    """Run these suites of ``peer``; ``folder`` must be new. Raises :class:`PeerError`."""
    say(f"{peer.name}: fetching {peer.distribution}")
    source, version = _fetch(peer, folder)
    say(f"{peer.name}: installing {peer.distribution} {version} and what its tests need")
    place = Place(source, _install(peer, source, folder))
    peer.prepare(place)
    results = []
    for suite in suites:
        outcomes = []
        for ours in (False, True):
            whose = "ours" if ours else "its own"
            say(f"{suite.name}: running with {whose}")
            outcomes.append(_run(suite.command(ours), place, _report(folder, suite, whose)))
            say(f"{suite.name}: with {whose}, {summary(outcomes[-1])}")
        results.append(compare(suite, version, *outcomes))
    return results


def compare(suite: Suite, version: str, theirs: Outcomes, ours: Outcomes) -> Result:
    """Return what differs between the two runs of a suite. A test that has disappeared has failed."""
    failing = [test for test, outcome in theirs.items() if outcome == "failed"]
    missing = theirs.keys() - ours.keys()
    only_ours = sorted({*_failed(ours), *missing} - set(failing))
    explained = {test: _reason(test, suite.reasons) for test in only_ours}
    needless = [pattern for pattern in suite.reasons if not any(fnmatchcase(test, pattern) for test in only_ours)]
    run = sum(outcome != "skipped" for outcome in ours.values())
    return Result(suite.name, version, run, sorted(failing), explained, needless)


def summary(outcomes: Outcomes) -> str:
    """Return how many tests of a run did what."""
    run = sum(outcome != "skipped" for outcome in outcomes.values())
    return f"{run} run, {len(_failed(outcomes))} failing, {len(outcomes) - run} skipped"


def _failed(outcomes: Outcomes) -> list[str]:
    return [test for test, outcome in outcomes.items() if outcome == "failed"]


def _reason(test: str, reasons: Mapping[str, str]) -> str | None:
    return next((reason for pattern, reason in reasons.items() if fnmatchcase(test, pattern)), None)


def _fetch(peer: Peer, folder: Path) -> tuple[Path, str]:
    """Return the folder of the unpacked source distribution, and its version."""
    downloads, sources = folder / "download", folder / "source"
    downloads.mkdir(parents=True)
    wanted = ["--no-deps", "--no-binary", ":all:", "--dest", str(downloads), peer.distribution]
    _call([sys.executable, "-m", "pip", "download", "--quiet", *wanted])
    (archive,) = downloads.iterdir()
    with tarfile.open(archive) as tar:
        tar.extractall(sources, filter="data")
    (source,) = sources.iterdir()
    return source, source.name.rpartition("-")[2]


def _install(peer: Peer, source: Path, folder: Path) -> Path:
    """Return the Python of a new virtual environment with the peer, what its tests need, and this checkout."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    _call([str(python), "-m", "pip", "install", "--quiet", str(source), "-e", str(ROOT), *peer.requirements])
    return python


def _report(folder: Path, suite: Suite, whose: str) -> Path:
    name = re.sub(r"\W+", "-", f"{suite.name} {whose}")
    return folder / f"{name}.json"


def _run(command: Command, place: Place, report: Path) -> Outcomes:
    """Return the result of each test. A failed test is not an error."""
    report.unlink(missing_ok=True)
    paths = [str(INSIDE), *filter(None, [command.environ.get("PYTHONPATH")])]
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "DJANGO"))},
        **command.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PEERS_REPORT": str(report),
    }
    arguments = [str(place.python), *command.arguments]
    folder = place.source / command.folder
    # Kept with --keep, to see why a test fails.
    log = report.with_suffix(".log")
    with log.open("wb") as file:
        try:
            subprocess.run(
                arguments,
                cwd=folder,
                env=environ,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                timeout=LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"{error}: {log}") from error
    shown = log.read_text("utf-8", errors="replace")
    if not report.exists():
        raise PeerError(f"{' '.join(arguments)} wrote no report:\n{shown[-SHOWN:]}")
    outcomes: Outcomes = json.loads(report.read_text("utf-8"))
    if not outcomes:
        raise PeerError(f"{' '.join(arguments)} found no tests:\n{shown[-SHOWN:]}")
    return outcomes


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"{' '.join(command)}:\n{done.stderr[-SHOWN:]}")
