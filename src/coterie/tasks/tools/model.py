"""`tools`: the function that a text asks for, with its arguments; or that none fits, or an abstention.

The function is a label (`classify`); an argument in words is found in the text (`extract`), and one of a few values is
again a label. Each part is calibrated by itself, out of fold, and a call is accepted only where all parts are accepted:
so the error of accepted calls is at most the sum of theirs. A call with a missing argument, or one that violates its
schema, is not made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, NamedTuple

from coterie.errors import DataError
from coterie.protocols import Engine, Specialist
from coterie.runtime.codec import from_json, parse_json, to_json
from coterie.runtime.concurrency import side_by_side
from coterie.specialists.parts import abstention
from coterie.structured.schema import Node, fault, stored_calls, written_calls
from coterie.tasks.classify.loading import load_classify
from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.contract import Parts, Stored
from coterie.tasks.extract.model import load_extract
from coterie.tasks.tools.section import NO_FUNCTION
from coterie.types import (
    MOST_CALLS,
    SYSTEM,
    CallContext,
    ContextView,
    Field,
    Finding,
    Function,
    FunctionCall,
    Reason,
    SpecialistCard,
    Task,
)

# --- The source of an argument's value, by its schema: words of the text, one of a few values, or a constant.

Kind = Literal["text", "number", "date", "choice", "constant"]
_QUOTED: Mapping[str, Kind] = {"string": "text", "number": "number", "integer": "number"}


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument of a function, with the source of its value."""

    name: str
    kind: Kind
    required: bool
    whole: bool = False
    """Whether it is a number without a fraction."""
    field: str = ""
    """The extractor's field that finds it; functions share one field for arguments of one name and kind."""
    constant: Any = None


def arguments_of(functions: Iterable[Function]) -> dict[str, tuple[Argument, ...]]:
    """Return the arguments of each function by its name. Raises `DataError` for one that cannot be filled in."""
    fields: dict[tuple[str, str], str] = {}
    by_function = {}
    for function in functions:
        properties, required = function.schema["properties"], function.schema["required"]
        by_function[function.name] = tuple(
            _argument(function.name, name, node, required=name in required, fields=fields)
            for name, node in properties.items()
        )
    return by_function


def _argument(function: str, name: str, node: Node, *, required: bool, fields: dict[tuple[str, str], str]) -> Argument:
    node = _without_null(node)
    if "enum" in node and len(node["enum"]) == 1:
        return Argument(name=name, kind="constant", required=required, constant=node["enum"][0])
    if "enum" in node or node.get("type") == "boolean":
        return Argument(name=name, kind="choice", required=required)
    kind = _QUOTED.get(str(node.get("type")))
    if kind is None:
        raise DataError(
            f"The argument {name!r} of the function {function!r} is neither a text, a number, a boolean nor an enum.",
            hint="Let a `generate` specialist or the generalist call this function.",
        )
    kind = "date" if node.get("format") == "date" else kind
    field = fields.setdefault((name, kind), f"a{len(fields)}")
    return Argument(name=name, kind=kind, required=required, whole=node.get("type") == "integer", field=field)


def _without_null(node: Node) -> Node:
    options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
    return options[0] if len(options) == 1 else node


def in_words(warning: str, arguments: Mapping[str, tuple[Argument, ...]]) -> str:
    """Return a warning of the extractor with the argument's name in place of the internal name of its field."""
    field, _, rest = warning.partition(": ")
    named = (argument.name for several in arguments.values() for argument in several if argument.field == field)
    name = next(named, None) if rest else None
    return f"arguments: {warning}" if name is None else f"argument {name!r}: {rest}"


def field_types(arguments: Mapping[str, tuple[Argument, ...]]) -> dict[str, str]:
    """Return the extractor's fields with their types."""
    return {argument.field: argument.kind for several in arguments.values() for argument in several if argument.field}


# --- The specialist.

