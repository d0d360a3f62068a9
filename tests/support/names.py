"""Names of parametrized tests that are the same in every process, so that a test can be run again by its name."""

from __future__ import annotations

import re


def name_of(value: object) -> str:
    """Return the ``repr`` of a value without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
