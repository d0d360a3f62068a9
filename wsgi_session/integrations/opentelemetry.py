"""Metrics and traces of the sessions for OpenTelemetry.

::

    app = SessionMiddleware(app, secret=SECRET, store=URL, on_event=OpenTelemetry(), report_store_calls=True)

* ``wsgi_session.events``: a counter of events, by ``wsgi_session.event.name`` and ``wsgi_session.event.reason``. For
  ``revoked``, it counts the sessions.
* ``db.client.operation.duration``: a histogram of the calls of the store in seconds, as the semantic conventions for
  databases describe it, by ``db.system.name``, ``db.operation.name`` and ``error.type``.
* a span of the kind ``CLIENT`` for each call of the store, such as ``session load`` and ``session replace``, with the
  same attributes, below the span of the request.

The last two need ``report_store_calls=True``. Each attribute has a few fixed values: none contains a handle, an owner,
or anything that a client sent. Needs the extra ``opentelemetry``, and an SDK that your application sets up.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time_ns
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanKind, StatusCode, TracerProvider

from wsgi_session.events import EVENTS

# The advice of the semantic conventions for durations of database calls.
_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
# Outcomes of calls in which the store worked as it should.
_WORKED = ("ok", "conflict", "gone")


class OpenTelemetry:
    """Counts events, and records calls of the store. Pass it as ``on_event=``, or call it from a function of yours.

    ``meter_provider`` and ``tracer_provider``: ``None`` for the global ones, which may also be set later.
    """

    def __init__(
        self, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
    ) -> None:
        meter = metrics.get_meter("wsgi_session", meter_provider=meter_provider)
        self._events = meter.create_counter(
            "wsgi_session.events", unit="{event}", description="Events; for revoked, the number of sessions."
        )
        self._calls = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of calls of the session store.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._tracer = trace.get_tracer("wsgi_session", tracer_provider=tracer_provider)

    def __call__(self, name: str, data: Mapping[str, Any]) -> None:
        """Count one event, or record one call of the store."""
        if name == "store_call":
            self._record(data["operation"], data["system"], data["seconds"], data["outcome"])
            return
        if name not in EVENTS:
            return
        attributes = {"wsgi_session.event.name": name}
        if "reason" in data:
            attributes["wsgi_session.event.reason"] = data["reason"]
        self._events.add(data["count"] if name == "revoked" else 1, attributes)

    def _record(self, operation: str, system: str, seconds: float, outcome: str) -> None:
        attributes = {"db.system.name": system, "db.operation.name": operation}
        if outcome not in _WORKED:
            attributes["error.type"] = outcome
        self._calls.record(seconds, attributes)
        ended = time_ns()
        span = self._tracer.start_span(
            f"session {operation}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=ended - round(seconds * 1_000_000_000),
        )
        if outcome not in _WORKED:
            span.set_status(StatusCode.ERROR)
        span.end(ended)
