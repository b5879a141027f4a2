"""What a session knows: messages, facts, passages, findings, and the view one specialist gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from coterie.types.label import Label

Scalar = str | int | float | bool | None
"""A value of one column of structured input, or of a fact."""

TaskKind = str
"""The name of a task: `classify`, `pairs`, `score`, `extract`, `answer`, `generate`, or one that a plug-in adds."""

AnswerForm = Literal["label", "number", "fields", "text"]
"""What a value is: a name that the network's owner chose, a figure, quoted fields, or free text."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A typed statement a specialist adds to the context: `intent = card_lost`, 0.97."""

    name: str
    value: Scalar
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Retraction:
    """Takes back the facts of this name that its producer wrote before; those of others stand."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A cited span of a document. `start` and `end` are character offsets into its text, as the shelf keeps it."""

    document: str
    start: int
    end: int
    text: str
    score: float
    """Higher is more relevant; comparable within one search only."""
    label: Label
    shelf: str = ""
    """The `[knowledge]` key of the shelf it stands on."""
    heading: str = ""
    """The headings it stands under, outermost first, joined by ` > `; empty if there is none."""
    page: int | None = None
    """Page that it begins on, from 1; None for a document without pages."""


@dataclass(frozen=True, kw_only=True)
class FindingSummary:
    """What one specialist found, as the context keeps it: the finding without how it came about."""

    specialist: str
    task: TaskKind | None
    text: str
    """The value as a person would read it, or why there is none."""
    confidence: float
    accepted: bool
    guess: str = ""
    """What it would have said, where it abstained; for the generalist, who is told the doubt with it."""
    form: AnswerForm = "text"
    """What the value is."""


Content = Message | Fact | Retraction | Passage | FindingSummary
"""What an entry can hold."""


CONTENT_KINDS: Mapping[str, type[Content]] = {
    "message": Message,
    "fact": Fact,
    "retraction": Retraction,
    "passage": Passage,
    "finding": FindingSummary,
}
"""The same by the names that stand in the database and in exports."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the context: what, from whom, how sensitive, since when."""

    content: Content
    producer: str
    label: Label
    time: float
    """Seconds since the epoch."""
    impersonal: Label | None = None
    """What the label would be without the personal data in what it was made of; None for the same."""

    @property
    def kind(self) -> str:
        """What it holds, as a key of `CONTENT_KINDS`."""
        return next(name for name, kind in CONTENT_KINDS.items() if isinstance(self.content, kind))


@dataclass(frozen=True, kw_only=True)
class Omission:
    """An entry that was left out of a view, named without its content, and why."""

    what: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the network knows in one session: an append-only log of entries, oldest first."""

    entries: tuple[Entry, ...] = ()
    omitted: tuple[Omission, ...] = ()
    """What the session holds beside them and this asker may not see; every view tells of it."""

    def append(self, *entries: Entry) -> Context:
        """The context with these entries after the present ones; this one stays as it is."""
        return replace(self, entries=self.entries + entries)


@dataclass(frozen=True, kw_only=True)
class ContextView:
    """The part of the context that one specialist may and need see."""

    entries: tuple[Entry, ...] = ()
    omitted: tuple[Omission, ...] = ()
    tokens: int = 0
    """What the entries take, estimated."""
    budget: int | None = None
    """What they might take; None for no limit."""
    disputed: Mapping[str, int] = field(default_factory=dict)
    """By name of a fact that is seen: how many older ones that still stand say otherwise."""
    unsearched: Mapping[str, str] = field(default_factory=dict)
    """By name of a shelf that could not be searched: why. What stands there is unknown, so nothing is "not stated"."""

    def fact(self, name: str) -> Fact | None:
        """The newest fact of this name, or None."""
        for entry in reversed(self.entries):
            if isinstance(entry.content, Fact) and entry.content.name == name:
                return entry.content
        return None


@dataclass(frozen=True, kw_only=True)
class ViewRecord:
    """What one specialist was shown, by name and producer, and what it was not and why."""

    specialist: str
    seen: tuple[str, ...]
    omitted: tuple[Omission, ...]
    tokens: int = 0
    """What it was shown, in tokens, estimated."""
    budget: int | None = None
    """What it might have been; None for no limit."""
