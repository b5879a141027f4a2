"""Answers from the passages of a view: quoted, worded by a model, or not in the documents."""

import json
from dataclasses import replace

import pytest

from coterie.errors import EgressRefused
from coterie.specialists.parts import Acceptance
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.model import NOT_STATED, AnswerSpecialist, Thresholds, load_answer, passages_of
from coterie.tasks.answer.reader import AnswerReader
from coterie.tasks.answer.scoring import OUTCOME
from coterie.tasks.answer.support import AnswerWriter
from coterie.testing import EchoEngine, ScriptedEngine, check_specialist
from coterie.types import ContextView, Entry, Fact, Label, Passage, SpecialistCard, Task, Verdict, worded

TEXTS = {
    "fees.md": "A paper statement costs 3 pounds. The account is free of any monthly fee.",
    "loans.md": "A loan runs for 12 to 84 months. If an instalment is late, we charge a late fee of 12 pounds.",
    "cards.md": "Cards are valid for 4 years. Never tell anybody your PIN.",
}
LATE = Task(text="What is the late fee of a loan instalment?")
ELSEWHERE = Task(text="Who may sign a loan in my place?")


def view(*, label: Label = Label.PUBLIC, index: str = "index") -> ContextView:
    """A passage a document."""
    passages = (
        Passage(document=name, start=50, end=50 + len(text), text=text, score=1.0, label=label, index=index)
        for name, text in TEXTS.items()
    )
    return ContextView(entries=tuple(Entry(content=p, producer=index, label=label, time=0.0) for p in passages))


def accepting(threshold: float | None) -> Acceptance:
    """From this confidence on."""
    return Acceptance(temperature=1.0, threshold=threshold, target_risk=0.1, scope_threshold=None)


def specialist(*, answering: float | None = 0.0, writer: AnswerWriter | None = None, writes=()) -> AnswerSpecialist:
    """The shipped reader by words."""
    return AnswerSpecialist(
        card=SpecialistCard(
            name="ask", task="answer", description="", rung="lexical", version="1", knowledge=("index",), writes=writes
        ),
        reader=load_defaults().readers["lexical"],
        answering=accepting(answering),
        silence=accepting(0.5),
        writer=writer,
    )


def writer(*script: object, window: int = 2048, name: str = "scripted") -> AnswerWriter:
    """A model that writes what the script says."""
    defaults = load_defaults()
    return AnswerWriter(
        name="ask",
        engine=ScriptedEngine(script, name=name),  # type: ignore[arg-type]
        support=defaults.support,
        least=defaults.supported,
        window=window,
    )


async def test_it_keeps_the_contract():
    """Whatever is asked, the finding keeps the clauses of a specialist."""
    await check_specialist(specialist(), LATE, view())
    await check_specialist(specialist(), ELSEWHERE, view())
    await check_specialist(specialist(), LATE)


async def test_an_answer_is_quoted_with_its_place():
    """The citation's offsets are the document's, and the text refers to it by number."""
    finding = await specialist().consult(LATE, view())

    citation = finding.citations[0]
    assert finding.accepted
    assert "late fee of 12 pounds" in finding.text
    assert "[1]" in finding.text
    assert citation.document == "loans.md"
    assert TEXTS["loans.md"][citation.start - 50 : citation.end - 50] == citation.text


FOLLOWED = Task(
    rewritten=True,
    text="What is the late fee of a loan instalment? (valid cards)",
    asked="What is the late fee of a loan instalment?",
)


async def test_a_question_that_was_taken_for_a_follow_up():
    """Where it gets no answer with what an earlier question was about, it is read as it was asked."""
    with_more, alone = [
        (await specialist().consult(task, view())).confidence for task in (replace(FOLLOWED, rewritten=False), LATE)
    ]
    between = specialist(answering=(with_more + alone) / 2)
    finding = await between.consult(FOLLOWED, view())

    assert with_more < alone
    assert finding.accepted
    assert finding.confidence == alone
    assert "note.as_asked" in finding.reason.codes
    assert len(finding.steps) == 2 * len((await between.consult(LATE, view())).steps)
    assert not (await between.consult(replace(FOLLOWED, rewritten=False), view())).accepted


