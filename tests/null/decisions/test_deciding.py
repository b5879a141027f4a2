"""Who answers a typed question, and with which probabilities."""

import asyncio
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from pydantic import ValidationError

from coterie.config.operation import DecisionsSection, SiteSection
from coterie.decisions import deciding
from coterie.decisions.deciding import Decider, Drawing, Likelihood, RemoteAnswerer, Similarity
from coterie.decisions.questions import fingerprint
from coterie.errors import EngineBroken, EngineUnavailable, InputError
from coterie.testing import EchoEngine, ScriptedEngine, make_finding
from coterie.types import SYSTEM, Option, Output, Prompt, Question, SpecialistCard, Task, Usage, worded

STATE = Task(text="Where is my card?")
LABELS = ("card_lost", "card_arrival", "refund", "fee")


@dataclass
class Specialist:
    """Finds what it is told to."""

    card: SpecialistCard
    value: object = "refund"
    weights: dict[str, float] = field(default_factory=dict)
    accepted: bool = True
    asked: int = 0

    async def consult(self, task, view=None, *, call=SYSTEM):
        """The finding; with its weights if the task asks for them."""
        self.asked += 1
        return make_finding(
            self.value,
            specialist=self.card.name,
            confidence=0.8,
            accepted=self.accepted,
            reason=worded("so it is"),
            distribution=self.weights if task.distribution else {},
        )


def intents(name="intents", labels=LABELS, **more):
    options = tuple(Option(name=label) for label in labels)
    card = SpecialistCard(name=name, task="classify", description="", rung="lexical", version="1", options=options)
    weights = dict(zip(labels, [0.1, 0.2, 0.6, 0.1, *[0.0] * len(labels)], strict=False))
    return Specialist(card=card, **{"weights": weights, **more})


async def decide(questions, *specialists, section=None, models=None, encoder=None, second=None, choosing=(), **more):
    decider = Decider(
        specialists={specialist.card.name: specialist for specialist in specialists},
        encoder=encoder or EchoEngine("encoder"),
        section=section or DecisionsSection(),
        models=models or {},
        choosing=(encoder, second) if second else choosing,
    )

    async def consult(specialist, task):
        return await specialist.consult(task)

    return (await decider.decide(STATE, questions, consult=consult, call=SYSTEM, **more)).decisions


def site(question, **more):
    """A `[decisions]` table with one site."""
    return DecisionsSection(sites={"one": SiteSection(question=fingerprint(question), **more)})


async def test_labels_by_another_case():
    """Options that are a specialist's labels, written otherwise, are answered by it, in the order of the question."""
    (decision,) = await decide([Question.choice(["FEE", "Card Lost", "refund", "card-arrival"])], intents())

    assert (decision.answered_by, decision.method, decision.zero_shot, decision.accepted) == (
        "intents",
        "specialist",
        False,
        True,
    )
    assert decision.probabilities == pytest.approx((0.1, 0.1, 0.6, 0.2))
    assert decision.value == "refund"


async def test_some_of_the_labels():
    """Their probabilities are renormalised; a specialist that would say another label is not accepted."""
    among, beside = await decide(
        [Question.choice(["refund", "fee", "card_lost"]), Question.choice(["fee", "card_lost", "card_arrival"])],
        intents(),
    )

    assert among.probabilities == pytest.approx((0.75, 0.125, 0.125))
    assert (among.accepted, beside.accepted) == (True, False)
    assert beside.probabilities == pytest.approx((0.25, 0.25, 0.5))
    assert beside.reason.code == "decision.other_label"


async def test_who_is_not_asked_by_name():
    """Two options, two specialists of these labels, a label too many, matching switched off: nobody was trained."""
    three = Question.choice(["refund", "fee", "card_lost"])
    for question, specialists, section in [
        (Question.choice(["refund", "fee"]), [intents()], None),
        (three, [intents(), intents("others")], None),
        (Question.choice(["refund", "fee", "other"]), [intents()], None),
        (three, [intents()], DecisionsSection(match=False)),
        (three, [intents(labels=("refund", "fee", "card_lost", "Card Lost", "REFUND", "Fee"))][:0], None),
    ]:
        (decision,) = await decide([question], *specialists, section=section)
        assert (decision.answered_by, decision.zero_shot, decision.accepted) == ("encoder", True, False)
        assert sum(decision.probabilities) == pytest.approx(1)


async def test_the_fewest_labels():
    """Of two specialists with all options among their labels the one with fewer others answers."""
    (decision,) = await decide([Question.choice(LABELS[:3])], intents("wide", (*LABELS, "more")), intents("narrow"))

    assert decision.answered_by == "narrow"


