"""Helpers for the tests of an application that uses sessions, and a test suite for new stores."""

from wsgi_session.testing.clock import FakeClock
from wsgi_session.testing.conformance import StoreConformance
from wsgi_session.testing.planting import plant, read

__all__ = ["FakeClock", "StoreConformance", "plant", "read"]
