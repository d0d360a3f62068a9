"""Extract the Python code of a documentation page, to run it."""

from __future__ import annotations

import re


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
