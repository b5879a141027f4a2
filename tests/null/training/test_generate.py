"""Making a `generate` specialist: its source texts are checked, its version says what the model is told."""

import csv
import json
from pathlib import Path

import pytest

from coterie.config.file import parse_config
from coterie.engines.reading import has_checker
from coterie.errors import DataError
from coterie.learning.job import Job, Silent
from coterie.models.catalogue import CATALOGUE
from coterie.runtime.codec import from_json
from coterie.tasks.contract import Workplace, read_dataset, task_of
from coterie.tasks.generate.fit import train_generate
from coterie.tasks.generate.grounding import EXCHANGES, INSTRUCTION, Drafting, SupportedDraft, bundled_models, one_line

CONFIG = """
[specialists.triage]
task = "classify"
data = "triage.csv"
writes = ["intent"]

[specialists.reply]
task = "generate"
data = "help.jsonl"
licence = "CC0-1.0"
model = "small"
reads = ["intent"]

[models.small]
engine = "llama"
name = "smollm2"
"""
SOURCES = {"card_lost": "Freeze it under Cards.", "card_arrival": "A new card takes 5 days."}


@pytest.fixture
def folder(tmp_path):
    """A network's folder with data for both specialists."""
    rows = [f"my card number {n} is gone,card_lost\nwhere does card {n} stay,card_arrival" for n in range(10)]
    (tmp_path / "triage.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def make(folder, rows=None, *, config=CONFIG):
    """The description, the report and the files' names for these source texts."""
    rows = [{"intent": key, "text": text} for key, text in SOURCES.items()] if rows is None else rows
    (folder / "help.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    parsed = parse_config(config)
    data = read_dataset(folder / "help.jsonl", task="generate", reads=("intent",))
    section = parsed.specialists["reply"]
    job = Job(
        name="reply", task=task_of(section), section=section, train=data, held_out=data, encoder=None, progress=Silent()
    )
    made = train_generate(job, Workplace(config=parsed, folder=folder))
    return json.loads(made.files["model.json"]), dict(made.report), set(made.files)


def test_a_version_holds_all_that_the_model_is_told(folder):
    """Source texts, instruction, examples, limit and the model's checksum are in `model.json`."""
    described, _, names = make(folder)

    assert names == {"model.json"}
    assert described["task"] == "generate"
    assert described["rung"] == "slm"
    assert described["sources"] == SOURCES
    assert from_json(Drafting, described, unknown="ignore") == Drafting(instruction=INSTRUCTION, examples=EXCHANGES)
    assert described["max_tokens"] == 160
    assert described["model"] == {"name": "smollm2", "sha256": CATALOGUE["smollm2"].sha256}


def test_the_networks_instruction_goes_before_the_usual_one(folder):
    """`instruction` and `max_tokens` of the network's file are used."""
    config = CONFIG.replace('reads = ["intent"]', 'reads = ["intent"]\ninstruction = "Be brief."\nmax_tokens = 40')

    described, _, _ = make(folder, config=config)

    assert (described["instruction"], described["max_tokens"]) == ("Be brief.", 40)


def test_the_report_claims_nothing_that_was_not_measured(folder):
    """It has the shape of every report, no figures, and no word on the bar."""
    _, report, _ = make(folder)

    assert (report["rung"], report["bar_met"], report["metrics"], report["rungs"]) == ("slm", None, {}, [])
    assert report["data"]["train"]["rows"] == 2
    assert report["warnings"] == []
    json.dumps(report)


def test_the_same_data_gives_the_same_version(folder):
    """Nothing in a version depends on when or where it was made."""
    assert make(folder) == make(folder)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [
                {"intent": "card_lost", "text": "Freeze it.", "note": "a"},
                {"intent": "card_lost", "text": "Call us.", "note": "b"},
            ],
            r"2 source texts for intent = 'card_lost', on the lines \[1, 2\]",
        ),
        ([{"intent": "", "text": "Freeze it.", "note": "a"}], "line 1: 'intent' is empty"),
        ([{"topic": "card_lost", "text": "Freeze it."}], r"has the columns \['text', 'topic'\]"),
    ],
    ids=["twice", "empty", "no column"],
)
def test_source_texts_that_cannot_be_chosen_between_are_refused(folder, rows, message):
    """A value has one source text, and each source text has a value."""
    with pytest.raises(DataError, match=message):
        make(folder, rows)


def test_values_without_a_source_text_are_named(folder):
    """What the classifier may write and nobody can answer is a warning."""
    _, report, _ = make(folder, [{"intent": "card_lost", "text": "Freeze it."}])

    assert report["warnings"] == ["no source text for intent = 'card_arrival': it abstains there"]


def test_source_texts_nobody_asks_for_are_named(folder):
    """A key that no classifier writes is a warning: it may be a slip."""
    rows = [{"intent": key, "text": text} for key, text in (SOURCES | {"card_lsot": "Freeze."}).items()]

    _, report, _ = make(folder, rows)

    assert report["warnings"] == ["nobody writes intent = 'card_lsot': these source texts are never used"]


def test_long_source_texts_are_named(folder):
    """A source text that no draft can hold is a warning."""
    _, report, _ = make(folder, config=CONFIG.replace('model = "small"', 'model = "small"\nmax_tokens = 5'))

    assert "longer than a draft may be (max_tokens = 5)" in report["warnings"][0]


def test_data_of_others_that_cannot_be_read_is_theirs_to_explain(folder):
    """Where the classifier's file is not usable, its values are not compared."""
    (folder / "triage.csv").write_text("nothing", encoding="utf-8")

    _, report, _ = make(folder)

    assert report["warnings"] == []


@pytest.mark.skipif(not has_checker(), reason="the models' files are not in this checkout")
def test_the_examples_replies_are_grounded():
    """The lender's pairs pass the check that drafts pass, so hardly anything else can be learned from them.

    One sentence of them is so near to a threshold that the processor decides: products of int8 differ between them.
    """
    data = Path(__file__).parents[3] / "examples" / "lender" / "data"
    lines = (data / "help.jsonl").read_text(encoding="utf-8").splitlines()
    sources = {row["intent"]: row["text"] for row in map(json.loads, lines)}
    with (data / "reply.pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file))
    models = bundled_models()
    drafts = [
        SupportedDraft(source=sources[pair["intent"]], message=one_line(pair["text"]), models=models) for pair in pairs
    ]
    for draft, pair in zip(drafts, pairs, strict=True):
        assert [*draft.read(pair["reply"]), *draft.end()] == draft.said

    assert {pair["intent"] for pair in pairs} == sources.keys()
    assert sum(draft.fault is not None for draft in drafts) <= 0.005 * len(pairs)
