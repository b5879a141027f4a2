"""Sentences that answer a question, and whether any does."""

from dataclasses import replace

import numpy as np
import pytest

from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.features import LEXICAL
from coterie.tasks.answer.reader import MOST_SENTENCES, AnswerReader, survey
from coterie.tasks.answer.scoring import (
    PLACES,
    AnswerConfidence,
    AnswerScorer,
    ExpertGate,
    Experts,
    Known,
    answer_directions,
    fit_metric,
    open_gate,
    place_odds,
    place_of,
    plain_metric,
)
from coterie.types import Label, Passage

TEXTS = {
    "fees.md": "A paper statement costs 3 pounds. The account is free of any monthly fee.",
    "loans.md": "A loan runs for 12 to 84 months. We charge a late fee of 12 pounds.",
    "cards.md": "Cards are valid for 4 years. Never tell anybody your PIN.",
}


def passages() -> list[Passage]:
    """One a document."""
    return [
        Passage(document=name, start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC)
        for name, text in TEXTS.items()
    ]


def reader() -> AnswerReader:
    """The one that comes with the package, by words."""
    return load_defaults().readers["lexical"]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What does a paper statement cost?", "A paper statement costs 3 pounds."),
        ("What is the late fee?", "We charge a late fee of 12 pounds."),
        ("For how long are cards valid?", "Cards are valid for 4 years."),
    ],
)
def test_the_best_sentence_answers(question, answer):
    """The first citation is the sentence that says it."""
    reading = reader().read(survey(question, passages()))

    assert reading is not None
    assert reading.cited[0].text == answer


def test_what_is_not_there_is_less_likely_stated():
    """A question about something else has a lower probability of an answer."""
    there, elsewhere = (
        reader().read(survey(question, passages()))
        for question in ("What does a paper statement cost?", "Who painted the ceiling of the chapel?")
    )

    assert there is not None
    assert elsewhere is not None
    assert elsewhere.stated < 0.5 < there.stated
    assert elsewhere.right < there.right


def test_nothing_to_read_is_no_reading():
    """Without a sentence there is no answer to weigh."""
    assert reader().read(survey("What is the late fee?", [])) is None


def test_a_reader_that_encodes_says_so():
    """It refuses to read without the encodings that it was fitted with."""
    with pytest.raises(ValueError, match="encodings"):
        load_defaults().readers["embedding"].read(survey("What is the late fee?", passages()))


def test_it_is_stored_and_restored():
    """A reader that was stored reads as before."""
    described, arrays = reader().store()
    seen = survey("What is the late fee?", passages())

    before, after = reader().read(seen), AnswerReader.restore(described, arrays).read(seen)

    assert before is not None
    assert after is not None
    assert (after.right, after.stated, after.cited) == (before.right, before.stated, before.cited)


def test_a_question_asked_before_is_weighed_by_lines_of_its_own():
    """They are stored with the others; without them all questions are alike."""
    plain = reader().plain
    lines = AnswerConfidence(replace(plain.right, bias=9.0), replace(plain.stated, bias=9.0))
    surer = replace(plain, again=lines, also_again=1.5)
    restored = AnswerScorer.restore(surer.describe())

    for scorer in (surer, restored):
        assert scorer.outcomes(again=True).right.bias == 9.0
        assert scorer.outcomes(again=False).right.bias == plain.right.bias
        assert scorer.beside(again=True) == 1.5
        assert scorer.beside(again=False) == plain.also
    assert plain.outcomes(again=True).right is plain.right
    assert plain.beside(again=True) == plain.also


@pytest.mark.parametrize("change", ["weights", "bias", "names"])
def test_a_damaged_description_is_refused(change):
    """Weights that are no numbers, or are those of other features, are refused."""
    described, arrays = reader().store()
    line = described["plain"]["sentence"]  # type: ignore[index]
    if change == "names":
        line["weights"] = {"other": 1.0}
    elif change == "weights":
        line["weights"]["covered"] = float("nan")
    else:
        line["bias"] = "much"

    with pytest.raises((ValueError, LookupError, TypeError)):
        AnswerReader.restore(described, arrays)


