"""The metrics for Prometheus, as its client writes them for the server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.metrics import eventful_site
from wsgi_session.events import EVENTS

prometheus_client = pytest.importorskip("prometheus_client", reason="pip install prometheus-client")

from wsgi_session.integrations.prometheus import PrometheusMetrics  # noqa: E402  (needs the client)


def values_of(registry: Any, metric: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a metric by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == metric
    }


def test_events_are_counted_with_their_reasons() -> None:
    registry = prometheus_client.CollectorRegistry()
    eventful_site(PrometheusMetrics(registry))
    counted = values_of(registry, "wsgi_session_events_total")
    for labels, number in {
        ("logged_in", ""): 3,
        ("destroyed", "application"): 1,
        ("revoked", "revoked"): 2,
        ("csrf_failed", "wrong_token"): 1,
        ("conflict", ""): 1,
        ("retried", ""): 1,
        ("unavailable", ""): 1,
        ("tampered", ""): 1,
    }.items():
        assert counted[labels] == number, (labels, counted)


def test_every_event_has_its_series_before_it_happens() -> None:
    registry = prometheus_client.CollectorRegistry()
    PrometheusMetrics(registry)
    counted = values_of(registry, "wsgi_session_events_total")
    assert {event for event, _ in counted} == set(EVENTS) - {"store_call"}
    assert ("expired", "absolute") in counted
    assert set(counted.values()) == {0.0}


def test_the_stores_calls_are_timed_by_operation_and_outcome() -> None:
    registry = prometheus_client.CollectorRegistry()
    eventful_site(PrometheusMetrics(registry))
    calls = values_of(registry, "wsgi_session_store_call_duration_seconds_count")
    assert calls["load", "unavailable"] == 1
    assert calls["replace", "conflict"] == 1
    assert calls["load", "ok"] > 3
    seconds = values_of(registry, "wsgi_session_store_call_duration_seconds_sum")
    assert all(0 <= value < 60 for value in seconds.values())


def test_no_metric_tells_a_token_a_value_a_handle_or_an_owner_and_visitors_add_no_series() -> None:
    registry = prometheus_client.CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    secrets = eventful_site(metrics)
    once = prometheus_client.generate_latest(registry).decode()
    assert [text for text in secrets if text in once] == []
    for _ in range(3):
        eventful_site(metrics)
    metrics("made up by a caller", {"reason": "anything"})
    again = prometheus_client.generate_latest(registry).decode()
    assert again.count("\n") == once.count("\n")
