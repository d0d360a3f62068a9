"""Metrics of the sessions for Prometheus, by its official client.

::

    metrics = PrometheusMetrics()
    app = SessionMiddleware(app, secret=SECRET, store=URL, on_event=metrics, report_store_calls=True)

* ``wsgi_session_events_total``: the events, by ``event`` and ``reason``. For ``revoked``, it counts the sessions.
* ``wsgi_session_store_call_duration_seconds``: a histogram of the calls of the store, by ``operation`` and ``outcome``,
  if the middleware has ``report_store_calls=True``.

Each label has a few fixed values: no metric contains a handle, an owner, or anything that a client sent. Every event
has its series from the start, with 0, so that an alert on the first outage works. Needs the extra ``prometheus``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from wsgi_session.events import EVENTS

#: The upper bounds in seconds: from a read in memory to an engine that runs into its timeout.
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class PrometheusMetrics:
    """Counts events. Pass it as ``on_event=``, or call it from a function of yours.

    Make one for each ``registry`` and share it: the client refuses a second metric of the same name. Calls are
    thread-safe. With several processes, set the client's ``PROMETHEUS_MULTIPROC_DIR``, as for all of your metrics.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._events = Counter(
            "wsgi_session_events",
            "Events; for revoked, the number of sessions.",
            ["event", "reason"],
            registry=registry,
        )
        self._calls = Histogram(
            "wsgi_session_store_call_duration_seconds",
            "Time that a call of the session store took.",
            ["operation", "outcome"],
            buckets=BUCKETS,
            registry=registry,
        )
        for name, event in EVENTS.items():
            for reason in event.reasons or ("",):
                if name != "store_call":
                    self._events.labels(name, reason)

    def __call__(self, name: str, data: Mapping[str, Any]) -> None:
        """Count one event."""
        if name == "store_call":
            self._calls.labels(data["operation"], data["outcome"]).observe(data["seconds"])
        elif name in EVENTS:
            sessions = data["count"] if name == "revoked" else 1
            self._events.labels(name, data.get("reason", "")).inc(sessions)
