"""Calls of log files as captured examples: what they cost."""

import json

import pytest

from coterie.config.file import parse_config
from coterie.flywheel.live import LONGEST_CALL, log_examples, priced, read_calls
from coterie.privacy.patterns import PatternDetector
from coterie.types import Label

CONFIG = """
[models.large]
engine = "openai"
name = "gpt-x"
base_url = "http://127.0.0.1:9/v1"
price_in = 2
price_out = 10
[[models.large.prices]]
from = 2030-01-01
in = 1
out = 1
[models.free]
engine = "openai"
name = "unpriced"
base_url = "http://127.0.0.1:9/v1"
"""
BEFORE, AFTER = 1_700_000_000.0, 1_900_000_000.0


def read(tmp_path, *records):
    """The calls of a log with these records."""
    lines = [{"messages": [{"role": "user", "content": "hello"}], "response": "yes", **record} for record in records]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return read_calls([path])


@pytest.mark.parametrize("model", ["large", "gpt-x", "openai/gpt-x"])
@pytest.mark.parametrize("names", [("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")])
def test_tokens_cost_what_the_models_entry_says(tmp_path, model, names):
    """By its key or its name, also behind a provider's; at the prices of the day."""
    usage = dict(zip(names, (1_000_000, 100_000), strict=True))
    for until, cost in ((BEFORE, 3.0), (AFTER, 1.1)):
        imported = read(tmp_path, {"model": model, "usage": usage})
        assert priced(imported, parse_config(CONFIG).models, until=until) == 1
        assert [call.cost for call in imported.calls] == [pytest.approx(cost)]


def test_a_response_body_counts_its_tokens_itself(tmp_path):
    """As a gateway's log holds it, also as a text."""
    body = {
        "model": "gpt-x",
        "choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 500_000, "completion_tokens": 0},
    }
    imported = read(tmp_path, {"response": body}, {"response": json.dumps(body)})
    assert priced(imported, parse_config(CONFIG).models, until=BEFORE) == 2
    assert [call.cost for call in imported.calls] == [1.0, 1.0]


def test_what_is_not_known_stays_unknown(tmp_path):
    """A cost that the log names is kept; without tokens, without prices or of another model there is none."""
    usage = {"prompt_tokens": 10, "completion_tokens": 1}
    imported = read(
        tmp_path,
        {"model": "large", "usage": usage, "cost": 0.5},
        {"model": "large"},
        {"model": "large", "usage": {"prompt_tokens": 10}},
        {"model": "large", "usage": {"prompt_tokens": True, "completion_tokens": "many"}},
        {"model": "free", "usage": usage},
        {"model": "another", "usage": usage},
        {"usage": usage},
    )
    assert priced(imported, parse_config(CONFIG).models, until=BEFORE) == 0
    assert [call.cost for call in imported.calls] == [0.5] + [None] * 6


def test_a_call_that_is_too_long_is_left_out_and_counted(tmp_path):
    """Taking personal data out of ten megabytes takes most of a minute."""
    long = [{"role": "user", "content": "x" * (LONGEST_CALL + 1)}]
    imported = read(tmp_path, {}, {"messages": long})
    about = {"secret": b"k", "tenant": "t", "label": Label.INTERNAL, "until": BEFORE}

    assert len(list(log_examples(imported, detector=PatternDetector(), **about))) == 1
    assert imported.skipped["long_call"] == 1
