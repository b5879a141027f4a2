"""The other tasks, each from fit to a network that was saved."""

from __future__ import annotations

import pytest

import coterie
from coterie import Answerer, Extractor, Generator, PairClassifier, Scorer, ToolCaller
from coterie.errors import DataError, ExtraMissing, InputError, ModelMissing

COMPANIES = [f"Company {i}" for i in range(20)]


@pytest.fixture(scope="module")
def pairs():
    """A classifier of one statement against short texts."""
    rows = [
        (form.format(company), label)
        for company in COMPANIES
        for form, label in [
            ("{} may copy the data.", "entailed"),
            ("{} must not copy anything.", "contradicted"),
        ]
    ]
    texts, labels = zip(*rows, strict=True)
    return PairClassifier.fit(texts, ["Copies are allowed."] * 40, labels, rungs=["lexical"])


def test_pairs(pairs, tmp_path):
    """A text is judged against a second one, with the words that decide."""
    texts, hypotheses = ["Company 99 may copy the data."], ["Copies are allowed."]
    (prediction,) = pairs.predict(texts, hypotheses)

    assert prediction.label == "entailed"
    assert pairs.predict(texts[0], hypotheses[0]).label == "entailed"
    assert set(prediction.scores) == {"entailed", "contradicted"}
    assert pairs.evaluate(texts, hypotheses, ["entailed"]).accuracy == 1
    pairs.save(tmp_path)
    assert PairClassifier.load(tmp_path).predict(texts, hypotheses)[0].label == "entailed"
    with pytest.raises(DataError, match="hypotheses has 1"):
        pairs.predict(texts * 2, hypotheses)


ROWS = [{"days": days, "country": "DE" if days % 2 else "FR", "paid": None} for days in range(120)]
LATE = [row["days"] > 60 for row in ROWS]


@pytest.fixture(scope="module")
def scorer():
    """A scorecard of one column that tells everything."""
    return Scorer.fit(ROWS, LATE, outcome="late", exclude=["paid"])


def test_scores(scorer, tmp_path):
    """A probability with reasons, the same after it was saved and loaded."""
    prediction = scorer.predict({"days": 110, "country": "DE"})
    few, many = scorer.predict(ROWS[1::110])

    assert prediction.value > 0.8
    assert prediction.reasons[0].name == "days"
    assert few.value < 0.2 < many.value
    assert scorer.predict_proba(ROWS[:3]).sum(axis=1) == pytest.approx(1)
    assert scorer.evaluate(ROWS, LATE).auc > 0.9
    scorer.save(tmp_path)
    assert Scorer.load(tmp_path).predict({"days": 110, "country": "DE"}).value == prediction.value
    with coterie.connect(tmp_path) as network:
        assert network.ask("", columns={"days": 110, "country": "DE"}).findings[0].value == prediction.value


def test_scores_from_pandas(scorer):
    """A DataFrame and a Series go in as they are."""
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(ROWS)

    assert scorer.predict(table.head(2))[0].value < 0.2
    assert scorer.evaluate(table, table["days"] > 60).auc > 0.9


def test_a_text_beside_the_columns():
    """A note that tells the outcome is used, and its name may be no column's."""
    notes = ["disputes the goods" if late else "pays by standing order" for late in LATE]
    rows = [{"country": row["country"]} for row in ROWS]
    scorer = Scorer.fit(rows, LATE, texts=notes, rungs=["lexical"])

    assert scorer.predict({"country": "DE"}, "disputes the goods").value > 0.7
    assert scorer.predict(rows[:1], [notes[0]])[0].value < 0.3
    with pytest.raises(DataError, match="'outcome'"):
        Scorer.fit([{"outcome": 1}], [1])
    with pytest.raises(DataError, match="one label only"):
        Scorer.fit(ROWS, [True] * 120)


DAYS = [f"{day} May 2024" for day in range(1, 31)]
CONTRACTS = [f"This agreement begins on {day}. It is between Ada and Bob." for day in DAYS]


@pytest.fixture(scope="module")
def extractor():
    """Finds a date and the parties."""
    values = [{"start": day, "parties": ["Ada", "Bob"]} for day in DAYS]
    return Extractor.fit(CONTRACTS, values, fields={"start": "date", "parties": "text*"}, rungs=["lexical"])


def test_extraction(extractor, tmp_path):
    """Fields come with quotes, typed values and confidence; accepted ones by name."""
    prediction = extractor.predict("This agreement begins on 9 June 2025. It is between Ada and Bob.")
    start = next(field for field in prediction.fields if field.name == "start")

    assert extractor.fields == {"start": "date", "parties": "text*"}
    assert (start.value, start.text) == ("2025-06-09", "9 June 2025")
    assert prediction.values.keys() == {"start", "parties"}
    assert "9 June 2025" in prediction._repr_html_()
    assert extractor.evaluate(CONTRACTS, [{"start": day} for day in DAYS]).fields["start"].token_f1 > 0.9
    extractor.save(tmp_path)
    assert Extractor.load(tmp_path).fields == extractor.fields


def test_a_quote_must_be_in_its_text():
    """A value that the text does not have is refused when the data are read."""
    with pytest.raises(DataError, match="not in its text"):
        Extractor.fit(CONTRACTS, [{"start": "1 June 1999"}] * 30, fields={"start": "date"})


DOCUMENTS = {
    "leave.md": "# Leave\n\nEvery employee has 28 days of paid leave a year.",
    "travel.md": "# Travel\n\nTrains are booked in second class. Hotels cost at most 120 euros a night.",
}