NOTHING = "null"
"""The label of an argument that is left out."""
SAID = "said"
"""The label of a text that mentions an argument."""


class _One(NamedTuple):
    """The result for a text taken as one call."""

    finding: Finding
    calls: bool = False
    """Whether it is an accepted call."""
    over: tuple[SaidValue, ...] = ()
    """The values that the text mentions and the call lacks."""


@dataclass(frozen=True, kw_only=True)
class ToolsSpecialist:
    """Runs the part that chooses the function, and then the parts that find its arguments."""

    card: SpecialistCard
    functions: Mapping[str, Function]
    arguments: Mapping[str, tuple[Argument, ...]]
    """Arguments by function."""
    chooser: Specialist
    """A `classify` specialist of functions."""
    reader: Specialist | None
    """An `extract` specialist of arguments; None where no argument is expressed in words."""
    choices: Mapping[tuple[str, str], Specialist] = field(default_factory=dict)
    """`classify` specialists of values, as JSON, by function and argument."""
    silences: Mapping[tuple[str, str], Specialist] = field(default_factory=dict)
    """Classifiers of whether a text mentions a choice, where no training row leaves the choice out."""
    literal: frozenset[tuple[str, str]] = frozenset()
    """Choices whose value occurs in the text, as in the training rows: a value that does not occur is not meant."""
    whole: frozenset[str] = frozenset()
    """Functions whose training rows hardly ever mention a value that their call lacks."""
    distinct: frozenset[str] = frozenset()
    """Functions whose training rows hardly ever take the same words for two arguments."""

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:
        """Return the calls, that no function fits, or an abstention; every mentioned value must be in a call."""
        attempt = await self._one(task, view, call)
        if not attempt.over:
            return attempt.finding
        most = MOST_CALLS if task.tools is None else task.tools.most
        several = await self._several(task, view, call, most)
        if several is not None:
            return several
        if not attempt.finding.accepted:
            return attempt.finding
        reason = Reason("abstain.value_left", function=str(attempt.finding.value), value=attempt.over[0].text)
        return replace(attempt.finding, accepted=False, called=False, reason=reason)

    async def _several(self, task: Task, view: ContextView, call: CallContext, most: int) -> Finding | None:
        """Return the calls of a text that splits into accepted ones with all its values; None if it does not."""
        values = values_said(task.text, self._choices)
        for half in halves(task.text, values) if most > 1 else ():
            left = await self._one(replace(task, text=half.first, vector=None), view, call)
            if not left.calls or left.over:
                continue
            for other in (half.second, half.again):
                apart = replace(task, text=other, vector=None)
                right = await self._one(apart, view, call)
                finding = await self._several(apart, view, call, most - 1) if right.over else right.finding
                if finding is not None and (right.over or right.calls):
                    return _joined(left.finding, finding)
                if right.finding.accepted and right.finding.value == NO_FUNCTION:
                    return None  # it asks for something else, too
        return None

    @cached_property
    def _choices(self) -> frozenset[str]:
        """The values of choices that texts mention."""
        return said_choices(self.functions, self.literal)

    async def _one(self, task: Task, view: ContextView, call: CallContext) -> _One:
        """Return one call for the text, that no function fits, or an abstention."""
        offered = task.tools
        if offered is not None and offered.since:
            return _One(abstention(self.card.name, task, Reason("abstain.results")))
        chosen = await self.chooser.consult(task, view, call=call)
        name = str(chosen.value)
        if name == NO_FUNCTION or name not in self.functions:
            reason = Reason("accept.no_function", why=chosen.reason) if chosen.accepted else chosen.reason
            text = str(reason) if chosen.accepted else ""
            finding = self._finding(chosen, task, name, reason)
            return _One(replace(finding, text=text, offered=offered is not None))
        findings = await side_by_side(
            specialist.consult(
                replace(task, vector=None if specialist is self.reader else task.vector), view, call=call
            )
            for specialist in self._argument_specialists(name)
        )
        arguments, confidence, doubt = self._filled(name, findings, task.text)
        called = FunctionCall(name=name, arguments=arguments)
        reason = Reason("accept.function", function=name, why=chosen.reason)
        if doubt is not None or not chosen.accepted:
            reason = doubt if chosen.accepted and doubt is not None else chosen.reason
        elif offered is not None and offered.functions and name not in offered.names:
            doubt = reason = Reason("abstain.not_offered", function=name)
        finding = replace(
            self._finding(chosen, task, name, reason),
            text=written_calls([called]),
            confidence=chosen.confidence * confidence,
            accepted=chosen.accepted and doubt is None,
            offered=offered is not None,
            called=offered is not None and bool(offered.functions) and chosen.accepted and doubt is None,
            steps=(*chosen.steps, *(step for finding in findings for step in finding.steps)),
            truncated=chosen.truncated or any(finding.truncated for finding in findings),
        )
        if name not in self.whole or len(task.text) > LONGEST:
            return _One(finding, calls=finding.accepted)
        words = [field_.text for part in findings for field_ in part.fields]
        over = left_over(values_said(task.text, self._choices), [*arguments.values(), *words])
        return _One(finding, calls=finding.accepted, over=tuple(over))

    def _argument_specialists(self, name: str) -> list[Specialist]:
        """Return the parts that fill in a function's arguments: the reader first, if any is expressed in words."""
        reads = self.reader is not None and any(argument.field for argument in self.arguments[name])
        keys = [(name, argument.name) for argument in self.arguments[name] if (name, argument.name) in self.choices]
        choosing = [part for key in keys for part in (self.choices[key], self.silences.get(key)) if part is not None]
        return [*([self.reader] if reads and self.reader is not None else []), *choosing]

    def _filled(self, name: str, findings: list[Finding], text: str) -> tuple[dict[str, Any], float, Reason | None]:
        """Return the arguments, their joint confidence, and why they are unreliable."""
        remaining = list(findings)
        reads = self.reader is not None and any(argument.field for argument in self.arguments[name])
        fields = {field_.name: field_ for field_ in remaining.pop(0).fields} if reads else {}
        made: dict[str, Any] = {}
        confidence, doubt = 1.0, None
        for argument in self.arguments[name]:
            value: Any = None
            if argument.kind == "constant":
                value = argument.constant
            elif argument.field in fields:
                stated = fields[argument.field]
                value = _value(argument, stated.value, stated.text)
                confidence *= stated.confidence
                doubt = doubt or (None if stated.accepted else _unsure(name, argument, stated.reason))
            elif (name, argument.name) in self.choices:
                choice = remaining.pop(0)
                value = parse_json(str(choice.value)) if choice.value is not None else None
                silent = (name, argument.name) in self.silences and remaining.pop(0).value == NOTHING
                if silent and not argument.required:
                    continue
                confidence *= choice.confidence
                doubt = doubt or (None if choice.accepted else _unsure(name, argument, choice.reason))
                unsaid = (name, argument.name) in self.literal and not says(text, value)
                if value is not None and (silent or unsaid):
                    doubt = doubt or _unsure(name, argument, Reason("abstain.not_said", value=as_label(value)))
            if value is not None:
                made[argument.name] = value
        own = [fields[argument.field] for argument in self.arguments[name] if argument.field in fields]
        shared = shared_words(own) if name in self.distinct else ""
        if shared and doubt is None:
            doubt = Reason("abstain.same_words", function=name, value=shared)
        wrong = fault(self.functions[name].schema, made)
        if wrong and doubt is None:
            doubt = Reason("abstain.arguments", function=name, found=wrong)
        return made, confidence, doubt

    def _finding(self, chosen: Finding, task: Task, name: str, reason: Reason) -> Finding:
        return replace(
            chosen,
            specialist=self.card.name,
            value=name,
            text="",
            reason=reason,
            label=task.label,
            label_without_pii=task.label_without_pii,
            task=self.card.task,
            evidence=(),
            facts=(),
            distribution=chosen.distribution,
        )

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Engines of its parts that belong to its version."""
        parts = [self.chooser, *([self.reader] if self.reader else []), *self.choices.values(), *self.silences.values()]
        return tuple(engine for part in parts for engine in getattr(part, "engines", ()))


def _joined(one: Finding, other: Finding) -> Finding:
    """Return two findings as one, with the calls of both."""
    return replace(
        one,
        text=written_calls([*stored_calls(one.text), *stored_calls(other.text)]),
        confidence=one.confidence * other.confidence,
        steps=(*one.steps, *other.steps),
        truncated=one.truncated or other.truncated,
    )


def shared_words(fields: Sequence[Field]) -> str:
    """Return words of a text that two fields are said by; empty where each has its own."""
    spans = sorted((f.start, f.end, f.name, f.text) for f in fields if f.start is not None and f.end is not None)
    overlapping = (two for one, two in combinations(spans, 2) if one[2] != two[2] and two[0] < one[1])
    return next((words for *_, words in overlapping), "")


def _value(argument: Argument, value: object, text: str) -> object:
    """Return a field's value in the argument's form."""
    if argument.kind == "text":
        return text or None
    if isinstance(value, float) and argument.whole:
        return int(value) if value.is_integer() else value
    return value


def _unsure(name: str, argument: Argument, why: Reason) -> Reason:
    return Reason("abstain.argument", function=name, argument=argument.name, why=why)


def says(text: str, value: object) -> bool:
    """Return whether an argument's value occurs in a text as separate words, ignoring case."""
    words = as_words(value).casefold()
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text.casefold()) is not None


