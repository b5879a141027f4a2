"""Clauses of a contract: unlike `assert`, they hold under `python -O` too."""

from __future__ import annotations

from coterie.types import Output, Step, Usage


def require(clause: str, holds: object) -> None:
    """Raise `AssertionError` with the clause unless it holds."""
    if not holds:
        raise AssertionError(clause)


def check_usage(usage: Usage) -> None:
    """No figure is negative."""
    figures = {
        "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "milliseconds": usage.milliseconds,
        "cpu_seconds": usage.cpu_seconds,
        "joules": usage.joules,
        "cost": usage.cost or 0,
    }
    for name, value in figures.items():
        require(f"usage.{name} is not negative: {value!r}", value >= 0)


def check_step(step: Step) -> None:
    """A step says who spent what at which engine."""
    require("a step names its producer and its engine", step.producer and step.engine)
    check_usage(step.usage)


def check_output(output: Output) -> None:
    """What holds for the output of any engine."""
    require(f"an output is an Output, not {type(output).__name__}", isinstance(output, Output))
    for name, array in (("vector", output.vector), ("scores", output.scores)):
        if array is not None:
            wanted = 2 if name == "scores" and output.offsets is not None else 1  # a tagger's, a row a token
            require(f"{name} has {wanted} dimensions, not {array.ndim}", array.ndim == wanted)
            require(f"{name} has no NaN", (array == array).all())  # noqa: PLR0124 - only NaN differs from itself
    check_usage(output.usage)
