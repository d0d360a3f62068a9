"""How a browser reads a URL, tested with Node's parser, which follows the WHATWG standard as browsers do."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

import pytest

SITE = "https://site.example"
_SCRIPT = """
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const found = given.map((text) => {
  try {
    const url = new URL(text, "https://site.example/login");
    return [url.origin, url.pathname];
  } catch (error) {
    return ["refused", ""];
  }
});
process.stdout.write(JSON.stringify(found));
"""

needs_a_browsers_parser = pytest.mark.skipif(
    shutil.which("node") is None, reason="platform: no Node here, which parses URLs as browsers do"
)


class Followed(NamedTuple):
    origin: str
    path: str


def follow(locations: Sequence[str]) -> list[Followed]:
    """Return where a browser on ``https://site.example/login`` goes for each of ``locations``."""
    node = shutil.which("node")
    assert node is not None
    answer = subprocess.run(
        [node, "-e", _SCRIPT], input=json.dumps(locations), capture_output=True, text=True, check=True
    )
    return [Followed(*found) for found in json.loads(answer.stdout)]
