"""The functions that a request lets a model call, and the calls that were made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coterie.types.context import Message
from coterie.types.finding import Verdict
from coterie.types.label import Label
from coterie.types.usage import Usage

MOST_CALLS = 8
"""Calls in one turn, where several are allowed."""


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function that a model may call. Who asked calls it; an MCP server's is called by the network."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any]
    """JSON schema of the arguments as it was given, with its descriptions: what a model is told."""
    schema: Mapping[str, Any]
    """The same, normalised (`structured.schema`): what arguments are held against."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What may be called in one turn, and what was called since the question."""

    functions: tuple[Function, ...] = ()
    """Empty where nothing may be called and only results are answered from."""
    required: bool = False
    """Whether an answer without a call is none."""
    most: int = MOST_CALLS
    """Largest number of calls."""
    since: tuple[Message, ...] = ()
    """Calls and their results since the question, oldest first."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the functions."""
        return tuple(function.name for function in self.functions)


@dataclass(frozen=True, kw_only=True)
class FunctionCall:
    """One call of a function."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FunctionResult:
    """What a function that the network called returned."""

    text: str
    label: Label
    """Sensitivity of the text: its server's, raised by what is found in it."""
    label_without_pii: Label
    """The label without the personal data in it."""
    usage: Usage
    verdicts: tuple[Verdict, ...] = ()
    """Why the call was allowed to leave, and what is suspicious in the result."""
