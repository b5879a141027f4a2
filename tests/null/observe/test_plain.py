"""What is told beside an answer."""

import json
from dataclasses import replace

import pytest

from coterie.observe.plain import summarise
from coterie.runtime.codec import readable
from coterie.testing import make_finding
from coterie.types import Citation, Evidence, Field, Label, Reason, Route, Trace, Usage, worded


def test_a_trace_is_readable(trace):
    """All of it becomes strict JSON, without the arrays."""
    document = readable(trace)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["label"] == "internal"
    assert document["route"]["parts"] == [
        {
            "text": "I lost my card",
            "stages": [["triage"], ["reply"]],
            "score": 0.9,
            "truncated": False,
            "after": [],
            "otherwise": [],
            "further": [],
        }
    ]
    assert document["findings"][0]["value"] == ["card_lost", "refund"]
    assert document["usage"]["cost"] == 0.00012
    assert document["counterfactual_cost"] is None


def test_a_summary_says_what_the_caller_needs(trace):
    """The agreed keys, every one of them, as strict JSON."""
    summary = summarise(trace)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert list(summary) == ["trace_id", "status", "accepted", "route", "egress", "findings", "usage"]
    assert list(summary["route"]) == ["specialists", "reason", "reason_code", "reason_values", "scores"]
    assert list(summary["usage"]) == ["milliseconds", "joules", "joules_kind", "cost", "counterfactual_cost"]
    assert [finding["specialist"] for finding in summary["findings"]] == ["triage", "reply"]
    keys = [
        "specialist",
        "value",
        "text",
        "confidence",
        "accepted",
        "reason",
        "reason_code",
        "reason_values",
        "evidence",
    ]
    assert list(summary["findings"][0]) == keys


def test_a_summary_says_how_a_follow_up_was_understood(trace):
    """The rewritten question is there if there is one."""
    assert summarise(replace(trace, rewritten="and the fee? (top up)"))["rewritten"] == "and the fee? (top up)"


@pytest.mark.parametrize(("status", "accepted"), [("accepted", True), ("escalated", True), ("abstained", False)])
def test_accepted_means_that_somebody_answered(trace, status, accepted):
    """The generalist is somebody."""
    assert summarise(replace(trace, status=status))["accepted"] is accepted


def test_unknown_figures_are_null(trace):
    """Never 0."""
    usage = replace(trace.usage, cost=None, joules=float("nan"))
    assert summarise(replace(trace, usage=usage))["usage"] == {
        "milliseconds": 12.5,
        "joules": None,
        "joules_kind": "estimated",
        "cost": None,
        "counterfactual_cost": None,
    }


def test_fields_say_where_their_quotes_are(trace):
    """An extraction is told with the place of each quote; a finding without fields has no such key."""
    stated = Field(
        name="law",
        value="Ohio",
        text="laws of Ohio",
        start=7,
        end=19,
        confidence=0.9,
        accepted=True,
        reason=worded("sure"),
    )
    unstated = Field(
        name="term", value=None, text="", start=None, end=None, confidence=0.8, accepted=False, reason=worded("")
    )
    quote = Evidence(kind="quote", name="law", text="laws of Ohio", start=7, end=19)
    terms = replace(trace.findings[0], fields=(stated, unstated), evidence=(quote,))

    triage, extracted = summarise(replace(trace, findings=(trace.findings[0], terms)))["findings"]

    assert "fields" not in triage
    assert [(field["name"], field["value"], field["start"], field["end"]) for field in extracted["fields"]] == [
        ("law", "Ohio", 7, 19),
        ("term", None, None, None),
    ]
    assert extracted["evidence"][0]["start"] == 7
    assert triage["evidence"][0]["start"] is None


def test_citations_are_told_with_their_number(trace):
    """What the answer's text calls [1] is the first citation."""
    citation = Citation(document="fees.md", start=10, end=19, text="12 pounds", label=Label.PUBLIC, heading="Loans")
    cited = replace(trace, findings=(replace(trace.findings[0], citations=(citation,)),))

    assert summarise(cited)["findings"][0]["citations"] == [
        {
            "number": 1,
            "document": "fees.md",
            "start": 10,
            "end": 19,
            "text": "12 pounds",
            "index": "",
            "heading": "Loans",
            "page": None,
            "label": "public",
        }
    ]
    assert "citations" not in summarise(trace)["findings"][0]


# --- An abstention carries its best guess, marked as such, wherever an answer is told.


FOUND = make_finding(
    "parcel",
    confidence=0.62,
    accepted=False,
    reason=Reason("abstain.below_threshold", guess="parcel", confidence=0.62, needed=0.9, decimals=2),
    form="label",
)
TRACE = Trace(
    id="t",
    time=0.0,
    tenant="default",
    session=None,
    label=Label.INTERNAL,
    status="abstained",
    route=Route(parts=(), reason=Reason("text", text="x")),
    findings=(replace(FOUND, specialist="other", confidence=0.3), FOUND),
    views=(),
    verdicts=(),
    stages=(),
    steps=(),
    usage=Usage(),
    counterfactual_cost=None,
)


def test_the_likeliest_is_told():
    """Of several that are not sure enough, the one with the highest probability."""
    assert summarise(TRACE)["guess"] == {"specialist": "triage", "value": "parcel", "confidence": 0.62}
    assert summarise(TRACE)["accepted"] is False


@pytest.mark.parametrize(
    "trace",
    [
        replace(TRACE, status="accepted"),
        replace(
            TRACE, findings=(replace(FOUND, reason=Reason("abstain.out_of_scope", in_scope=0, needed=1, decimals=1)),)
        ),
        replace(TRACE, findings=(replace(FOUND, form="text"),)),
    ],
    ids=["answered", "out of scope", "a text"],
)
def test_what_is_no_guess(trace):
    """An answer needs none, and nothing is guessed of what nobody knows."""
    assert "guess" not in summarise(trace)
