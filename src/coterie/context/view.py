"""The view: the entries that a specialist reads, up to its clearance, packed into its token budget.

The functions are pure. They do not know the context's storage or the layout of a prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from coterie.context.entries import Superseded, describe, tally, text_of, times, why_superseded
from coterie.text.folding import estimate_tokens
from coterie.types import (
    Context,
    ContextView,
    Entry,
    Fact,
    FindingSummary,
    Message,
    Omission,
    Passage,
    Reason,
    SpecialistCard,
    ViewRecord,
    label_without_pii,
)

# --- Packing a view into its budget: what is worth most per token goes in first.
#
# How much an entry is worth: a fact it reads 8; the best passage of a search 4, each further one a tenth less, and
# half as much with each turn since it was found; a message 2 and a finding 1, a fifth less with each turn. So facts,
# which are short and asked for by name, come before passages, passages before an equally long talk, new before old.

_FACT, _PASSAGE, _MESSAGE, _FINDING = 8.0, 4.0, 2.0, 1.0
_NEXT_PASSAGE, _OLD_PASSAGE, _OLD_TURN = 0.9, 0.5, 0.8
_FRAME = 4  # tokens around an entry in a prompt


def tokens_of(entry: Entry) -> int:
    """Estimate the tokens of an entry in a prompt."""
    heading = entry.content.heading if isinstance(entry.content, Passage) else ""
    return estimate_tokens(f"{heading}\n{text_of(entry)}" if heading else text_of(entry)) + _FRAME


def worth(log: Sequence[Entry], *, first_found: int) -> list[float]:
    """Return the value of each entry of a log, oldest first.

    Args:
        log: The session's entries, then the passages found now.
        first_found: Position of the first of these passages.
    """
    age, values = 1, [0.0] * len(log)
    for position in reversed(range(first_found)):
        values[position] = _value(log[position], age)
        age += isinstance(log[position].content, Message) and log[position].producer == "user"
    values[first_found:] = [_PASSAGE] * (len(log) - first_found)
    ranks: Counter[tuple[str, float]] = Counter()
    for index, entry in enumerate(log):
        if isinstance(entry.content, Passage):
            search = (entry.producer, entry.time)
            values[index] *= _NEXT_PASSAGE ** ranks[search]
            ranks[search] += 1
    return values


def _value(entry: Entry, age: int) -> float:
    """Return the value of a session's entry at an age in turns."""
    match entry.content:
        case Fact():
            return _FACT
        case Passage():
            return float(_PASSAGE * _OLD_PASSAGE**age)
        case FindingSummary():
            return float(_FINDING * _OLD_TURN**age)
        case _:
            return float(_MESSAGE * _OLD_TURN**age)


def pack(values: Sequence[float], sizes: Sequence[int], budget: int | None) -> list[bool]:
    """Choose items for a budget, greedily by value per size; of equal items the later one first.

    The greedy set or the single most valuable item that fits, whichever has the higher value: at least half of the
    optimum (Dantzig 1957; Kellerer, Pferschy, Pisinger 2004, "Knapsack Problems", 2.1).

    Args:
        values: The value of each item, positive.
        sizes: The size of each item, positive. (N,)
        budget: The largest total size; None for no limit.
    """
    if budget is None or sum(sizes) <= budget:
        return [True] * len(values)
    left, taken = budget, [False] * len(values)
    for position in sorted(range(len(values)), key=lambda i: (-values[i] / sizes[i], -i)):
        if sizes[position] <= left:
            taken[position], left = True, left - sizes[position]
    alone = max((i for i, size in enumerate(sizes) if size <= budget), key=lambda i: (values[i], i), default=None)
    if alone is not None and values[alone] > sum(value for value, take in zip(values, taken, strict=True) if take):
        return [position == alone for position in range(len(values))]
    return taken


CONVERSATION = "messages"
"""The name under which a specialist reads the conversation."""
FINDINGS = "findings"
"""The name under which a specialist reads findings of earlier turns, and the passages that answers cited."""


