"""What a peer is: a package with a test suite that can run with its own sessions, and with ours.

To add one, write a file like ``django.py`` with its :class:`Peer`, and name it in ``__main__.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: The folder of modules that a suite's process can import by their bare names: it is on its PYTHONPATH.
INSIDE = Path(__file__).parent / "inside"


#: A reason that several of Django's applications share.
FEWER_QUERIES = "counts queries: a session makes none on Django's connection"


@dataclass(frozen=True)
class Place:
    """Where the suites of one peer run."""

    #: The peer's source distribution, unpacked. The commands run there.
    source: Path
    #: The Python of a fresh virtual environment with the peer, its requirements and this checkout.
    python: Path


@dataclass(frozen=True)
class Command:
    """What runs a suite: arguments of Python, and environment variables.

    The process must import ``report_pytest`` or ``report_unittest`` of the folder ``inside``, which write what became
    of each test.
    """

    arguments: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    #: The folder in which it runs, below the source distribution.
    folder: str = "."


@dataclass(frozen=True)
class Suite:
    """One line of the table."""

    #: As the table shows it, unique among all peers: "Django: auth_tests".
    name: str
    #: Returns the command with the peer's own sessions if it is given ``False``, and with ours for ``True``.
    command: Callable[[bool], Command]
    #: Why a test fails only with ours: patterns of test names, as in ``fnmatch``, and one line each.
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    #: For ``--only``.
    name: str
    #: On the package index. The newest release that this Python can install is used.
    distribution: str
    suites: Sequence[Suite]
    #: What to install beside the peer, which its tests need, as arguments of ``pip install``.
    requirements: Sequence[str] = ()
    #: What to do with the unpacked sources before the first run.
    prepare: Callable[[Place], None] = lambda place: None


def pytest_command(*arguments: str, plugins: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Command:
    """Return the command for a suite that runs with pytest; ``plugins`` are modules of the folder ``inside``."""
    loaded = [part for plugin in ("report_pytest", *plugins) for part in ("-p", plugin)]
    always = ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    return Command(["-m", "pytest", *always, *loaded, *arguments], environ or {})
