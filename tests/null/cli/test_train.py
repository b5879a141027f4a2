"""`coterie train` and `coterie eval`: what was trained, how good it is, and what a missed bar means."""

from dataclasses import replace
from decimal import Decimal
from hashlib import sha256

import pytest

from coterie.cli.train import drafts
from coterie.errors import DataError, NotTrained
from coterie.learning.dataset import Row
from coterie.learning.evaluation import Confusion, Evaluation, Interval
from coterie.training.train import CHECKPOINTS_FOLDER, TrainedSpecialist, TrainingReport
from coterie.types import Usage


def evaluation(accuracy: float) -> Evaluation:
    """Figures with one interval and one confusion."""
    return Evaluation(
        n=12,
        labelled=10,
        accuracy=accuracy,
        macro_f1=0.8,
        coverage=0.7,
        accepted_accuracy=0.97,
        ece=0.02,
        joint_accuracy=0.75,
        intervals={"accuracy": Interval(low=accuracy - 0.05, high=accuracy + 0.05)},
        confusions=(Confusion(label="[refund]", predicted="delivery", count=3),),
    )


def report(*, bar: float | None, promoted: bool = True) -> TrainingReport:
    """A training of one specialist with two rungs."""
    rungs = [
        {
            "rung": rung,
            "validation": {"accuracy": accuracy, "interval": [accuracy - 0.01, accuracy + 0.01]},
            "held_out": evaluation(accuracy).to_json(),
            "bytes": 123_456,
            "seconds": 1.5,
        }
        for rung, accuracy in (("lexical", 0.85), ("embedding", 0.9))
    ]
    result = {
        "task": "classify",
        "rung": "embedding",
        "reason": "best out-of-fold accuracy (0.900)",
        "bar": {} if bar is None else {"accuracy": bar},
        "bar_met": None if bar is None else bar <= 0.9,
        "metrics": evaluation(0.9).to_json(),
        "rungs": rungs,
        "warnings": ["3 rows repeat an earlier one"],
    }
    trained = TrainedSpecialist(
        name="triage",
        version="0123456789abcdef",
        promoted=promoted,
        report=result,
        promotion="accuracy fell",
        took=Usage(milliseconds=12_300, cpu_seconds=11.5, joules=115.0, cost=Decimal("0.25")),
    )
    return TrainingReport(specialists={"triage": trained}, seconds=12.3)


@pytest.fixture
def training(monkeypatch):
    """Puts a stand-in behind `coterie.training.train.train`; gives what it was called with."""
    calls = []

    def install(result: TrainingReport | BaseException):
        def train(folder, names, *, progress, overrides=None):
            calls.append((folder, tuple(names), overrides))
            progress.start("triage: encode", 10)
            progress.advance(10)
            if isinstance(result, BaseException):
                raise result
            progress.finish("")
            return result

        monkeypatch.setattr("coterie.training.train.train", train)
        return calls

    return install


def test_rungs_side_by_side(run, folder, training):
    """The table has a row a rung with the floor marked, the rung taken and why, and whether the bar is met."""
    calls = training(report(bar=0.88))
    result = run("-C", folder, "train", "triage")

    assert result.code == 0
    assert calls == [(folder, ("triage",), {})]
    assert "lexical (floor)" in result.out
    assert "Taken: embedding, best" in result.out
    assert "0.850-0.950" in result.out
    assert "best out-of-fold accuracy (0.900)" in result.out
    assert "accuracy >= 0.88: met, 0.900" in result.out
    assert "triage: encode" in result.err
    assert "3 rows repeat" in result.err
    assert "triage: encode" not in result.out


def test_json(run, folder, training):
    """`--json` has the keys that scripts rely on, and nothing else is on standard output."""
    training(report(bar=0.88))
    trained = run("-C", folder, "train", "--json").json["specialists"]["triage"]

    assert trained["version"] == "0123456789abcdef"
    assert trained["rung"] == "embedding"
    assert trained["bar_met"] is True
    assert trained["metrics"]["accuracy"] == 0.9


