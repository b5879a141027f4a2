"""What feedback may name as the right value: a label that the specialist knows."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection

from coterie.errors import InputError
from coterie.types import Feedback, Trace

_NAMED = 3
_LIKE, _MISSPELT = 0.6, 0.8
"""How alike a value must be to a label that is named instead (difflib's ratio), and to one that it is taken for where a
specialist without labels took part, which may be told anything."""


def check_value(feedback: Feedback, trace: Trace, labels: Callable[[str], Collection[str]]) -> None:
    """Refuse a value that no specialist which it may be about can give.

    Args:
        feedback: What is said.
        trace: Of which request.
        labels: Those that a specialist tells apart; empty where its values are anything else, or it is not there.

    Raises:
        InputError: no such label; the nearest ones are named.
    """
    if feedback.value is None:
        return
    about = {each.specialist for each in trace.findings if feedback.specialist in {"", each.specialist}}
    known = [frozenset(labels(name)) for name in sorted(about)]
    said = [str(each) for each in (feedback.value if isinstance(feedback.value, tuple) else [feedback.value])]
    every = {label for each in known for label in each}
    if not every or any(each.issuperset(said) for each in known if each):
        return
    free = not all(known)
    odd = next((value for value in said if value not in every), said[0])
    folded = {label.casefold(): label for label in sorted(every)}
    least = _MISSPELT if free else _LIKE
    near = [folded[each] for each in difflib.get_close_matches(odd.casefold(), list(folded), n=_NAMED, cutoff=least)]
    if free and not near:
        return
    shown = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"There are: {', '.join(sorted(every)[:20])}."
    shown += " Else name the specialist that should have said it." * free
    raise InputError(
        f"The right value is given as {odd[:100]!r}; {', '.join(sorted(about))} has no such label.",
        hint=f"{shown} What fits no label is said with --comment.",
    )
