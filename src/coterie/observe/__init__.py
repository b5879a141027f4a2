"""Observability: a trace as JSON or as a tree, metrics for Prometheus, spans for OpenTelemetry."""