def expert_of_laws(question):
    """One expert, of this question: it expects the word "governed"."""
    from coterie.engines.linear import fit_ngrams

    ngrams = fit_ngrams(["governed", "other"], unit="word", shortest=1, longest=1, at_least=1, at_most=10)
    weights = np.array([[9.0 if term == "governed" else 0.0] for term in ngrams.terms])
    return Experts(
        questions=question[None, :],
        kinds=np.array([0], dtype=np.int32),
        ngrams=ngrams,
        word_weights=weights,
        word_bias=np.zeros(1),
        vector_weights=np.zeros((len(question), 1)),
        vector_bias=np.zeros(1),
        answers=np.zeros((1, len(question))),
        places=np.zeros((1, len(PLACES) + 1)),
        metric=plain_metric(len(question)),
        usual=np.zeros(1),
    )


def test_what_answered_before_is_looked_at_though_it_shares_no_word():
    """Of a long document the sentences that are read are those with words of the question, and those experts expect."""
    sentences = [f"The law says that clause {number} is void." for number in range(300)]
    text = " ".join([*sentences, "Kent governed all of it."])
    passage = Passage(document="long.txt", start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC)
    question = np.eye(4, dtype=np.float32)[0]
    seen, plain = survey("Which law?", [passage]), reader()
    knowing = AnswerReader(plain=plain.plain, familiar=plain.plain, experts=expert_of_laws(question))

    assert len(seen.sentences) == 301
    narrowed = [specialist_reader.narrow(seen, question).texts for specialist_reader in (plain, knowing)]
    assert [len(texts) for texts in narrowed] == [MOST_SENTENCES] * 2
    assert ["Kent governed all of it." in texts for texts in narrowed] == [False, True]
    assert all(texts == sorted(texts, key=seen.texts.index) for texts in narrowed)
    assert "Kent governed all of it." not in knowing.narrow(seen, np.eye(4, dtype=np.float32)[1]).texts
    assert "Kent governed all of it." not in knowing.narrow(seen).texts


def test_the_gate_follows_the_nearest_questions():
    """A question goes to the kind whose questions it is like; one like none of them is strange."""
    vectors = np.eye(3, 8, dtype=np.float32)
    seen = Known.of(vectors, np.array([0, 0, 1]), np.zeros((2, 8)), plain_metric(8))

    near = open_gate(vectors[2], seen)
    strange = open_gate(np.eye(8, dtype=np.float32)[7], seen)

    assert near.shares.argmax() == 1
    assert (near.familiar, strange.familiar) == (1.0, 0.0)
    assert isinstance(near, ExpertGate)


def test_the_gate_hears_what_answered_before():
    """A question that is as near to the questions of two kinds goes to the one whose answers it is like."""
    known_vectors, kinds = np.eye(2, 4, dtype=np.float32), np.array([0, 1])
    question = np.array([0.5, 0.5, 0.0, 0.7], dtype=np.float32)
    vectors = [np.eye(4)[[2]], np.eye(4)[[3, 3]]]

    blind, hearing = (
        open_gate(question, Known.of(known_vectors, kinds, answer_directions(answer_vectors), plain_metric(4)))
        for answer_vectors in ([vector[:0] for vector in vectors], vectors)
    )

    assert blind.shares.tolist() == [0.5, 0.5]
    assert hearing.shares[1] > 0.9


def test_the_very_words_of_a_question_need_no_vote():
    """A known question is of its own kind, though it is like the answers of another."""
    directions = answer_directions([np.eye(4)[[1]], np.eye(4)[[0]]])
    metric = plain_metric(4)._replace(asked=5.0, answered=22.0)
    known_questions = Known.of(np.eye(2, 4, dtype=np.float32), np.array([0, 1]), directions, metric)
    question = np.eye(4, dtype=np.float32)[0]

    assert open_gate(question, known_questions).shares.tolist() == [1.0, 0.0]
    assert open_gate(0.9 * question, known_questions).shares[1] > 0.9


