"""`coterie fairness`: how a score treats groups, from the command line."""

import csv
import random

import pytest

from coterie.tasks.score import fit as _score
from coterie.tasks.score import fit as _scorecard


@pytest.fixture
def lender(run, folder, monkeypatch):
    """A trained score whose applicants have a sex, and a file of others."""
    monkeypatch.setattr(_scorecard, "BAGS", 1)
    monkeypatch.setattr(_scorecard, "STAGES", 2)
    monkeypatch.setattr(_score, "FOLDS", 3)
    dice = random.Random(3)
    for name in ("train", "other"):
        with (folder / "data" / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["income", "sex", "default"])
            for n in range(200):
                sex = ("f", "m")[n % 2]
                income = round(dice.gauss({"f": 25, "m": 40}[sex], 10), 1)
                writer.writerow([income, sex, int(dice.random() < (0.9 if income < 30 else 0.1))])
    (folder / "coterie.toml").write_text(
        '[specialists.risk]\ntask = "score"\ndata = "data/train.csv"\nlabel_column = "default"\n'
        '\n[specialists.triage]\ntask = "classify"\ndata = "data/triage.csv"\n'
    )
    assert run("-C", folder, "train", "risk").code in {0, 3}
    return folder


def test_groups(run, lender):
    """Figures by group on rows it has not seen, for people and as JSON; on those it has, a warning."""
    result = run("-C", lender, "fairness", "risk", "data/other.csv", "--group", "sex", "--json")
    shown = run("-C", lender, "fairness", "risk", "data/other.csv", "--group", "sex", "--line", "0.4")
    seen = run("-C", lender, "fairness", "risk", "data/train.csv", "--group", "sex")
    (column,) = result.json["columns"]
    women, men = column["groups"]

    assert (women["group"], men["group"], women["n"], men["n"]) == ("f", "m", 100, 100)
    assert women["approved"]["value"] < men["approved"]["value"]
    assert men["verdict"] == "reference"
    assert result.err == ""
    assert "Approved below 0.4" in shown.out
    assert "Largest gaps: approved" in shown.out
    assert "was trained on this file" in seen.err


def test_what_cannot_be_asked(run, lender):
    """Another task, and a column that is not there, are refused with what there is."""
    assert "no `score` specialist" in run("-C", lender, "fairness", "triage", "data/triage.csv", "--group", "x").err
    assert "['income', 'sex']" in run("-C", lender, "fairness", "risk", "data/other.csv", "--group", "age").err
    assert run("-C", lender, "fairness", "risk", "data/other.csv").code == 2
