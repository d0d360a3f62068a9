"""What pip installs: the package and nothing else, needing three libraries and nothing else."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support import ROOT

BUILD = "import setuptools.build_meta as backend; print(backend.build_wheel({folder!r}))"


def build(folder: Path, copied_at: float | None = None, **environ: str) -> Path:
    """Return the wheel of this tree, built in ``folder`` from a copy of it: a build leaves files behind."""
    copy = folder / "source"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__"))
    if copied_at is not None:
        for path in copy.rglob("*"):
            os.utime(path, (copied_at, copied_at))
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(folder=str(folder))],
        cwd=copy,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(build(tmp_path_factory.mktemp("wheel"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


def requirements(metadata: Message, extra: str) -> set[str]:
    """Names of what is required with ``extra`` and not without it; with ``""``, of what is always required."""
    found = set()
    for line in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        if requirement.marker is None:
            if not extra:
                found.add(requirement.name)
        elif extra and requirement.marker.evaluate({"extra": extra}):
            found.add(requirement.name)
    return found


def test_a_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    folders = {name.split("/")[0] for name in wheel.namelist()}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"wsgi_session"}


def test_a_wheel_holds_every_module_of_the_package(wheel: zipfile.ZipFile) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "wsgi_session").rglob("*.py")}
    assert modules - set(wheel.namelist()) == set()


def test_type_checkers_see_that_the_package_is_typed(wheel: zipfile.ZipFile) -> None:
    assert "wsgi_session/py.typed" in wheel.namelist()


def test_three_libraries_are_required_and_no_more(metadata: Message) -> None:
    assert requirements(metadata, "") == {"WebOb", "itsdangerous", "msgpack"}


def test_the_extra_all_is_every_extra_for_users(metadata: Message) -> None:
    for_users = set(metadata.get_all("Provides-Extra", [])) - {"all", "test", "docs"}
    everything = {
        extra
        for line in metadata.get_all("Requires-Dist", [])
        if (requirement := Requirement(line)).name == "wsgi-session"
        for extra in requirement.extras
    }
    assert everything == for_users
    assert for_users >= {"redis", "sql", "crypto", "cli", "demo"}


def test_the_licence_is_stated_and_enclosed(wheel: zipfile.ZipFile, metadata: Message) -> None:
    assert metadata["License-Expression"] == "MIT"
    (name,) = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    assert wheel.read(name) == (ROOT / "LICENSE").read_bytes()


def test_paste_finds_the_filter(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    entry_points = wheel.read(name).decode()
    assert "[paste.filter_app_factory]\n" in entry_points
    assert "\nmain = wsgi_session.middleware:filter_app_factory\n" in entry_points
    # Under Beaker's names.
    beaker = "beaker_session = wsgi_session.integrations.beaker:session_filter"
    assert f"\n{beaker}_app_factory\n" in entry_points
    assert f"[paste.filter_factory]\n{beaker}_factory\n" in entry_points


def test_the_command_line_is_installed_as_a_script(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "[console_scripts]\nwsgi-session = wsgi_session.__main__:main\n" in wheel.read(name).decode()


def test_the_versions_of_python_that_are_named_are_those_that_ci_runs(metadata: Message) -> None:
    named = [
        classifier.rpartition(" ")[2]
        for classifier in metadata.get_all("Classifier", [])
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", classifier)
    ]
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    (counted,) = re.findall(r"^for version in (3\.[\d. ]+); do$", ci, re.M)
    (newest,) = re.findall(r'^newest="(.*)"$', ci, re.M)
    (brought,) = re.findall(r'^PYTHONS=.*-"(.*)"\}$', (ROOT / "tests" / "newest.sh").read_text("utf-8"), re.M)
    assert named == counted.split()
    assert newest == brought
    environments = re.findall(r"\bpy3(\d+)\b", (ROOT / "tox.ini").read_text("utf-8").partition("[testenv]")[0])
    assert named == [f"3.{minor}" for minor in environments]
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert f"on CPython {named[0]} to {named[-1]}." in readme


def test_the_changelog_has_a_section_for_this_version(metadata: Message) -> None:
    assert f"\n## [{metadata['Version']}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.full
def test_a_release_built_again_is_the_same_to_the_byte(tmp_path: Path) -> None:
    """Elsewhere, at another time, in another zone: so that anybody can check what the index has."""
    here, there = tmp_path / "here", tmp_path / "some where else"
    for folder in (here, there):
        folder.mkdir()
    epoch = "1780000000"
    first = build(here, SOURCE_DATE_EPOCH=epoch, TZ="Pacific/Kiritimati", PYTHONHASHSEED="1")
    again = build(there, SOURCE_DATE_EPOCH=epoch, TZ="UTC", PYTHONHASHSEED="2", copied_at=1_500_000_000.0)
    assert first.name == again.name
    assert contents(first) == contents(again)
    assert first.read_bytes() == again.read_bytes()


def contents(wheel: Path) -> list[str]:
    """Return what a wheel holds, so that a difference can be read."""
    with zipfile.ZipFile(wheel) as opened:
        return [f"{info} {info.date_time} {info.CRC:x}" for info in opened.infolist()]
