"""Extract the Python code of a documentation page, and run it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

from wsgi_session import SessionMiddleware, login
from wsgi_session.config.keygen import new_secret
from wsgi_session.stores import Store


def python_of(text: str) -> str:
    """Return a page's Python code, with each line at its line number in the page, to which a traceback then points."""
    lines, python = [], False
    for line in text.splitlines():
        fence = line.startswith("```")
        lines.append(line if python and not fence else "")
        python = line == "```python" if fence else python
    return "\n".join(lines)


def section(text: str, heading: str) -> str:
    """Return the section under ``## heading``, after as many empty lines as the page has lines before it."""
    before, found, after = text.partition(f"\n## {heading}\n")
    assert found, f"no section {heading}"
    return "\n" * (before.count("\n") + 2) + re.split(r"\n## ", after)[0]


def run_page(page: Path) -> dict[str, Any]:
    """Run a page's Python within one request, as its examples do, and return what they leave behind.

    Given are ``environ`` and ``session``, as in a request of Ann's; ``SECRET``; ``site``, an application; and
    ``middleware``.
    """
    names: dict[str, Any] = {"__name__": page.stem, "SECRET": new_secret()}

    def site(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if "environ" not in names:
            login(environ, {"id": 5, "name": "Ann", "email": "ann@example.com"})
            names.update(environ=environ, session=environ["session"], site=site)
            exec(compile(python_of(page.read_text("utf-8")), str(page), "exec"), names)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"site"]

    environ: dict[str, Any] = {"QUERY_STRING": "next=/cart"}
    setup_testing_defaults(environ)
    logger = logging.getLogger("wsgi_session")
    level = logger.level
    try:
        with SessionMiddleware(site, secret=names["SECRET"], store="sqlite:///given.db") as middleware:
            names["middleware"] = middleware
            list(middleware(environ, lambda status, headers: lambda data: None))
    finally:
        # A page says how to see more of the log.
        logger.setLevel(level)
    for thing in names.values():
        if isinstance(thing, (SessionMiddleware, Store)):
            thing.close()
    return names
