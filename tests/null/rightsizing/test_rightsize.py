"""Right-sizing from end to end: a row a rung, nothing stored, test data choosing nothing."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from coterie.config.operation import AccountingSection
from coterie.config.specialists import make_section
from coterie.errors import DataError, EngineBroken, InputError
from coterie.learning.dataset import Row
from coterie.registry.registry import Registry
from coterie.rightsizing import rightsize as _rightsize
from coterie.rightsizing.large import Prices, RecordedAnswer, judge_answers
from coterie.rightsizing.probe import probe

from .conftest import CONDITIONS, HashEncoder


def test_a_row_a_rung(job, size, texts):
    """Every rung has quality with its interval, calibration, coverage, latency, memory, bytes, time and energy."""
    report = size(job(texts(), texts(each=10, seed=1)))
    row = report.to_json()["rungs"][0]

    assert [rung.rung for rung in report.rungs] == ["lexical", "embedding"]
    assert row["accuracy"] >= 0.9
    assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]
    assert {"ece", "coverage", "accepted_accuracy"} <= row["held_out"].keys()
    assert row["latency_ms"] == {"p50": 1.0, "p95": 1.0, "n": 30}
    assert (row["resident_bytes"], row["resident_increase_bytes"]) == (70, 50)
    assert row["bytes"] > 0
    assert row["training_seconds"] > 0


def test_energy_and_money_are_estimated_and_unknown_without_a_price(job, size, texts):
    """1,000 answers of a millisecond of CPU take 10 J at 10 W; money is null until a price is set, then exact."""
    rows = job(texts())
    free = size(rows).to_json()["rungs"][0]["per_1000"]
    priced = size(rows, accounting=AccountingSection(price_per_cpu_hour=Decimal("3.6"))).to_json()["rungs"][0]

    assert free == {"joules": 10.0, "money": None, "currency": "USD", "kind": "estimated"}
    assert priced["per_1000"]["money"] == pytest.approx(0.001)


def test_the_result_is_json(job, size, texts):
    """The document can be written as strict JSON."""
    json.dumps(size(job(texts())).to_json(), allow_nan=False)


def test_nothing_is_stored_unless_asked_for(job, size, texts, tmp_path):
    """No file is left; with `keep` there is a registry with a version a rung, the one the row names."""
    rows = job(texts())
    before = sorted(tmp_path.iterdir())
    size(rows)
    assert sorted(tmp_path.iterdir()) == before

    report = size(rows, keep=tmp_path / "kept")
    for row in report.rungs:
        assert Registry(tmp_path / "kept").load(row.rung, row.version).files


def test_the_same_seed_gives_the_same_figures(job, size, texts):
    """Twice the same job: the same versions, figures and verdict."""
    first, second = (size(job(texts(noise=0.3), seed=3)) for _ in range(2))

    assert [row.version for row in first.rungs] == [row.version for row in second.rungs]
    assert [row.figure for row in first.rungs] == [row.figure for row in second.rungs]
    assert first.verdict == second.verdict


def test_test_rows_choose_nothing(job, size, texts):
    """The rung taken and its files depend on the training rows alone, whatever the test rows are."""
    easy = size(job(texts(noise=0.3), texts(each=20, seed=5)))
    hard = size(job(texts(noise=0.3), texts(each=20, seed=6, noise=1.0)))

    assert easy.verdict.rung == hard.verdict.rung
    assert [row.version for row in easy.rungs] == [row.version for row in hard.rungs]
    assert easy.taken.figure != hard.taken.figure


def test_rungs_can_be_named(job, size, texts):
    """Only named rungs may be taken; the floor is measured all the same."""
    report = size(job(texts(), rungs=["embedding"]))

    assert [row.rung for row in report.rungs] == ["lexical", "embedding"]
    assert report.verdict.rung == "embedding"


@pytest.mark.slow  # ten folds of boosting
def test_a_score_is_measured_on_held_out_rows(job, size, applicants, monkeypatch):
    """A score is ranked by its AUC, on a seeded fifth that no rung has seen."""
    monkeypatch.setattr("coterie.tasks.score.fit.BAGS", 2)
    report = size(job(applicants(), task="score"))

    assert report.measure == "auc"
    assert (report.data["train"]["rows"], report.data["held_out"]["rows"]) == (160, 40)
    assert report.taken.figure.value > 0.7


def test_several_labels_have_intervals_too(job, size, texts):
    """A bar about the macro F1 of several labels is judged by an interval."""
    rows = [{**row, "label": [row["label"], "any"]} for row in texts()]
    report = size(job(rows, multi_label=True, bar={"macro_f1": 0.5}))
    low, high = report.taken.figure.interval

    assert low <= report.taken.figure.value <= high
    assert report.verdict.outcome == "met"


def test_a_large_model_beside_them(job, size, texts):
    """Its row, the paired difference on the rows both answered, and a warning when it answered only some."""
    rows = job(texts(), texts(each=20, seed=1))
    answers = [RecordedAnswer(text=None, row=n, answer="card", tokens_in=90, tokens_out=10) for n in range(1, 41)]
    prices = Prices(tokens_in=Decimal(10), tokens_out=Decimal(10))
    report = size(rows, large=judge_answers("giant", "on file", answers, rows.held, prices))
    comparison = report.comparisons[-1]

    assert (report.large.answered, report.large.of) == (40, 60)
    assert report.large.figure.value == 0.5
    assert (comparison.second, comparison.rows) == ("giant", 40)
    assert comparison.difference.value == pytest.approx(report.taken.evaluation.accuracy - 0.5, abs=0.05)
    assert comparison.measurable
    assert float(report.large.per_1000.money) == 1.0
    assert any("giant answered 40 of 60" in warning for warning in report.warnings)
    assert "giant reaches 0.500" in str(report.verdict)


def test_a_bar_about_an_unknown_measure(job, texts):
    """A measure that the task does not have is refused with those it has."""
    with pytest.raises(ValueError, match=r"'auc'.*accuracy or macro_f1"):
        job(texts(), bar={"auc": 0.9})


def test_a_rung_that_the_rows_cannot_climb(job, size, applicants):
    """Columns alone have no embedding; the rungs they have are named."""
    with pytest.raises(InputError, match=r"'embedding'.*lexical"):
        size(job(applicants(), task="score", rungs=["embedding"]))


@pytest.mark.parametrize(("task", "label"), [("classify", ""), ("score", 1)])
def test_held_out_rows_that_measure_nothing(job, texts, applicants, task, label):
    """Held-out rows without labels, or of one outcome, are refused before anything is trained."""
    rows = texts() if task == "classify" else applicants()

    with pytest.raises(DataError, match="nothing can be measured"):
        job(rows, [{**row, "label": label} for row in rows[:20]], task=task)


def test_a_writer_has_no_rungs(job, texts):
    """`generate` is refused."""
    with pytest.raises(InputError, match="generate"):
        job(texts(), task="generate", model="m", reads=["intent"])


@pytest.mark.parametrize(("load", "warned"), [(0.3, False), (2.5, True), (None, False)])
def test_a_busy_machine_is_said(job, size, texts, load, warned):
    """Times taken beside other work are upper bounds, and a warning says so."""
    machine = {"cores": 2} | ({} if load is None else {"load": load})
    report = size(job(texts()), conditions=replace(CONDITIONS, machine=machine))

    assert any("load 2.5 on 2 cores" in warning for warning in report.warnings) == warned


def test_a_chain_beside_its_rungs(job, size, texts):
    """The chain has a row like any rung, and at each stop the energy of the rungs that are asked."""
    rows = job(
        texts(each=100, noise=0.2), texts(each=40, noise=0.2, seed=1), chain=["lexical", "embedding"], chain_quality=0.8
    )
    report = size(rows, accounting=AccountingSection(price_per_cpu_hour=Decimal("3.6")))
    alone, *stops = report.chain
    chain = report.rungs[-1]
    taken = next(point for point in report.chain if point.taken)

    assert [row.rung for row in report.rungs] == ["lexical", "embedding", "chain"]
    assert report.verdict.rung == "chain"
    assert taken.figure.value == chain.figure.value
    assert (alone.stop, alone.asked) == (None, {"lexical": 0.0, "embedding": 1.0})
    assert alone.per_1000.joules == pytest.approx(30.0)
    for point in stops:
        assert point.per_1000.joules == pytest.approx(10.0 + 30.0 * point.asked["embedding"])
        assert float(point.per_1000.money) == pytest.approx(0.001 + 0.003 * point.asked["embedding"])
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["chain"][1]["stop"] == 0.99


def test_without_a_chain_there_is_no_curve(job, size, texts):
    """Rungs that are chosen from have no stop."""
    assert size(job(texts())).to_json()["chain"] == []


def test_a_warning_names_the_rungs_it_is_of(job, size, texts, monkeypatch):
    """What one rung's training warns of has its name before it; what all of them do stands once, without."""
    whole = _rightsize.train_rungs

    def warned(*args, **kwargs):
        trained = whole(*args, **kwargs)
        candidates = [
            replace(candidate, warnings=("all do", f"only {candidate.rung} does")) for candidate in trained.candidates
        ]
        return replace(trained, candidates=tuple(candidates))

    monkeypatch.setattr(_rightsize, "train_rungs", warned)
    warnings = size(job(texts())).warnings

    assert "all do" in warnings
    assert "lexical: only lexical does" in warnings
    assert "embedding: only embedding does" in warnings


