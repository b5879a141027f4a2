"""Reading a label out of what a model said."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_AROUND = " \t\r\n\"'`*."
"""What models put around a label."""


def match_label(answer: str, labels: Sequence[str]) -> str | None:
    """The label that an answer is; case and what models put around it do not count."""
    if answer.strip() in labels:
        return answer.strip()
    folded = {label.casefold().strip(_AROUND): label for label in labels}
    return folded.get(answer.casefold().strip(_AROUND))


def find_label(answer: str, labels: Sequence[str]) -> str | None:
    """The label that an answer is, or the one label that it contains; None if it contains none, or several.

    An answer that is a JSON object stands for its `label`. A label inside another one is not counted beside it: in
    "card_lost_abroad" no `card_lost` is named.
    """
    said = _unwrapped(answer)
    if (whole := match_label(said, labels)) is not None:
        return whole
    found = [label for label in labels if label.strip(_AROUND) and _names(said, label)]
    longest = [label for label in found if not any(label != other and _inside(label, other) for other in found)]
    return longest[0] if len(longest) == 1 else None


def _unwrapped(answer: str) -> str:
    """The `label` of a JSON object, else the answer as it is."""
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError):
        return answer
    label = content.get("label") if isinstance(content, dict) else content
    return label if isinstance(label, str) else answer


def _names(said: str, label: str) -> bool:
    """The label stands in the text as words of its own."""
    pattern = rf"(?<![\w-]){re.escape(label.casefold().strip(_AROUND))}(?![\w-])"
    return re.search(pattern, said.casefold()) is not None


def _inside(label: str, other: str) -> bool:
    return label.casefold() in other.casefold()