async def test_a_named_site():
    """The file names who answers, with labels of other names, or with the label that a predicate is about."""
    choice = Question.choice(["Money back", "fee"], "What is it?")
    predicate = Question.predicate("Do they want their money back?")
    (chosen,) = await decide(
        [choice], intents(), section=site(choice, specialist="intents", labels={"Money back": "refund"})
    )
    (judged,) = await decide([predicate], intents(), section=site(predicate, specialist="intents", label="refund"))

    assert (chosen.answered_by, chosen.value) == ("intents", "Money back")
    assert (judged.answered_by, judged.value) == ("intents", pytest.approx(0.6))
    assert judged.probability("true") == pytest.approx(0.6)


async def test_a_score_specialist():
    """Its probability is that of true, or a place between the levels."""
    card = SpecialistCard(name="risk", task="score", description="", rung="lexical", version="1")
    risk = Specialist(card=card, value=0.7)
    predicate, score = Question.predicate("Will it default?"), Question.score(["low", "medium", "high"])
    (true,) = await decide([predicate], risk, section=site(predicate, specialist="risk"))
    (rating,) = await decide([score], risk, section=site(score, specialist="risk"))

    assert true.value == pytest.approx(0.7)
    assert rating.value == pytest.approx(1.4)
    assert rating.probabilities == pytest.approx((0.0, 0.6, 0.4))


async def test_what_a_caller_may_ask():
    """A specialist that a key does not permit is not asked; a pinned one answers, or the question is refused."""
    question = Question.choice(LABELS)
    hidden = intents()
    (decision,) = await decide([question], hidden, only=["others"])
    (pinned,) = await decide([question], intents(), pinned="intents")

    assert (decision.answered_by, hidden.asked) == ("encoder", 0)
    assert pinned.answered_by == "intents"
    with pytest.raises(InputError, match="cannot answer"):
        await decide([Question.choice(["other", "things", "altogether"])], intents(), pinned="intents")


async def test_two_options_of_the_specialist_that_is_named():
    """Its labels are its labels, however few: two of four, both of two, and a predicate by `true`."""
    (two,) = await decide([Question.choice(["refund", "fee"])], intents(), pinned="intents")
    urgent = intents("urgent", ("true", "false"), value="true", weights={"true": 0.8, "false": 0.2})
    both, predicate = await decide(
        [Question.choice(["false", "true"]), Question.predicate("Is it urgent?")], urgent, pinned="urgent"
    )
    (unnamed,) = await decide([Question.choice(["false", "true"])], urgent)

    assert (two.answered_by, two.value, two.probabilities) == ("intents", "refund", pytest.approx((6 / 7, 1 / 7)))
    assert (both.answered_by, both.value, both.probabilities) == ("urgent", "true", pytest.approx((0.2, 0.8)))
    assert (predicate.answered_by, predicate.value) == ("urgent", pytest.approx(0.8))
    assert unnamed.answered_by == "encoder"
    with pytest.raises(InputError, match="cannot answer"):
        await decide([Question.predicate("Is it a fee?")], intents(), pinned="intents")


async def test_a_specialist_without_a_value():
    """Where it cannot answer at all, the encoder does."""
    (decision,) = await decide([Question.choice(LABELS)], intents(value=None))

    assert (decision.answered_by, decision.method) == ("encoder", "similarity")


async def test_asked_once():
    """Equal questions and questions for one specialist cost one encoding of the state and one consultation."""
    specialist, encoder = intents(), EchoEngine("encoder")
    named = [replace(Question.choice(LABELS[n:] + LABELS[:n]), name=f"q{n}") for n in range(4)]
    zero_shot = [replace(Question.choice(["a b", "c"]), name=f"z{n}") for n in range(3)]
    decisions = await decide([*named, *zero_shot], specialist, encoder=encoder)

    assert [decision.question for decision in decisions] == ["q0", "q1", "q2", "q3", "z0", "z1", "z2"]
    assert {decision.value for decision in decisions[:4]} == {"refund"}
    assert specialist.asked == 1
    texts = [prompt.text for prompt in encoder.prompts]
    assert texts.count(STATE.text) == 1
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("order", [["x", "yy", "zzz", "w"], ["w", "zzz", "x", "yy"], ["yy", "x", "w", "zzz"]])
async def test_order_and_names_change_nothing(order):
    """Neither the order of options, nor a question's name, nor the questions beside it change an answer."""
    (expected,) = await decide([Question.choice(["x", "yy", "zzz", "w"])])
    others = [Question.predicate("is it so?", name="p"), Question.score(["low", "high"], name="s")]
    decisions = await decide([*others, Question.choice(order, name="n")])
    weights = dict(zip(decisions[-1].options, decisions[-1].probabilities, strict=True))

    assert weights == pytest.approx(dict(zip(expected.options, expected.probabilities, strict=True)))


