"""With `keep_content` off, no text of the caller's is anywhere in the database's files."""

from dataclasses import replace

import pytest

from coterie.store.content import without_content
from coterie.testing import make_finding
from coterie.types import (
    Decision,
    Evidence,
    Fact,
    Field,
    Label,
    Omission,
    Part,
    Reason,
    Route,
    Settlement,
    Stage,
    Step,
    Trace,
    Usage,
    Verdict,
    ViewRecord,
    worded,
)

from .conftest import REPLY, TRACE, TRIAGE, settlement

MARKER = "XYZZY-4711"
TEXT = f"my name is {MARKER} Smith and I lost my card"
REASONS = [
    f"the server answered {TEXT!r}",
    f'the server answered {{"error": "{MARKER} it\'s wrong"}}',
    f"column 'name' cannot be {MARKER!r}",
    f"no specialist knows “{TEXT}”",
    f"no specialist fits {TEXT}",
    f"the draft says {TEXT}, which the source does not",
    f"`{MARKER}` is not a label",
    f"{[MARKER, TEXT]} do not fit",
]


def leaky(reason: str) -> Trace:
    """A trace that has the marker wherever the types allow a text that is not a name."""
    step = Step(producer="reply", engine="smol", usage=Usage(), note=reason)
    generated = make_finding(
        TEXT,
        specialist="reply",
        confidence=0.5,
        reason=worded(reason),
        task="generate",
        evidence=(
            Evidence(kind="quote", name="help", text=TEXT),
            Evidence(kind="alternative", name=MARKER, text=TEXT),
            Evidence(kind="reason", name="purpose", text=f"purpose = {MARKER} raises the risk", weight=0.4),
        ),
        facts=(Fact(name="draft", value=TEXT, confidence=0.5),),
        steps=(step,),
    )
    unknown_kind = replace(generated, task=None, value=(MARKER, TEXT))
    score = replace(generated, task="score", form="number", value=0.25)
    classified = replace(TRIAGE, text=TEXT, reason=worded(reason))
    return replace(
        TRACE,
        route=Route(
            parts=(Part(text=TEXT, stages=(("reply",),), score=0.9),), reason=worded(reason), scores={"reply": 0.9}
        ),
        findings=(generated, unknown_kind, score, classified),
        rewritten=f"{TEXT} (card arrival)",
        views=(
            ViewRecord(
                specialist="reply", seen=(f"fact {TEXT!r}",), omitted=(Omission(what=TEXT, reason=worded(TEXT)),)
            ),
        ),
        stages=(Stage(name="consult", milliseconds=1.0, note=reason),),
        steps=(step,),
        degraded=worded(reason),
    )


@pytest.mark.parametrize("reason", REASONS)
async def test_no_content_in_any_file(open_store, path, reason):
    """The marker stands in no file of the database, neither while it is open nor after."""
    store = await open_store(keep_content=False)
    await store.settle(Settlement(trace=leaky(reason)))
    while_open = everything(path)
    await store.close()

    assert b"consult" in while_open  # the trace itself is there
    for part in (MARKER, "4711", "Smith"):
        assert part.encode() not in while_open
        assert part.encode() not in everything(path)


async def test_content_is_kept_when_asked_for(open_store, path):
    """The search of the test above finds the marker when content is kept."""
    store = await open_store(keep_content=True)
    await store.settle(Settlement(trace=leaky(REASONS[0])))

    assert MARKER.encode() in everything(path)


async def test_named_session_keeps_only_its_own(open_store, path):
    """A request that names a session has its entries kept; its trace still has no content."""
    store = await open_store(keep_content=False)
    await store.settle(settlement(session="s"))

    assert (await store.trace("t1", "default")).route.parts[0].text == "[14 characters, not kept]"


def test_what_stays():
    """Labels, scores, figures, names, reason codes and reasons stay as they are; a document's name does not."""
    score = make_finding(
        0.31,
        specialist="underwriting",
        text="0.31",
        accepted=False,
        reason=worded("the probability 0.31 lies between 0.2 and 0.4"),
        task="score",
        form="number",
        evidence=(Evidence(kind="reason", name="duration", text="duration of 48 months", weight=0.7),),
    )
    kept = without_content(replace(TRACE, findings=(TRIAGE, REPLY, score)))

    triage, reply, underwriting = kept.findings
    assert triage == replace(TRIAGE, text="[9 characters, not kept]")
    assert reply.reason.code == REPLY.reason.code
    (quote,) = reply.evidence
    assert (quote.name, quote.text) == ("[4 characters, not kept]", "[26 characters, not kept]")
    assert underwriting.value == 0.31
    assert underwriting.reason == score.reason
    assert underwriting.evidence[0].name == "duration"
    assert underwriting.evidence[0].weight == 0.7
    assert kept.route.reason == TRACE.route.reason
    assert kept.verdicts == TRACE.verdicts
    assert (kept.usage, kept.steps, kept.stages, kept.views) == (TRACE.usage, TRACE.steps, TRACE.stages, TRACE.views)


def test_taking_content_out_twice_changes_nothing():
    """Taking content out of a trace without content gives the same trace."""
    for reason in REASONS:
        once = without_content(leaky(reason))
        assert without_content(once) == once


@pytest.mark.parametrize(
    "reason",
    [
        "no accepted finding: triage's confidence 0.41 isn't above its threshold 0.66, so it doesn't answer",
        "'card_lost' at 0.97 is above 0.71; next is 'card_stolen' at 0.02",
        "out of scope: nothing scores above 0.3",
    ],
)
def test_ordinary_reasons_stay(reason):
    """A reason that repeats no content reads the same afterwards, apostrophes included."""
    trace = replace(TRACE, findings=(replace(TRIAGE, reason=worded(reason)),))

    assert without_content(trace).findings[0].reason == worded(reason)


