"""The model card of a report."""

from functools import partial

from coterie.config.specialists import make_section
from coterie.registry.export import write_card as write
from coterie.tasks.contract import TASK_TYPES

write_card = partial(write, about=TASK_TYPES.load("classify").about)

REPORT = {
    "name": "triage",
    "task": "classify",
    "description": "Names what a customer wants.",
    "rung": "embedding",
    "reason": "cheapest rung whose out-of-fold accuracy reaches 0.92",
    "bar": {"accuracy": 0.925},
    "bar_met": True,
    "metrics": {
        "n": 3080,
        "accuracy": 0.9312345,
        "ece": 0.02,
        "oos_auroc": None,
        "intervals": {"accuracy": [0.92, 0.94]},
    },
    "rungs": [
        {"rung": "lexical", "held_out": {"accuracy": 0.88, "intervals": {"accuracy": [0.87, 0.89]}}},
        {"rung": "embedding", "held_out": {"accuracy": 0.9312345}},
    ],
    "seed": 7,
    "data": {
        "train": {"file": "train.csv", "sha256": "ab" * 32, "rows": 10003, "licence": "CC-BY-4.0"},
        "held_out": {"file": "test.csv", "sha256": "cd" * 32, "rows": 3080},
    },
    "labels": 77,
    "base": {"name": "MiniLM", "source": "org/MiniLM", "sha256": "ef" * 32, "licence": "Apache-2.0"},
    "code_version": "0.1.0",
    "slices": {
        "lost | found": {"n": 40, "recall": 0.5, "precision": None, "f1": 0.4},
        **{f"label {i}": {"n": 40, "recall": 0.9, "precision": 0.8, "f1": 0.85} for i in range(76)},
    },
    "warnings": ["2 near-duplicate rows"],
}


def test_what_a_card_says():
    """Name, task, labels, data with hash and licence, seed, bar, and every figure with its interval and the floor's."""
    card = write_card(REPORT)

    for line in (
        "pipeline_tag: text-classification",
        "# triage",
        "Names what a customer wants.",
        "| labels | 77 |",
        "| seed | 7 |",
        "base_model: org/MiniLM",
        "| base model | MiniLM, licence Apache-2.0 |",
        f"| base model SHA-256 | {'ef' * 32} |",
        "| made with | coterie 0.1.0 |",
        "By label, the 10 found least often of 77:",
        "| lost \\| found | 40 | 0.5 | - | 0.4 |",
        "| bar | accuracy >= 0.925: met |",
        f"| train | train.csv | 10003 | {'ab' * 32} | CC-BY-4.0 |",
        "| measure | embedding | lexical (floor) |",
        "| accuracy | 0.9312 [0.92, 0.94] | 0.88 [0.87, 0.89] |",
        "| ece | 0.02 | - |",
        "- 2 near-duplicate rows",
    ):
        assert line in card
    assert f"| held\\_out | test.csv | 3080 | {'cd' * 32} | not stated |" in card
    assert "oos_auroc" not in card
    assert "## Intended use and limits" in card


def test_missed_bar_is_loud():
    """A missed bar stands in the table and in the intended use."""
    card = write_card({**REPORT, "bar_met": False})

    assert "accuracy >= 0.925: MISSED" in card
    assert "It missed its bar" in card


def test_lexical_is_its_own_floor():
    """When the lexical rung was chosen there is no second column, and the card says why."""
    card = write_card({**REPORT, "rung": "lexical"})

    assert "(floor)" not in card
    assert "This is the lexical floor itself." in card


def test_no_base_is_claimed_that_is_not_used(tmp_path):
    """The lexical rung is built on no model, and what is no name on the hub is no `base_model`."""
    assert "base_model" not in write_card({**REPORT, "rung": "lexical"})
    assert "base_model" not in write_card({**REPORT, "base": {"source": "a b\nlicense: mit"}})


def test_text_of_the_user_stays_text():
    """A description cannot become a heading, a table cell, a tag or a link of the card."""
    card = write_card({**REPORT, "description": "# Title\n---\n| x | <script>alert(1)</script> [a](http://b)"})

    assert "<script>" not in card.replace("\\<", "")
    assert "\n# Title" not in card
    assert card.count("\n---\n") == 1


def test_report_with_nothing():
    """A report that says nothing still gives a card, without empty tables."""
    card = write_card({})

    assert "Not measured." in card
    assert "| | |" not in card
    assert card.endswith("\n")


def test_fields_stand_in_the_card_of_an_extractor():
    """Each field with how well it is found; other specialists have no such table."""
    fields = {"law": {"stated": 12, "exact_f1": 0.8, "token_f1": 0.9, "coverage": None}}
    report = {"name": "terms", "task": "extract", "rung": "lexical", "metrics": {"token_f1": 0.9, "fields": fields}}

    card = write(report, TASK_TYPES.load("extract").about)

    assert "| law | 12 | 0.8 | 0.9 |" in card
    assert "pipeline_tag: token-classification" in card
    assert "By field" not in write_card({**report, "metrics": {"token_f1": 0.9}})


def test_what_a_writer_promises():
    """A draft from a source text may say only what that says; what was learnt from pairs has nothing behind it."""
    report = {"name": "reply", "task": "generate", "rung": "slm"}

    for reads, words in ((["intent"], "may say only what that says"), ([], "nothing but its confidence stands for")):
        section = make_section(task="generate", data="x", model="small", reads=reads)
        assert words in write(report, TASK_TYPES.load("generate").card_text(section))
