"""Visits to the shop of a page on moving, in a process of its own, as after a deployment.

``python -m tests.frameworks.moving_visits FILE``: FILE has a WSGI application, ``app``. Reads and writes JSON. In: each
visitor's cookies, and the visits as pairs of visitor and path. Out: the text of each page, and the cookies afterwards.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

from tests.support.client import Client


def main(file: Path) -> None:
    given = json.load(sys.stdin)
    os.chdir(file.parent)
    # Django imports its settings and URLs by name.
    sys.path.insert(0, str(file.parent))
    app = runpy.run_path(str(file))["app"]
    visitors = {name: Client(app) for name in given["jars"]}
    for name, jar in given["jars"].items():
        visitors[name].jar = jar
    texts = []
    for name, path in given["visits"]:
        # Beaker begins its header with a space, which a browser removes, and wsgiref's validator refuses.
        texts.append(visitors[name].open(path, lint=False).text)
        visitors[name].jar = {cookie.strip(): value for cookie, value in visitors[name].jar.items()}
    json.dump({"texts": texts, "jars": {name: visitor.jar for name, visitor in visitors.items()}}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
