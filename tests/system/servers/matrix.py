"""The table of docs/frameworks.md: which example works on which server, tried now.

    python -m tests.system.servers.matrix

writes it into the page, between its two marks.
"""

from __future__ import annotations

import platform
import re
import sys
from datetime import datetime, timezone
from importlib.metadata import version

from tests.support import ROOT
from tests.system.servers.launchers import LAUNCHERS, Launcher
from tests.system.servers.shop import NAMES, Shopper

APPLICATION = "tests.system.servers.examples:application"
PAGE = ROOT / "docs" / "frameworks.md"
BEGIN, END = "<!-- matrix:begin -->\n", "<!-- matrix:end -->"
#: The distribution that each example is about.
FRAMEWORKS = {
    "bottle": "Bottle",
    "cherrypy": "CherryPy",
    "django": "Django",
    "falcon": "Falcon",
    "flask": "Flask",
    "plain": "",
    "pyramid": "Pyramid",
    "webob": "WebOb",
    "webpy": "web.py",
    "werkzeug": "Werkzeug",
}
WORKS = "yes"


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """Try everything, and return the table with the versions."""
    columns = [results(launcher) for launcher in LAUNCHERS]
    head = ["", *(f"{launcher.name} {version_of(launcher.distribution)}".strip() for launcher in LAUNCHERS)]
    lines = [row(head), row(["---"] * len(head))]
    for name in NAMES:
        shown = f"[{name}](../examples/{name}_app.py) {version_of(FRAMEWORKS[name])}".strip()
        lines.append(row([shown, *(column[name] for column in columns)]))
    python = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    return "\n".join([*lines, "", f"{python}, {datetime.now(timezone.utc).date()}.", ""])


def results(launcher: type[Launcher]) -> dict[str, str]:
    """Return what became of a visit to each example on this server."""
    with launcher(APPLICATION).running() as server:
        return {name: result(server, name) for name in NAMES}


def result(server: Launcher, name: str) -> str:
    shopper = Shopper(server.port, name)
    try:
        shopper.visit()
    except (AssertionError, OSError) as error:
        print(f"{name} on {server.name}: {error!r}", file=sys.stderr)
        return "**no**"
    finally:
        shopper.close()
    return WORKS


def version_of(distribution: str) -> str:
    return version(distribution) if distribution else ""


def written() -> tuple[list[str], list[str]]:
    """Return the examples and the servers of the table that is in the page; each cell of it says that it works."""
    text = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    head, _, *lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(cells[1:] == [WORKS] * len(LAUNCHERS) for cells in rows), text
    examples = [name for cells in rows for name in re.findall(r"^\[(\w+)\]", cells[0])]
    return examples, [cell.split()[0] for cell in head.split("|")[2:-1]]


if __name__ == "__main__":
    page = PAGE.read_text("utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{PAGE} has no {BEGIN.strip()} and {END} for the table to stand between")
    PAGE.write_text(before + begin + table() + end + after, "utf-8")
