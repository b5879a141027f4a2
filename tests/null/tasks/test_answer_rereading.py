"""The second look: a model reads the best sentences, and lines weigh what both looks say."""

import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from coterie.engines.reading import PassageRead
from coterie.specialists.parts import Acceptance
from coterie.tasks.answer.default import Proven, load_defaults, proven_at
from coterie.tasks.answer.model import NOT_STATED, AnswerSpecialist, _as_shipped, load_answer
from coterie.tasks.answer.reader import find_rivals, survey
from coterie.tasks.answer.rereading import (
    JUDGED,
    LOOKED,
    MOST_READ,
    Rereading,
    overlooked_words,
    read_columns,
    read_passages,
)
from coterie.testing import EchoEngine
from coterie.types import ContextView, Entry, Label, Passage, SpecialistCard, Task
from tests._support.answers import QUESTION, TEXT, Likes, line, passage, view


def rereading(**changed) -> Rereading:
    """One that believes the model."""
    lines = {
        "sentence": line(LOOKED, read=1.0),
        "right": line(JUDGED, score=1.0),
        "stated": line(JUDGED, highest=1.0),
        "also": 100.0,
        "model": Likes.sha256,
    }
    return Rereading(**{**lines, **changed})


def specialist(model: Likes) -> AnswerSpecialist:
    """Words first, then the model."""
    accepts = Acceptance(temperature=1.0, threshold=0.9, target_risk=0.1, scope_threshold=None)
    return AnswerSpecialist(
        card=SpecialistCard(
            name="ask", task="answer", description="", rung="embedding", version="1", knowledge=("index",)
        ),
        reader=load_defaults().readers["lexical"],
        answering=accepts,
        silence=accepts,
        rereading=rereading(),
        model=model,
    )


async def test_the_sentence_that_the_model_likes_is_quoted():
    """Words alone would not find it; the model works beside the event loop and is in the steps."""
    model = Likes("valid")
    finding = await specialist(model).consult(Task(text=QUESTION), view())

    assert finding.accepted
    assert finding.citations[0].text == "Cards are valid for 4 years."
    assert threading.get_ident() not in model.threads
    assert "reading" in [step.engine for step in finding.steps]


async def test_what_the_model_likes_nowhere_is_not_stated():
    """All sentences are read and none is liked."""
    finding = await specialist(Likes("zebra")).consult(Task(text=QUESTION), view())

    assert finding.value == NOT_STATED
    assert not finding.citations


def several(*texts: str) -> list[Passage]:
    """Passages of documents of their own."""
    return [replace(passage(text), document=f"{number}.md") for number, text in enumerate(texts)]


def test_it_reads_the_likeliest_passages_until_one_answers():
    """The likeliest by the first look first; with an answer the unlikely rest is not read."""
    seen = survey(QUESTION, several("The account is free.", TEXT, "Never tell your PIN.", "Call us at any time."))
    scores = np.array([2.0 if "valid" in sentence.text else -6.0 for sentence in seen.sentences])
    finds, never = Likes("valid"), Likes("zebra")

    reread, nothing = read_passages(seen, scores, finds), read_passages(seen, scores, never)

    [(question, sentences)] = finds.asked
    assert question == QUESTION
    assert sentences == [sentence.text for sentence in seen.sentences if sentence.passage.document == "1.md"]
    assert [seen.sentences[row].text for row in reread.rows] == sentences
    assert set(reread.answers) == {3.0}
    assert len(never.asked) == MOST_READ
    assert nothing.answers.max() == -3.0


def test_one_that_is_as_likely_is_read_beside_the_answer():
    """It may say otherwise."""
    seen = survey(QUESTION, several(TEXT, TEXT.replace("4 years", "2 years")))
    model = Likes("valid")

    read_passages(seen, np.zeros(len(seen.sentences)), model)

    assert len(model.asked) == 2