def test_what_all_sentences_vary_in_tells_questions_apart_least():
    """Where sentences vary much in a direction, two questions that agree there alone are hardly alike."""
    sentences = np.array([[side, 0.1 * other, 0.1] for side in (-1.0, 1.0) for other in (-1.0, 1.0)])
    question, same_in_much, same_in_little = np.array([[1.0, 0.2, 0.0], [1.0, -0.2, 0.0], [-0.1, 0.2, 0.0]])

    metric = fit_metric(np.zeros((1, 3)), sentences)
    whitened = metric.of(np.stack([question, same_in_much, same_in_little]))
    plain = plain_metric(3).of(np.stack([question, same_in_much, same_in_little]))

    assert whitened[0] @ whitened[2] > plain[0] @ plain[2]
    assert whitened[0] @ whitened[1] < plain[0] @ plain[1]
    assert np.allclose(np.linalg.norm(whitened, axis=1), 1.0)


def test_where_answers_stand_counts():
    """A place is likelier the more often answers stood there; little evidence says little, none says nothing."""
    shown = np.full(len(PLACES) + 1, 100.0)
    often, once, never = (place_odds(count * np.eye(len(shown))[0], shown) for count in (50, 1, 0))

    assert place_of(np.array([0, 149, 150, 99_999])).tolist() == [0, 0, 1, len(PLACES)]
    assert often[0] > once[0] > 0 > once[1] > often[1]
    assert np.allclose(never, 0.0)


def test_experts_of_unknown_kinds_are_refused():
    """Questions that belong to kinds without an expert are a damaged file."""
    from coterie.engines.linear import fit_ngrams

    ngrams = fit_ngrams(["a b", "a c"], unit="word", shortest=1, longest=1, at_least=1, at_most=10)
    experts = Experts(
        questions=np.eye(2, 4, dtype=np.float16),
        kinds=np.array([0, 1], dtype=np.int32),
        ngrams=ngrams,
        word_weights=np.zeros((3, 2)),
        word_bias=np.zeros(2),
        vector_weights=np.zeros((4, 2)),
        vector_bias=np.zeros(2),
        answers=np.eye(2, 4),
        places=np.ones((2, len(PLACES) + 1)),
        metric=fit_metric(np.eye(2, 4), np.eye(4)[[0, 0, 1, 2]]),
        usual=np.array([0.5, -0.5]),
    )
    described, arrays = experts.store()

    assert Experts.restore(described, arrays).kinds.tolist() == [0, 1]
    assert np.array_equal(Experts.restore(described, arrays).answers, np.eye(2, 4))
    later = {"experts.answers", "experts.places", "experts.centre", "experts.scale"}
    old = {name: array for name, array in arrays.items() if name not in later}
    assert np.allclose(Experts.restore(described, arrays).metric.scale, experts.metric.scale, atol=1e-3)
    assert np.array_equal(Experts.restore(described, old).metric.scale, np.eye(4))
    assert Experts.restore(described, old).metric.answered < Experts.restore(described, arrays).metric.answered
    assert not Experts.restore(described, old).answers.any()
    assert not Experts.restore(described, old).places.any()
    with pytest.raises(ValueError, match="kinds"):
        Experts.restore(described, arrays | {"experts.kinds": np.array([0, 2], dtype=np.int32)})


def test_a_label_with_nothing_behind_it_is_no_answer():
    """An empty form's label is not quoted, though it has the question's words; with a value it is."""
    empty, filled = (
        Passage(document="form.pdf", start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC)
        for text in ("Account number:\n\nWe never ask for a PIN.", "Account number: 881\n\nWe never ask for a PIN.")
    )

    assert survey("What is the account number?", [empty]).texts == ["We never ask for a PIN."]
    assert survey("What is the account number?", [filled]).texts[0] == "Account number: 881"


def test_what_stands_below_a_blank_is_not_said_of_it():
    """A label before marks to fill in is no heading of the lines below it; one with nothing behind it may be."""
    column = LEXICAL.index("covered_heading")
    blank, heading = (
        Passage(document="form.pdf", start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC)
        for text in ("Monthly fee: ______\n\nHand it in.", "Monthly fee:\n\nHand it in.")
    )

    seen = [survey("What is the monthly fee?", [passage]) for passage in (blank, heading)]

    assert [surveyed.texts for surveyed in seen] == [["Hand it in."]] * 2
    assert seen[0].words[0, column] < seen[1].words[0, column]