def build_view(
    context: Context,
    card: SpecialistCard,
    new_entries: Sequence[Entry] = (),
    unsearched: Mapping[str, Reason] | None = None,
) -> ContextView:
    """Build the view of a specialist: the newest fact of each name it reads, its passages, the conversation.

    Newest means last in the log, from any producer. A fact above the specialist's clearance still supersedes
    an older one below it: no fact is better than an outdated one. Entries that do not fit the budget are left
    out by value per token (`pack`).

    Args:
        context: Everything the network knows in this session that the caller may see, oldest first.
        card: The specialist's card; its `reads`, `knowledge`, `clearance` and `view_tokens` count.
        new_entries: Passages looked up for it now, the best of each index first.
        unsearched: Indexes that could not be searched for it, and why.

    Returns:
        The entries in their order; each of the others is counted once in `omitted`, with its reason.
    """
    if not (context.entries or new_entries or unsearched):
        return ContextView(omitted=context.omitted, budget=card.view_tokens)
    log = [*context.entries, *new_entries]
    gone = why_superseded(log)
    reads = [_is_read(entry, card) for entry in context.entries] + [True] * len(new_entries)
    reasons = [_why_not(entry, card, why, read=read) for entry, why, read in zip(log, gone, reads, strict=True)]
    wanted = [index for index, reason in enumerate(reasons) if not reason]
    sizes = [tokens_of(log[index]) for index in wanted]
    fitting = [True] * len(wanted)
    if card.view_tokens is not None and sum(sizes) > card.view_tokens:
        values = worth(log, first_found=len(context.entries))
        fitting = pack([values[index] for index in wanted], sizes, card.view_tokens)
    for position, fits in zip(wanted, fitting, strict=True):
        reasons[position] = None if fits else Reason("omit.budget", tokens=card.view_tokens)
    seen = tuple(entry for entry, reason in zip(log, reasons, strict=True) if not reason)
    superseded = [entry for entry, why in zip(log, gone, strict=True) if why is not None and why.why == "superseded"]
    return ContextView(
        entries=seen,
        omitted=context.omitted + _omissions(log, reasons) + _missing(unsearched or {}),
        tokens=sum(size for size, fits in zip(sizes, fitting, strict=True) if fits),
        budget=card.view_tokens,
        disputed=_disputed(seen, superseded),
        unsearched=unsearched or {},
    )


def describe_view(name: str, view: ContextView) -> ViewRecord:
    """Describe the view of specialist `name` for the trace: entries by name and producer, without content."""
    return ViewRecord(
        specialist=name,
        seen=tally(_describe_seen(entry, view) for entry in view.entries),
        omitted=view.omitted,
        tokens=view.tokens,
        budget=view.budget,
    )


def _why_not(entry: Entry, card: SpecialistCard, gone: Superseded | None, *, read: bool) -> Reason | None:
    """Return why an entry is left out of a view regardless of the budget, or None if it is not."""
    if not read:
        return Reason("omit.not_read", specialist=card.name)
    if gone is not None:
        return gone.reason
    if (label_without_pii(entry) if card.pseudonymised else entry.label) > card.clearance:
        clearance = card.clearance.value
        return Reason("omit.above_clearance", specialist=card.name, label=entry.label.value, clearance=clearance)
    return None


def _is_read(entry: Entry, card: SpecialistCard) -> bool:
    match entry.content:
        case Message():
            return CONVERSATION in card.reads
        case FindingSummary() | Passage():  # not with what is found now: scores of two searches do not compare
            return FINDINGS in card.reads
        case content:
            return content.name in card.reads


def _omissions(log: Sequence[Entry], reasons: Sequence[Reason | None]) -> tuple[Omission, ...]:
    counted = Counter((describe(entry), reason) for entry, reason in zip(log, reasons, strict=True) if reason)
    return tuple(Omission(what=times(what, n), reason=reason) for (what, reason), n in counted.items())


def _missing(unsearched: Mapping[str, Reason]) -> tuple[Omission, ...]:
    """Return the indexes that could not be searched, as omissions."""
    return tuple(
        Omission(what=f"index {name!r}", reason=Reason("omit.not_searched", why=why))
        for name, why in unsearched.items()
    )


def _disputed(seen: Sequence[Entry], superseded: Sequence[Entry]) -> dict[str, int]:
    """Return the number of contradicting superseded facts for the name of each visible fact."""
    values = {entry.content.name: entry.content.value for entry in seen if isinstance(entry.content, Fact)}
    older = [entry.content for entry in superseded if isinstance(entry.content, Fact)]
    return dict(Counter(fact.name for fact in older if fact.name in values and fact.value != values[fact.name]))


def _describe_seen(entry: Entry, view: ContextView) -> str:
    count = view.disputed.get(entry.content.name, 0) if isinstance(entry.content, Fact) else 0
    return f"{describe(entry)} ({count} older say otherwise)" if count else describe(entry)
