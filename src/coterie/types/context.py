"""The context of a session (messages, facts, passages, findings) and the view of it that one specialist gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from coterie.types.label import Label
from coterie.types.reason import Reason
from coterie.types.shown import stored

Scalar = str | int | float | bool | None
"""The value of a column of structured input, or of a fact."""

TaskKind = str
"""The name of a task: `classify`, `pairs`, `score`, `extract`, `answer`, `generate`, or one that a plug-in adds."""

AnswerForm = Literal["label", "number", "fields", "text"]
"""The form of a value: a label that the owner of the network chose, a number, quoted fields, or free text."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A typed statement that a specialist adds to the context, such as `intent = card_lost` with confidence 0.97."""

    name: str
    value: Scalar
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Retraction:
    """A withdrawal of the producer's earlier facts of this name; facts of other producers remain."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A span of a document that a search found. `start` and `end` are character offsets into the indexed text."""

    document: str
    start: int
    end: int
    text: str
    score: float
    """Relevance, higher is better; comparable within one search only."""
    label: Label
    index: str = field(default="", metadata=stored(aliases=("shelf",)))
    """The `[knowledge]` key of the index that holds the document."""
    heading: str = ""
    """The headings above the passage, outermost first, joined by ` > `; empty if there is none."""
    page: int | None = None
    """Page on which the passage begins, from 1; None for a document without pages."""
    dated: str | None = None
    """Date of the document: `2024`, `2024-05` or `2024-05-31`; None where that is unknown."""


@dataclass(frozen=True, kw_only=True)
class FindingSummary:
    """A finding as the context keeps it: without evidence, steps and verdicts."""

    specialist: str
    task: TaskKind | None
    text: str
    """The value in words, or the reason for the abstention."""
    confidence: float
    accepted: bool
    guess: str = ""
    """The rejected value of an abstention; shown to the generalist together with its confidence."""
    form: AnswerForm = "text"
    """The form of the value."""


Content = Message | Fact | Retraction | Passage | FindingSummary
"""The content of an entry."""


CONTENT_KINDS: Mapping[str, type[Content]] = {
    "message": Message,
    "fact": Fact,
    "retraction": Retraction,
    "passage": Passage,
    "finding": FindingSummary,
}
"""The types of content by their names in the database and in exports."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One element of the context: content, producer, label and time."""

    content: Content
    producer: str
    label: Label
    time: float
    """Seconds since the epoch."""
    label_without_pii: Label | None = field(default=None, metadata=stored(aliases=("impersonal",)))
    """The label without the personal data in the sources; None if it is the same."""
    request: str = field(default="", compare=False)
    """Id of the request that wrote it; empty in sessions of earlier versions."""
    envelope: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What an API keeps with the question, to show its response again (`Request.envelope`); nothing else reads it."""

    @property
    def kind(self) -> str:
        """The type of the content, a key of `CONTENT_KINDS`."""
        return next(name for name, kind in CONTENT_KINDS.items() if isinstance(self.content, kind))


@dataclass(frozen=True, kw_only=True)
class Omission:
    """An entry that was left out of a view: its name without its content, and the reason."""

    what: str
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Context:
    """The context of one session: an append-only sequence of entries, oldest first."""

    entries: tuple[Entry, ...] = ()
    omitted: tuple[Omission, ...] = ()
    """Entries of the session that this principal may not see; every view names them."""

    def append(self, *entries: Entry) -> Context:
        """Return a new context with these entries at the end."""
        return replace(self, entries=self.entries + entries) if entries else self


@dataclass(frozen=True, kw_only=True)
class ContextView:
    """The part of the context that one specialist needs and may see, packed into its token budget."""

    entries: tuple[Entry, ...] = ()
    omitted: tuple[Omission, ...] = ()
    tokens: int = 0
    """Estimated number of tokens of the entries."""
    budget: int | None = None
    """Largest number of tokens; None for no limit."""
    disputed: Mapping[str, int] = field(default_factory=dict)
    """Number of older facts with another value, by name of a fact in the view."""
    unsearched: Mapping[str, Reason] = field(default_factory=dict)
    """Reason by name of an index that could not be searched. "Not in the documents" cannot be concluded then."""

    def fact(self, name: str) -> Fact | None:
        """Return the newest fact of this name, or None."""
        for entry in reversed(self.entries):
            if isinstance(entry.content, Fact) and entry.content.name == name:
                return entry.content
        return None


@dataclass(frozen=True, kw_only=True)
class ViewRecord:
    """The record of one specialist's view: what it contained, by name and producer, and what was left out and why."""

    specialist: str
    seen: tuple[str, ...]
    omitted: tuple[Omission, ...]
    tokens: int = 0
    """Estimated number of tokens of the view."""
    budget: int | None = None
    """Largest number of tokens; None for no limit."""
