"""A trace with everything in it."""

from decimal import Decimal

import numpy as np
import pytest

from coterie.testing import make_finding, make_trace
from coterie.types import (
    Evidence,
    Fact,
    Omission,
    Part,
    Route,
    Stage,
    Step,
    Usage,
    Verdict,
    ViewRecord,
    worded,
)


@pytest.fixture
def trace():
    step = Step(producer="triage", engine="linear", usage=Usage(tokens_in=5, cost=Decimal("0.00012")))
    triage = make_finding(
        ("card_lost", "refund"),
        text="card_lost, refund",
        confidence=0.97,
        reason=worded("both above their thresholds"),
        evidence=(Evidence(kind="alternative", name="pin", text="pin", weight=0.02),),
        facts=(Fact(name="intent", value="card_lost", confidence=0.97),),
        steps=(step,),
    )
    reply = make_finding(
        None, specialist="reply", text="", confidence=0.0, accepted=False, reason=worded("the model is not there")
    )
    part = Part(text="I lost my card", stages=(("triage",), ("reply",)), score=0.9, vector=np.zeros(3))
    return make_trace(
        id="abc",
        time=1.5,
        route=Route(parts=(part,), reason=worded("triage scores 0.9"), scores={"triage": 0.9}),
        findings=(triage, reply),
        views=(
            ViewRecord(specialist="reply", seen=("fact intent",), omitted=(Omission(what="x", reason=worded("y")),)),
        ),
        verdicts=(Verdict(allowed=False, rule="egress.clearance", reason=worded("too sensitive")),),
        stages=(Stage(name="admit", milliseconds=0.1), Stage(name="consult", milliseconds=9.0, note="triage")),
        steps=(step,),
        usage=Usage(tokens_in=5, milliseconds=12.5, cost=Decimal("0.00012")),
    )
