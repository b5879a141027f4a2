"""Counters."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from coterie.observe.metrics import Metrics


def _read(metrics):
    """Every sample by name and labels."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def _metrics():
    return Metrics(working=lambda: 3, waiting=lambda: 7, remote=lambda: 5)


def test_an_answer_is_counted(trace):
    """How it ended, who found what, and what it took."""
    metrics = _metrics()
    metrics.count_answer(trace)
    samples = _read(metrics)
    assert samples["coterie_answers_total", "accepted"] == 1
    assert samples["coterie_findings_total", "true", "triage"] == 1
    assert samples["coterie_findings_total", "false", "reply"] == 1
    assert samples["coterie_tokens_total", "in"] == 5
    assert samples["coterie_cost_total",] == 0.00012
    assert samples["coterie_unpriced_answers_total",] == 0


def test_an_unknown_cost_is_not_a_cost(trace):
    """It is counted as unknown."""
    metrics = _metrics()
    metrics.count_answer(replace(trace, usage=replace(trace.usage, cost=None)))
    samples = _read(metrics)
    assert samples["coterie_cost_total",] == 0
    assert samples["coterie_unpriced_answers_total",] == 1


def test_responses_are_counted_with_their_time():
    """By endpoint and status; those turned away once more."""
    metrics = _metrics()
    metrics.count_response("/x", 200, 0.002)
    metrics.count_response("/x", 429, 0.001)
    metrics.count_first_text(0.2)
    samples = _read(metrics)
    assert samples["coterie_requests_total", "/x", "200"] == 1
    assert samples["coterie_request_seconds_count", "/x"] == 2
    assert samples["coterie_rejected_total",] == 1
    assert samples["coterie_first_text_seconds_count",] == 1


def test_gauges_are_read_when_asked():
    """What is at work, what waits for a slot, and what for a remote model."""
    samples = _read(_metrics())
    assert [samples[f"coterie_{what}",] for what in ("working", "waiting", "remote")] == [3, 7, 5]
    assert samples["process_resident_memory_bytes",] > 0


def test_the_number_of_workers_is_known_from_the_start():
    """How many there are to be, and how many answer, are two figures."""
    samples = _read(Metrics(working=lambda: 0, waiting=lambda: 0, remote=lambda: 0, workers=3))
    assert samples["coterie_workers",] == 3
    assert samples["coterie_workers_up",] == 1


def test_the_content_type_is_the_texts():
    """Prometheus reads it as what it is."""
    assert Metrics.content_type.startswith("text/plain; version=0.0.4")