ENGLISH = "Opening hours are from nine to five, and on Saturdays we are closed all day."
GERMAN = "Der Ausweis kostet 37 Euro und ist zehn Jahre gültig. Bitte bringen Sie ein Foto mit."


@pytest.mark.parametrize(
    ("question", "likes", "read", "is_across"),
    [
        ("How much does the identity card cost at the town hall?", "kostet", 2, True),
        ("How much does the identity card cost at the town hall?", "nine", 2, False),
        ("Was kostet der neue Ausweis im Rathaus der Stadt?", "kostet", 2, False),
        ("37?", "kostet", 1, False),
    ],
)
def test_passages_in_another_language_than_the_question(question, likes, read, is_across):
    """All of them are read; where one is liked best, lines of their own judge. An uncertain language is no other."""
    seen = survey(question, several(ENGLISH, GERMAN), "en")
    scores = np.array([2.0 if "nine" in sentence.text else -6.0 for sentence in seen.sentences])
    first = replace(load_defaults().readers["lexical"].read(seen), scores=scores)
    own = rereading(model=Likes.sha256, right=line(JUDGED, bias=-2.0))
    lines = replace(own, across=rereading(right=line(JUDGED, bias=2.0)))
    model = Likes(likes)
    if question == "37?":
        seen = survey(question, several(GERMAN), "en")
        first = replace(load_defaults().readers["lexical"].read(seen), scores=np.zeros(len(seen.sentences)))

    reread = lines.look(seen, first, model)

    assert len(model.asked) == read
    assert (reread.right > 0.5) is is_across
    assert likes in reread.cited[0].text
    assert Rereading.restore(json.loads(json.dumps(lines.describe()))).describe() == lines.describe()


def test_what_another_document_says_instead_is_read_though_one_has_answered():
    """It is shown beside the answer, and is no reason to believe either more or less."""
    texts = TEXT, TEXT.replace("4 years", "2 years"), "The account is free."
    seen = survey(QUESTION, several(*texts))
    scores = np.array([6.0 if sentence.passage.document == "0.md" else 0.0 for sentence in seen.sentences])
    first = replace(load_defaults().readers["lexical"].read(seen), scores=scores)
    model, alone = Likes("valid"), Likes("valid")

    reread = rereading().look(seen, first, model)
    judged = rereading().judge(seen, first, read_passages(seen, scores, alone))

    assert (len(model.asked), len(alone.asked)) == (2, 1)
    assert [rival.text for rival in find_rivals(reread, seen)] == ["Cards are valid for 2 years."]
    assert find_rivals(judged, seen) == []
    assert (reread.right, reread.stated, reread.cited) == (judged.right, judged.stated, judged.cited)


@pytest.mark.parametrize(("service", "rivals"), [("", 1), (" ao domingo", 0)])
def test_a_row_that_the_question_names_whole_says_something_else(service, rivals):
    """The row says no "custa", but the question has its whole name; one of a longer name is something else."""
    question = "Quanto custa o restabelecimento do fornecimento?"
    sentence = "O restabelecimento do fornecimento custa 29,90 \u20ac."
    row = f"Servi\u00e7o: Restabelecimento do fornecimento{service}\nPre\u00e7o: 38,50 \u20ac\nPrazo: 24 horas"
    seen = survey(question, several(sentence, row, "O contador \u00e9 lido duas vezes."), "pt")
    scores = np.array([6.0 if sentence.passage.document == "0.md" else 0.0 for sentence in seen.sentences])
    first = replace(load_defaults().readers["lexical"].read(seen), scores=scores)

    reread = rereading().look(seen, first, Likes("estabelecimento do fornecimento"))

    assert len(find_rivals(reread, seen)) == rivals


