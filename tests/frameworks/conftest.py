"""Imports the frameworks that warn when they are imported, so that their warnings fail no test."""

from __future__ import annotations

import warnings

from tests.support.fixtures import tmp_path

__all__ = ["tmp_path"]

with warnings.catch_warnings():
    # pkg_resources, which Pyramid 2 imports, says that it is deprecated.
    warnings.simplefilter("ignore")
    try:
        import pyramid.config  # noqa: F401
        import pyramid_retry  # noqa: F401
    except ImportError:
        pass  # The tests that need it say so.
