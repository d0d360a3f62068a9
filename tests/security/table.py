"""Makes the table of docs/security.md out of the tests: ``python -m tests.security.table`` writes it into the page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent.parent / "docs" / "security.md"
START = "<!-- From here on made by python -m tests.security.table: change the tests, not this. -->\n"
#: The groups, in the order of the cases.
FILES = ["ids", "logout", "expiry", "sealing", "cookie_header", "caches", "floods", "isolation", "helpers"]
# What a test asks for says what it runs over.
_EVERY_STORE = {"site", "browser", "make_site", "store", "kind"}


class Test(NamedTuple):
    """One test, as its source says it."""

    name: str
    numbers: list[int]
    #: The first paragraph of its docstring.
    promise: str
    #: What happened elsewhere, by the case's number.
    happened: dict[int, str]
    #: The stores and servers that it runs over.
    over: str
    #: Why it does not run over ``cookie://``, if it does not.
    why_not: str


def tests_of(file: str) -> list[Test]:
    """Return the tests of a group that name a case."""
    tree = ast.parse((FOLDER / f"test_{file}.py").read_text("utf-8"))
    return [test for node in tree.body if isinstance(node, ast.FunctionDef) for test in _test(node)]


def _test(node: ast.FunctionDef) -> Iterator[Test]:
    marks = {ast.unparse(mark.func): mark for mark in node.decorator_list if isinstance(mark, ast.Call)}
    if "case" not in marks:
        return
    numbers = [ast.literal_eval(argument) for argument in marks["case"].args]
    promise, *paragraphs = [" ".join(text.split()) for text in (ast.get_docstring(node) or "").split("\n\n")]
    happened = {}
    why_not = ""
    for text in paragraphs:
        if match := re.match(r"Case (\d+): (.+)", text):
            happened[int(match.group(1))] = match.group(2)
        elif text.startswith("Not over cookie://: "):
            why_not = text.partition(": ")[2]
    asked = {argument.arg for argument in node.args.args}
    yield Test(node.name, numbers, promise, happened, _over(asked, marks), why_not)


def _over(asked: set[str], marks: dict[str, ast.Call]) -> str:
    if "wire" in asked:
        return "waitress, gunicorn"
    if "sealed" in asked:
        return "`cookie://`"
    if not asked & _EVERY_STORE:
        return ""
    flags = [] if "pytest.mark.needs" not in marks else [ast.unparse(flag) for flag in marks["pytest.mark.needs"].args]
    return {"": "every store", "SERVER": "every store but `cookie://`"}.get("".join(flags), "stores that sweep")


def title_of(file: str) -> str:
    """Return the heading of a group: the first line of its module."""
    docstring = ast.get_docstring(ast.parse((FOLDER / f"test_{file}.py").read_text("utf-8")))
    return (docstring or "").splitlines()[0].rstrip(".")


def table() -> str:
    """Return the part of the page that is made from the tests."""
    return START + "".join(_group(file) for file in FILES)


def _group(file: str) -> str:
    rows: dict[int, list[Test]] = {}
    for test in tests_of(file):
        for number in test.numbers:
            rows.setdefault(number, []).append(test)
    head = f"\n### {title_of(file)}\n\nIn `tests/security/test_{file}.py`.\n\n"
    head += "| case | what happened elsewhere | here | test |\n| --- | --- | --- | --- |\n"
    return head + "".join(_row(number, rows[number]) for number in sorted(rows))


def _row(number: int, tests: list[Test]) -> str:
    happened = " ".join(test.happened[number] for test in tests if number in test.happened)
    promises, names = [], []
    for test in tests:
        promises.append(test.promise + (f" (Not over `cookie://`: {test.why_not})" if test.why_not else ""))
        names.append(f"`{test.name}`" + (f" ({test.over})" if test.over else ""))
    cells = [str(number), happened, "<br>".join(promises), "<br>".join(names)]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("``", "`") for cell in cells) + " |\n"


def page() -> str:
    """Return the page with the table as the tests are now."""
    return PAGE.read_text("utf-8").partition(START)[0] + table()


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