async def test_an_answer_that_another_document_contradicts_is_as_sure_as_alone():
    """The gap to the next sentence tells whether the best one answers; one that answers the same is no next one."""
    old, new = TEXT, TEXT.replace("4 years", "2 years")
    sure = replace(specialist(Likes("valid")), rereading=rereading(right=line(JUDGED, gap=1.0)))
    views = [
        ContextView(
            entries=tuple(
                Entry(content=content, producer="index", label=Label.PUBLIC, time=0.0) for content in several(*texts)
            )
        )
        for texts in ([new], [new, old])
    ]

    alone, contradicted = [await sure.consult(Task(text=QUESTION), seen) for seen in views]

    assert len(contradicted.contradictions) == 2
    assert contradicted.accepted
    assert contradicted.confidence == pytest.approx(alone.confidence)


def test_nothing_more_is_read_where_nothing_answers():
    """A sentence that is no answer has no rival."""
    seen = survey(QUESTION, several(TEXT, TEXT.replace("4 years", "2 years"), "One.", "Two.", "Three."))
    scores = np.arange(len(seen.sentences), dtype=float)
    model = Likes("zebra")

    rereading().look(seen, replace(load_defaults().readers["lexical"].read(seen), scores=scores), model)

    assert len(model.asked) == MOST_READ


def test_the_heading_is_read_before_the_passage_and_never_cited():
    """Only its end, where it is long; the scores are those of the sentences."""
    headed = [replace(piece, heading="Bank > Cards\nvalid") for piece in several("They last for 4 years.", "Call us.")]
    seen = survey(QUESTION, headed)
    model = Likes("4 years")

    reread = read_passages(seen, np.zeros(len(seen.sentences)), model)

    assert [sentences[0] for _, sentences in model.asked] == ["Bank > Cards valid"] * 2
    assert [seen.sentences[row].text for row in reread.rows] == [t for _, texts in model.asked for t in texts[1:]]
    assert reread.read[[seen.sentences[row].text for row in reread.rows].index("They last for 4 years.")] == 3.0


@pytest.mark.parametrize("mark", ["?", "\uff1f", "\u061f"])
def test_a_question_in_a_document_is_no_answer(mark):
    """What follows it may be one."""
    seen = survey(QUESTION, several(f"How long is a card valid{mark} It is valid for 4 years."))
    first = load_defaults().readers["lexical"].read(seen)

    reread = rereading().look(seen, first, Likes("valid"))

    assert [sentence.text for sentence in reread.cited] == ["It is valid for 4 years."]


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Das Konto ist kostenlos. Karten sind für vier Jahre gültig. Geben Sie Ihre Geheimzahl niemandem.", 0.25),
        ("Счёт бесплатный. Карты действительны четыре года. Никому не сообщайте свой код.", 0.25),
        (TEXT, 0.75),
    ],
)
def test_a_passage_in_another_language_is_weighed_by_lines_of_its_own(text, right):
    """By the passage, not by the question."""
    sure = {name: line(JUDGED, bias=sign * np.log(3)) for name, sign in (("known", 1), ("other", -1))}
    own = rereading(right=sure["known"], foreign=rereading(right=sure["other"]))
    own = Rereading.restore(json.loads(json.dumps(own.describe())))
    seen = survey(QUESTION, [passage(text)])
    first = load_defaults().readers["lexical"].read(seen)

    reread = own.look(seen, first, Likes("valid"))

    assert reread.right == pytest.approx(right)


def test_lines_are_stored_and_restored():
    """As JSON, with the checksum of the model."""
    own = rereading(also=0.25)
    again = Rereading.restore(json.loads(json.dumps(own.describe())))

    assert again.describe() == own.describe()
    with pytest.raises(ValueError, match="features"):
        Rereading.restore({**own.describe(), "right": line(("else",), **{"else": 1.0}).describe()})


