"""The generalist: asked last, told what is known, honest about how little is known of its answer."""

import asyncio

import pytest

from coterie.config.file import LlamaModel, OpenAIModel, parse_config
from coterie.config.operation import GeneralistSection
from coterie.errors import ConfigError, EgressRefused, EngineUnavailable
from coterie.generalist.collaboration import CONCLUDE, PLAN
from coterie.generalist.generalist import INSTRUCTION, LABEL, TOGETHER, PromptedGeneralist
from coterie.generalist.pack import attributed, guess_of, how_sure, pack_context, say, topic
from coterie.generalist.reading import hallucinated
from coterie.governance.egress import ClearancePolicy
from coterie.models.catalogue import CATALOGUE
from coterie.privacy.patterns import PatternDetector
from coterie.testing import Canaries, EchoEngine, ScriptedEngine, check_specialist, make_finding
from coterie.types import (
    Citation,
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


async def test_a_model_that_refuses_says_so():
    """Its refusal is no empty answer."""
    finding = await ask(ScriptedEngine([Output(finish="aborted")]))

    assert (finding.accepted, finding.reason.code) == (False, "attempt.refused")


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


# --- What `[generalist]` says, checked before anything runs.


MODELS = "".join(
    f'[models.{name}]\nengine = "openai"\nbase_url = "https://llm.example/v1"\nname = "{name}"\n' for name in ("a", "b")
)


def test_defaults():
    """Left alone, nothing that costs more is done: no conversation, no composing, no hedge, no fallback."""
    section = parse_config(f'{MODELS}[generalist]\nmodel = "a"').generalist

    assert (section.history, section.synthesise, section.hedge_after, section.fallback) == (False, False, None, ())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('fallback = ["b", "c"]', "generalist.fallback is 'c', but"),
        ("hedge_after = 0", "generalist.hedge_after"),
        ("deadline = 0", "generalist.deadline"),
        ("rounds = 0", "generalist.rounds"),
        ("money = -1", "generalist.money"),
        ("hedge_afer = 2", "did you mean 'hedge_after'"),
    ],
)
def test_mistakes(line, problem):
    """A model that is not there, a value out of bounds and an unknown key are refused with their place."""
    with pytest.raises(ConfigError, match=problem):
        parse_config(f'{MODELS}[generalist]\nmodel = "a"\n{line}')


# --- What a large model adds to its sources is seen.


SOURCES = ["The late fee is 12 pounds, or 1,200 pence.", 'It is due "within thirty days" of 2024-05-31.', "p = 0.23"]


@pytest.mark.parametrize(
    "text",
    [
        "The fee is 12 pounds [1].",
        "That makes 1200 pence, which one pays within thirty days.",
        "You have 30 days: \u201cwithin  thirty days\u201d.",
        "By 2024-05-31. The probability is 23%.",
        "No figure at all.",
        "These things:\n1. It is 12 pounds.\n2) Pay by 2024-05-31.",
        "",
    ],
)
def test_what_stands_in_the_sources(text):
    """Figures in another form and quotes with other white space are no additions."""
    assert hallucinated(text, SOURCES, marks=1) == ()


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("The fee is 13 pounds.", ("13",)),
        ("It is due by 2024-06-30.", ("2024-06-30",)),
        ("Pay within sixty days.", ("sixty",)),
        ("The probability is 24%.", ("24%",)),
        ("It says \u201cwithin a month\u201d.", ("within a month",)),
        ("See [2].", ("[2]",)),
        ("12.5 pounds and 12.5 again", ("12.5",)),
    ],
)
def test_what_does_not(text, added):
    """A changed figure, an invented quote and a reference to nothing are named."""
    assert hallucinated(text, SOURCES, marks=1) == added


