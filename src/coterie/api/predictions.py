"""What a specialist predicts for one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coterie.structured.functions import stored_calls
from coterie.types import Citation, Evidence, Field, Finding, FunctionCall, Scalar
from coterie.types.html import html_table, html_text

_SHOWN = 60


@dataclass(frozen=True, repr=False)
class Prediction:
    """One prediction with its calibrated confidence, and whether the specialist stands by it.

    A prediction that is not accepted keeps its value: `reason` says why it is not sure enough.
    """

    finding: Finding

    @property
    def value(self) -> Scalar | tuple[str, ...]:
        """The label or labels, the probability, or the text; None if there is none."""
        return self.finding.value

    @property
    def label(self) -> str | None:
        """The predicted label; of several labels all, joined by `|`; None if there is none."""
        value = self.finding.value
        return None if value is None else "|".join(value) if isinstance(value, tuple) else str(value)

    @property
    def labels(self) -> tuple[str, ...]:
        """The predicted labels; one for a classifier without `multi_label`."""
        value = self.finding.value
        return value if isinstance(value, tuple) else () if value is None else (str(value),)

    @property
    def text(self) -> str:
        """The value as a person would read it."""
        return self.finding.text

    @property
    def confidence(self) -> float:
        """Calibrated probability that the value is right, 0 to 1."""
        return self.finding.confidence

    @property
    def accepted(self) -> bool:
        """Whether the specialist is sure enough to answer; otherwise it abstains."""
        return self.finding.accepted

    @property
    def reason(self) -> str:
        """Why it is accepted or not, in words."""
        return str(self.finding.reason)

    @property
    def reason_code(self) -> str:
        """The stable code of the reason, such as `accept.above_threshold`; the words may change."""
        return self.finding.reason.code

    @property
    def scores(self) -> Mapping[str, float]:
        """Of a classifier: the probability of the likeliest labels, highest first."""
        return {each.name: each.weight for each in self.finding.evidence if each.kind == "alternative"}

    @property
    def reasons(self) -> tuple[Evidence, ...]:
        """Of a score: the columns that moved it most; `weight` is their part in the log-odds."""
        return tuple(each for each in self.finding.evidence if each.kind == "reason")

    @property
    def quotes(self) -> tuple[Evidence, ...]:
        """Of a pair: the words of the text that decide; `start` and `end` are characters of the text."""
        return tuple(each for each in self.finding.evidence if each.kind == "quote")

    @property
    def fields(self) -> tuple[Field, ...]:
        """Of an extractor: each value of each field with its quote, place and confidence."""
        return self.finding.fields

    @property
    def values(self) -> Mapping[str, Scalar | tuple[Scalar, ...]]:
        """Of an extractor: the accepted value of each field; a tuple for several, None for none."""
        found: dict[str, tuple[Scalar, ...]] = {}
        for each in self.finding.fields:
            stated = (each.value,) if each.accepted and each.stated else ()
            found[each.name] = found.get(each.name, ()) + stated
        return {name: each if len(each) > 1 else next(iter(each), None) for name, each in found.items()}

    @property
    def calls(self) -> tuple[FunctionCall, ...]:
        """Of a tool caller: the call with its arguments; none where no function fits."""
        called = self.finding.task == "tools" and self.finding.text.startswith("{")
        return stored_calls(self.finding.text) if called else ()

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Of an answer: the quotes that it rests on, in the order of the text."""
        return self.finding.citations

    def __repr__(self) -> str:
        text = " ".join(self.text.split())
        shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
        verdict = "accepted" if self.accepted else "not accepted"
        return f"Prediction({shown!r}, confidence={self.confidence:.2f}, {verdict})"

    def _repr_html_(self) -> str:
        verdict = "accepted" if self.accepted else f"not accepted: {self.reason}"
        parts = [html_text(self.text), html_text(f"confidence {self.confidence:.2f}, {verdict}", tag="small")]
        if self.fields:
            rows = [(each.name, each.value, each.text, each.confidence) for each in self.fields]
            parts.append(html_table(["field", "value", "quote", "confidence"], rows))
        if self.citations:
            cited = [(f"[{n}]", each.document, each.text) for n, each in enumerate(self.citations, start=1)]
            parts.append(html_table(["", "document", "quote"], cited))
        if evidence := [each for each in self.finding.evidence if each.kind != "quote"]:
            parts.append(html_table([evidence[0].kind, "weight"], [(each.name, each.weight) for each in evidence]))
        return "".join(parts)