def test_settings_of_one_training(run, folder, training, monkeypatch):
    """What is typed counts for this training, is in the audit log, and changes nothing in the file."""
    before = (folder / "coterie.toml").read_bytes()
    calls = training(report(bar=None))
    monkeypatch.chdir(folder)
    run("train", "--rungs", "lexical, encoder", "--seed", "7", "--bar", "accuracy=0.8", "--base", "data")
    (entry,) = run("-C", folder, "audit", "show", "--kind", "train", "--json").json["entries"]

    overrides = {"rungs": ["lexical", "encoder"], "seed": 7, "bar": {"accuracy": 0.8}, "base": str(folder / "data")}
    assert [passed for _, _, passed in calls] == [overrides]
    assert entry["about"]["overrides"] == overrides
    assert (folder / "coterie.toml").read_bytes() == before


def test_rungs_of_one_training(run, folder, write_rows):
    """`--rungs` and `--chain` replace each other and what the file says; what does not fit is refused."""
    write_rows(folder / "data" / "triage.csv", per_label=30)
    path = folder / "coterie.toml"
    path.write_text(path.read_text() + 'chain = ["lexical", "embedding"]\n')
    one = run("-C", folder, "train", "--rungs", "lexical", "--json")
    odd = run("-C", folder, "train", "--rungs", "gpt", "--json")

    assert one.code == 0, one.err
    assert [rung["rung"] for rung in one.json["specialists"]["triage"]["rungs"]] == ["lexical"]
    assert (odd.code, odd.json["error"]["code"]) == (2, "input_error")


def test_a_chain(run, folder, training):
    """What the chain came to at each stop is a table of its own, with the stop that it has, and why."""
    done = report(bar=None)
    trained = done.specialists["triage"]
    points = [
        {"stop": stop, "accuracy": 0.9, "interval": [0.88, 0.92], "asked": shares, "answered": shares}
        for stop, shares in ((None, [0.0, 1.0]), (0.99, [1.0, 0.6]), (0.98, [1.0, 0.5]))
    ]
    chain = {**trained.report["rungs"][1], "rung": "chain", "chain": ["lexical", "embedding"], "curve": points}
    chain["stop"] = {"value": 0.98, "quality": 0.99, "reason": "shown by 900 rows"}
    rungs = [*trained.report["rungs"], chain]
    result = replace(trained, report={**trained.report, "rungs": rungs, "rung": "chain"})
    training(replace(done, specialists={"triage": result}))
    out = run("-C", folder, "train", "triage").out

    assert "embedding alone" in out
    assert next(line for line in out.splitlines() if "taken" in line).split()[0] == "0.98"
    assert "Chain lexical > embedding: shown by 900 rows." in out


def test_what_it_took(run, folder, network, training):
    """A training is in the ledger, and `coterie report` spreads it over the answers that came of it."""
    training(report(bar=None))
    for _ in range(2):
        run("-C", folder, "train", "triage")
    network()
    run("-C", folder, "ask", "one")
    (ledger_entry,) = run("-C", folder, "report", "--json").json["trainings"]

    assert (ledger_entry["specialist"], ledger_entry["trainings"], ledger_entry["seconds"], ledger_entry["joules"]) == (
        "triage",
        2,
        24.6,
        230.0,
    )
    assert (ledger_entry["answers"], ledger_entry["joules_per_answer"], ledger_entry["cost_per_answer"]) == (
        1,
        230.0,
        0.5,
    )


def test_a_ledger_that_cannot_be_written(run, folder, training):
    """The versions are stored all the same, and it is said."""
    training(report(bar=None))
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state" / "coterie.db").write_bytes(b"no database at all" * 100)
    result = run("-C", folder, "train", "triage")

    assert result.code == 0
    assert "could not be written into the ledger" in result.err


@pytest.mark.parametrize(("promoted", "said"), [(True, "this one serves"), (False, "not promoted")])
def test_a_missed_bar_is_loud(run, folder, training, promoted, said):
    """A missed bar gives exit code 3 and says on standard error what now serves; the JSON is complete all the same."""
    training(report(bar=0.95, promoted=promoted))
    result = run("-C", folder, "train", "--json")

    assert result.code == 3
    assert result.json["specialists"]["triage"]["bar_met"] is False
    assert "BAR MISSED: triage " in result.err
    assert said in result.err
    assert "Bar accuracy >= 0.95: MISSED" in run("-C", folder, "train").out


