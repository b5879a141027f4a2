"""The counters as Prometheus reads them, and the dashboard that asks for them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from coterie.observe.metrics import Metrics
from coterie.types import Feedback

from .test_spans import TRACE

DASHBOARD = json.loads((Path(__file__).parents[3] / "examples" / "observe" / "grafana.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.fixture
def metrics() -> Metrics:
    """Counters that have counted one of everything."""
    counted = Metrics(working=lambda: 1.0, waiting=lambda: 2.0, remote=lambda: 1.0)
    counted.count_answer(TRACE)
    counted.count_answer(replace(TRACE, usage=replace(TRACE.usage, cost=3)))
    counted.count_response("/v1/chat/completions", 429, 0.5)
    counted.count_first_text(0.1)
    counted.count_feedback(Feedback(trace_id="t", time=0.0, thumb="up"))
    return counted


@pytest.fixture
def samples(metrics):
    """What Prometheus' own parser makes of them: names with the labels they were seen with."""
    families = text_string_to_metric_families(metrics.render().decode())
    return [sample for family in families for sample in family.samples]


def value(samples, name, **labels):
    (number,) = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    return number


def test_figures(samples):
    """Energy, money and CPU time are there by who took them; what has no known cost is counted apart."""
    assert value(samples, "coterie_step_joules_total", producer="generalist") == 62.0
    assert value(samples, "coterie_step_joules_total", producer="network") == 0.02
    assert value(samples, "coterie_step_cost_total", producer="generalist") == 0.004
    assert value(samples, "coterie_step_cpu_seconds_total", producer="network") == 0.002
    assert value(samples, "coterie_counterfactual_cost_total") == 0.006
    assert value(samples, "coterie_tokens_total", direction="cached") == 120.0
    assert (value(samples, "coterie_unpriced_answers_total"), value(samples, "coterie_cost_total")) == (1.0, 3.0)
    assert value(samples, "coterie_feedback_total", thumb="up") == 1.0


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_names_what_there_is(query, samples):
    """Each metric of a query exists, with each label that it is asked or grouped by."""
    labels = {}
    for sample in samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    wanted = re.findall(r"\b((?:coterie|process)_[a-z_]+)(?:\{([^}]*)\})?", query)
    assert wanted
    for name, selector in wanted:
        assert name in labels, f"{name} is no metric"
        assert set(re.findall(r"(\w+)[!=]", selector)) <= labels[name]
    grouped = set(re.findall(r"by \((\w+)\)", query))
    assert all(grouped <= labels[name] for name, _ in wanted)


def test_nothing_is_saved_while_a_cost_is_not_known():
    """What was saved counts every answer's counterfactual, so it is shown only where every answer's cost is known."""
    (saved,) = [query for query in QUERIES if "coterie_counterfactual_cost_total" in query and " - " in query]

    assert saved.endswith("and on() (sum(increase(coterie_unpriced_answers_total[$__range])) == 0)")


def test_panels_do_not_overlap():
    """Each panel has its own place and number, and the data source that the reader chooses."""
    places = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places
        assert at["x"] + at["w"] <= 24
        places |= cells
        assert panel["datasource"]["uid"] == "${source}"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
