"""Break every engine under load, and print the results: ``python -m tests.faults``.

Progress goes to stderr, the table to stdout. Ends with 1 if a promise was not kept. Needs the packages of
``[all,test]``; an engine that is not here is skipped with the line that installs it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from functools import partial

import pytest

from bench.report import facts, say
from tests.faults.faults import FAULTS
from tests.faults.report import as_json, cells, table
from tests.faults.run import run


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.faults", description="Break every engine under load.")
    parser.add_argument("--only", metavar="NAME,…", help="these faults only: names, or what they begin with")
    parser.add_argument("--seconds", type=float, default=20.0, help="of load for each fault, at least (default: 20)")
    parser.add_argument("--list", action="store_true", help="print the names of the faults and end")
    parser.add_argument("--json", action="store_true", help="print all that is known as JSON")
    options = parser.parse_args()
    wanted = tuple(options.only.split(",")) if options.only else ("",)
    faults = [fault for fault in FAULTS if fault.name.startswith(wanted)]
    if options.list:
        for fault in faults:
            print(f"{fault.name:18} {fault.engine}: {fault.harm}")
        return 0
    if not faults:
        parser.error(f"--only {options.only}: no such fault; see --list")
    # So that every server is ended, as by Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    results = []
    stopped = False
    for number, fault in enumerate(faults, 1):
        try:
            result = run(fault, options.seconds, partial(_say, f"[{number}/{len(faults)}] "))
        except pytest.skip.Exception as reason:
            _tell(f"{fault.name}: skipped: {reason}")
            continue
        except KeyboardInterrupt:
            stopped = True
            _tell(f"{fault.name}: stopped; its servers are ended")
            break
        results.append(result)
        _tell(f"{fault.name}: {', '.join(cells(result)[2:])}")
        for what in result.broken:
            _tell(f"  NOT KEPT: {what}")
    if options.json:
        print(as_json(results))
    else:
        print(table([cells(result) for result in results]))
        for allowance in dict.fromkeys(result.fault.allowance for result in results if result.fault.allowance):
            names = ", ".join(result.fault.engine for result in results if result.fault.allowance == allowance)
            print(f"{names}: {allowance}.")
        print(", ".join(f"{name} {value}" for name, value in facts().items()))
    return int(stopped or any(result.broken for result in results))


def _say(where: str, text: str) -> None:
    say(where + text)


def _tell(text: str) -> None:
    say("")
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