def as_words(value: object) -> str:
    """Return an argument's value in the words of a text."""
    return value if isinstance(value, str) else as_label(value)


def said_choices(functions: Mapping[str, Function], literal: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the values of the choices that texts mention."""
    nodes = (functions[function].schema["properties"][name] for function, name in literal)
    return frozenset(as_words(value) for node in nodes for value in node.get("enum", ()) if value is not None)


def describe_functions(functions: Mapping[str, Function]) -> list[dict[str, object]]:
    """Return functions in the form that a version stores."""
    return [to_json(function) for function in functions.values()]


def stored_functions(described: Mapping[str, Any]) -> dict[str, Function]:
    """Return the functions of a stored version. Raises the errors of `from_json`."""
    return {str(description["name"]): from_json(Function, description) for description in described["functions"]}


def as_label(value: object) -> str:
    """Return an argument's value as a label."""
    return json.dumps(value, ensure_ascii=False)


# --- Several orders in one text: the values in it, those that a call leaves over, and where to split it. No language is
# known: a value is a number in figures, or a choice that training texts contain word for word.

_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?!\w)")
_WORD = re.compile(r"\S+")
MOST_CUTS = 12
"""Most places at which a text is split on trial."""
LONGEST = 400
"""Most characters of a text that is split: orders are short."""


