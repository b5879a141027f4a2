"""Spot checks: chosen by chance, worst case where nobody judged, and no threshold that they do not support."""

import numpy as np
import pytest

from coterie.errors import ArtefactRefused
from coterie.policy.cost_quality import (
    CalibrationOutcomes,
    CostQualityPolicy,
    SpotChecks,
    collect,
    dump_checks,
    is_chosen,
    load_checks,
)
from coterie.testing import make_finding, make_trace
from coterie.types import Feedback


def trace_of(*findings):
    return make_trace(
        id="t",
        time=1.0,
        findings=findings,
    )


def finding(value="refund", *, accepted=True, confidence=0.8, specialist="triage"):
    return make_finding(
        value, specialist=specialist, confidence=confidence, accepted=accepted, task="classify", form="label"
    )


def said(thumb=None, value=None, specialist="", time=1.0):
    return Feedback(trace_id="t", time=time, thumb=thumb, value=value, specialist=specialist)


def checks(right, *, confidence=None, version="v1"):
    n = len(right)
    return SpotChecks(
        version=version,
        share=0.1,
        since=0.0,
        until=9.0,
        confidence=tuple(np.linspace(0.99, 0.5, n) if confidence is None else confidence),
        right=tuple(right),
        group=tuple(range(n)),
    )


def calibrated(n=2000, share=0.97):
    """Calibration outcomes by which nearly everything may be kept."""
    random = np.random.default_rng(0)
    return CalibrationOutcomes(
        confidence=random.uniform(0.5, 1.0, n), right=random.random(n) < share, group=np.arange(n)
    )


def test_the_coin_is_the_id_s():
    """Close to the share is chosen, always the same ones, and a larger share has the smaller in it."""
    ids = [f"{i:032x}" for i in range(20_000)]
    small, large = ({request_id for request_id in ids if is_chosen(request_id, share)} for share in (0.02, 0.1))

    assert 320 < len(small) < 480
    assert 1850 < len(large) < 2150
    assert small < large
    assert not any(is_chosen(request_id, 0.0) for request_id in ids)
    assert all(is_chosen(request_id, 1.0) for request_id in ids)


@pytest.mark.parametrize(
    ("findings", "words", "expected"),
    [
        ([finding()], [], None),
        ([finding()], [said("up")], True),
        ([finding()], [said("down")], False),
        ([finding()], [said("up"), said("down", time=2.0)], False),
        ([finding()], [said(value="refund")], True),
        ([finding()], [said(value=("refund",))], True),
        ([finding()], [said(value="delivery")], False),
        ([finding(("a", "b"))], [said(value=("b", "a"))], True),
        ([finding(accepted=False), finding("a text", specialist="generalist")], [said(value="refund")], True),
        ([finding(accepted=False), finding("a text", specialist="generalist")], [said("up")], None),
        ([finding(accepted=False)], [said("up", specialist="triage")], True),
        ([finding(), finding("x", specialist="reply")], [said("down")], None),
        ([finding()], [said("down", specialist="triage"), said("up", time=2.0)], False),
    ],
)
def test_what_a_judgement_means(findings, words, expected):
    """A value is compared also with a guess; a bare thumb counts where the answer was the specialist's alone."""
    trace = trace_of(*findings)
    collected = collect([(trace, words)], "triage", version="v1", share=0.1, since=0.0, until=9.0)

    assert collected.right == (expected,)
    assert collected.judged == (expected is not None)


def test_requests_of_others_do_not_count():
    """A chosen request that the specialist did not look at is none of its checks; two findings of one are a group."""
    other = trace_of(finding(specialist="reply"))
    twice = trace_of(finding(), finding("delivery"))
    collected = collect([(other, []), (twice, [])], "triage", version="v1", share=0.1, since=0.0, until=9.0)

    assert len(collected) == 2
    assert len(set(collected.group)) == 1


def threshold(spot_checks, *, quality=0.9):
    return CostQualityPolicy(known={"triage": calibrated()}, checked={"triage": spot_checks}).threshold(
        "triage", quality
    )


def test_checks_that_show_a_threshold_take_its_place():
    """Where live answers are as good, the threshold is theirs, and the reason says so."""
    result = threshold(checks([True] * 400))

    assert result.value is not None
    assert result.reason.code == "policy.spot_checked"


def test_few_checks_change_nothing():
    """Under what can be shown, the calibrated threshold stands."""
    before = CostQualityPolicy(known={"triage": calibrated()}).threshold("triage", 0.9)

    assert threshold(checks([True] * 20)) == before
    assert threshold(checks([None] * 400)) == before  # nobody judged: neither for nor against


def test_checks_that_refute_a_threshold_end_it():
    """Where live answers are wrong, nothing is kept, however good the calibration was."""
    result = threshold(checks([i % 2 == 0 for i in range(200)]))

    assert result.value is None
    assert "200 spot checks show" in str(result.reason)


def test_what_nobody_judged_never_loosens():
    """A hundred answers praised among two hundred that nobody looked at show nothing."""
    praised = checks([True] * 100 + [None] * 200, confidence=np.random.default_rng(0).uniform(0.5, 1.0, 300))

    assert threshold(praised) == CostQualityPolicy(known={"triage": calibrated()}).threshold("triage", 0.9)


@pytest.mark.slow
def test_the_promise_holds_whoever_stays_silent():
    """Of 200 samples whose wrong answers are judged half as often, about 5% at most keep less than promised."""
    random, broken = np.random.default_rng(1), 0
    truth = random.beta(5, 1, size=200_000)
    truly_right = random.random(len(truth)) < truth
    for _ in range(200):
        confidence = random.beta(5, 1, size=500)
        right = random.random(500) < confidence
        silent = random.random(500) < np.where(right, 0.02, 0.5)
        judgements = [None if quiet else bool(good) for quiet, good in zip(silent, right, strict=True)]
        policy = CostQualityPolicy(known={}, checked={})
        policy.known = {
            "triage": CalibrationOutcomes(confidence=np.zeros(0), right=np.zeros(0, bool), group=np.zeros(0, int))
        }
        policy.checked = {"triage": checks(judgements, confidence=confidence)}
        value = policy.threshold("triage", 0.85).value
        kept = truth >= (np.inf if value is None else value)
        broken += np.where(kept, truly_right, 1.0).mean() < 0.85 - 0.001

    assert broken <= 20


def test_stored_and_read_back():
    """What was folded in is read back as it was; a damaged file is refused with the command that mends it."""
    spot_checks = {"triage": checks([True, None, False])}

    assert load_checks(dump_checks(spot_checks)) == spot_checks
    for damaged in (b"{", b'{"triage": {}}', dump_checks(spot_checks).replace(b"null", b"7"), b"[]"):
        with pytest.raises(ArtefactRefused, match=r"spotchecks\.json"):
            load_checks(damaged)