def test_a_version_made_with_another_reading_model_takes_the_lines_that_ship(monkeypatch):
    """And the thresholds that hold its risk with them; one without a reading model loads as before."""
    model = Likes("valid")
    monkeypatch.setattr("coterie.tasks.answer.model.bundled_reader", lambda: model)
    own, shipped = specialist(model), rereading(also=0.125)
    steps = {name: [Proven(0.7, 0.1), Proven(0.4, 0.3)] for name in ("answering", "silence")}
    monkeypatch.setattr(
        "coterie.tasks.answer.model.load_defaults", lambda: SimpleNamespace(rereading=shipped, proven=steps)
    )
    files = own.to_files()
    described = json.loads(files["model.json"])

    same = load_answer(own.card, described, files, EchoEngine())
    assert same.rereading.describe() == own.rereading.describe()
    assert same.answering == own.answering

    described["rereading"]["model"] = "another"
    described["answering"]["target_risk"] = 0.35
    after = load_answer(own.card, described, files, EchoEngine())
    assert after.rereading is shipped
    assert (after.answering.threshold, after.answering.target_risk) == (0.4, 0.3)

    monkeypatch.setattr("coterie.tasks.answer.model.load_defaults", lambda: SimpleNamespace(rereading=None, proven={}))
    with pytest.raises(ValueError, match="reading model"):
        load_answer(own.card, described, files, EchoEngine())
    del described["rereading"]
    assert load_answer(own.card, described, files, EchoEngine()).model is None


def test_a_blank_right_is_as_unsure_as_before():
    """Where the lines say nothing, the probability is a half, whatever was found."""
    seen = survey(QUESTION, [passage()])
    first = load_defaults().readers["lexical"].read(seen)
    reread = replace(rereading(), right=line(JUDGED), stated=line(JUDGED)).look(seen, first, Likes("valid"))

    assert reread.right == pytest.approx(0.5)
    assert reread.stated == pytest.approx(0.5)


@pytest.mark.parametrize(("risk", "value"), [(0.02, 0.99), (0.05, 0.99), (0.1, 0.9), (0.12, 0.9), (0.5, 0.7)])
def test_the_threshold_is_of_the_largest_risk_allowed(risk, value):
    """Or of the smallest that there is."""
    steps = [Proven(0.99, 0.05), Proven(0.9, 0.1), Proven(0.7, 0.2)]
    assert proven_at(steps, risk).confidence == value


def test_where_no_step_is_proven_nothing_is_accepted(monkeypatch):
    """A calibration that proves no risk keeps the version that names it: its answers are abstentions."""
    assert proven_at([], 0.1) == (None, 0.1)
    shipped = replace(load_defaults(), proven={"answering": [], "silence": [Proven(0.9, 0.1)]}, rereading=rereading())
    monkeypatch.setattr("coterie.tasks.answer.model.load_defaults", lambda: shipped)
    both = {
        name: Acceptance(temperature=1.0, threshold=0.5, target_risk=0.2, scope_threshold=None)
        for name in ("answering", "silence")
    }
    _, taken = _as_shipped(both)
    assert (taken["answering"].threshold, taken["answering"].target_risk) == (None, 0.2)
    assert (taken["silence"].threshold, taken["silence"].target_risk) == (0.9, 0.1)
    assert taken["answering"].judge(1.0, None)[0] is False


@pytest.mark.parametrize(("word", "column"), [("age: 10", {0: "Minimum age"}), ("Titan", {})])
def test_a_cell_is_read_as_a_sentence_of_its_row(word, column):
    """The column is the one whose cell the model prefers by far; where it likes all of them there is none."""
    seen = survey(
        "How old must a child be for Titan?", [passage("Show: Titan\nChildren: 7 euro\nMinimum age: 10 years")]
    )
    judged = SimpleNamespace(cited=seen.sentences[:1])

    assert read_columns(seen, judged, Likes(word)) == column


