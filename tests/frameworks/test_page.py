"""What docs/frameworks.md has to paste works as it stands there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.frameworks.paste import PAGE
from tests.support import ROOT
from tests.support.missing import why_missing
from tests.support.pages import python_of, section
from tests.support.servers.process import free_port, wait_until
from wsgi_session.config.keygen import new_secret

TEXT = PAGE.read_text("utf-8")
#: Heading, and the module without which there is nothing to run.
FRAMEWORKS = {
    "Plain WSGI": "wsgi_session",
    "WebOb": "webob",
    "Werkzeug": "werkzeug",
    "Flask": "flask",
    "Django": "django",
    "Pyramid": "pyramid",
    "Bottle": "bottle",
    "Falcon": "falcon",
    "CherryPy": "cherrypy",
    "web.py": "web",
}

#: Runs a section and what serves it, and says where it would listen.
LISTENING = """
import socket
from tests.frameworks.paste import run
from wsgi_session.config.keygen import new_secret

def bind(self, address):
    print(*address[:2], flush=True)
    raise SystemExit

names = run({heading!r}, SECRET=new_secret())
socket.socket.bind = bind
exec({lines!r}, names)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All of them at once, each in a folder of its own."""
    processes = {heading: paste(heading, tmp_path_factory.mktemp("paste")) for heading in filter(installed, FRAMEWORKS)}
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


def installed(heading: str) -> bool:
    return find_spec(FRAMEWORKS[heading]) is not None


def paste(heading: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.frameworks.paste", heading],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("heading", FRAMEWORKS)
def test_ten_lines_send_a_stranger_to_the_login_and_know_who_is_logged_in(
    heading: str, running: dict[str, subprocess.Popen[str]]
) -> None:
    if heading not in running:
        pytest.skip(why_missing(heading))
    out, errors = running[heading].communicate(timeout=60)
    assert running[heading].returncode == 0, errors
    (status, location, _), (found, _, text), (refused, _, answer) = json.loads(out.splitlines()[-1])
    assert (status, urlsplit(location)[2:]) == (302, ("/login", "next=/profile", ""))
    assert found == 200
    assert "ann@example.com" in text
    # A script is refused with the address of the login.
    assert (refused, json.loads(answer)) == (401, {"error": "login_required", "login_url": "/login"})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The port of each block, saved and served as the page says; Django's needs a project around it."""
    (lines,) = re.findall(r"^```python\n(import os\n.*?)^```$", TEXT, re.M | re.S)
    (command,) = re.findall(r"^waitress-serve (\S+) shop:app$", TEXT, re.M)
    assert command == "--listen=127.0.0.1:8000"
    processes, ports = [], {}
    for heading in filter(installed, FRAMEWORKS):
        if heading == "Django":
            continue
        folder, ports[heading] = tmp_path_factory.mktemp("served"), free_port()
        (folder / "shop.py").write_text(lines + python_of(section(TEXT, heading)), "utf-8")
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "waitress", f"--listen=127.0.0.1:{ports[heading]}", "shop:app"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "SESSION_SECRET": new_secret()},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    yield ports
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("heading", [heading for heading in FRAMEWORKS if heading != "Django"])
def test_a_block_is_served_by_the_command_that_the_page_gives(heading: str, served: dict[str, int]) -> None:
    if heading not in served:
        pytest.skip(why_missing(heading))
    wait_until(lambda: listens(served[heading]), f"{heading} is served")
    connection = HTTPConnection("127.0.0.1", served[heading], timeout=30)
    connection.request("GET", "/profile")
    answer = connection.getresponse()
    connection.close()
    assert (answer.status, urlsplit(answer.headers["Location"])[2:]) == (302, ("/login", "next=/profile", ""))


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_every_framework_has_a_section_and_every_section_a_framework() -> None:
    headings = re.findall(r"^## (.*)$", TEXT, re.M)
    assert headings == [
        *FRAMEWORKS,
        "Any other",
        "Beaker",
        "Websockets and server-sent events",
        "Frameworks and servers",
    ]


@pytest.mark.parametrize("heading", FRAMEWORKS)
def test_a_section_is_a_dozen_lines_to_paste_and_names_its_example(heading: str) -> None:
    for block in re.findall(r"^```python\n(.*?)^```$", section(TEXT, heading), re.M | re.S):
        assert len([line for line in block.splitlines() if line]) <= 12, block
    assert python_of(section(TEXT, heading)).strip()
    (example,) = re.findall(r"\]\(\.\./examples/(\w+_app\.py)\)", section(TEXT, heading))
    assert (ROOT / "examples" / example).exists()


@pytest.mark.parametrize("heading", ["Bottle", "CherryPy", "web.py"])
def test_what_serves_it_runs_after_the_ten_lines_and_listens_on_this_machine_only(heading: str, tmp_path: Path) -> None:
    if not installed(heading):
        pytest.skip(why_missing(heading))
    sentence = section(TEXT, heading).partition("Serve it with")[2]
    lines = re.findall(r"`([^`]+)`", re.split(r"The (?:session|whole shop)", sentence)[0])
    program = LISTENING.format(heading=heading, lines="\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1:] == ["127.0.0.1 8080"], done.stderr


def test_the_options_of_djangos_engine_are_named() -> None:
    pytest.importorskip("django", reason="pip install Django")
    from wsgi_session.integrations.django_site import _OPTIONS

    (row,) = re.findall(r"^\| `WSGI_SESSION_OPTIONS` \|.*$", TEXT, re.M)
    assert set(re.findall(r"`(\w+)`", row)) == {"WSGI_SESSION_OPTIONS", *_OPTIONS}