@pytest.mark.parametrize(
    ("bar", "said"),
    [(0.84, "rows, with 95% confidence."), (0.88, "not with 95% confidence (0.850-0.950)"), (0.95, "rows.")],
)
def test_how_sure_a_met_bar_is(run, folder, training, bar, said):
    """A bar that is met says whether the interval meets it too; a missed one does not."""
    training(report(bar=bar))

    assert next(line for line in run("-C", folder, "train").out.splitlines() if line.startswith("Bar")).count(said)


def test_a_regression_is_loud(run, folder, training):
    """A version that is worse than the champion gives exit code 3, with the reason and the command that shows more."""
    training(report(bar=0.88, promoted=False))
    result = run("-C", folder, "train")

    assert result.code == 3
    assert "NOT PROMOTED: triage " in result.err
    assert "registry diff triage champion candidate" in result.err


def test_no_bar_is_no_miss(run, folder, training):
    """A specialist without a bar cannot miss one."""
    training(report(bar=None))
    result = run("-C", folder, "train")

    assert result.code == 0
    assert "Bar" not in result.out


def test_data_that_cannot_be_used(run, folder, training):
    """What training refuses is explained, with the code of an input error."""
    training(DataError("triage.csv line 3 has an empty text.", hint="Fill it."))
    result = run("-C", folder, "train")

    assert (result.code, result.out) == (2, "")
    assert "line 3" in result.err


def test_ctrl_c_says_what_is_kept(run, folder, training):
    """Where a checkpoint is there, the same command goes on from it, and that is said."""
    kept = folder / CHECKPOINTS_FOLDER / "triage" / "0a1b.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"")
    training(KeyboardInterrupt())
    result = run("-C", folder, "train")

    assert (result.code, result.out) == (130, "")
    assert "the same command goes on there" in result.err


@pytest.fixture
def learned_from():
    """The report of the version that is measured: what it was trained on."""
    return {"data": {"train": {"sha256": "0" * 64}}}


@pytest.fixture
def measured(monkeypatch, learned_from):
    """Puts stand-ins behind registry, specialist and evaluation; gives the rows that were asked about."""
    measured_rows = []

    class Champions:
        def champion(self, name):
            files = {"model.json": b'{"labels": ["delivery", "refund"]}'}
            return type("Version", (), {"version": "0123456789abcdef", "files": files, "report": learned_from})

    async def evaluate(specialist, rows, *, progress, label, judge, look_up=None):
        measured_rows.extend(rows)
        progress(len(rows))
        return evaluation(0.9)

    monkeypatch.setattr("coterie.registry.registry.open_registry", lambda *_: Champions())
    monkeypatch.setattr("coterie.tasks.versions.load_specialist", lambda *_, **__: None)
    monkeypatch.setattr("coterie.learning.measure.evaluate", evaluate)
    monkeypatch.setattr("coterie.engines.onnx.OnnxEncoder", NoEncoder)
    return measured_rows


class NoEncoder:
    """An encoder that nobody asks."""

    @classmethod
    def read(cls, *_, **__):
        return cls()

    async def close(self) -> None:
        pass


def test_eval_json(run, folder, measured):
    """`eval --json` has the keys that scripts rely on; figures the rows cannot give are null."""
    document = run("-C", folder, "eval", "triage", "--data", folder / "data" / "triage.csv", "--json").json

    assert {"n", "accuracy", "macro_f1", "coverage", "accepted_accuracy", "ece", "joint_accuracy"} <= set(document)
    assert document["oos_auroc"] is None
    assert document["oos_recall"] is None
    assert document["version"] == "0123456789abcdef"
    assert len(measured) == 24


def test_eval_on_what_it_was_trained_on(run, folder, measured, learned_from):
    """Figures of the rows that a version learned from are too good, and that is said."""
    path = folder / "data" / "triage.csv"
    other = run("-C", folder, "eval", "triage", "--data", path, "--json")
    learned_from["data"]["train"]["sha256"] = sha256(path.read_bytes()).hexdigest()
    same = run("-C", folder, "eval", "triage", "--data", path, "--json")

    assert (other.json["trained_on"], same.json["trained_on"]) == (False, True)
    assert "too good" not in other.err
    assert "`coterie registry show triage`" in same.err


