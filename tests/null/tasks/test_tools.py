"""`tools`: who chooses the function and who finds its arguments make a call, or an abstention with the reason."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest

from coterie.config.specialists import make_section
from coterie.errors import DataError
from coterie.structured.schema import function_of
from coterie.tasks.tools.model import ToolsSpecialist, arguments_of, halves, in_words, left_over, values_said
from coterie.tasks.tools.rows import judge, read_rows
from coterie.tasks.tools.section import NO_FUNCTION
from coterie.testing import make_finding
from coterie.types import ContextView, Field, Finding, Message, SpecialistCard, Task, Tools, worded

LIGHT = function_of(
    "light",
    "Switches a light.",
    {
        "type": "object",
        "properties": {
            "room": {"type": "string"},
            "on": {"type": "boolean"},
            "level": {"type": "integer", "maximum": 10},
            "unit": {"const": "percent"},
        },
        "required": ["room", "on"],
    },
)
PING = function_of("ping", "", {})
FUNCTIONS = {"light": LIGHT, "ping": PING}


@dataclass
class _Says:
    """A part that says what it is told to."""

    value: object = None
    accepted: bool = True
    fields: tuple = ()
    card: SpecialistCard = field(
        default_factory=lambda: SpecialistCard(name="p", task="classify", description="", rung="lexical", version="0")
    )

    async def consult(self, task, view, *, call=None):
        return make_finding(
            self.value,
            specialist="p",
            accepted=self.accepted,
            reason=worded("so"),
            label=task.label,
            fields=self.fields,
        )


def _field(name, value, text, *, accepted=True):
    at = None if not text else 0
    return Field(
        name=name, value=value, text=text, start=at, end=at and len(text), confidence=0.9, accepted=accepted,
        reason=worded("so"),
    )  # fmt: skip


def _tools(chosen, *, fields=(), on="true", sure=True, on_sure=True):
    return ToolsSpecialist(
        card=SpecialistCard(name="calls", task="tools", description="", rung="lexical", version="0"),
        functions=FUNCTIONS,
        arguments=arguments_of(FUNCTIONS.values()),
        chooser=_Says(chosen, accepted=sure),
        reader=_Says(fields=tuple(fields)),
        choices={("light", "on"): _Says(on, accepted=on_sure)},
    )


async def _ask(who, **more):
    return await who.consult(Task(text="kitchen light on", **more), ContextView())


ROOM, LEVEL = _field("a0", None, "kitchen"), _field("a1", 7.0, "7")


async def test_a_call_of_all_that_is_known():
    """Words of the text, a value of a few, a whole number, and the one value that there is; confidences multiplied."""
    finding = await _ask(_tools("light", fields=[ROOM, LEVEL]))
    (call,) = json.loads(finding.text)["calls"]
    assert call == {"name": "light", "arguments": {"room": "kitchen", "on": True, "level": 7, "unit": "percent"}}
    assert (finding.value, finding.accepted, finding.called) == ("light", True, False)
    assert finding.confidence == pytest.approx(0.9**4)


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (_tools("light", fields=[ROOM], sure=False), "text"),
        (_tools("light", fields=[_field("a0", None, "kitchen", accepted=False)]), "abstain.argument"),
        (_tools("light", fields=[ROOM], on_sure=False), "abstain.argument"),
        (_tools("light", fields=[_field("a0", None, "")]), "abstain.arguments"),
        (_tools("light", fields=[ROOM, _field("a1", 99.0, "99")]), "abstain.arguments"),
    ],
)
async def test_what_is_no_call(who, code):
    """A function or an argument that is not sure, one that is missing, and one against the schema: no call."""
    finding = await _ask(who)
    assert (finding.accepted, finding.called, finding.reason.code) == (False, False, code)


@pytest.mark.parametrize(
    ("level", "learnt", "accepted"),
    [((0, 7), True, False), ((3, 9), True, False), ((8, 13), True, True), ((0, 7), False, True)],
)
async def test_the_same_words_are_no_two_arguments(level, learnt, accepted):
    """Of "record 512" the number is no meter as well, unless training takes one word for two arguments."""
    at = {"a0": (0, 7), "a1": level}
    fields = [replace(f, start=at[f.name][0], end=at[f.name][1]) for f in (ROOM, LEVEL)]
    who = replace(_tools("light", fields=fields), distinct=frozenset({"light"} if learnt else ()))
    finding = await _ask(who)

    assert finding.accepted == accepted
    assert ("abstain.same_words" in finding.reason.codes) == (not accepted)


@pytest.mark.parametrize("required", [True, False])
async def test_a_choice_that_a_text_does_not_say(required):
    """A required one is no call, whatever its classifier finds likely; another one is left out."""
    schema = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"] if required else []}
    switch = function_of("switch", "", schema)
    for answer in ("said", "null"):
        who = ToolsSpecialist(
            card=SpecialistCard(name="calls", task="tools", description="", rung="lexical", version="0"),
            functions={"switch": switch},
            arguments=arguments_of([switch]),
            chooser=_Says("switch"),
            reader=None,
            choices={("switch", "on"): _Says("true")},
            silences={("switch", "on"): _Says(answer)},
        )
        finding = await _ask(who)
        (call,) = json.loads(finding.text)["calls"]
        assert finding.accepted == (answer == "said" or not required)
        assert (call["arguments"] == {}) == (answer == "null" and not required)
        assert ("abstain.not_said" in finding.reason.codes) == (answer == "null" and required)


async def test_a_choice_that_is_always_said():
    """Where training texts say the value of a choice, one that the text does not say is no call."""
    room = function_of(
        "go", "", {"type": "object", "properties": {"bay": {"enum": ["A", "bay 12"]}}, "required": ["bay"]}
    )

    async def ask(text, value, *, literal=True):
        who = ToolsSpecialist(
            card=SpecialistCard(name="calls", task="tools", description="", rung="lexical", version="0"),
            functions={"go": room},
            arguments=arguments_of([room]),
            chooser=_Says("go"),
            reader=None,
            choices={("go", "bay"): _Says(json.dumps(value))},
            literal=frozenset({("go", "bay")} if literal else ()),
        )
        return await who.consult(Task(text=text), ContextView())

    assert (await ask("go to a", "A")).accepted
    assert (await ask("Bay 12, now", "bay 12")).accepted
    assert (await ask("go to D", "A", literal=False)).accepted
    for text in ("go to D", "go to AB", "bay 123"):
        finding = await ask(text, "A" if text[0] == "g" else "bay 12")
        assert not finding.accepted
        assert "abstain.not_said" in finding.reason.codes


async def test_no_function_is_an_answer():
    """It is accepted or not as the label is, and is never a call."""
    finding = await _ask(_tools("no_function"), tools=Tools(functions=(PING,)))
    assert (finding.accepted, finding.called, finding.reason.code) == (True, False, "accept.no_function")
    assert finding.offered
    assert not (await _ask(_tools("no_function", sure=False))).accepted


async def test_functions_that_a_request_offers():
    """A call is one only of an offered function; results are not for it to answer from."""
    called = await _ask(_tools("ping"), tools=Tools(functions=(PING, LIGHT)))
    assert (called.accepted, called.called, called.offered) == (True, True, True)
    other = await _ask(_tools("ping"), tools=Tools(functions=(LIGHT,)))
    assert (other.accepted, other.called, other.reason.code) == (False, False, "abstain.not_offered")
    since = (Message(role="user", text="Result of the call: 1"),)
    after = await _ask(_tools("ping"), tools=Tools(functions=(PING,), since=since))
    assert (after.accepted, after.reason.code) == (False, "abstain.results")


def test_a_warning_names_the_argument():
    """The extractor's own names of its fields are nobody else's."""
    arguments = arguments_of(FUNCTIONS.values())
    assert in_words("a1: its rows show little", arguments) == "argument 'level': its rows show little"
    assert in_words("too few rows", arguments) == "arguments: too few rows"


def test_an_argument_that_nothing_fills_in():
    """A list is refused with the function and the argument, before anything is trained."""
    listed = function_of("f", "", {"type": "object", "properties": {"xs": {"type": "array"}}})
    with pytest.raises(DataError, match="'xs' of the function 'f'"):
        arguments_of([listed])


# --- rows ----------------------------------------------------------------------------------------


def _section(**more):
    functions = [{"name": f.name, "parameters": dict(f.parameters)} for f in FUNCTIONS.values()]
    return make_section(task="tools", data="x.jsonl", functions=functions, **more)


def _read(tmp_path, rows, **more):
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return read_rows(_section(**more), path, for_evaluation=True)


def test_rows_find_their_words(tmp_path):
    """A text is found as a word, a number by its digits, other words by `quotes`; null is that none fits."""
    data = _read(
        tmp_path,
        [
            {"text": "hall: HALL light to 7", "function": "light",
             "arguments": {"room": "hall", "on": True, "level": 7}},
            {"text": "downstairs off", "function": "light", "arguments": {"room": "cellar", "on": False},
             "quotes": {"room": "downstairs"}},
            {"text": "who are you", "function": None},
        ],
    )  # fmt: skip
    first, second, none = data.rows
    assert [(s.spans[0].start, s.spans[0].value) for s in first.fields.values()] == [(6, None), (20, 7)]
    assert second.text[: second.fields["a0"].spans[0].end] == "downstairs"
    assert none.labels == ("no_function",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "x", "function": "other"}, "other"),
        ({"text": "x", "function": "light", "arguments": {"room": "x"}}, "arguments that are none of 'light'"),
        ({"text": "x", "function": "light", "arguments": "{"}, "no JSON"),
        ({"text": "x", "function": "light", "arguments": [1]}, "no object"),
    ],
)
def test_rows_that_are_no_calls(tmp_path, row, said):
    """An unknown function and arguments that are none: refused with the line."""
    with pytest.raises(DataError, match=said):
        _read(tmp_path, [row])


def test_figures(tmp_path):
    """The function and the whole call are counted apart, and texts that no function fits by themselves."""
    data = _read(
        tmp_path,
        [
            {"text": "hall on", "function": "light", "arguments": {"room": "hall", "on": True}},
            {"text": "hall off", "function": "light", "arguments": {"room": "hall", "on": False}},
            {"text": "who", "function": None},
            {"text": "why", "function": None},
        ],
    )

    def found(value, arguments=None, *, accepted=True):
        text = json.dumps({"calls": [{"name": value, "arguments": arguments}]}) if arguments is not None else ""
        return Finding(specialist="c", value=value, text=text, confidence=0.9, accepted=accepted, reason=worded("so"))

    findings = [
        found("light", {"room": "Hall", "on": True}),
        found("light", {"room": "hall", "on": True}),
        found("no_function"),
        found("light", {"room": "x", "on": True}, accepted=False),
    ]
    others = judge(data.rows, findings).others
    assert others == {
        "function_right": 1.0,
        "exact_calls": 0.5,
        "accepted_exact": 0.5,
        "no_function_recall": 0.5,
        "no_call": 1.0,
    }


# --- Several orders in one text --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "used", "over"),
    [
        ("set scale A to 3", ["A", 3], []),
        ("set scale A to 3 and B to 5", ["A", 3], ["B", "5"]),
        ("pon a balan\u00e7a B em 3", ["B", 3], []),
        ("Lager Nord: 1.200 St\u00fcck", ["nord", 1200], []),
        ("by 9 July 2026, 4 of them", ["2026-07-09", "9 July 2026", 4], []),
        ("open hives 3-6", [6], ["3"]),
        ("the B52 and v2", [], []),
    ],
)
def test_values_that_a_call_leaves_over(text, used, over):
    """Numbers and choices that stand in the text and neither are an argument nor lie in the words that say one."""
    values = values_said(text, {"A", "B", "Nord"})

    assert [value.text for value in left_over(values, used)] == over


def test_where_a_text_comes_apart():
    """Between two of its values, at the beginning of a word; what was said before the first is not said twice."""
    text = "open hive 4 and hive 6"

    assert [tuple(pair) for pair in halves(text, values_said(text, ()))] == [
        ("open hive 4", "and hive 6", "open hive 6"),
        ("open hive 4 and", "hive 6", "open hive 6"),
        ("open hive 4 and hive", "6", "open hive 6"),
    ]


OPEN = function_of("open", "", {"type": "object", "properties": {"hive": {"type": "integer"}}, "required": ["hive"]})


@dataclass
class _Opens:
    """Chooses `open` for a text with the word, "no function" for a joke; as the reader it finds the last number."""

    reads: bool = False
    asked: list = field(default_factory=list)

    async def consult(self, task, view, *, call=None):
        self.asked.append(task.text)
        numbers = [word for word in task.text.replace(",", " ").replace("-", " ").split() if word.isdigit()]
        about = {"specialist": "p", "reason": worded("so"), "label": task.label}
        if self.reads:
            last = numbers[-1] if numbers else ""
            return make_finding(None, fields=(_field("a0", int(last) if last else None, last),), **about)
        chosen = "open" if "open" in task.text or "joke" not in task.text else NO_FUNCTION
        return make_finding(chosen, accepted="open" in task.text or "joke" in task.text, **about)


def _hives(*, whole=("open",)):
    return ToolsSpecialist(
        card=SpecialistCard(name="calls", task="tools", description="", rung="lexical", version="0"),
        functions={"open": OPEN},
        arguments=arguments_of([OPEN]),
        chooser=_Opens(),
        reader=_Opens(reads=True),
        whole=frozenset(whole),
    )


@pytest.mark.parametrize(
    ("text", "hives"),
    [
        ("open hive 4", [4]),
        ("open hive 4 and hive 6", [4, 6]),
        ("open hive 4, open hive 6 and hive 9", [4, 6, 9]),
        ("open hive 4 and tell a joke about 7 bees", None),
        ("open hives 4-6", None),
    ],
)
async def test_every_value_that_is_said_is_in_a_call(text, hives):
    """A text that comes apart into accepted calls is all of them; what says more than they have is none."""
    finding = await _hives().consult(Task(text=text), ContextView())

    assert finding.accepted == (hives is not None)
    assert ("abstain.value_left" in finding.reason.codes) == (hives is None)
    if hives:
        assert [call["arguments"]["hive"] for call in json.loads(finding.text)["calls"]] == hives


async def test_no_more_calls_than_may_be_made():
    """Where one call may be made, a text that asks for two is an abstention; a version of before is as it was."""
    one = Tools(functions=(OPEN,), most=1)
    task = Task(text="open hive 4 and hive 6", tools=one)

    assert (await _hives().consult(task, ContextView())).reason.code == "abstain.value_left"
    assert (await _hives(whole=()).consult(task, ContextView())).called