def test_texts_in_a_language_that_the_encoder_does_not_know_are_said_once(job, size):
    """Figures of rungs that use an encoder are of this encoder, so right-sizing warns as training does."""
    asked = ("Warum ist die Rechnung vom {} so hoch?", "Wann wird der Zähler im {} wieder abgelesen?")
    months = ("Januar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "Dezember")
    rows = [{"text": text.format(month), "label": text[:4]} for text in asked for month in months]
    encoder = HashEncoder()
    encoder.languages, encoder.about = frozenset({"en"}), {"name": "hashes"}

    assert sum("'de'" in warning for warning in size(job(rows), encoder=encoder).warnings) == 1


# --- The child process that measures one rung alone.


def test_a_rung_alone(job, size, texts, tmp_path):
    """A real process answers every row, and weighs more than the bare one, but not what training weighs."""
    rows = job(texts())
    report = size(rows, keep=tmp_path / "kept")
    sample = rows.held_out.rows[:5]
    probed = probe(tmp_path / "kept", "lexical", report.rungs[0].version, rows.section, sample)

    assert len(probed.milliseconds) == len(probed.cpu_seconds) == 5
    assert all(taken > 0 for taken in probed.milliseconds)
    assert 5e6 < probed.bare_bytes < probed.resident_bytes < 120e6


def test_a_process_that_fails_says_why(tmp_path):
    """A version that is not there: the error names the rung and has the process's last words."""
    section = make_section(task="classify", data="x.csv")

    with pytest.raises(EngineBroken, match=r"'lexical'.*1"):
        probe(tmp_path, "lexical", "0" * 16, section, [Row(text="hello")])
