"""Let atheris look for input that reaches new code.

``python -m tests.fuzz.coverage_guided cookies -- -max_total_time=600``: the arguments after ``--`` go to libFuzzer. The
corpus begins with valid input; it is in a temporary folder unless ``--corpus`` names one. This needs atheris (PyPI),
which has wheels for Linux and macOS.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: For each target, the module and class of its promises. They are imported late, so that atheris sees the imports.
TARGETS: dict[str, list[tuple[str, str]]] = {
    "cookies": [("headers", "Cookies"), ("headers", "Headers")],
    "codec": [("records", "Codec"), ("records", "Records")],
    "sealed": [("sealed", "Sealed"), ("sealed", "Sealings")],
}


def promises(target: str) -> list[Any]:
    """Return the promises for ``target``."""
    return [getattr(importlib.import_module(f"tests.fuzz.{module}"), name)() for module, name in TARGETS[target]]


def hold(each: list[Any], data: bytes) -> None:
    """Check one of the promises, which the first byte selects, with the rest of ``data``."""
    if data:
        each[data[0] % len(each)].hold(data[1:], data[0] // len(each))


def seeds(each: list[Any]) -> Iterable[bytes]:
    """Yield valid input for each promise, and for some of the application's actions."""
    for place, promise in enumerate(each):
        for number, data in enumerate(promise.valid):
            yield bytes([place + len(each) * (number % 8)]) + data


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz.coverage_guided")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--corpus", type=Path, help="a folder for the inputs that reach new code")
    parser.add_argument("libfuzzer", nargs="*", metavar="-- -max_total_time=600 …", help="options of libFuzzer")
    options = parser.parse_args()
    try:
        import atheris
    except ImportError as error:
        print(f"skipped: {error}. pip install atheris, on a Python that it has a wheel for.", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["wsgi_session"]):
        each = promises(options.target)
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        corpus = options.corpus or Path(folder, "corpus")
        corpus.mkdir(exist_ok=True)
        for number, data in enumerate(seeds(each)):
            Path(corpus, f"valid-{number}").write_bytes(data)
        words = Path(folder, "words")
        words.write_text("".join(f'"{_escaped(word)}"\n' for one in each for word in one.words if len(word) < 64))
        atheris.Setup(
            [sys.argv[0], f"-dict={words}", "-print_final_stats=1", *options.libfuzzer, str(corpus)],
            lambda data: hold(each, data),
        )
        # Ends the process: with 0 when the time is over, otherwise after writing the failing input to a file.
        atheris.Fuzz()
    return 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
