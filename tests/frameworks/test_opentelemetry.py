"""The metrics and spans for OpenTelemetry, as its SDK exports them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.metrics import eventful_site
from tests.support.site import Site, put, read

pytest.importorskip("opentelemetry.sdk", reason="pip install opentelemetry-sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from wsgi_session.integrations.opentelemetry import OpenTelemetry
from wsgi_session.stores import MemoryStore


class Backend:
    """What a backend of OpenTelemetry gets."""

    def __init__(self) -> None:
        self._reader, self._exporter = InMemoryMetricReader(), InMemorySpanExporter()
        meters, tracers = MeterProvider([self._reader]), TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = tracers.get_tracer("the application")
        self.on_event = OpenTelemetry(meters, tracers)

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """Return the points of a metric by their attributes."""
        data: Any = self._reader.get_metrics_data()
        metrics = [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
        (found,) = [metric for metric in metrics if metric.name == name]
        return {tuple(sorted(point.attributes.items())): point for point in found.data.data_points}

    def spans(self) -> list[Any]:
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def backend() -> Backend:
    return Backend()


def event(name: str, reason: str | None = None) -> tuple[tuple[str, str], ...]:
    given = () if reason is None else (("wsgi_session.event.reason", reason),)
    return (("wsgi_session.event.name", name), *given)


def test_events_are_counted_with_their_reasons(backend: Backend) -> None:
    eventful_site(backend.on_event)
    counted = {attributes: point.value for attributes, point in backend.points("wsgi_session.events").items()}
    assert counted[event("logged_in")] == 3
    assert counted[event("destroyed", "application")] == 1
    assert counted[event("revoked", "revoked")] == 2
    assert counted[event("conflict")] == counted[event("retried")] == counted[event("unavailable")] == 1


def test_the_stores_calls_have_the_names_of_the_semantic_conventions(backend: Backend) -> None:
    site = Site(store=MemoryStore(), on_event=backend.on_event, report_store_calls=True)
    site.calls.system = "memory"
    browser = site.browser()
    browser.do(put(a=1))
    site.calls.fail("load")
    assert browser.do(read).code == 503
    points = backend.points("db.client.operation.duration")
    created, failed = points
    assert dict(created) == {"db.operation.name": "create", "db.system.name": "memory"}
    assert dict(failed) == {"db.operation.name": "load", "db.system.name": "memory", "error.type": "unavailable"}
    assert [(point.count, 0 <= point.sum < 60) for point in points.values()] == [(1, True), (1, True)]
    created_span, failed_span = backend.spans()
    assert (created_span.name, failed_span.name) == ("session create", "session load")
    assert failed_span.attributes == dict(failed)
    assert {created_span.kind, failed_span.kind} == {SpanKind.CLIENT}
    assert created_span.status.status_code is StatusCode.UNSET
    assert (failed_span.status.status_code, failed_span.status.description) == (StatusCode.ERROR, None)
    assert 0 <= created_span.end_time - created_span.start_time < 60e9


def test_the_spans_of_load_and_save_are_below_the_span_of_the_request(backend: Backend) -> None:
    browser = Site(on_event=backend.on_event, report_store_calls=True).browser()
    browser.do(put(a=1))
    with backend.tracer.start_as_current_span("GET /") as request:
        browser.do(put(a=2))
    parents = {span.name: span.parent and span.parent.span_id for span in backend.spans() if span.name != "GET /"}
    expected = request.get_span_context().span_id
    assert parents == {"session create": None, "session load": expected, "session replace": expected}


def test_nothing_tells_a_token_a_value_a_handle_or_an_owner_and_visitors_add_no_series(backend: Backend) -> None:
    texts = eventful_site(backend.on_event)
    once = [set(backend.points(name)) for name in ("wsgi_session.events", "db.client.operation.duration")]
    seen = repr(once) + "".join(span.to_json() for span in backend.spans())
    assert [text for text in texts if text in seen] == []
    for _ in range(3):
        eventful_site(backend.on_event)
    backend.on_event("made up by a caller", {"reason": "anything"})
    again = [set(backend.points(name)) for name in ("wsgi_session.events", "db.client.operation.duration")]
    assert again == once
