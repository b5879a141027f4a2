"""The entries that a turn adds to the context, which entries are still valid, and which a caller may see.

Entries are never changed: a newer fact supersedes older ones of its name, a retraction those of its producer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from coterie.runtime.codec import replace
from coterie.types import (
    Citation,
    Context,
    ContextView,
    Entry,
    Fact,
    Finding,
    FindingSummary,
    Label,
    Message,
    Omission,
    Passage,
    Reason,
    Retraction,
)

_NEAR = 4  # labels beside the best that a guess names


def entries_of(findings: Iterable[tuple[Finding, ContextView]], *, now: float) -> tuple[Entry, ...]:
    """Return the entries of concurrent findings, each with the view of its specialist.

    Facts come last, ordered by confidence: where two contradict each other, the most confident counts as the newest.
    Facts are written by accepted findings only; a retraction is valid for any finding, since doubt is a reason for
    one.
    """
    findings = list(findings)
    facts = [(fact, finding) for finding, _ in findings if finding.accepted for fact in finding.facts]
    facts.sort(key=lambda pair: pair[0].confidence)
    return (
        *(_entry(Retraction(name=name), finding, now) for finding, _ in findings for name in finding.retracts),
        *(_entry(_summary(finding), finding, now) for finding, _ in findings),
        *_cited(findings),
        *(_entry(fact, finding, now) for fact, finding in facts),
    )


def _entry(content: Fact | FindingSummary | Retraction, finding: Finding, now: float) -> Entry:
    return Entry(
        content=content,
        producer=finding.specialist,
        label=finding.label,
        label_without_pii=finding.label_without_pii,
        time=now,
    )


def _summary(finding: Finding) -> FindingSummary:
    return FindingSummary(
        specialist=finding.specialist,
        task=finding.task,
        text=finding.text if finding.accepted else str(finding.reason),
        confidence=finding.confidence,
        accepted=finding.accepted,
        guess="" if finding.accepted else _guess(finding),
        form=finding.form,
    )


def _guess(finding: Finding) -> str:
    """Return the answer that an abstaining finding would have given, with the labels that came near.

    Their shares are in brackets: `password: 0.02` would be read as a password, which may not be sent.
    """
    others = [item for item in finding.evidence if item.kind == "alternative" and item.name != finding.value]
    near = [f"{other.name} ({other.weight:.0%})" for other in others]
    return "; or ".join([finding.text, *near[:_NEAR]]) if finding.text else ""


def _cited(findings: Iterable[tuple[Finding, ContextView]]) -> Iterator[Entry]:
    seen: set[tuple[str, str, int, int]] = set()
    for finding, view in findings:
        for entry in view.entries:
            passage = entry.content
            if not isinstance(passage, Passage) or not any(_cites(citation, passage) for citation in finding.citations):
                continue
            span_key = passage.index, passage.document, passage.start, passage.end
            if span_key not in seen:
                seen.add(span_key)
                yield entry


def _cites(citation: Citation, passage: Passage) -> bool:
    same = (citation.index, citation.document) == (passage.index, passage.document)
    return same and citation.start < passage.end and passage.start < citation.end


# --- Entries in words: by name and producer for traces, by content for whoever may see it.


def describe(entry: Entry) -> str:
    """Describe an entry by name and producer, never by content."""
    match entry.content:
        case Fact(name=name):
            return f"fact {name} from {entry.producer}"
        case Retraction(name=name):
            return f"retraction of {name} from {entry.producer}"
        case Message(role=role):
            return f"{role} message from {entry.producer}"
        case FindingSummary():
            return f"finding from {entry.producer}"
        case _:
            return f"passage from {entry.producer}"


def text_of(entry: Entry) -> str:
    """Return an entry's content as text for a model or a person."""
    match entry.content:
        case Fact(name=name, value=value, confidence=confidence):
            return f"{name} = {value} ({confidence:.2f})"
        case Retraction(name=name):
            return f"{name} is taken back"
        case FindingSummary(specialist=specialist, text=text, accepted=accepted):
            return f"{specialist}{'' if accepted else ' abstained'}: {text}"
        case content:
            return content.text


def tally(descriptions: Iterable[str]) -> tuple[str, ...]:
    """Merge equal descriptions into one with their number, so that a long conversation does not make a long trace."""
    return tuple(times(what, n) for what, n in Counter(descriptions).items())


def times(what: str, count: int) -> str:
    """Return a description with the number of items that it stands for."""
    return what if count == 1 else f"{what} (x{count})"


class Superseded(NamedTuple):
    """The reason why an entry is no longer valid."""

    why: Literal["retraction", "retracted", "superseded", "repeated"]
    reason: Reason


def why_superseded(entries: Sequence[Entry]) -> list[Superseded | None]:
    """Return for each entry of a log, oldest first, why it is no longer valid, or None if it is valid.

    Of the facts of one name the last is valid, whichever producer wrote it, unless its producer retracted it. Of a
    passage that was found several times the last is valid.
    """
    newest: dict[str, str] = {}  # producer by name of a fact
    taken_back: set[tuple[str, str]] = set()  # producer, name
    spans: set[tuple[str, str, int, int]] = set()
    gone: list[Superseded | None] = []
    for entry in reversed(entries):
        why: Superseded | None = None
        match entry.content:
            case Retraction(name=name):
                taken_back.add((entry.producer, name))
                why = Superseded("retraction", Reason("omit.retraction"))
            case Fact(name=name) if (entry.producer, name) in taken_back:
                why = Superseded("retracted", Reason("omit.retracted", by=entry.producer))
            case Fact(name=name):
                if name in newest:
                    why = Superseded("superseded", Reason("omit.superseded", by=newest[name]))
                newest.setdefault(name, entry.producer)
            case Passage(index=index, document=document, start=start, end=end):
                if (span_key := (index, document, start, end)) in spans:
                    why = Superseded("repeated", Reason("omit.found_again"))
                spans.add(span_key)
        gone.append(why)
    return gone[::-1]


def known_facts(context: Context) -> frozenset[str]:
    """Return the names of the valid facts."""
    log = zip(context.entries, why_superseded(context.entries), strict=True)
    return frozenset(e.content.name for e, gone in log if gone is None and isinstance(e.content, Fact))


def visible(context: Context, clearance: Label) -> Context:
    """Return the part of a session that a caller may see; the rest is named in `omitted`, without its content.

    Where any version of a fact is above the clearance, its superseded versions are left out too: no fact is better
    than an outdated one.
    """
    hidden = [entry for entry in context.entries if entry.label > clearance]
    if not hidden:
        return context
    touched = {_what(entry) for entry in hidden} - {None}
    above = {label: Reason("omit.above_caller", label=label.value, clearance=clearance.value) for label in Label}
    omitted: Counter[tuple[str, Reason]] = Counter()
    kept: list[Entry] = []
    for entry, gone in zip(context.entries, why_superseded(context.entries), strict=True):
        if entry.label > clearance:
            omitted[describe(entry), above[entry.label]] += 1
        elif gone is not None and _what(entry) in touched:
            omitted[describe(entry), gone.reason] += 1
        else:
            kept.append(entry)
    named = tuple(Omission(what=times(what, n), reason=reason) for (what, reason), n in omitted.items())
    return replace(context, entries=tuple(kept), omitted=context.omitted + named)


def _what(entry: Entry) -> str | tuple[str, str, int, int] | None:
    """Return what an entry is a version of: a fact's name, or a passage; None for other entries."""
    match entry.content:
        case Fact(name=name) | Retraction(name=name):
            return name
        case Passage(index=index, document=document, start=start, end=end):
            return index, document, start, end
        case _:
            return None
