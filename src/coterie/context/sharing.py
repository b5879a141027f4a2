"""The shared context: which entries are valid, who may see them, and which part of them a specialist is shown.

Entries are never changed: a newer fact supersedes older ones of its name, a retraction those of its producer. A view
has what is valid, up to the specialist's clearance, packed into its token budget. The functions are pure. They do not
know the context's storage or the layout of a prompt.

Follow-up questions are rewritten as standalone questions: "and what is the fee for that?" regains its topic. A model
decides (`coterie.turns`): whether a turn depends on earlier questions, and which words of one it lacks. These words, or
the label that a classifier accepted, are appended in brackets. In front of the question, or as a whole, the earlier
question would dominate the current one (`docs/history/log.md`).
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from coterie.protocols import TurnModel
from coterie.runtime.codec import replace
from coterie.runtime.cpu import timed
from coterie.text.folding import estimate_tokens
from coterie.text.language import base
from coterie.text.segmentation import marks
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
    Output,
    Passage,
    Reason,
    Retraction,
    SpecialistCard,
    Usage,
    ViewRecord,
    label_without_pii,
)

T = TypeVar("T")
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


# --- Packing a view into its budget: what is worth most per token goes in first.
#
# How much an entry is worth: a fact it reads 8; the best passage of a search 4, each further one a tenth less, and
# half as much with each turn since it was found; a message 2 and a finding 1, a fifth less with each turn. So facts,
# which are short and asked for by name, come before passages, passages before an equally long talk, new before old.

# --- The view: the entries that a specialist reads, up to its clearance, packed into its token budget.

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


# --- Follow-up questions rewritten as standalone questions: "and what is the fee for that?" regains its topic.

Encode = Callable[[Sequence[str]], Awaitable[Sequence[Output]]]
"""A function that returns vectors and token states of texts."""

_READ = 2_000
"""Characters of a question that are read."""
_LONGEST = 40
"""Longest question in words that may depend on an earlier one; a longer text names its topic itself."""
_REMEMBERED = 8  # questions that are looked back to
_FEW = 4
"""Fewest words of an earlier question that are added, if none is clearly missing."""


class Turn(NamedTuple):
    """An earlier question."""

    question: str
    found: str
    """The label that a classifier accepted, in words; empty if there was none."""
    label: Label
    """Sensitivity of question and label."""
    label_without_pii: Label
    """Sensitivity of question and label without personal data."""


@dataclass(frozen=True, kw_only=True)
class RewrittenQuery:
    """A follow-up question, rewritten as a standalone question."""

    text: str
    label: Label
    """Sensitivity of the added words."""
    label_without_pii: Label
    """Sensitivity of the added words without personal data."""
    reason: str
    """The probability that the question depends on an earlier one, in words."""


async def rewrite_query(
    text: str,
    context: Context,
    *,
    turns: TurnModel,
    encode: Encode,
    language: str = "en",
    spent: Callable[[Usage], None] = lambda _: None,
) -> RewrittenQuery | None:
    """Return the question as a standalone one, or None where it already is one or there is no earlier question.

    It is completed from the newest of the last eight questions, in that one's standalone form.

    Args:
        text: The question.
        context: The session, with the earlier questions.
        turns: Decides what depends on what, and what it lacks.
        encode: Returns vectors and states of texts; asked only where the question depends on an earlier one.
        language: The question's language.
        spent: Gets the usage of each reading.
    """
    if len(text) > _READ or len(text.split()) > _LONGEST:
        return None
    earlier = turns_of(context)
    if not earlier:
        return None
    chance = await _aside(partial(turns.leans, text, [turn.question for turn in earlier]), spent)
    if chance <= turns.least_leaning:
        return None
    *outputs, now = await _encoded([*(turn.question for turn in earlier), text], turns, encode, language)
    if _is_talk(now, turns):
        return None
    topic, output = await _topic(earlier, outputs, turns, encode, spent)
    return RewrittenQuery(
        text=await _aside(partial(_standalone, topic, output, text, now, turns), spent),
        label=topic.label,
        label_without_pii=topic.label_without_pii,
        reason=f"it leans on an earlier question ({chance:.2f})",
    )


async def _aside(work: Callable[[], T], spent: Callable[[Usage], None]) -> T:
    """Run work in a thread, and report its usage."""
    result, usage = await asyncio.to_thread(timed, work)
    spent(usage)
    return result


async def _encoded(texts: Sequence[str], turns: TurnModel, encode: Encode, language: str) -> Sequence[Output | None]:
    """Return the encoder's outputs; None in a language for whose encoder there is no model of small talk."""
    return await encode(texts) if base(language) in turns.talk_languages else [None] * len(texts)