async def test_predicates_by_likeness():
    """Both cases described are compared with each other; one alone with what is usual; the two are complementary."""
    encoder = EchoEngine("encoder")
    questions = [
        Question.predicate("", yes=STATE.text, no="something else", name="both"),
        Question.predicate(STATE.text, name="statement"),
        Question.predicate("", no=STATE.text, name="counter"),
    ]
    both, statement, counter = await decide(questions, encoder=encoder)

    assert both.value > 0.99
    assert statement.value > 0.99
    assert counter.value == pytest.approx(1 - statement.value)


async def test_options_that_the_encoder_cannot_tell_apart():
    """Where the encoder knows no part of the options' names the reason says so; where it does it says nothing of it."""

    class Deaf(EchoEngine):
        async def run(self, batch, *, call=SYSTEM):
            return await super().run([Prompt(text=prompt.text.encode("ascii", "ignore").decode()) for prompt in batch])

    emoji, words, predicate = await decide(
        [
            Question.choice(["😀", "😡", "物流"], name="emoji"),
            Question.choice(["refund", "fee"], name="words"),
            Question.predicate("😀", name="predicate"),
        ],
        encoder=Deaf("encoder"),
    )
    assert "note.alike_options" in emoji.reason.codes
    assert "note.alike_options" not in words.reason.codes + predicate.reason.codes


async def test_two_encoders():
    """The mean of both cosines weighs a choice; a predicate is left to the first encoder."""
    first, second = EchoEngine("first"), EchoEngine("second", dimension=16)
    questions = [Question.choice(["x", "yy", "zzz"], name="c"), Question.predicate(STATE.text, name="p")]
    alone, held = await decide(questions, encoder=first)
    both, held_again = await decide(questions, encoder=first, second=second)
    (other,) = await decide(questions[:1], encoder=second)

    def order(decision):
        return np.log(decision.probabilities) - np.log(decision.probabilities).mean()

    mean = (order(alone) + order(other)) / 2
    assert order(both) / np.abs(order(both)).max() == pytest.approx(mean / np.abs(mean).max())
    assert held_again.probabilities == held.probabilities
    assert both.answered_by == "encoder"


async def test_encoders_in_place_of_the_first():
    """A list of encoders weighs choices without the network's own, which keeps predicates."""
    first, second, third = (EchoEngine(name, dimension=size) for name, size in (("a", 8), ("b", 16), ("c", 24)))
    questions = [Question.choice(["x", "yy", "zzz"], name="c"), Question.predicate(STATE.text, name="p")]
    listed, held = await decide(questions, encoder=first, choosing=(second, third))
    paired, _ = await decide(questions, encoder=second, second=third)
    _, alone = await decide(questions, encoder=first)
    assert listed.probabilities == pytest.approx(paired.probabilities)
    assert held.probabilities == alone.probabilities


class Pressed(EchoEngine):
    """The same vectors beside a large part that all texts share."""

    unrelated = 0.8

    async def run(self, batch, *, call=SYSTEM):
        """Cosines of .8 and a fifth of the cosine."""
        outputs = await super().run(batch, call=call)
        share = np.sqrt(1 - self.unrelated)
        return [
            replace(output, vector=np.append(np.asarray(output.vector) * share, np.sqrt(self.unrelated)))
            for output in outputs
        ]


