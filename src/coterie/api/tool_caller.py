"""`ToolCaller`: choose a function for a text and fill in its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

from coterie.api.inputs import Values, check_lengths, read_texts
from coterie.api.options import FitOptions
from coterie.api.specialists import TextSpecialist
from coterie.errors import DataError
from coterie.learning.evaluation import Evaluation


class ToolCaller(TextSpecialist):
    """Chooses a function for each text and fills in its arguments, or says that no function fits.

    >>> from coterie import ToolCaller
    >>> room = {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]}
    >>> rooms = ["hall", "kitchen", "attic", "office", "cellar"] * 6
    >>> texts = [*(f"switch on the lamp in the {each}" for each in rooms), *(f"lock door {n}" for n in range(30))]
    >>> calls = [*({"name": "light", "arguments": {"room": each}} for each in rooms), *([{"name": "lock"}] * 30)]
    >>> functions = [{"name": "light", "parameters": room}, {"name": "lock"}]
    >>> caller = ToolCaller.fit(texts, calls, functions=functions, rungs=["lexical"])
    >>> caller.predict("lock door 77").calls[0].name
    'lock'
    """

    task = "tools"
    usual_name = "caller"

    @classmethod
    def fit(
        cls,
        texts: Values,
        calls: Sequence[Mapping[str, Any] | None],
        *,
        functions: Sequence[Mapping[str, Any]],
        test: tuple[Values, Sequence[Mapping[str, Any] | None]] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Train each rung, keep the cheapest that is good enough, and calibrate function and arguments.

        Args:
            texts: One text a row.
            calls: The call of each text, `{"name": ..., "arguments": {...}}`, with `quotes` where a value is said in
                other words; None where no function fits.
            functions: What may be called: `name`, `description` and `parameters` (a JSON schema), bare or as
                `{"type": "function", "function": {...}}`.
            test: Held-out texts and calls. Without it a seeded fifth of the rows is held out.
            options: See `FitOptions`.

        Raises:
            DataError: the rows do not fit each other or the functions.
            InputError: a function's parameters are no schema that can be filled in.
        """
        known = [dict(each.get("function", each)) for each in functions]
        held_out = None if test is None else _rows(*test)
        return cls._fit(options, {"functions": known}, _rows(texts, calls), held_out)

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of what it may call."""
        return tuple(each.name for each in self._stored.section.functions)

    def evaluate(self, texts: Values, calls: Sequence[Mapping[str, Any] | None]) -> Evaluation:
        """Measure it on texts it has not seen: right functions, and exact calls."""
        return self._evaluate(_rows(texts, calls))


def _rows(texts: Values, calls: Sequence[Mapping[str, Any] | None]) -> list[dict[str, object]]:
    columns = read_texts(texts, filled=True), list(calls)
    check_lengths(texts=columns[0], calls=columns[1])
    rows: list[dict[str, object]] = []
    for place, (text, call) in enumerate(zip(*columns, strict=True)):
        if call is not None and not (isinstance(call, Mapping) and isinstance(call.get("name"), str)):
            raise DataError(
                f"calls[{place}] is {call!r}.", hint='A call is {"name": "...", "arguments": {...}}; None is none.'
            )
        found = call or {}
        given = {key: found[key] for key in ("arguments", "quotes") if found.get(key) is not None}
        rows.append({"text": text, "function": found.get("name"), **given})
    return rows
