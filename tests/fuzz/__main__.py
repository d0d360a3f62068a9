"""Give the package a million damaged inputs: ``python -m tests.fuzz headers --inputs 1000000 --seed 1``.

Progress goes to stderr, the figures to stdout; Ctrl-C prints the figures so far. The exit status is 1 after a finding.
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
        command.add_argument("--inputs", type=int, default=1_000_000, help="number of inputs (default: 1,000,000)")
        command.add_argument("--seed", type=int, default=1, help="the same seed gives the same inputs (default: 1)")
    commands.add_parser("growth", help="measure the cost of twice the size")
    options = parser.parse_args(arguments)
    # Each damaged record is logged as an error, and here nearly all are damaged.
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
