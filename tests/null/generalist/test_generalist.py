"""The generalist: asked last, told what is known, honest about how little is known of its answer."""

import asyncio

import pytest

from coterie.config.file import LlamaModel, OpenAIModel
from coterie.config.operation import GeneralistSection
from coterie.errors import EgressRefused, EngineUnavailable
from coterie.generalist.generalist import INSTRUCTION, LABEL, PromptedGeneralist
from coterie.generalist.pack import pack_context
from coterie.governance.egress import ClearancePolicy
from coterie.models.catalogue import CATALOGUE
from coterie.testing import EchoEngine, ScriptedEngine, check_specialist
from coterie.types import (
    Context,
    ContextView,
    Entry,
    Fact,
    Finding,
    FindingSummary,
    Flow,
    Label,
    Message,
    Output,
    Task,
    Usage,
    Verdict,
    worded,
)

MODEL = OpenAIModel(engine="openai", base_url="https://llm.example/v1", name="large-1")
TASK = Task(text="What is a lien?", label=Label.PUBLIC)


def generalist(engine, model=MODEL, **section):
    return PromptedGeneralist([(engine, model)], GeneralistSection(model="large", **section))


def entry(content, label=Label.PUBLIC):
    return Entry(content=content, producer="somebody", label=label, time=0.0)


def said(role, text, label=Label.PUBLIC):
    return entry(Message(role=role, text=text), label)


async def ask(engine, task=TASK, *entries, model=MODEL):
    """The generalist's finding."""
    return await generalist(engine, model).consult(task, ContextView(entries=entries))


async def test_it_answers_with_the_models_text():
    """The answer is the model's text, with the step it took."""
    usage = Usage(tokens_in=10, tokens_out=5)
    finding = await ask(ScriptedEngine([Output(text=" A claim on property.\n", usage=usage)], name="large"))

    assert (finding.text, finding.value, finding.accepted) == ("A claim on property.", "A claim on property.", True)
    assert [(s.producer, s.engine, s.usage) for s in finding.steps] == [("generalist", "large", usage)]


async def test_it_does_not_pretend_to_be_sure():
    """Nobody calibrated it: its confidence is 0, and the reason says that it is not known."""
    finding = await ask(ScriptedEngine(["Yes."], name="large"))

    assert finding.confidence == 0.0
    assert finding.reason.code == "accept.generalist"


@pytest.mark.parametrize("text", ["", "  \n"])
async def test_an_empty_answer_is_none(text):
    """A model that says nothing has not answered, and what it took is still written down."""
    finding = await ask(ScriptedEngine([text]))

    assert (finding.accepted, finding.value, finding.reason.code) == (False, None, "attempt.empty")
    assert len(finding.steps) == 1


async def test_a_cut_answer_says_so():
    """An answer that ran out of tokens is given with a note."""
    finding = await ask(ScriptedEngine([Output(text="A lien is", finish="length")]))

    assert "note.answer_cut" in finding.reason.codes
    assert finding.cut
    assert not (await ask(ScriptedEngine(["A lien is a claim."]))).cut


async def test_it_is_told_what_was_prepared():
    """Facts with how sure they are come first, then what to do and the question, columns behind it; no conversation."""
    engine = EchoEngine()
    entries = [
        entry(Fact(name="intent", value="loan", confidence=0.4)),
        entry(
            FindingSummary(
                specialist="triage",
                task="classify",
                form="label",
                text="not sure enough",
                confidence=0.4,
                accepted=False,
                guess="loan",
            )
        ),
    ]
    await ask(engine, Task(text="And now?", columns={"amount": 100}, label=Label.PUBLIC), *entries)

    system, question = engine.prompts[0].messages
    assert system.text.endswith(
        "fact: intent = loan (40% sure)\ntriage would say 'loan' (40% sure), but does not rely on it: not sure enough"
    )
    assert question.text == f'{INSTRUCTION} {LABEL}\n\nAnd now?\n{{"amount": 100}}'


async def test_a_label_is_asked_for_where_one_was_guessed():
    """Only where a classifier abstains with a guess is the model told to answer with a label."""
    engine = EchoEngine()
    await ask(engine, TASK, entry(Fact(name="intent", value="loan", confidence=0.4)))

    assert LABEL not in engine.prompts[0].messages[-1].text


async def test_the_conversation_goes_only_where_the_section_says_so():
    """By default nothing that was said earlier is in the pack; with `history` it is."""
    context = Context(entries=(said("user", "Hello"), said("assistant", "Good morning")))

    assert pack_context(context, generalist(EchoEngine()).card).entries == ()
    assert pack_context(context, generalist(EchoEngine(), history=True).card).entries == context.entries


async def test_the_prompt_is_as_sensitive_as_the_pack():
    """A public question with a confidential fact makes a confidential prompt, and finding."""
    engine = EchoEngine()
    fact = entry(Fact(name="account", value="12", confidence=0.9), Label.CONFIDENTIAL)
    finding = await ask(engine, TASK, fact)

    assert engine.prompts[0].label == finding.label == Label.CONFIDENTIAL