def test_refusal_keeps_the_names_of_its_verdict():
    """The reason of a refused egress keeps the quoted names that its verdict has."""
    verdict = Verdict(
        allowed=False, rule="egress.clearance", reason=worded("'restricted' is above 'cloud-llm' ('public')")
    )
    finding = replace(REPLY, accepted=False, value=None, text="", reason=verdict.reason, verdicts=(verdict,))

    assert without_content(replace(TRACE, findings=(finding,))).findings[0].reason == verdict.reason


def test_short_content_unquoted():
    """A text of one or two words is recognised in a reason too."""
    part = Part(text="Jane Roe", stages=(("triage",),), score=0.9)
    route = Route(parts=(part,), reason=worded("nobody fits jane roe; ask again"), scores={"triage": 0.9})

    assert str(without_content(replace(TRACE, route=route)).route.reason) == "nobody fits …; ask again"


def test_long_text_is_fast(growth):
    """A megabyte of content is taken out in a time in proportion to it."""

    def trace(times):
        part = Part(text="lorem ipsum dolor " * times, stages=(("triage",),), score=0.9)
        return replace(TRACE, route=Route(parts=(part,), reason=worded(" ".join(map(str, range(200)))), scores={}))

    assert growth(without_content, trace(15_000), trace(60_000)) < 12


def test_labels_named_like_content():
    """The label of a trace is a name, even where the caller writes the same word."""
    part = Part(text="restricted", stages=(("triage",),), score=0.9)
    route = Route(parts=(part,), reason=worded("the text is restricted"), scores={})

    assert (
        str(without_content(replace(TRACE, label=Label.RESTRICTED, route=route)).route.reason)
        == "the text is restricted"
    )


def everything(path):
    """All bytes of all files of the database."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_quotes_and_values_of_fields_are_content():
    """What an extraction found is the caller's; that it was found, where and how surely, is kept."""
    field = Field(
        name="owner",
        value=MARKER,
        text=TEXT,
        start=3,
        end=9,
        confidence=0.9,
        accepted=True,
        reason=worded(f"sure of {TEXT}"),
    )
    quote = Evidence(kind="quote", name="owner", text=TEXT, start=3, end=9)
    finding = make_finding(
        TEXT,
        specialist="terms",
        reason=worded("sure of 1 of 1 fields"),
        task="extract",
        form="fields",
        evidence=(quote,),
        fields=(field,),
        facts=(Fact(name="owner", value=MARKER, confidence=0.9),),
    )

    (kept,) = without_content(replace(TRACE, findings=(finding,))).findings

    assert MARKER not in repr(kept)
    assert (kept.fields[0].name, kept.fields[0].start, kept.fields[0].confidence) == ("owner", 3, 0.9)
    assert str(kept.reason) == "sure of 1 of 1 fields"


def test_values_of_a_reason_are_content():
    """A value that is no name goes from a reason's values as from its words; code, figures and names stay."""
    why = Reason("draft.not_grounded", sentence=TEXT, why=Reason("grounding.contact", found=MARKER))
    reason = Reason("accept.replaced", Reason("note.rung", rung="lexical"), source=TRIAGE.value, fault=why)
    kept = without_content(replace(TRACE, findings=(TRIAGE, replace(REPLY, reason=reason)))).findings[1].reason

    assert kept.codes == reason.codes
    assert (kept.values["source"], kept.notes) == (TRIAGE.value, reason.notes)
    assert MARKER not in repr(kept)
    assert TEXT not in repr(kept)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("urgent", True),
        ("step 2 of 14", False),  # four words
        ("q-2024", True),
        ("a@b.de", False),
        ("DE89370400440532013000", False),
        ("4111 1111 1111", False),
        ("+49 30 901820", False),
    ],
)
def test_names_of_questions_and_options(name, kept):
    """Short names stay, since questions are listed by them; addresses and numbers of accounts do not."""
    decision = Decision(
        question=name,
        site="0" * 16,
        kind="choice",
        options=(name, "other"),
        probabilities=(0.5, 0.5),
        confidence=0.5,
        accepted=False,
        reason=Reason("route.not_yet"),
        answered_by="encoder",
        method="similarity",
    )
    (stripped,) = without_content(replace(TRACE, decisions=(decision,))).decisions

    assert (stripped.question == name, stripped.options[0] == name) == (kept, kept)


@pytest.mark.parametrize(("method", "kept"), [("similarity", False), ("specialist", True)])
def test_options_that_are_sentences_are_content(method, kept):
    """A zero-shot option that is a sentence goes, as does a question's name; a specialist's labels stay."""
    options = ("yes", "he wants his money back soon")
    decision = Decision(
        question="does he want his money back",
        site="0" * 16,
        kind="choice",
        options=options,
        probabilities=(0.4, 0.6),
        confidence=0.6,
        accepted=False,
        reason=Reason("route.not_yet"),
        answered_by="encoder",
        method=method,
        instructions="Say what he wants.",
    )
    stripped = without_content(replace(TRACE, decisions=(decision,))).decisions[0]

    assert stripped.options == (options if kept else ("yes", "[28 characters, not kept]"))
    assert (stripped.question, stripped.instructions) == ("[27 characters, not kept]", "[18 characters, not kept]")
