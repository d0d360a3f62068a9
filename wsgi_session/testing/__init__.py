"""For tests: of an application that has sessions, and of a store that somebody adds."""

from wsgi_session.testing.clock import FakeClock
from wsgi_session.testing.conformance import StoreConformance
from wsgi_session.testing.planting import plant, read

__all__ = ["FakeClock", "StoreConformance", "plant", "read"]
