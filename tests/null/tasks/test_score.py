"""`score`: a probability, the reasons for it, and what was not known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from coterie.engines.linear import ColumnBins, LinearEngine, TableHead
from coterie.specialists.parts import Acceptance
from coterie.tasks.score.model import ScoreSpecialist, TextModel
from coterie.testing import EchoEngine, ScriptedEngine, check_specialist
from coterie.types import ContextView, Output, Reason, SpecialistCard, Task

INCOME = ColumnBins(name="income", kind="number", edges=(20.0, 40.0))
HOME = ColumnBins(name="home", kind="category", values=("own", "rent"))
TEXT = ColumnBins(name="text", kind="number", edges=(0.0,))
USUAL = Acceptance(temperature=1.0, threshold=0.7, target_risk=0.15, scope_threshold=None)


def specialist(*, base: float = 0.0, acceptance=USUAL, gaps=(), text: TextModel | None = None, writes=()):
    """A card in which a low income and a rented home raise the odds."""
    columns = [INCOME, HOME, *([TEXT] if text else [])]
    columns = [ColumnBins(**{**vars(c), "gaps": c.name in gaps}) for c in columns]
    main = [np.array([0.0, 2.0, 0.0, -2.0]), np.array([0.9 if "home" in gaps else 0.0, -1.0, 1.0])]
    if text:
        main.append(np.array([0.0, -1.5, 1.5]))
    head = TableHead(columns=tuple(columns), base=base, main=tuple(main), pairs={})
    return ScoreSpecialist(
        card=SpecialistCard(name="risk", task="score", description="", rung="lexical", version="0", writes=writes),
        head=LinearEngine(head),
        bins=tuple(columns),
        importance={"income": 1.5, "home": 0.5} | ({"text": 1.0} if text else {}),
        left_out={"age": "protected attribute", "id": "it looks like an identifier"},
        positive="default",
        acceptance=acceptance,
        text=text,
    )


async def consult(who: ScoreSpecialist, columns=None, text: str = "", **task: object):
    return await who.consult(Task(text=text, columns=columns, **task), ContextView())


async def test_keeps_the_contract():
    """It keeps the contract of specialists."""
    for task in (Task(text="", columns={"income": 10, "home": "rent"}), Task(text="hello")):
        await check_specialist(specialist(writes=("risk",)), task)


async def test_probability_and_reasons():
    """The probability is the sigmoid of the card; reasons come with their weight, those that raise it first."""
    finding = await consult(specialist(base=-1.0, writes=("risk",)), {"income": 10, "home": "own"})

    assert finding.value == pytest.approx(0.5)
    assert [(evidence.name, evidence.weight) for evidence in finding.evidence] == [("income", 2.0), ("home", -1.0)]
    assert finding.evidence[0].text == "income is 10: raises the odds 7.4 times"
    assert finding.evidence[1].text == "home is 'own': lowers the odds 2.7 times"


async def test_accepted_in_words():
    """A sure decision is a sentence with its adverse reasons, and writes its probability as a fact."""
    finding = await consult(specialist(writes=("risk",)), {"income": 10, "home": "rent"})
    probability = 1 / (1 + math.exp(-3.0))

    assert finding.accepted
    assert finding.value == pytest.approx(probability, abs=1e-6)
    assert finding.text.startswith("Probability of default: 0.95. Raised by: income is 10: raises the odds 7.4 times;")
    assert finding.facts[0].value == finding.value
    assert finding.reason.code == "accept.above_threshold"
    assert (finding.reason.values["needed"], finding.reason.values["risk_percent"]) == (0.7, 15)


@pytest.mark.parametrize(
    ("income", "code"),
    [
        ("1,000", "column.no_number"),  # one or a thousand
        ("1.000,50", "column.far"),
        ("20,5", None),
        (90_000, "column.far"),
        (4, "column.far"),
        ("8", None),
        (150, None),
    ],
)
@pytest.mark.parametrize("gaps", [(), ("income",)])
async def test_a_number_that_is_misread_is_not_known(income, code, gaps):
    """One that cannot be read, or is far from all that was learnt, is no missing value: the score abstains."""
    who = specialist(gaps=gaps)
    who = replace(who, bins=tuple(replace(c, low=10.0, high=80.0) if c.name == "income" else c for c in who.bins))
    finding = await consult(who, {"income": income, "home": "rent"})

    assert (code in finding.reason.codes) == (code is not None)
    assert ("abstain.too_little_known" in finding.reason.codes) == (code is not None)


def test_far_from_what_was_learnt():
    """A column around zero reaches as far again as it spans; one without bounds takes any number."""
    around = ColumnBins(name="x", kind="number", edges=(0.0,), low=-1.0, high=3.0)

    assert [around.place(x).problem is None for x in (-5, -6, 7, 8)] == [True, False, True, False]
    assert replace(around, low=None, high=None).place(1e30).problem is None


async def test_a_sure_no_is_as_sure():
    """A low probability is accepted like a high one: the confidence is that of the decision."""
    finding = await consult(specialist(), {"income": 50, "home": "own"})

    assert finding.accepted
    assert finding.confidence == pytest.approx(1 - finding.value)
    assert "Raised by" not in finding.text


async def test_doubt_goes_to_a_person():
    """Near one half it abstains, and the text for the person has probability and reasons."""
    finding = await consult(specialist(base=0.8, writes=("risk",)), {"income": 30, "home": "own"})

    assert not finding.accepted
    assert finding.facts == ()
    assert "refer to a person" in finding.text


async def test_too_little_known():
    """If a column that carries more than a quarter of the score is missing, it abstains however sure it is."""
    finding = await consult(specialist(base=5.0), {"home": "rent"})

    assert not finding.accepted
    assert (finding.reason.code, finding.reason.values["unknown"]) == ("abstain.too_little_known", 0.75)
    assert Reason("note.missing", columns="income") in finding.reason.notes


async def test_little_unknown_is_told_and_borne():
    """A column that carries little may be unknown: it counts as average, and the reason says so."""
    finding = await consult(specialist(), {"income": 10, "home": "castle"})

    assert finding.accepted
    assert Reason("column.unlearnt", column="home", value="'castle'") in finding.reason.notes
    assert "note.unknown_is_average" in finding.reason.codes


async def test_learnt_gaps_are_known():
    """Where training had missing values, a missing one has its learnt effect and is not held against the case."""
    finding = await consult(specialist(gaps=("home", "income")), {"income": None, "home": None, "x": 1})
    one = await consult(specialist(gaps=("home", "income")), {"income": 10})

    assert finding.value is None  # nothing at all is known
    assert "abstain.too_little_known" not in one.reason.codes
    assert "note.unknown_is_average" not in one.reason.codes
    assert one.evidence[1].text == "home is missing: raises the odds 2.5 times"


async def test_protected_columns_are_told_and_change_nothing():
    """A column that must not be used is named with the reason when it is sent, and has no effect."""
    plain = await consult(specialist(), {"income": 10, "home": "rent"})
    with_protected = await consult(specialist(), {"income": 10, "home": "rent", "age": 19, "id": "k1", "other": "x"})

    assert with_protected.value == plain.value
    assert with_protected.evidence == plain.evidence
    assert "not used: age (protected attribute); not used: id" in str(with_protected.reason)
    assert "other" not in str(with_protected.reason)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, "", "abc", True, [1], {"a": 1}, 10**400, "1_000", b"x", object()], ids=range(11)
)
async def test_odd_values_are_unknown(value):
    """Values that are no number are unknown, whatever they are: nothing is raised and the rest still counts."""
    finding = await consult(specialist(), {"income": value, "home": "rent"})

    assert finding.value == pytest.approx(1 / (1 + math.exp(-1.0)), abs=1e-6)
    assert "income" in str(finding.reason)
    assert not finding.accepted


@pytest.mark.parametrize("columns", [None, {}, {"age": 3}, {"income": None}, {"other": 1}], ids=str)
async def test_nothing_to_score(columns):
    """Without any column that it knows it says which it needs."""
    finding = await consult(specialist(), columns)

    assert finding.value is None
    assert finding.reason.code == "abstain.no_columns"


async def test_extreme_log_odds():
    """Log-odds of thousands are a probability of 0 or 1, not an overflow."""
    assert (await consult(specialist(base=9999.0), {"income": 30, "home": "own"})).value == 1.0
    assert (await consult(specialist(base=-9999.0), {"income": 30, "home": "own"})).value == 0.0


async def test_at_most_four_reasons_each_way():
    """As many reasons as an adverse action notice has, the strongest first, and none that hardly counts."""
    columns = tuple(ColumnBins(name=f"c{i}", kind="category", values=("x",)) for i in range(12))
    weights = [0.1 * (i - 5.5) for i in range(12)]
    head = TableHead(columns=columns, base=0.0, main=tuple(np.array([0.0, w]) for w in weights), pairs={})
    who = ScoreSpecialist(
        card=specialist().card,
        head=LinearEngine(head),
        bins=columns,
        importance={column.name: 1.0 for column in columns},
        left_out={},
        positive="default",
        acceptance=USUAL,
    )
    finding = await consult(who, {column.name: "x" for column in columns})

    assert [evidence.name for evidence in finding.evidence] == ["c11", "c10", "c9", "c8", "c0", "c1", "c2", "c3"]


# --- With a text ---------------------------------------------------------------------------------


def text_model(yes: float = 2.0, *, encoder=None) -> TextModel:
    """A text model that always gives the same log-odds."""
    head = ScriptedEngine([Output(scores=np.array([0.0, yes]))] * 5, name="linear")
    return TextModel(head=head, encoder=encoder, column="text", source="note")


async def test_the_text_counts_as_a_column():
    """What the text says has a part like any column's, and its text is not quoted."""
    finding = await consult(specialist(text=text_model()), {"income": 30, "home": "own"}, "in arrears")

    assert finding.evidence[0].text == "what the text says: raises the odds 4.5 times"
    assert "arrears" not in finding.text + str(finding.reason)


