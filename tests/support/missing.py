"""Why a package is missing: it is not installed, or ``setup.cfg`` excludes it on this Python."""

from __future__ import annotations

import sys
from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def why_missing(distribution: str) -> str:
    """Return the reason to skip a test that needs ``distribution``."""
    wanted = canonicalize_name(distribution)
    for line in requires("wsgi-session") or ():
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) == wanted and not _is_for_this_python(requirement):
            return f"platform: {distribution} has no release for Python {sys.version_info[0]}.{sys.version_info[1]}"
    return f"pip install {distribution}"


def _is_for_this_python(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": "test"})
