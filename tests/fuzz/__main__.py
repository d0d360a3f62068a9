"""Throw damaged input at the package, a million at a time: ``python -m tests.fuzz headers --inputs 1000000 --seed 1``.

Progress goes to stderr, the figures to stdout; Ctrl-C prints those so far. Ends with 1 if anything was found.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from bench.report import say
from tests.fuzz.growth import measure
from tests.fuzz.promises import PROMISES
from tests.fuzz.run import Report, run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, promise in PROMISES.items():
        command = commands.add_parser(name, help=promise.__doc__)
        command.add_argument("--inputs", type=int, default=1_000_000, help="how many (default: 1,000,000)")
        command.add_argument("--seed", type=int, default=1, help="the same inputs for the same one (default: 1)")
    commands.add_parser("growth", help="measure what twice the size costs")
    options = parser.parse_args(arguments)
    # A damaged record is an error in the log: here it is the rule.
    logging.disable(logging.CRITICAL)
    try:
        return measure() if options.command == "growth" else _fuzz(options.command, options.inputs, options.seed)
    finally:
        logging.disable(logging.NOTSET)


def _fuzz(name: str, inputs: int, seed: int) -> int:
    report = Report(name, seed)
    stopped = False
    try:
        run(PROMISES[name](), inputs, report, say)
    except KeyboardInterrupt:
        stopped = True
    say("")
    for finding in report.findings:
        print(finding)
    print(f"{report}{', stopped' if stopped else ''}")
    return int(stopped or bool(report.findings))


if __name__ == "__main__":
    sys.exit(main())
