"""What all sections of `coterie.toml` have in common, and the types of their values."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)
"""Unknown keys are refused, and what is refused is never repeated: it may hold a secret."""


def _in_order(span: float | tuple[float, float]) -> float | tuple[float, float]:
    if isinstance(span, tuple) and span[0] > span[1]:
        raise ValueError("it is [low, high], the lower one first")
    return span


def span_ends(span: float | tuple[float, float]) -> tuple[float, float]:
    """The least and the most; of a figure that is known both are it."""
    return span if isinstance(span, tuple) else (span, span)


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
FieldType = Annotated[str, Field(pattern=r"^(text|date|number|money|duration|choice)\*?$")]
Measure = Literal[
    "accuracy", "macro_f1", "auc", "token_f1", "exact_f1", "exact_match", "citation_precision", "unanswerable_recall"
]
Span = Annotated[
    Annotated[float, Field(gt=0, le=100_000)]
    | tuple[Annotated[float, Field(gt=0, le=100_000)], Annotated[float, Field(gt=0, le=100_000)]],
    AfterValidator(_in_order),
]
"""A figure, or the least and the most that it may be."""
Money = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