async def test_an_encoder_all_of_whose_cosines_are_high():
    """What texts with nothing in common have is no likeness: a statement beside the state does not hold for it."""
    questions = [Question.choice(["x", "yy", "zzz"], name="c"), Question.predicate("It is green.", name="p")]
    plain = await decide(questions, encoder=EchoEngine("encoder"))
    pressed = await decide(questions, encoder=Pressed("encoder"))

    for one, other in zip(plain, pressed, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_a_list_of_encoders():
    """One name or one to four are taken, no empty list."""
    assert DecisionsSection.model_validate({"encoder": ["minilm+options", "b"]}).encoder == ("minilm+options", "b")
    for wrong in ([], ["x"] * 5, [""]):
        with pytest.raises(ValidationError):
            DecisionsSection.model_validate({"encoder": wrong})


async def test_likelihood():
    """A local model's likelihoods, less what it says anyway, move the encoder's probabilities."""
    engine = ScriptedEngine([Output(scores=np.log([0.5, 0.5])), Output(scores=np.log([0.01, 0.99]))], name="tiny")
    question = Question.choice(["a", "b"], "Which?")
    (floor,) = await decide([question])
    section = DecisionsSection(model="tiny")
    models = {"tiny": Likelihood(engine=engine, floor=Similarity(encoder=EchoEngine("encoder")))}
    (decision,) = await decide([question], section=section, models=models)

    assert (decision.answered_by, decision.method, decision.accepted) == ("tiny", "likelihood", False)
    assert decision.probabilities[0] > floor.probabilities[0]
    assert [prompt.choices for prompt in engine.prompts] == [(" a", " b")] * 2
    assert STATE.text in engine.prompts[0].text
    assert STATE.text not in engine.prompts[1].text


async def test_a_model_that_writes():
    """It is held to the options by a schema; what it says has the probability that its server gives."""
    engine = ScriptedEngine([Output(text='{"label": "b"}', logprob=float(np.log(0.7)))], name="large")
    section = DecisionsSection(model="large")
    (decision,) = await decide(
        [Question.choice({"a": "", "b": "bees", "c": ""}, "Which?")],
        section=section,
        models={"large": RemoteAnswerer(engine=engine, typed=False)},
    )

    assert (decision.answered_by, decision.method) == ("large", "model")
    assert decision.probabilities == pytest.approx((0.15, 0.7, 0.15))
    assert engine.prompts[0].json_schema["properties"]["label"]["enum"] == ["a", "b", "c"]
    assert "b: bees" in engine.prompts[0].messages[0].text


@pytest.mark.parametrize("line", [EngineUnavailable("gone", engine="large"), "no JSON", '{"label": "d"}', "[" * 9000])
async def test_a_model_that_fails(line):
    """The encoder answers in its place, and the reason says why."""
    models = {"large": RemoteAnswerer(engine=ScriptedEngine([line], name="large"), typed=False)}
    (decision,) = await decide([Question.choice(["a", "b"])], section=DecisionsSection(model="large"), models=models)

    assert decision.answered_by == "encoder"
    assert "note.floor_instead" in decision.reason.codes


async def test_an_answer_that_cannot_be_read_is_paid_all_the_same():
    """What a model took for words that name no option is on the bill of the request."""
    output = Output(text="neither", usage=Usage(tokens_in=90, tokens_out=12))
    answerer, call = (
        RemoteAnswerer(engine=ScriptedEngine([output], name="large"), typed=False),
        replace(SYSTEM, bill=[]),
    )
    with pytest.raises(EngineBroken):
        await answerer.weigh(STATE, [Question.choice(["a", "b"])], call=call)

    assert [(name, usage.tokens_in, usage.tokens_out) for name, usage in call.bill] == [("large", 90, 12)]


async def test_typed_questions_at_once():
    """A decision model gets all questions in one prompt; what it refuses the encoder answers."""
    scores = np.array([[0.0, -np.inf, -np.inf], [-np.inf, -np.inf, -np.inf]])
    engine = ScriptedEngine([Output(scores=scores)], name="jev")
    questions = [Question.choice(["a", "b"], name="one"), Question.choice(["a", "b", "c"], name="two")]
    one, two = await decide(
        questions, section=DecisionsSection(model="jev"), models={"jev": RemoteAnswerer(engine=engine, typed=True)}
    )

    assert (one.answered_by, one.value, two.answered_by) == ("jev", "a", "encoder")
    assert [question.name for question in engine.prompts[0].questions] == ["one", "two"]


async def test_options_are_weighed_whatever_else_was_asked_meanwhile(monkeypatch):
    """More options than are remembered, of one question or of others before and beside it: each gets its weights."""
    monkeypatch.setattr(deciding, "_REMEMBERED", 10)
    floor = Similarity(encoder=EchoEngine("encoder"), drawing=Drawing())
    questions = [Question.choice([f"{site} {index}" for index in range(6)]) for site in ("red", "green", "blue")]
    questions += [Question.choice([*questions[0].names, "more"]), Question.choice(map(str, range(20)))]

    for question in [*questions, *questions]:
        (weights,) = (await floor.weigh(STATE, [question], call=SYSTEM)).probabilities
        assert len(weights) == len(question.options)
    results = await asyncio.gather(
        *(floor.weigh(STATE, [other_question, questions[0]], call=SYSTEM) for other_question in questions * 3)
    )
    assert [len(result.probabilities) for result in results] == [2] * len(results)