def _is_talk(output: Output | None, turns: TurnModel) -> bool:
    return output is not None and output.vector is not None and bool(turns.talk(output.vector[None])[0] > 0)


async def _topic(
    earlier: Sequence[Turn],
    outputs: Sequence[Output | None],
    turns: TurnModel,
    encode: Encode,
    spent: Callable[[Usage], None],
) -> tuple[Turn, Output | None]:
    """Return the newest question in its standalone form, with its tokens' states.

    The topic is set by the newest question that was classified, or that is no small talk and depends on no earlier one.
    Each dependent question after it is rewritten in turn: the next one may depend on it, and it may be a question on
    another topic that was mistaken for a follow-up.
    """
    questions = [turn.question for turn in earlier]
    at = len(earlier) - 1
    while at and not earlier[at].found:
        if not _is_talk(outputs[at], turns):
            leans = await _aside(partial(turns.leans, questions[at], questions[:at]), spent)
            if leans <= turns.least_leaning:
                break
        at -= 1
    topic, output = earlier[at], outputs[at]
    for turn, own in zip(earlier[at + 1 :], outputs[at + 1 :], strict=True):
        if not _is_talk(own, turns):
            text = await _aside(partial(_standalone, topic, output, turn.question, own, turns), spent)
            topic = _standing(turn, topic, text)
            (output,) = [None] if own is None else await encode([topic.question])
    return topic, output


def _standing(turn: Turn, topic: Turn, text: str) -> Turn:
    """Return a follow-up in its standalone form, as sensitive as it and its topic."""
    label, bare = max(turn.label, topic.label), max(turn.label_without_pii, topic.label_without_pii)
    return Turn(text, topic.found, label, bare)


def _standalone(topic: Turn, output: Output | None, text: str, now: Output | None, turns: TurnModel) -> str:
    """Return a follow-up in its standalone form: the earlier question with its phrase, or it with what it lacks."""
    substituted = None
    if output is not None and now is not None and len(topic.found.split()) < 2:  # two words are a label of its own
        substituted = turns.substituted(text, now, topic.question, output)
    return substituted or f"{text.strip()} ({_about(topic, text, turns)})"


def _about(topic: Turn, text: str, turns: TurnModel) -> str:
    """Return the topic of a dependent question: the earlier question's label, and the words that are missing."""
    words = topic.found.split()
    if len(words) > 1:
        return topic.found
    # One word ("book", "cancel") may be a label of several specialists.
    all_words, scores = turns.missing(text, topic.question)
    chosen = [word for word, score in zip(all_words, scores, strict=True) if score > 0]
    if not chosen:
        best = sorted(np.argsort(-np.asarray(scores), kind="stable")[:_FEW])
        chosen = [all_words[at] for at in best]
    if marks(text):  # "and on pier A?" has a letter of its own in place of the earlier one
        chosen = [word for word in chosen if word.casefold() not in marks(topic.question)]
    return " ".join(dict.fromkeys([*words, *chosen])) or topic.question.strip().rstrip(".?!")


def turns_of(context: Context) -> Sequence[Turn]:
    """Return the beginnings of the caller's last questions, oldest first, each with its label."""
    turns: list[Turn] = []
    question_positions = (at for at in range(len(context.entries) - 1, -1, -1) if _is_question(context.entries[at]))
    for entry in context.entries[min(islice(question_positions, _REMEMBERED), default=0) :]:
        match entry.content:
            case Message(role="user", text=text):
                turns.append(Turn(text[:_READ], "", entry.label, label_without_pii(entry)))
            case FindingSummary(form="label", accepted=True, text=found) if turns and not turns[-1].found:
                last = turns[-1]
                label, bare = max(last.label, entry.label), max(last.label_without_pii, label_without_pii(entry))
                turns[-1] = Turn(last.question, _words(found), label, bare)
    return turns


def _is_question(entry: Entry) -> bool:
    return isinstance(entry.content, Message) and entry.content.role == "user"


def _words(match_text: str) -> str:
    """Return a label as words: `card_arrival` is "card arrival"."""
    return re.sub(r"[\W_]+", " ", match_text).strip()
