"""A trace as a tree for a terminal."""

import io
from dataclasses import replace
from decimal import Decimal

from rich.console import Console

from coterie.cli.progress import draw_trace
from coterie.observe.plain import summarise
from coterie.types import worded


def _print(trace, **arguments):
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    console.print(draw_trace(trace, **arguments))
    return console.file.getvalue()


def test_the_whole_life_is_drawn(trace):
    """Route, findings with what they saw, verdicts, stages and ledger."""
    drawn = _print(trace, currency="EUR")
    for piece in (
        "trace abc  accepted  12.5 ms",
        "route  triage scores 0.9",
        "triage -> reply  0.900  I lost my card",
        "triage  accepted at 0.970  card_lost, refund",
        "reply  abstained at 0.000",
        "why  the model is not there",
        "saw  fact intent (0 tokens); without x (y)",
        "verdict egress.clearance  too sensitive",
        "consult  9.00 ms  triage",
        "triage on linear  5 tokens in, 0 out",
        "0.000120 EUR",
    ):
        assert piece in drawn


def test_a_confidence_that_is_not_known(trace):
    """Of a model's own words, which are accepted at 0, no figure is drawn or told."""
    (first, *rest) = trace.findings
    altered = replace(trace, findings=(replace(first, confidence=0.0), *rest))

    assert "triage  accepted  card_lost" in _print(altered)
    assert [finding["confidence"] for finding in summarise(altered)["findings"]][:2] == [None, 0.0]


def test_a_follow_up_is_drawn_as_it_was_understood(trace):
    """The rewritten question stands under the head; of one that stood alone nothing is said."""
    assert "rewritten  and the fee? (top up)" in _print(replace(trace, rewritten="and the fee? (top up)"))
    assert "rewritten" not in _print(trace)


def test_what_was_shown_is_drawn_with_its_budget(trace):
    """What a specialist saw is there with its tokens and the budget, what it did not with the reason."""
    view = replace(trace.views[0], tokens=90, budget=2048)

    assert "saw  fact intent (90 of 2,048 tokens); without x (y)" in _print(replace(trace, views=(view,)))


def test_what_was_not_read_again_is_drawn(trace):
    """A step says how much of its prompt the engine remembered."""
    usage = replace(trace.usage, tokens_in=1000, tokens_cached=900)

    assert "1000 tokens in (900 not read again)" in _print(replace(trace, usage=usage))


def test_an_unknown_cost_is_said(trace):
    """Not shown as nothing."""
    assert "cost unknown" in _print(replace(trace, usage=replace(trace.usage, cost=None)))


def test_the_yardstick_is_shown_where_there_is_one(trace):
    """What the generalist would have cost."""
    assert "generalist for everything  0.250 USD" in _print(replace(trace, counterfactual_cost=Decimal("0.25")))


def test_nothing_in_a_trace_drives_the_terminal(trace):
    """Neither rich's markup nor control characters of a request are obeyed; line breaks stay in their line."""
    evil = "[red]\x1b]0;owned\x07\x1b[2J\rgone\nnext [/] \u202e"
    drawn = _print(replace(trace, route=replace(trace.route, reason=worded(evil))))
    assert "[red]\\x1b]0;owned\\x07\\x1b[2J\\rgone ⏎ next [/] \\u202e" in drawn
    assert "\x1b" not in drawn


def test_many_reasons_are_cut(trace):
    """The first few and how many more."""
    finding = trace.findings[0]
    many = replace(finding, evidence=finding.evidence * 8)
    assert "and 3 more" in _print(replace(trace, findings=(many,)))
