"""`score` from columns, from a text, and from both."""

import asyncio
import json
import math
from itertools import permutations

import pytest

from coterie.config.specialists import make_section
from coterie.errors import ConfigError, DataError
from coterie.registry.registry import Registry
from coterie.tasks.score import fit as _score
from coterie.tasks.score import fit as _scorecard
from coterie.tasks.score.fit import PROTECTED_WORDS, protected_word
from coterie.tasks.versions import load_specialist
from coterie.types import ContextView, Task

SCORE = {"task": "score", "label_column": "default"}
NOTED = {**SCORE, "text_column": "note"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few folds and short bags: what is tested does not depend on their number."""
    monkeypatch.setattr(_scorecard, "BAGS", 1)
    monkeypatch.setattr(_scorecard, "STAGES", 2)
    monkeypatch.setattr(_score, "FOLDS", 3)


@pytest.fixture
def ask(tmp_path, encoder):
    """Asks the champion as the network would: `ask({"income": 30}, "a text")`."""

    def ask(columns=None, text: str = "", **section: object):
        version = Registry(tmp_path / "registry").champion("it")
        described = make_section(task="score", data="x", **section)
        specialist = load_specialist("it", described, version, encoder=encoder, models={})
        return asyncio.run(specialist.consult(Task(text=text, columns=columns), ContextView()))

    return ask


def columns_only(rows):
    return [{name: value for name, value in row.items() if name != "note"} for row in rows]


def texts_only(rows):
    return [{"note": row["note"], "default": row["default"]} for row in rows]


def report_of(report) -> dict:
    return report.specialists["it"].report


def test_columns_are_cross_validated_on_every_row(trained, applicants):
    """Without a test file every row trains and every row measures, with the logistic floor beside it."""
    report = report_of(trained(SCORE, columns_only(applicants(120))))

    assert report["data"]["train"]["rows"] == report["data"]["held_out"]["rows"] == report["metrics"]["n"] == 120
    assert [row["rung"] for row in report["rungs"]] == ["lexical"]
    assert report["rungs"][0]["measured"] == "3-fold cross-validation"
    assert 0.5 < report["rungs"][0]["floor"]["auc"] < 1
    assert not any("also in" in warning for warning in report["warnings"])


def test_a_test_file_measures_and_chooses_nothing(trained, applicants):
    """With a test file the figures are its rows', while the rung is chosen by out-of-fold ones."""
    report = report_of(trained(NOTED, applicants(100), test=applicants(40, seed=3)))

    assert report["metrics"]["n"] == 40
    for row in report["rungs"]:
        assert row["validation"]["auc"] != row["held_out"]["auc"]
        assert row["measured"] == "held-out file"


def test_a_text_is_one_more_column(trained, applicants, ask):
    """With a text both rungs are tried, the text's part is a reason of its own, and it makes the score better."""
    rows = applicants(160)
    with_text = report_of(trained({**NOTED, "rungs": ["embedding"]}, rows))
    applicant = {"income": 30.0, "home": "rent"}
    bad = ask({**applicant, "note": "arrears overdue tell me"})
    good = ask(applicant, "savings salary tell me")
    without = report_of(trained(SCORE, columns_only(rows)))

    assert [row["rung"] for row in with_text["rungs"]] == ["lexical", "embedding"]
    assert with_text["metrics"]["auc"] > without["metrics"]["auc"] + 0.03
    assert bad.value > good.value
    assert "what the text says: raises the odds" in bad.text
    assert any(evidence.name == "text" and evidence.weight < 0 for evidence in good.evidence)
    assert [step.engine for step in good.steps] == ["onnx", "linear", "linear"]


def test_lexical_rung_needs_no_encoder(trained, applicants, ask, encoder):
    """The lexical rung reads the text's n-grams, and never asks the encoder."""
    trained({**NOTED, "rungs": ["lexical"]}, applicants(120))
    finding = ask({"income": 30.0, "home": "rent"}, "arrears overdue")

    assert [step.engine for step in finding.steps] == ["linear", "linear"]
    assert not encoder.prompts


def test_a_text_alone(trained, applicants, ask):
    """A text without any column is scored too, and found by the router through its profile."""
    report = report_of(trained(NOTED, texts_only(applicants(160))))
    finding = ask(text="overdue arrears reminder")

    assert report["metrics"]["auc"] > 0.7
    assert finding.value > 0.5
    assert ask().reason.code == "abstain.no_text"


def test_profile_only_with_a_text(trained, applicants, tmp_path):
    """The router's profile holds the texts of a score that has some; columns are found by their names."""
    trained(SCORE, columns_only(applicants(60)))
    assert "profile.safetensors" not in Registry(tmp_path / "registry").champion("it").files
    trained(NOTED, applicants(60))
    assert "profile.safetensors" in Registry(tmp_path / "registry").champion("it").files


def test_a_column_that_is_called_text(trained, applicants, ask):
    """A feature named `text` beside the text keeps its name and its own effect."""
    rows = [{**row, "text": row["home"], "home": "x"} for row in applicants(160)]
    trained({**NOTED, "rungs": ["lexical"]}, rows)
    finding = ask({"income": 30.0, "text": "none"}, "arrears overdue")

    names = {evidence.name for evidence in finding.evidence}
    assert "text_" in names
    assert any(
        evidence.text.startswith("what the text says") for evidence in finding.evidence if evidence.name == "text_"
    )
    assert all("text is 'none'" in evidence.text for evidence in finding.evidence if evidence.name == "text")
    assert "missing" not in str(finding.reason)


def test_a_frequent_remark_is_learnt(trained, applicants, ask):
    """Cases that share a remark are told apart by their columns, so its effect is learnt and not turned round."""
    remarks = {0: ["none", "paid in full"], 1: ["none", "reminder sent"]}
    rows = [{**row, "note": remarks[row["default"]][i % 2]} for i, row in enumerate(applicants(160))]
    trained({**NOTED, "rungs": ["lexical"]}, rows)
    applicant = {"income": 30.0, "home": "rent"}

    sent, paid = (ask(applicant, text).value for text in ("reminder sent", "paid in full"))
    assert sent > paid + 0.2


def test_the_text_itself_may_be_excluded(trained, applicants):
    """Excluding the text's column leaves the columns."""
    report = report_of(trained({**NOTED, "exclude": ["note"]}, applicants(80)))

    assert [row["rung"] for row in report["rungs"]] == ["lexical"]


def test_rows_without_a_text(trained, applicants, ask):
    """Where some rows have no text, a missing text says what it said in training and is not held against a case."""
    rows = [{**row, "note": ""} if i % 3 == 0 else row for i, row in enumerate(applicants(160))]
    trained({**NOTED, "rungs": ["embedding"]}, rows)
    finding = ask({"income": 30.0, "home": "rent"})

    assert finding.value is not None
    assert "missing: text" in str(finding.reason)
    assert "abstain.too_little_known" not in finding.reason.codes


def test_hardly_any_text_is_no_text(trained, applicants, ask):
    """A text on a handful of rows is left out; there is one rung then, and it needs no text."""
    rows = [{**row, "note": row["note"] if i < 5 else ""} for i, row in enumerate(applicants(80))]
    report = report_of(trained(NOTED, rows))

    assert [row["rung"] for row in report["rungs"]] == ["lexical"]
    assert ask({"income": 30.0, "home": "own"}, "arrears").value is not None


def test_columns_alone_have_no_embedding_rung(trained, applicants):
    """Asking for the embedding rung where there is no text is a mistake in the file."""
    with pytest.raises(ConfigError, match=r"'score'.*'lexical'"):
        trained({**SCORE, "rungs": ["embedding"]}, columns_only(applicants(60)))


def test_same_seed_gives_the_same_version(trained, applicants):
    """A score with a text trains the same version twice."""
    versions = {trained(NOTED, applicants(80)).specialists["it"].version for _ in range(2)}

    assert len(versions) == 1


def test_few_rows_of_one_outcome(trained, applicants):
    """Three defaults among forty applicants train: some folds have none."""
    rows = [{**row, "default": int(i < 3)} for i, row in enumerate(applicants(40))]
    report = report_of(trained(SCORE, columns_only(rows)))

    assert report["metrics"]["n"] == 40


def test_ten_rows(trained, applicants, ask):
    """Ten rows are enough to train something that then never decides."""
    rows = [{**row, "default": i % 2} for i, row in enumerate(applicants(10))]
    trained(NOTED, rows)

    assert not ask({"income": 30.0, "home": "own"}, "arrears").accepted


def test_nothing_to_score_with(trained):
    """Columns that are all constant or keys are refused with the reasons."""
    rows = [{"id": f"k{i}", "same": 1, "default": i % 2} for i in range(40)]

    with pytest.raises(DataError, match=r"id: it looks like an identifier.*same: it has one value only"):
        trained(SCORE, rows)


def test_a_column_that_is_not_used_is_named(trained, applicants):
    """Numbers with a unit are no numbers: training says so, and how to write them."""
    rows = [{**row, "rent": f"{1 + i}.{i % 10}00,5{i % 10} €"} for i, row in enumerate(columns_only(applicants(80)))]
    warnings = report_of(trained({**SCORE, "exclude": ["age"]}, rows))["warnings"]

    unused = [warning for warning in warnings if warning.startswith("column 'rent' is not used")]
    assert len(unused) == 1
    assert unused[0].endswith("such as '1.000,50 €'; write its numbers as 1234.5")
    assert not any("'age' is not used" in warning for warning in warnings)


# --- Protected attributes ------------------------------------------------------------------------


def test_protected_columns_are_left_out_by_their_names(trained, applicants, ask):
    """A column called `age` is not used, and training, the version and each finding say so."""
    report = report_of(trained(SCORE, columns_only(applicants(80))))
    finding = ask({"income": 30.0, "home": "own", "age": 20})

    assert report["rungs"][0]["left_out"] == {"age": "protected attribute, by the word 'age'"}
    assert any("'age' is taken for a protected attribute" in warning for warning in report["warnings"])
    assert "not used: age (protected attribute" in str(finding.reason)
    assert finding.value == ask({"income": 30.0, "home": "own", "age": 69}).value


def test_naming_the_protected_columns_replaces_the_rule(trained, applicants):
    """What is named is left out, what is not is used, and an empty list lets everything in."""
    rows = columns_only(applicants(80))
    named = report_of(trained({**SCORE, "protected": ["home"]}, rows))["rungs"][0]["left_out"]
    none = report_of(trained({**SCORE, "protected": [], "exclude": ["income"]}, rows))["rungs"][0]["left_out"]

    assert named == {"home": "protected attribute"}
    assert none == {"income": "excluded by coterie.toml"}


def test_unknown_columns_are_a_mistake(trained, applicants):
    """Excluding a column that the data does not have is told, with the columns it has."""
    with pytest.raises(ConfigError, match=r"'sexx'.*it.jsonl.*'income'.*'home'.*'age'"):
        trained({**SCORE, "protected": ["sexx"]}, columns_only(applicants(40)))


@pytest.mark.parametrize(
    "name",
    [
        *("sex", "Sex", "AGE_2", "age_years", "foreignWorker", "Age (years)", "personal_status_sex"),
        *("nationalOrigin", "civil_status", "YOB", "Geschlecht", "Geburtsdatum", "Staatsangeh\u00f6rigkeit"),
        *(
            "STAATSANGEH\u00d6RIGKEIT",
            "Staatsangeho\u0308rigkeit",
            "nationalit\u00e9",
            "sexe",
            "\u00e2ge",
            "\u00e9tat civil",
        ),
        *(
            "sexo",
            "edad",
            "g\u00e9nero",
            "ra\u00e7a",
            "et\u00e0",
            "sesso",
            "geslacht",
            "p\u0142e\u0107",
            "wiek_klienta",
        ),
    ],
)
def test_names_that_say_protected(name):
    """A protected word of any of eight languages counts in any case, between digits, bars, brackets and humps."""
    assert protected_word(name)


def test_protected_words_are_as_they_are_looked_for():
    """In small letters, and each of them is found by itself."""
    assert {word for word in PROTECTED_WORDS if protected_word(word.upper()) is None} == set()


@pytest.mark.parametrize(
    "name",
    [
        "mortgage",
        "page",
        "Essex",
        "stage",
        "wage",
        "embrace",
        "manager",
        "bornite",
        "sexton",
        "eta_minutes",
        "alternative",
    ],
)
def test_names_that_only_contain_one(name):
    """A protected word inside another word does not count."""
    assert protected_word(name) is None


def test_the_rule_is_blunt():
    """`average_age_of_accounts` is left out too: that is said aloud, while a protected column used is not seen."""
    assert protected_word("average_age_of_accounts") == "age"


def test_description_of_a_score_with_text(trained, applicants, tmp_path):
    """The version says where the text comes from, and holds the text model beside the card."""
    trained({**NOTED, "rungs": ["embedding"]}, applicants(80))
    files = Registry(tmp_path / "registry").champion("it").files
    described = json.loads(files["model.json"])

    assert described["text"] == {"column": "text", "source": "note"}
    assert described["columns"] == ["income", "home", "note"]
    assert {"text.model.json", "text.weights.safetensors"} <= files.keys()


# --- Groups of people ----------------------------------------------------------------------------


def grouped(rows):
    """The rows with a sex that decides half of the incomes, and an age that decides nothing."""
    return [
        {
            **row,
            "sex": "f" if (index * 7919) % 3 else "m",
            "club": "yes" if (index * 7919) % 3 else "no",
            "age": index % 50,
        }
        for index, row in enumerate(columns_only(rows))
    ]


def test_the_report_looks_at_groups(trained, applicants, tmp_path):
    """Every protected attribute is in report and card, with what gives it away; the card says what it is not for."""
    trained_report = trained({**SCORE, "protected": ["sex", "age"]}, grouped(applicants(240)))
    report, row = report_of(trained_report), report_of(trained_report)["rungs"][0]
    sexes = {group["group"]: group for group in row["fairness"]["sex"]["groups"]}

    assert set(row["left_out"]) == set(row["fairness"]) == set(row["proxies"]) == {"sex", "age"}
    assert sexes["f"]["n"] + sexes["m"]["n"] == 240
    assert sum(group["base"]["value"] * group["n"] for group in sexes.values()) == pytest.approx(
        sum(int(applicant["default"]) for applicant in applicants(240))
    )
    assert row["proxies"]["sex"]["columns"][0]["column"] == "club"
    assert row["proxies"]["sex"]["columns"][0]["auc"] == 1.0
    assert any("columns that tell 'sex' although it is not used: club" in warning for warning in report["warnings"])
    card = Registry(tmp_path / "registry").champion("it").files["card.md"].decode()
    assert "## Fairness by group" in card
    assert "| sex | rows | bad outcome | approved |" in card
    assert "club 1.00" in card
    assert "## Not to be used for" in card


def test_without_protected_attributes_nothing_is_said(trained, applicants, tmp_path):
    """No group, no section; what a score is not to be used for is said all the same."""
    row = report_of(trained({**SCORE, "protected": []}, columns_only(applicants(120))))["rungs"][0]
    card = Registry(tmp_path / "registry").champion("it").files["card.md"].decode()

    assert (row["fairness"], row["proxies"]) == ({}, {})
    assert "Fairness by group" not in card
    assert "## Not to be used for" in card


def shapley(value, names):
    """Each name's average contribution over all orders in which they can come to be known (Shapley 1953)."""
    orders = list(permutations(names))
    return {
        name: sum(
            value({*order[: order.index(name)], name}) - value(set(order[: order.index(name)])) for order in orders
        )
        / len(orders)
        for name in names
    }


def test_reason_codes_are_the_largest_contributions(trained, applicants, ask):
    """The weight of each reason is the column's Shapley value in log-odds, and none that weighs more is left unsaid."""
    learnt = [{**row, "pets": row["age"] % 3} for row in columns_only(applicants(200))]
    trained({**SCORE, "exclude": ["age"]}, learnt)
    for row in columns_only(applicants(12, seed=5)):
        columns = {"income": row["income"], "home": row["home"], "pets": row["age"] % 3}

        def log_odds(names, columns=columns):
            """Of what it is told; of nothing, a value that it never learnt."""
            sent = {name: columns[name] if name in names else None for name in columns}
            probability = ask(sent if names else {"home": "castle"}).value
            return math.log(probability / (1 - probability))

        exact, finding = shapley(log_odds, list(columns)), ask(columns)
        weights = {reason.name: reason.weight for reason in finding.evidence}
        raising = [name for name in weights if weights[name] > 0]

        assert weights == pytest.approx({name: exact[name] for name in weights}, abs=1e-3)
        assert raising == sorted((name for name in exact if exact[name] > 0.05), key=lambda name: -exact[name])
        assert all(abs(exact[name]) <= 0.051 for name in exact if name not in weights)
        assert all(reason.text.startswith(f"{reason.name} is ") for reason in finding.evidence)