async def test_text_from_its_column():
    """A text sent in its column goes before the text around it, and the router's vector is not taken for its."""
    encoder = EchoEngine("onnx", dimension=3)
    model = text_model(encoder=encoder)
    columns = {"income": 30, "home": "own", "note": "in arrears"}
    await consult(specialist(text=model), columns, "please score this", vector=np.ones(3))

    assert [prompt.text for prompt in encoder.prompts] == ["in arrears"]
    assert model.head.prompts[0].text == "in arrears"


async def test_the_router_s_vector_is_used_for_the_router_s_text():
    """The task's own text is not encoded a second time."""
    encoder, vector = EchoEngine("onnx", dimension=3), np.ones(3)
    model = text_model(encoder=encoder)
    await consult(specialist(text=model), {"income": 30, "home": "own"}, "in arrears", vector=vector)

    assert not encoder.prompts
    assert model.head.prompts[0].vector is vector


@pytest.mark.parametrize("note", [None, "", "  ", 7])
async def test_no_text(note):
    """Without a text its column is missing like any other, and no engine is asked about it."""
    model = text_model()
    finding = await consult(specialist(text=model), {"income": 30, "home": "own", "note": note})

    assert not model.head.prompts
    assert Reason("note.missing", columns="text") in finding.reason.notes
    assert finding.reason.code == "abstain.too_little_known"
    assert finding.reason.values["unknown"] == pytest.approx(1 / 3, abs=0.01)


async def test_a_sent_column_cannot_stand_in_for_the_text_s_score():
    """A column of the name of the text's score is overwritten: nobody sends log-odds from outside."""
    finding = await consult(specialist(text=text_model(-9.0)), {"income": 30, "home": "own", "text": 9.0}, "x")

    assert finding.evidence[-1].weight == pytest.approx(-1.0)
    assert {evidence.name: evidence.weight for evidence in finding.evidence}["text"] == -1.5


async def test_needs_in_words():
    """What it needs is a text and columns, where it was trained with both."""
    finding = await consult(specialist(text=text_model()))

    assert finding.reason.code == "abstain.no_text_and_columns"


async def test_a_cut_text_is_told():
    """A text that does not fit the encoder counts by its beginning, and the reason says so; so does the router's."""
    case = {"income": 30, "home": "own"}
    encoder = ScriptedEngine([Output(vector=np.ones(3), finish="length")], name="onnx")
    own = await consult(specialist(text=text_model(encoder=encoder)), case, "in arrears")
    routed = await consult(
        specialist(text=text_model(encoder=EchoEngine())), case, "in arrears", vector=np.ones(3), truncated=True
    )

    for finding in (own, routed):
        assert finding.truncated
        assert "note.text_truncated" in finding.reason.codes