@pytest.mark.parametrize(
    ("text", "source", "added"),
    [
        ("Es dauert zwölf Tage.", "Die Lieferung dauert drei Tage.", ("zwölf",)),
        ("Es dauert zwölf Tage.", "Die Lieferung dauert 12 Tage.", ()),
        ("Die Gebühr beträgt 1.500 €.", "Die Gebühr beträgt 1500 Euro.", ()),
        ("Die Gebühr beträgt 1.500 €.", "Die Gebühr beträgt 1,5 Euro im Monat.", ("1.500",)),
        ("Cela dure douze jours.", "La livraison dure trois jours.", ("douze",)),
        ("Tarda ciento ochenta días.", "El plazo de entrega es de 180 días.", ()),
    ],
)
def test_numbers_are_read_by_language(text, source, added):
    """In words and in figures."""
    assert hallucinated(text, [source]) == added


# --- Findings as a person would like to read them.


def found(name, text, task="classify", *, confidence=0.97, accepted=True, documents=()):
    citations = tuple(
        Citation(document=document, start=0, end=1, text="x", label=Label.PUBLIC) for document in documents
    )
    return make_finding(
        text,
        specialist=name,
        confidence=confidence,
        accepted=accepted,
        task=task,
        form={"classify": "label", "extract": "fields"}.get(task, "text"),
        citations=citations,
    )


def test_one_finding_is_its_own_text():
    """A label stays the label that programs look for."""
    assert say([found("triage", "card_arrival")], named=False) == "card_arrival"


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (found("triage", "card_arrival"), "card arrival (triage, 97% sure)"),
        (found("tags", "late_fee, card_lost"), "late fee, card lost (tags, 97% sure)"),
        (found("clauses", "Governing Law"), "Governing Law (clauses, 97% sure)"),
        (
            found("underwriting", "Probability of default: 0.23.", "score"),
            "Probability of default: 0.23. (underwriting)",
        ),
        (
            found("ask", "12 pounds [1]\nTwice 12 [2]", "answer", documents=("fees.md", "fees.md")),
            "12 pounds [1]\nTwice 12 [2]\n(ask, from fees.md)",
        ),
        (
            found("terms", "governing_law: Delaware\nends: not stated", "extract"),
            "governing law: Delaware; ends: not stated (terms)",
        ),
        (found("reply", "We blocked it.", "generate"), "We blocked it. (reply)"),
    ],
)
def test_each_kind_in_words(finding, text):
    """Labels become words with a probability; other texts stay as they are, with who found them and where."""
    assert attributed(finding) == text


@pytest.mark.parametrize(("confidence", "text"), [(0.5, "50% sure"), (0.994, "99% sure"), (0.999, "over 99% sure")])
def test_how_sure(confidence, text):
    """Nothing is called certain."""
    assert how_sure(confidence) == text


def test_topics():
    """A part is named by its own words, cut between two of them; one without words by what it has."""
    assert topic(" Where is\n it? ") == "On \u201cWhere is it?\u201d"
    assert topic("word " * 40).endswith("word \u2026\u201d")
    assert topic("") == "On the values given"


def test_the_best_guess_is_said_to_be_one():
    """Of several that abstain the surest is shown; with nothing to show, nothing is."""
    weak, strong = (found(n, f"{n}_label", confidence=c, accepted=False) for n, c in (("a", 0.3), ("b", 0.4)))

    assert guess_of([weak, strong]) == "Best guess, not sure: b label (b, 40% sure)"
    assert guess_of([found("a", "", accepted=False), found("c", "sure")]) == ""


@pytest.mark.parametrize(
    "instruction", [INSTRUCTION, f"{INSTRUCTION} {LABEL}", TOGETHER, PLAN.format(most=4), CONCLUDE]
)
def test_instructions_change_no_finding(instruction):
    """A question is searched without its instruction, whose words make nothing of the question and unmake nothing."""
    canaries, before = Canaries(seed=1), len(f"{instruction}\n\n")
    values = [canaries.personal(kind).text for kind in ("EMAIL", "IBAN", "CARD")]
    values += [
        canaries.secret().text,
        "+49 30 901820",
        "078-05-1120",
        "4711 0815",
        "12.03.1984",
        "AB123456",
        "hunter22",
    ]
    for question in [*values, *(f"Is {value} right?" for value in values)]:
        alone, behind = PatternDetector().find(question), PatternDetector().find(f"{instruction}\n\n{question}")
        assert [(item.kind, item.start + before, item.end + before) for item in alone] == [
            (item.kind, item.start, item.end) for item in behind
        ]
