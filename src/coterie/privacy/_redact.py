"""A text without what was found in it."""

from __future__ import annotations

from collections.abc import Iterable

from ._found import PersonalData


def redact(text: str, found: Iterable[PersonalData]) -> str:
    """The text with a typed placeholder for each thing found: `<PERSON_1>`, the same for the same words.

    Args:
        text: What was searched.
        found: What a detector found in it, in the text's order, none overlapping another.
    """
    numbers: dict[tuple[str, str], int] = {}
    counts: dict[str, int] = {}
    pieces, at = [], 0
    for each in found:
        key = (each.kind, " ".join(text[each.start : each.end].casefold().split()))
        if key not in numbers:
            counts[each.kind] = numbers[key] = counts.get(each.kind, 0) + 1
        pieces += [text[at : each.start], f"<{each.kind}_{numbers[key]}>"]
        at = each.end
    return "".join([*pieces, text[at:]])