async def test_a_follow_up_gets_no_silence_as_it_was_asked():
    """That the documents do not answer the words alone says nothing of the question."""
    follow_up = Task(text=f"{ELSEWHERE.text} (late fee of an instalment)", asked=ELSEWHERE.text, rewritten=True)
    first, second = [await specialist(answering=None).consult(question, view()) for question in (follow_up, ELSEWHERE)]
    between = replace(specialist(answering=None), silence=accepting((first.confidence + second.confidence) / 2))
    finding, alone = [await between.consult(question, view()) for question in (follow_up, ELSEWHERE)]

    assert first.confidence < second.confidence
    assert (alone.accepted, alone.value) == (True, NOT_STATED)
    assert not finding.accepted
    assert "note.as_asked" not in finding.reason.codes


async def test_what_is_not_stated_is_said_not_to_be():
    """Nothing is cited, and the finding says so with a confidence."""
    finding = await specialist().consult(ELSEWHERE, view())

    assert finding.accepted
    assert finding.value == NOT_STATED
    assert finding.citations == ()
    assert finding.confidence >= 0.5


NONSENSE = ["asdkjh qwe", "sing me a song", "how are you?", "tell me a joke", "Who painted the ceiling of the chapel?"]


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_nonsense_is_not_answered(nonsense):
    """Of what has no word in common with the documents nobody says that they do not say it, encodings or not."""
    finding = await specialist().consult(Task(text=nonsense), view())

    assert not finding.accepted


async def test_what_is_not_sure_enough_is_no_answer():
    """Below its threshold an answer is an abstention, with what was found."""
    finding = await specialist(answering=1.0).consult(LATE, view())

    assert not finding.accepted
    assert finding.reason.code == "abstain.below_threshold"


async def test_without_passages_it_abstains():
    """An empty index is no proof that the documents do not say."""
    finding = await specialist().consult(LATE, ContextView())

    assert not finding.accepted
    assert "no passage" in str(finding.reason)


async def test_an_answer_is_as_sensitive_as_what_was_shown():
    """The label is that of the most sensitive passage in the view."""
    finding = await specialist().consult(LATE, view(label=Label.RESTRICTED))

    assert finding.label is Label.RESTRICTED


async def test_it_writes_its_answer():
    """The first fact that it may write is the answer."""
    finding = await specialist(writes=("answer",)).consult(LATE, view())

    assert finding.facts == (Fact(name="answer", value=finding.value, confidence=finding.confidence),)


def test_a_named_document_is_read_alone():
    """Passages of other documents are left aside."""
    task = Task(text="What does it cost?", columns={"document": "fees.md"})

    assert {passage.document for passage in passages_of(view(), task)} == {"fees.md"}


def test_indexes_take_turns():
    """The best passage of each index comes before the second of any."""
    both = ContextView(entries=(*view().entries, *view(index="other").entries))

    assert [passage.index for passage in passages_of(both, LATE)] == ["index", "other"] * 3


async def test_a_supported_sentence_is_said():
    """What a model words in the passages' terms is the answer, with the sentences that bear it out."""
    wording_model = writer("If an instalment is late, we charge a late fee of 12 pounds [2].")
    finding = await specialist(writer=wording_model).consult(LATE, view())

    assert finding.accepted
    assert finding.value == "If an instalment is late, we charge a late fee of 12 pounds."
    assert finding.text.endswith("[1]")
    assert [citation.document for citation in finding.citations] == ["loans.md"]
    assert [step.engine for step in finding.steps] == ["linear", "scripted"]


async def test_an_unsupported_sentence_is_not_said():
    """Another number than the passages have: what was quoted is given instead, with the reason."""
    finding = await specialist(writer=writer("The late fee is 25 pounds.")).consult(LATE, view())

    assert "25" not in finding.text
    assert "12 pounds" in finding.text
    assert "answer.unsupported" in finding.reason.codes


async def test_what_is_not_sure_enough_is_not_worded():
    """Where the quotation does not stand, no model is asked, so nothing is spent on it, and nothing is said."""
    wording_model = writer("The late fee is 12 pounds.")
    finding = await specialist(answering=1.0, writer=wording_model).consult(LATE, view())

    assert not finding.accepted
    assert wording_model.engine.prompts == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("What is the late fee?", "answer.no_answer_written"),
        ("Is the late fee 12 pounds？", "answer.no_answer_written"),  # noqa: RUF001 - full width
        ("ما هي رسوم التأخير؟", "answer.no_answer_written"),
        ("We charge a late fee of 12 pounds. We charge a late fee of 12 pounds.", "answer.no_answer_written"),
        ("A paper statement costs 3 pounds.", "answer.unsupported"),  # another passage: it was not shown
        ("A loan runs for 12 to 84 months.", "answer.other_sentences"),
        ("If an instalment is late, a late fee.", "answer.question_repeated"),
    ],
)
async def test_a_supported_sentence_that_does_not_answer_is_not_said(said, code):
    """What rests on another sentence than the one found, or only repeats the question, gives way to the quotation."""
    finding = await specialist(writer=writer(said)).consult(LATE, view())

    assert code in finding.reason.codes
    assert "late fee of 12 pounds" in finding.text


