"""The Python that stands in a page of the documentation, to be run from there."""

from __future__ import annotations

import re


def python_of(text: str) -> str:
    """Return a page's Python, every line at its line number there, so that a failure points into the page."""
    lines, python = [], False
    for line in text.splitlines():
        fence = line.startswith("```")
        lines.append(line if python and not fence else "")
        python = line == "```python" if fence else python
    return "\n".join(lines)


def section(text: str, heading: str) -> str:
    """Return the section under ``## heading``, behind as many empty lines as the page has before it."""
    before, found, after = text.partition(f"\n## {heading}\n")
    assert found, f"no section {heading}"
    return "\n" * (before.count("\n") + 2) + re.split(r"\n## ", after)[0]
