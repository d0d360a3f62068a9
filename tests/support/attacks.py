"""Addresses with which other libraries redirected visitors to another site, and the pieces of such addresses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

from hypothesis import strategies as st

from wsgi_session.helpers.paths import MAX_PATH

PAYLOADS = [
    json.loads(line) for line in (Path(__file__).parent / "open_redirects.txt").read_text(encoding="ascii").splitlines()
]
#: The pieces of the attacks, to be combined at random.
PIECES = ["/", "/", "\\", ".", "..", ";", "?", "#", "@", ":", "a", "é", "evil.example", "https:", "%2f", "%5C", "%2e"]
PIECES += ["%252f", "%09", "%0a", "%00", "%3f", "%23", "%", "\t", "\n", " ", "\x00", "&", "=", "\ud800"]

hostile = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join), st.sampled_from(PAYLOADS))


def leaves(location: str) -> str:
    """Return how ``location`` could lead to another site; an empty text if it cannot."""
    if not re.fullmatch(r"/[!-~]*", location) or set(location) & set('"<>\\^`{|}'):
        return "not a path in a header's characters"
    if len(location) > MAX_PATH:
        return "too long"
    path = re.split("[?#]", location)[0]
    return "starts with two slashes" if re.match(r"[/\\]{2}", unquote(path)) else ""