class SaidValue(NamedTuple):
    """A value in a text."""

    start: int
    end: int
    text: str


def values_said(text: str, choices: Collection[str]) -> list[SaidValue]:
    """Return the numbers and the given choices that occur in a text, in order; none within another."""
    values = [SaidValue(match.start(), match.end(), match[0]) for match in _NUMBER.finditer(text)]
    for choice in sorted(choices, key=len, reverse=True):
        flags = re.NOFLAG if choice.isupper() else re.IGNORECASE  # "A" is a name, and "a" a word
        for match in re.finditer(rf"(?<!\w){re.escape(choice)}(?!\w)", text, flags):
            if not any(match.start() < other.end and other.start < match.end() for other in values):
                values.append(SaidValue(match.start(), match.end(), choice))
    return sorted(values)


def left_over(values: Sequence[SaidValue], used: Collection[object]) -> list[SaidValue]:
    """Return the values that a call does not use as arguments or as words that express them."""
    numbers = {float(value) for value in used if isinstance(value, int | float)}
    texts = [text.casefold() for text in used if isinstance(text, str)]
    return [
        value
        for value in values
        if not (numbers & _readings(value.text) or any(value.text.casefold() in text for text in texts))
    ]


def _readings(text: str) -> set[float]:
    """Return the possible values of a number: with commas or full stops as thousands or decimal separators."""
    if not _NUMBER.fullmatch(text):
        return set()
    forms = {text.replace(",", "").replace(".", ""), text.replace(",", ""), text.replace(".", "").replace(",", ".")}
    return {float(form) for form in forms if form.count(".") <= 1}