@pytest.mark.parametrize("said", ["Yes, cards are valid for 4 years.", "No. Cards are valid for 4 years."])
async def test_what_begins_with_yes_or_no_gives_way_to_the_quotation(said):
    """What it is the Yes to stands in no source."""
    finding = await specialist(writer=writer(said)).consult(Task(text="Are cards valid for 4 years?"), view())

    assert "answer.worded" not in finding.reason.codes
    assert finding.citations[0].document == "cards.md"


async def test_a_row_of_a_table_is_answered_with_its_columns():
    """A value by itself says nothing; what is cited is the row as it stands."""
    text = "| Train | From Norden | To Hafen |\n|---|---|---|\n| RB 1 | 6:42 | 7:33 |\n| RB 3 | 8:42 | 9:33 |\n"
    table = Passage(document="t.md", start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC, index="index")
    seen = ContextView(entries=(Entry(content=table, producer="index", label=Label.PUBLIC, time=0.0),))
    finding = await specialist().consult(Task(text="When does train RB 3 go from Norden?"), seen)

    assert finding.value == "Train: RB 3; From Norden: 8:42"
    assert finding.citations[0].text == "RB 3 | 8:42 | 9:33"


@pytest.mark.parametrize("said", ["not stated", "Not stated.", ""])
async def test_a_model_that_finds_nothing_says_nothing(said):
    """Its silence is noted; the quotation stands."""
    finding = await specialist(writer=writer(said)).consult(LATE, view())

    assert "answer.none_written" in finding.reason.codes
    assert finding.citations


async def test_a_refusal_of_the_gate_is_kept():
    """What may not go to the model is not worded, and the verdict is in the finding."""
    verdict = Verdict(allowed=False, rule="egress.clearance", reason=worded("It may not go."))
    finding = await specialist(writer=writer(EgressRefused(verdict))).consult(LATE, view())

    assert finding.verdicts == (verdict,)
    assert "It may not go" in str(finding.reason)


async def test_the_prompt_has_the_passages_first_and_the_question_last():
    """Passages of what was found, and no others; the prompt is as sensitive as all that were looked at."""
    wording_model = writer("not stated")
    await specialist(writer=wording_model).consult(LATE, view(label=Label.CONFIDENTIAL))

    (prompt,) = wording_model.engine.prompts  # type: ignore[attr-defined]
    assert prompt.label is Label.CONFIDENTIAL
    assert [text in prompt.messages[0].text for text in TEXTS.values()] == [False, True, False]
    assert prompt.messages[-1].text.endswith(LATE.text)


async def test_a_window_that_is_too_small_is_a_reason():
    """Where no passage fits, nothing is sent."""
    wording_model = writer(window=200)
    finding = await specialist(writer=wording_model).consult(LATE, view())

    assert wording_model.engine.prompts == []  # type: ignore[attr-defined]
    assert "answer.no_room" in finding.reason.codes


async def test_it_is_stored_and_loaded():
    """A stored specialist answers as before."""
    before = specialist()
    files = before.to_files()
    after = load_answer(before.card, json.loads(files["model.json"]), files, EchoEngine())

    assert (await after.consult(LATE, view())).text == (await before.consult(LATE, view())).text


class Knows(AnswerReader):
    """A reader that takes every question for one that it has seen in training."""

    def read(self, seen, question=None, vectors=None):
        """As its base reads, with the nearest question as near as can be."""
        reading = super().read(seen, question, vectors)
        outcome = reading.outcome.copy()
        outcome[OUTCOME.index("nearest")] = 1.0
        return replace(reading, outcome=outcome)


@pytest.mark.parametrize(("again", "accepted"), [(0.0, True), (None, False)])
async def test_a_question_that_was_asked_before_has_thresholds_of_its_own(again, accepted):
    """In the same words as in training, others count than for a new wording; they are stored with it."""
    new = replace(specialist(answering=1.0), again=Thresholds(accepting(again), accepting(None)))
    knowing = replace(new, reader=Knows(plain=new.reader.plain))

    assert not (await new.consult(LATE, view())).accepted
    assert (await knowing.consult(LATE, view())).accepted is accepted
    files = new.to_files()
    assert load_answer(new.card, json.loads(files["model.json"]), files, EchoEngine()).again == new.again
