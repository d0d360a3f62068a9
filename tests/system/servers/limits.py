"""How long a Cookie header each server takes, by the table in docs/stores-cookie.md."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.support import ROOT

PAGE = (ROOT / "docs" / "stores-cookie.md").read_text("utf-8")


class Limit(NamedTuple):
    """A row of the page's table."""

    bytes: int
    counts: str
    #: The status of a request that is over it; ``None``: the server hangs up.
    status: int | None
    setting: str


def limits() -> dict[str, Limit]:
    rows = re.findall(r"^\| ([^|]+) \| ([\d,]+) (bytes|KB), ([^|]+) \| ([^|]+) \| ([^|]*)\|$", PAGE, re.M)
    return {
        server: Limit(
            int(number.replace(",", "")) * (1024 if unit == "KB" else 1),
            counts,
            int(over) if over.isdigit() else None,
            setting.strip("` "),
        )
        for server, number, unit, counts, over, setting in rows
    }
