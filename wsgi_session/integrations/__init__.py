"""Thin adapters for Flask, Django, Pyramid and Beaker, and metrics for Prometheus and OpenTelemetry."""
