"""`tools`: the function that a text asks for, with its arguments; or that none fits, or an abstention.

The function is a label (`classify`); an argument in words is found in the text (`extract`), and one of a few values is
again a label. Each part is calibrated by itself, out of fold, and a call is accepted only where all parts are accepted:
so the error of accepted calls is at most the sum of theirs. A call with a missing argument, or one that violates its
schema, is not made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from coterie.protocols import Engine, Specialist
from coterie.runtime.codec import from_json, parse_json, to_json
from coterie.runtime.concurrency import side_by_side
from coterie.specialists.acceptance import abstention
from coterie.structured.functions import stored_calls, written_calls
from coterie.structured.schema import fault
from coterie.tasks.tools.arguments import Argument
from coterie.tasks.tools.section import NO_FUNCTION
from coterie.tasks.tools.several import LONGEST, SaidValue, halves, left_over, values_said
from coterie.types import (
    MOST_CALLS,
    SYSTEM,
    CallContext,
    ContextView,
    Finding,
    Function,
    FunctionCall,
    Reason,
    SpecialistCard,
    Task,
)

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
