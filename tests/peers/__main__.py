"""Run the test suites of other packages with their own sessions and with ours: ``python -m tests.peers``.

Fetches each peer's source distribution from the package index, runs its suites twice in a fresh virtual environment,
and writes the table of docs/compatibility.md. Progress goes to stderr, the tests that fail to stdout. Ends with 1 if a
test fails only with our sessions and the peer's file in tests/peers/ gives no reason for it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import strftime

from tests.peers import allauth, beaker, django, flask, pyramid
from tests.peers.page import updated
from tests.peers.run import PeerError, Result, run_peer
from tests.support import ROOT

#: In the order of the table.
PEERS = (django.PEER, allauth.PEER, *flask.PEERS, pyramid.PEER, beaker.PEER)
PAGE = ROOT / "docs" / "compatibility.md"


def main(arguments: Sequence[str] | None = None) -> int:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(
        "python -m tests.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=f"only this peer; repeatable: {', '.join(names)}"
    )
    order = [suite.name for peer in PEERS for suite in peer.suites]
    parser.add_argument(
        "--suite", action="append", choices=order, metavar="SUITE", help="only this suite, as the table names it"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a new folder for the sources and logs, to look at")
    options = parser.parse_args(arguments)
    results: list[Result] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="peers-") as temporary:
        for peer in PEERS:
            suites = [suite for suite in peer.suites if not options.suite or suite.name in options.suite]
            if not suites or (options.only and peer.name not in options.only):
                continue
            try:
                found = run_peer(peer, suites, (options.keep or Path(temporary)) / peer.name, _say)
            except PeerError as error:
                failed = True
                print(f"{peer.name}: {error}", flush=True)
                continue
            # After each peer, so that an interruption loses only the one that is running.
            PAGE.write_text(updated(PAGE.read_text("utf-8"), found, order), "utf-8")
            for result in found:
                _show(result)
            results += found
    return int(failed or any(result.unexplained for result in results))


def _show(result: Result) -> None:
    for test in result.failing:
        print(f"{result.suite}: fails with its own sessions too: {test}")
    for test, reason in result.only_ours.items():
        print(f"{result.suite}: fails only with ours: {test}: {reason or 'UNEXPLAINED'}")
    for pattern in result.needless:
        print(f"{result.suite}: explains nothing any more: {pattern}")


def _say(text: str) -> None:
    print(f"{strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
