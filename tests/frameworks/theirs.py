"""A framework's own tests, from the source distribution of the version that is installed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tarfile
import tempfile
import unittest
from importlib.metadata import version
from pathlib import Path

import pytest


def their_tests_in(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, name: str, pattern: str
) -> Path:
    """Return the folder of the package that has the files matching ``pattern``, named after their folder.

    The source distribution of ``name`` is downloaded once, and kept in pytest's cache if it has one.
    """
    kept_for_ever = getattr(request.config, "cache", None)
    cache = kept_for_ever.mkdir(name.lower()) if kept_for_ever else tmp_path_factory.mktemp(name)
    kept: Path = cache / version(name)
    if not kept.exists():
        partial = Path(tempfile.mkdtemp(dir=cache))
        _extract(_download(partial, f"{name}=={version(name)}"), partial / Path(pattern).parent.name, pattern)
        with contextlib.suppress(OSError):  # Another interpreter's tests were at the same, and first.
            partial.rename(kept)
    return kept


def run(case: type[unittest.TestCase], at_least: int) -> None:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    problems = [text for _, text in (*result.errors, *result.failures)]
    assert not problems, "\n".join(problems)
    assert not result.skipped, result.skipped
    assert result.testsRun >= at_least, f"only {result.testsRun} tests were found"


def _download(folder: Path, requirement: str) -> Path:
    wanted = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", requirement]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"let pip reach a package index for: pip download {' '.join(wanted)}: {done.stderr[-300:]}")
    (archive,) = folder.iterdir()
    return archive


def _extract(archive: Path, package: Path, pattern: str) -> None:
    package.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            inside = Path(member.name)
            if inside.match(pattern) and (source := tar.extractfile(member)):
                (package / inside.name).write_bytes(source.read())
    archive.unlink()
