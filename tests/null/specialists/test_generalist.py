"""The generalist: asked last, told what is known, honest about how little is known of its answer."""

import pytest

from coterie.config import LlamaModel, OpenAIModel
from coterie.context import build_view
from coterie.errors import EgressRefused, EngineUnavailable
from coterie.governance import ClearancePolicy
from coterie.models import CATALOGUE
from coterie.specialists import GeneralistSpecialist
from coterie.specialists._generalist import INSTRUCTION
from coterie.testing import EchoEngine, ScriptedEngine, check_specialist
from coterie.types import (
    Context,
    ContextView,
    Entry,
    Fact,
    Flow,
    Label,
    Message,
    Output,
    Task,
    Usage,
    Verdict,
)

MODEL = OpenAIModel(engine="openai", base_url="https://llm.example/v1", name="large-1")
TASK = Task(text="What is a lien?", label=Label.PUBLIC)


def entry(content, label=Label.PUBLIC):
    """A line of the context."""
    return Entry(content=content, producer="somebody", label=label, time=0.0)


def said(role, text, label=Label.PUBLIC):
    """A message of the conversation."""
    return entry(Message(role=role, text=text), label)


async def ask(engine, task=TASK, *entries, model=MODEL):
    """The generalist's finding."""
    return await GeneralistSpecialist(engine, model).consult(task, ContextView(entries=entries))


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
    assert finding.reason == "answered by 'large'; how sure it is is not known"


@pytest.mark.parametrize("text", ["", "  \n"])
async def test_an_empty_answer_is_none(text):
    """A model that says nothing has not answered, and what it took is still written down."""
    finding = await ask(ScriptedEngine([text]))

    assert (finding.accepted, finding.value, finding.reason) == (False, None, "its answer is empty")
    assert len(finding.steps) == 1


async def test_a_cut_answer_says_so():
    """An answer that ran out of tokens is given with a note."""
    finding = await ask(ScriptedEngine([Output(text="A lien is", finish="length")]))

    assert "cut at its longest length" in finding.reason


async def test_it_is_told_what_is_known():
    """Facts come first, then the conversation, then what to do and the question, columns behind it."""
    engine = EchoEngine()
    known = [
        entry(Fact(name="intent", value="loan", confidence=0.4)),
        said("user", "Hello"),
        said("assistant", "Good morning"),
    ]
    await ask(engine, Task(text="And now?", columns={"amount": 100}, label=Label.PUBLIC), *known)

    system, *conversation = engine.prompts[0].messages
    assert system == Message(role="system", text="What is known:\nintent = loan (0.40)")
    assert [m.text for m in conversation] == ["Hello", "Good morning", f'{INSTRUCTION}\n\nAnd now?\n{{"amount": 100}}']


async def test_the_prompt_is_as_sensitive_as_the_conversation():
    """A public question after confidential turns makes a confidential prompt, and finding."""
    engine = EchoEngine()
    finding = await ask(engine, TASK, said("user", "My account is 12.", Label.CONFIDENTIAL))

    assert engine.prompts[0].label == finding.label == Label.CONFIDENTIAL


async def test_it_sees_nothing_above_its_clearance():
    """Its card takes the engine's clearance, so the view leaves out what may not leave."""
    engine = EchoEngine(clearance=Label.INTERNAL)
    context = Context(entries=(said("user", "open"), said("user", "secret", Label.CONFIDENTIAL)))

    view = build_view(context, GeneralistSpecialist(engine, MODEL).card)

    assert [e.content.text for e in view.entries] == ["open"]


async def test_old_turns_give_way():
    """What does not fit the model's window is left out, oldest first, and its label with it."""
    engine = EchoEngine()
    model = OpenAIModel(engine="openai", base_url="https://llm.example/v1", name="large-1", window=512)
    turns = [said("user", "old " * 2000, Label.RESTRICTED), said("user", "recent")]
    finding = await ask(engine, TASK, *turns, model=model)

    assert finding.reason.endswith("; 1 older entry of the context did not fit its window")
    assert [m.text for m in engine.prompts[0].messages] == ["recent", f"{INSTRUCTION}\n\n{TASK.text}"]
    assert engine.prompts[0].label == Label.PUBLIC
    assert engine.prompts[0].max_tokens == 256


async def test_a_refusal_of_the_gate_is_the_networks_to_handle():
    """`EgressRefused` goes through with its verdict."""
    verdict = ClearancePolicy().judge(Flow(destination="large", label=Label.INTERNAL, clearance=Label.PUBLIC))

    with pytest.raises(EgressRefused) as refused:
        await ask(ScriptedEngine([EgressRefused(verdict)]))

    assert refused.value.verdict == verdict


async def test_a_failing_engine_is_the_networks_to_handle():
    """An `EngineError` goes through."""
    with pytest.raises(EngineUnavailable):
        await ask(ScriptedEngine([EngineUnavailable("It is down.", engine="large")]))


async def test_the_gates_verdict_is_kept():
    """The verdict that let the prompt out is in the finding."""
    verdict = Verdict(allowed=True, rule="egress.clearance", reason="public may leave")
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
        assert GeneralistSpecialist(EchoEngine(), model).card.version == version


async def test_it_keeps_the_contract():
    """It does what every specialist must do."""
    await check_specialist(GeneralistSpecialist(EchoEngine(), MODEL), TASK)
