"""Whether a version may become champion, and what is said of two versions side by side."""

import json

import numpy as np
import pytest

from coterie.errors import PromotionRefused
from coterie.learning.evaluation import pack
from coterie.registry.promotion import changed, compare, promote_version
from coterie.types import Reason


def report(wrong=0, *, per_label=40, labels=10, in_label=0, rows="r" * 64, bar=None, **more):
    """A classifier's report that got `wrong` rows wrong, spread over all labels, and `in_label` more of the first."""
    right = np.ones((labels, per_label), dtype=bool)
    right.T.flat[:wrong] = False
    right[0, per_label - in_label :] = False
    slices = {
        f"label {i}": {"n": per_label, "recall": float(row.mean()), "right": pack(row)} for i, row in enumerate(right)
    }
    accuracy = float(right.mean())
    return {
        "task": "classify",
        "measures": ["accuracy"],
        "bar": {} if bar is None else {"accuracy": bar},
        "bar_met": None if bar is None else accuracy >= bar,
        "metrics": {"n": per_label * labels, "labelled": per_label * labels, "accuracy": accuracy},
        "data": {"train": {"sha256": "t" * 64}, "held_out": {"rows_sha256": rows}},
        "slices": slices,
        "right": pack(right.ravel()),
        **more,
    }


@pytest.fixture
def stored(registry):
    return lambda report: registry.add("triage", {"report.json": json.dumps(report).encode()})


def refusal(registry, version):
    """Why the version may not become champion."""
    with pytest.raises(PromotionRefused) as refused:
        promote_version(registry, "triage", version)
    return refused.value


def test_what_is_good_enough_becomes_champion(registry, stored):
    """A version that meets its bar and is as good as the champion is promoted; the history has the reason."""
    promote_version(registry, "triage", stored(report(4, bar=0.9)))
    verdict = promote_version(registry, "triage", better := stored(report(2, bar=0.9)))

    assert registry.champion("triage").version == better
    assert verdict.reason.codes == ("promote.meets_bar", "note.not_worse", "compare.same_rows")
    assert verdict.reason.notes[0].values["why"] == Reason("compare.same_rows", rows=400)
    assert registry.history("triage")[1].reason == str(verdict.reason)
    assert promote_version(registry, "triage", better).reason.code == "promote.serves_already"


def test_a_missed_bar_is_refused_with_the_distance(registry, stored):
    """A missed bar is refused, even where nothing serves yet, and the words say by how much."""
    refused = refusal(registry, version := stored(report(40, bar=0.95)))

    values = refused.reason.values
    assert refused.reason.code == "promote.below_bar"
    assert (values["measure"], values["value"], values["bar"]) == ("accuracy", pytest.approx(0.9), 0.95)
    assert refused.hint.endswith(f"coterie registry promote triage {version} --force --reason TEXT")
    assert registry.alias("triage") is None


def test_an_overall_drop_is_refused(registry, stored):
    """A version that lost many rows, a few in each slice, is refused for the whole."""
    promote_version(registry, "triage", champion := stored(report(4)))
    refused = refusal(registry, stored(report(16)))

    values = refused.reason.values
    assert (refused.reason.code, values["what"], values["rows"]) == ("compare.fell", "accuracy", 400)
    assert (values["before"], values["after"], values["chance"]) == pytest.approx((0.99, 0.96, 0.00024), rel=0.02)
    assert registry.champion("triage").version == champion


def test_a_drop_in_one_slice_is_refused(registry, stored):
    """A version that is as good overall and much worse for one label is refused for that label."""
    promote_version(registry, "triage", stored(report(30)))
    refused = refusal(registry, stored({**report(0, in_label=20), "right": report(20)["right"]}))

    values = refused.reason.values
    assert (refused.reason.code, refused.reason.notes, values["rows"]) == ("compare.fell", (), 40)
    assert "'label 0'" in str(values["what"])
    assert (values["before"], values["after"]) == pytest.approx((0.925, 0.5))


def test_a_row_less_is_no_drop(registry, stored):
    """A difference that chance explains keeps nobody from becoming champion."""
    promote_version(registry, "triage", stored(report(4)))

    assert promote_version(registry, "triage", stored(report(5, in_label=2))).allowed


def test_force(registry, stored):
    """With force a version that may not becomes champion, and the history says so and why."""
    promote_version(registry, "triage", stored(report(4)))
    verdict = promote_version(registry, "triage", bad := stored(report(60)), force=True, reason="outage")

    assert not verdict.allowed
    assert registry.champion("triage").version == bad
    last = registry.history("triage")[-1]
    assert (last.forced, last.reason) == (True, "outage")


def test_force_that_was_not_needed(registry, stored):
    """Force on a version that may is no forced promotion."""
    promote_version(registry, "triage", stored(report(4)), force=True, reason="sure")

    assert not registry.history("triage")[0].forced


def test_other_rows_are_no_comparison(registry, stored):
    """Figures of other held-out rows are not compared, and that is said."""
    promote_version(registry, "triage", stored(report(0)))
    verdict = promote_version(registry, "triage", stored(report(100, rows="s" * 64)))

    assert verdict.reason.codes == ("promote.no_bar", "note.not_comparable", "compare.other_rows", "note.apart")
    assert verdict.reason.notes[0].notes == (Reason("note.apart", what="accuracy", before=1.0, after=0.75),)


def test_a_damaged_champion_holds_nobody_back(registry, stored):
    """A champion that cannot be loaded is no yardstick."""
    promote_version(registry, "triage", champion := stored(report(0)))
    (registry.root / "triage" / champion / "report.json").write_text("{}")

    assert promote_version(registry, "triage", stored(report(100))).allowed


def test_a_figure_with_an_interval(registry):
    """A measure that is no share of rows is judged by its two intervals."""

    def score(auc):
        intervals = {"auc": [auc - 0.02, auc + 0.02]}
        return {
            **report(),
            "task": "score",
            "measures": ["auc"],
            "metrics": {"n": 9, "auc": auc, "intervals": intervals},
        }

    assert not compare(score(0.80), score(0.79)).regressions
    assert [regression.what for regression in compare(score(0.80), score(0.74)).regressions] == ["auc"]


@pytest.mark.parametrize("old", [{}, {"metrics": 3, "slices": [], "data": "x"}, {"metrics": {"accuracy": None}}])
def test_reports_of_an_older_coterie(old):
    """What a report does not say is not compared, and is no error."""
    assert not compare(old, report()).comparable
    assert not compare(report(), old).comparable
    assert compare({**report(), "slices": {"label 0": 3}, "right": "?"}, report()).regressions == ()


def test_what_changed():
    """What two versions were made of and differ in is listed by its place in the report."""
    before = report(seed=1, config={"bar": 1, "task": "classify"}, code_version="0.1.0")
    after = report(seed=2, config={"task": "classify"}, code_version="0.1.0")
    after["data"] = {**after["data"], "train": {"sha256": "u" * 64}}

    assert changed(before, after) == {
        "seed": (1, 2),
        "config.bar": (1, None),
        "data.train.sha256": ("t" * 64, "u" * 64),
    }