@pytest.fixture(scope="module")
def answerer():
    """Reads two short documents."""
    return Answerer.fit(DOCUMENTS)


def test_answers(answerer, tmp_path):
    """An answer cites the document; in another folder it is indexed again and answers the same."""
    question = "How many days of paid leave do I have?"
    answer = answerer.ask(question)

    assert answer.citations[0].document == "documents/answerer/leave.md"
    assert "28 days" in answer.text
    assert "28 days" in answer._repr_html_()
    assert answerer.ask(question, document="documents/answerer/travel.md").text != answer.text
    assert [prediction.text for prediction in answerer.predict([question])] == [answer.text]
    assert answerer.evaluate([question, "What is the capital of Peru?"], ["28 days", None]).n == 2
    answerer.save(tmp_path, name="handbook")
    assert (tmp_path / "documents" / "handbook" / "leave.md").read_text() == DOCUMENTS["leave.md"]
    assert Answerer.load(tmp_path).ask(question).text == answer.text
    with coterie.connect(tmp_path) as network:
        assert network.ask(question).citations[0].document == "documents/handbook/leave.md"


def test_two_answerers_in_one_network(answerer, tmp_path):
    """Each has an index and a folder of its own; documents that are gone do not stay."""
    other = Answerer.fit(["The canteen is open from 11 to 14 o'clock.", "Parking is free."])
    answerer.save(tmp_path, name="handbook")
    other.save(tmp_path, name="canteen")
    with pytest.raises(InputError, match="other settings"):
        Answerer.fit(tmp_path / "documents", name="canteen").save(tmp_path)
    (tmp_path / "documents" / "canteen" / "old.txt").write_text("The canteen is closed.")
    other.save(tmp_path, name="canteen")

    assert sorted(path.name for path in (tmp_path / "documents" / "canteen").iterdir()) == ["1.txt", "2.txt"]
    assert "28 days" in Answerer.load(tmp_path, "handbook").ask("How many days of paid leave do I have?").text
    assert "11 to 14" in Answerer.load(tmp_path, "canteen").ask("When is the canteen open?").text


def test_answers_calibrated_on_questions():
    """Questions with and without an answer in the documents are what it is measured on."""
    rooms = [f"Room {number} has {number * 2} seats." for number in range(1, 31)]
    questions = [f"How many seats has room {number}?" for number in range(1, 31)]
    answers = [f"{number * 2} seats" for number in range(1, 26)] + [None] * 5
    answerer = Answerer.fit({"rooms.md": "\n\n".join(rooms[:25])}, questions, answers, rungs=["lexical"])

    assert answerer.report["data"]["train"]["rows"] > 0
    assert answerer.metrics["n"] > 0


def test_documents_of_a_folder_stay_where_they_are(tmp_path):
    """A folder is indexed in place; documents without a file and impossible names are refused."""
    (tmp_path / "leave.md").write_text(DOCUMENTS["leave.md"])
    answerer = Answerer.fit(tmp_path)

    assert answerer.ask("How many days of paid leave do I have?").citations[0].document.endswith("leave.md")
    with pytest.raises(InputError, match="no documents"):
        Answerer.fit(tmp_path / "nothing")
    with pytest.raises(InputError, match="name"):
        Answerer.fit({"../leave.md": "x"})
    with pytest.raises(DataError, match="questions has 1"):
        Answerer.fit(DOCUMENTS, ["How much?"], [])


def test_a_generator_needs_a_model():
    """Without the model's file the error says how to get it, before anything is trained."""
    texts = [f"question {i}" for i in range(30)]
    with pytest.raises((ModelMissing, ExtraMissing)) as refusal:
        Generator.fit(texts, ["Thank you."] * 30, model="nobody/nothing/weights.gguf")

    assert refusal.value.hint


ROOM = {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]}
FUNCTIONS = [
    {"type": "function", "function": {"name": "light", "description": "Lights a lamp.", "parameters": ROOM}},
    {"name": "lock"},
]


def test_function_calls(tmp_path):
    """A function with its argument, or none, the same after it was saved and loaded; wrong calls are named by place."""
    rooms = ["hall", "kitchen", "attic", "office", "cellar", "bath"] * 5
    texts = [f"switch on the lamp in the {room}" for room in rooms]
    texts += [f"lock the door number {n}" for n in range(30)] + [f"who wrote the book {n}" for n in range(30)]
    calls = [{"name": "light", "arguments": {"room": room}} for room in rooms] + [{"name": "lock"}] * 30 + [None] * 30
    caller = ToolCaller.fit(texts, calls, functions=FUNCTIONS, rungs=["lexical"])
    light, lock, none = caller.predict(["switch on the lamp in the garage", "lock the door", "who wrote the book"])

    assert caller.functions == ("light", "lock")
    assert [(call.name, call.arguments) for call in light.calls] == [("light", {"room": "garage"})]
    assert [call.name for call in lock.calls] == ["lock"]
    assert (none.calls, none.label) == ((), "no_function")
    assert caller.evaluate(texts[:3], calls[:3]).accuracy == 1
    caller.save(tmp_path)
    assert ToolCaller.load(tmp_path).predict("switch on the lamp in the garage").calls == light.calls
    with pytest.raises(DataError, match=r"calls\[1\]"):
        ToolCaller.fit(texts[:2], [None, "lock"], functions=FUNCTIONS)
