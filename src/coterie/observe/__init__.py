"""How one sees what a network does: a trace as JSON or as a tree, metrics for Prometheus, spans for OpenTelemetry."""
