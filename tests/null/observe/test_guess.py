"""An abstention carries its best guess, marked as such, wherever an answer is told."""

from dataclasses import replace

import pytest

from coterie.observe.plain import summarise
from coterie.testing import make_finding
from coterie.types import Label, Reason, Route, Trace, Usage

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