@pytest.mark.parametrize(
    ("species", "likes", "column", "missing"),
    [
        ("Black oat", "Shetland", {0: "Place"}, ""),
        ("Black oat", "5200", {}, ""),
        ("Gentian", "Shetland", {1: "Place"}, "Place"),
    ],
)
def test_beside_a_column_that_is_named_one_of_another_kind_of_value_may_be_meant(species, likes, column, missing):
    """A place beside the year of "collected"; another number is none; a row without a place has nothing there."""
    text = """Code: H-5
Species: Black oat
Collected: 2011
Place: Shetland
Stored: 5200

Code: H-6
Species: Gentian
Collected: 2018
Stored: 60"""
    seen = survey(f"Where was the {species} collected?", [passage(text)])
    row = next(sentence for sentence in seen.sentences if species in sentence.text)
    read = read_columns(seen, SimpleNamespace(cited=[row]), Likes(likes))

    assert read == column
    assert replace(seen, read=read).asked_of(row).missing == missing


VEHICLES = "Period: Half day\nCar: 29 euro\nVan: 45 euro\n\nPeriod: Weekend\nCar: 89 euro\nVan: 139 euro"


@pytest.mark.parametrize(
    ("question", "likes", "words"),
    [
        ("What does a motorhome cost for a weekend?", "nothing", ("motorhome", "cost")),
        ("What does a motorhome cost for a weekend?", "Car", ()),  # the model is sure of a cell
        ("What does a van cost for a weekend?", "nothing", ()),  # a column is named
        ("Vehicle prices: weekend?", "nothing", ()),  # most of it is said
    ],
)
def test_words_that_a_table_does_not_say_decide_where_no_cell_answers(question, likes, words):
    """No column is named, half of the question is not in the table, and the model prefers no cell."""
    seen = survey(question, [replace(passage(VEHICLES), heading="Vehicle prices")])
    [row] = [sentence for sentence in seen.sentences if "Weekend" in sentence.text]

    assert overlooked_words(seen, SimpleNamespace(cited=[row]), Likes(likes)) == words


@pytest.mark.parametrize(
    ("likes", "elsewhere", "answer"),
    [
        ({"open": 3.0, "Sundays": 2.5}, "", "On Sundays it is closed."),
        ({"open": 3.0}, "", "The pool is open from 9 to 18."),  # what has the words of the turn is no answer
        ({"open": 3.0, "Sundays": 2.5}, "On Sundays we rest.", "The pool is open from 9 to 18."),  # words of many
    ],
)
async def test_a_follow_up_is_answered_by_a_sentence_with_words_of_its_own(likes, elsewhere, answer):
    """All that the conversation gives back to it and nothing of the turn itself answers the question before."""

    class LikesSeveral(Likes):
        def read(self, question, sentences):
            scores = np.array(
                [max((likes[word] for word in likes if word in text), default=-3.0) for text in sentences]
            )
            return PassageRead(scores, float(scores.max()))

    texts = [text for text in ("The pool is open from 9 to 18. On Sundays it is closed.", elsewhere) if text]
    seen = ContextView(
        entries=tuple(
            Entry(content=content, producer="index", label=Label.PUBLIC, time=0.0) for content in several(*texts)
        )
    )
    follow_up = Task(text="And on Sundays? (when is the pool open)", asked="And on Sundays?", rewritten=True)

    finding = await specialist(LikesSeveral("open")).consult(follow_up, seen)

    assert [citation.text for citation in finding.citations] == [answer]


def test_the_column_of_a_follow_up_is_that_of_its_own_words():
    """The question before asked for a teacher; the turn asks for something else, which the model knows by itself."""

    class Prices(Likes):
        def read(self, question, sentences):
            likes = "Price" if "teaches" not in question else "Teacher"
            scores = np.array([3.0 if likes in text else -3.0 for text in sentences])
            return PassageRead(scores, float(scores.max()))

    turn = "What does it cost?"
    seen = survey(
        f"{turn} (teacher teaches engraving)",
        [passage("Course: Engraving\nTeacher: Ada\nPrice: 17 euro\n\nCourse: Mosaic\nTeacher: Bo\nPrice: 9 euro")],
        turn=turn,
    )
    row = next(sentence for sentence in seen.sentences if "Engraving" in sentence.text)

    assert list(read_columns(seen, SimpleNamespace(cited=[row]), Prices("")).values()) == ["Price"]