async def test_it_sees_nothing_above_its_clearance():
    """Its card takes the engine's clearance, so the pack leaves out what may not leave and counts it."""
    engine = EchoEngine(clearance=Label.INTERNAL)
    low, high = (
        entry(Fact(name=n, value="x", confidence=0.9), label)
        for n, label in (("a", Label.PUBLIC), ("b", Label.RESTRICTED))
    )

    pack = pack_context(Context(entries=(low, high)), generalist(engine).card)

    assert pack.entries == (low,)
    (omitted,) = pack.omitted
    assert omitted.reason.code == "omit.above_clearance"


async def test_what_is_worth_less_gives_way():
    """What does not fit the model's window is left out by value per token, and its label with it."""
    engine = EchoEngine()
    model = OpenAIModel(engine="openai", base_url="https://llm.example/v1", name="large-1", window=512)
    long = entry(Fact(name="story", value="old " * 2000, confidence=0.9), Label.RESTRICTED)
    await ask(engine, TASK, long, entry(Fact(name="intent", value="loan", confidence=0.9)), model=model)

    assert "old" not in engine.prompts[0].messages[0].text
    assert "intent = loan" in engine.prompts[0].messages[0].text
    assert engine.prompts[0].label == Label.PUBLIC
    assert engine.prompts[0].max_tokens == 256


async def test_a_refusal_of_the_gate_is_an_abstention_with_the_verdict():
    """What may not leave is not sent: the finding abstains, says which rule held, and took nothing."""
    verdict = ClearancePolicy().judge(Flow(destination="large", label=Label.INTERNAL, clearance=Label.PUBLIC))
    finding = await ask(ScriptedEngine([EgressRefused(verdict)]))

    assert (finding.accepted, finding.verdicts, finding.steps) == (False, (verdict,), ())
    assert finding.reason == verdict.reason


async def test_a_failing_engine_is_an_abstention_with_the_reason():
    """An `EngineError` is a finding that abstains; the try is in the ledger."""
    finding = await ask(ScriptedEngine([EngineUnavailable("It is down.", engine="large")], name="large"))

    assert (finding.accepted, finding.reason.code) == (False, "error.engine_unavailable")
    assert [step.note for step in finding.steps] == ["failed: It is down."]


async def test_a_question_that_fits_no_window_is_never_sent():
    """A prompt longer than the window is an abstention that says both lengths."""
    engine = ScriptedEngine([])
    finding = await ask(engine, Task(text="word " * 10_000, label=Label.PUBLIC))

    assert not finding.accepted
    assert not engine.prompts
    assert "the window of 'scripted' is 8,192" in str(finding.reason)


async def test_white_space_at_the_ends_is_not_spoken():
    """Deltas come as they are made and are together the finding's text."""
    deltas = []
    async for event in generalist(ScriptedEngine(["  Yes,\n it is. \n"])).speak(TASK, ContextView()):
        if isinstance(event, Finding):
            assert event.text == "".join(deltas) == "Yes,\n it is."
        else:
            deltas.append(event.text)
    assert len(deltas) > 1


async def test_the_gates_verdict_is_kept():
    """The verdict that let the prompt out is in the finding."""
    verdict = Verdict(allowed=True, rule="egress.clearance", reason=worded("public may leave"))
    finding = await ask(ScriptedEngine([Output(text="Yes.", verdict=verdict)]))

    assert finding.verdicts == (verdict,)


async def test_an_empty_question_is_not_sent():
    """Without text and columns there is nothing to ask."""
    finding = await ask(ScriptedEngine([]), Task(text=" "))

    assert not finding.accepted


def test_its_version_is_what_is_known_of_its_model():
    """A known file by its checksum, a given file by the pinned one, a remote model by its name."""
    models = {
        CATALOGUE["smollm2"].sha256: LlamaModel(engine="llama", name="smollm2"),
        "a" * 64: LlamaModel(engine="llama", name="my.gguf", sha256="a" * 64),
        "my.gguf": LlamaModel(engine="llama", name="my.gguf"),
        "large-1": MODEL,
    }

    for version, model in models.items():
        assert generalist(EchoEngine(), model).card.version == version


async def test_it_keeps_the_contract():
    """It does what every specialist must do."""
    await check_specialist(generalist(EchoEngine()), TASK)


async def test_time_spent_on_other_things_is_not_its_own():
    """Once the request's time has run out nothing is heard any more; what was spent elsewhere is given back."""

    class Late(ScriptedEngine):
        """Says nothing the first time."""

        async def run(self, batch, *, call=None):
            if not self.prompts:
                self.prompts += batch
                await asyncio.Event().wait()
            return await super().run(batch)

    asking = generalist(Late(["Yes."]), deadline=0.01).begin()
    async with asyncio.timeout(120):
        assert not (await asking.consult(TASK, ContextView())).accepted
        asking.idle(3600.0)
        assert (await asking.consult(TASK, ContextView())).text == "Yes."