class Halves(NamedTuple):
    """A text split in two."""

    first: str
    second: str
    again: str
    """The second half after the words before the first value."""


def halves(text: str, values: Sequence[SaidValue]) -> Iterator[Halves]:
    """Yield the ways to split a text at the beginning of a word between two of its values, the first ones first.

    The second half of "open hive 4 and hive 6" is "and hive 6" and means "open hive 6": few people repeat the verb.
    """
    starts = [match.start() for match in _WORD.finditer(text)]
    cuts = [at for at in starts if values[0].end <= at <= values[-1].start]
    for cut in cuts[:MOST_CUTS]:
        behind = [value for value in values if value.start >= cut]
        if any(value.start < cut < value.end for value in values):
            continue
        yield Halves(text[:cut].strip(), text[cut:], text[: values[0].start] + text[behind[0].start :])


# --- A version's files.

CHOOSER, READER = "function-", "reader-"


def choice_prefix(number: int) -> str:
    """Return the prefix of file names for the choice argument at this place."""
    return f"choice{number}-"


def silence_prefix(number: int) -> str:
    """Return the prefix of file names for the classifier of whether that argument is mentioned."""
    return f"silence{number}-"


def prefixed(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return a part's files under the names that they have in a version."""
    return {prefix + name: content for name, content in files.items()}


def assemble(
    card: SpecialistCard, described: Mapping[str, Any], files: Mapping[str, bytes], *, encoder: Engine
) -> ToolsSpecialist:
    """Return the specialist of a version's files. Raises `LookupError`, `TypeError` or `ValueError` if invalid."""
    functions = stored_functions(described)
    arguments = arguments_of(functions.values())
    section = ClassifySection.model_construct(task="classify")
    parts = Parts(encoder=encoder, models={})

    def classifier(prefix: str) -> Specialist | None:
        own = _own(prefix, files)
        if not own:
            return None
        about = parse_json(own["model.json"])
        return load_classify(replace(card, rung=about["rung"]), section, Stored(described=about, files=own), parts)

    chooser, read = classifier(CHOOSER), _own(READER, files)
    if chooser is None:
        raise LookupError("it has nothing that chooses a function")
    reader = None
    if read:
        about = parse_json(read["model.json"])
        reader = load_extract(replace(card, rung=about["rung"]), about, read, encoder=encoder, model=_no_model)
    several = [
        (name, argument.name) for name, own in arguments.items() for argument in own if argument.kind == "choice"
    ]
    choices = {key: filler for index, key in enumerate(several) if (filler := classifier(choice_prefix(index)))}
    silences = {key: filler for index, key in enumerate(several) if (filler := classifier(silence_prefix(index)))}
    return ToolsSpecialist(
        card=card,
        functions=functions,
        arguments=arguments,
        chooser=chooser,
        reader=reader,
        choices=choices,
        silences=silences,
        literal=frozenset((str(name), str(argument)) for name, argument in described.get("literal", ())),
        whole=frozenset(str(name) for name in described.get("whole", ())),
        distinct=frozenset(str(name) for name in described.get("distinct", ())),
    )


def _own(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name.removeprefix(prefix): files[name] for name in files if name.startswith(prefix)}


def _no_model() -> Engine:
    raise ValueError("its reader asks no model")