def test_eval_on_some_of_what_it_was_trained_on(run, folder, measured):
    """Rows that another file shares with the training data are counted."""
    rows = (folder / "data" / "triage.csv").read_text().splitlines()
    (folder / "some.csv").write_text("\n".join([*rows[:4], f"a text of its own,{rows[1].rsplit(',', 1)[1]}"]))
    result = run("-C", folder, "eval", "triage", "--data", folder / "some.csv")

    assert "3 of 4 rows of some.csv also in triage.csv" in result.err


def test_eval_as_a_table(run, folder, measured):
    """Without `--json`: figures with their intervals, and the labels that are most often confused, brackets and all."""
    out = run("-C", folder, "eval", "triage", "--data", "data/triage.csv").out

    assert "0.850-0.950" in out
    assert "AUROC" not in out
    assert "[refund]" in out


def test_eval_columns(run, folder, measured, tmp_path):
    """Columns named here win over those of the training data; rows without a label are out of scope."""
    (tmp_path / "other.csv").write_text("body,topic\nwhere is it,delivery\nnice weather,\n")
    result = run(
        *("-C", folder, "eval", "triage", "--data", tmp_path / "other.csv"),
        *("--text-column", "body", "--label-column", "topic", "--json"),
    )

    assert result.code == 0, result.err
    assert measured == [Row(text="where is it", labels=("delivery",)), Row(text="nice weather")]


def test_eval_of_nobody(run, folder):
    """A specialist that is not in the network, or not trained yet, cannot be measured."""
    unknown = run("-C", folder, "eval", "nobody", "--data", "data/triage.csv", "--json")
    assert (unknown.code, unknown.json["error"]["code"]) == (2, "unknown_specialist")

    untrained = run("-C", folder, "eval", "triage", "--data", "data/triage.csv", "--json")
    assert (untrained.code, untrained.json["error"]["code"]) == (1, NotTrained.code)
    assert f"coterie -C {folder} train triage" in untrained.json["error"]["hint"]


def test_eval_without_its_file(run, folder, measured):
    """A file that is not there is named, with where it was looked for."""
    result = run("-C", folder, "eval", "triage", "--data", "nope.csv")

    assert result.code == 2
    assert "nope.csv" in result.err


def test_eval_of_a_writer(run, folder):
    """A specialist that drafts from source texts has no right replies to compare with."""
    with (folder / "coterie.toml").open("a") as file:
        file.write(
            '\n[specialists.reply]\ntask = "generate"\ndata = "data/help.jsonl"\nmodel = "m"\nreads = ["intent"]\n'
            '\n[models.m]\nengine = "llama"\nname = "smollm2"\n'
        )
    result = run("-C", folder, "eval", "reply", "--data", "data/triage.csv")

    assert result.code == 2
    assert "no single right reply" in result.err


def test_what_tuning_did_to_drafts():
    """Each figure stands beside that of the untuned model."""
    metrics = {"token_f1": 0.9, "rouge_l": 0.85, "grounded": 1.0, "drafted": 60}
    metrics["untuned"] = {"token_f1": 0.6, "rouge_l": 0.5, "grounded": 0.75}

    assert drafts(metrics) == (
        "Drafts of 60 pairs held back (untuned): token F1 0.900 (0.600), ROUGE-L 0.850 (0.500), grounded 1.000 (0.750)."
    )


def test_eval_with_labels_the_version_does_not_know(run, folder, measured, tmp_path):
    """Labels that the version cannot give are counted and named, with the one that was probably meant."""
    (tmp_path / "other.csv").write_text("text,label\nwhere is it,delivery\na,Refund\nb,Refund\nc,warranty\n")
    result = run("-C", folder, "eval", "triage", "--data", tmp_path / "other.csv", "--json")

    assert result.code == 0
    assert result.json["unknown_labels"] == {"Refund": 2, "warranty": 1}
    assert "other.csv not in version 0123456789abcdef" in result.err
    assert "'Refund' (2 rows" in result.err
    assert "cannot be right" in result.err


def test_eval_with_texts_longer_than_the_window(run, folder, measured, monkeypatch):
    """Texts of which only the beginning was read are counted."""

    async def evaluate(specialist, rows, *, progress, label, judge, look_up=None):
        return replace(evaluation(0.9), truncated=3)

    monkeypatch.setattr("coterie.learning.measure.evaluate", evaluate)
    result = run("-C", folder, "eval", "triage", "--data", "data/triage.csv", "--json")

    assert result.json["truncated"] == 3
    assert "3 of 12 texts " in result.err
