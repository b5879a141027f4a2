"""What a caller asks: a request, its document, and the task that one specialist is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from coterie.types.context import Message, Scalar
from coterie.types.label import Label, Release

if TYPE_CHECKING:
    import numpy as np

Columns = Mapping[str, Scalar]
"""One row of structured input, by column name."""


Rung = Literal["lexical", "embedding", "encoder", "slm", "llm", "chain"]
"""How much machinery a specialist uses, cheapest first; `chain` is several of them, each asked where the one before
is not sure."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A long text that a question is about. It is read in this process: at most quotes of it leave, if allowed."""

    text: str = ""
    name: str = "document"
    """By which citations refer to it."""
    label: Label | None = None
    """Sensitivity; None, or less than the request's, takes the request's."""
    impersonal: Label | None = None
    """What that would be without the personal data in it; None for the same."""
    shelf: str = ""
    """The `[knowledge]` key of the shelf that has the text and the label of the document of this name."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What somebody asks the network."""

    text: str
    columns: Columns | None = None
    """Structured input, such as an applicant's row; None when there is only text."""
    document: Document | None = None
    """What the text asks about, to be read from beginning to end; it skips the router."""
    history: tuple[Message, ...] = ()
    """Earlier turns that the caller sent along, oldest first, the present one excluded."""
    label: Label | None = None
    """Sensitivity; None takes the network's default. Personal data and secrets in what is asked raise it."""
    impersonal: Label | None = None
    """What it was before personal data raised it; None for the same. The network says so, not who asks."""
    release: Release | None = None
    """Lowers the label, in spite of personal data, for a reason. A door gives it only from who may."""
    clearance: Label | None = None
    """The most sensitive label the asker may see; None takes the network's default label."""
    session: str | None = None
    """Names a remembered conversation; None remembers nothing."""
    language: str | None = None
    """Language of the text as a BCP 47 tag, such as `de` or `en-GB`; None has it detected when it is admitted."""
    tenant: str = "default"
    key: str = ""
    """Id of the key that it came with; empty without one."""
    specialist: str | None = None
    """Asks this specialist and skips the router."""
    allowed: tuple[str, ...] = ()
    """The only specialists that may be asked, those that write facts for others included; empty for all."""
    max_tokens: int | None = None
    quality: float | None = None
    """Share of the generalist's quality to keep, 0 to 1; None takes the network's."""
    budget: Decimal | None = None
    """Money per 1,000 such requests, in place of a quality: this one may cost a thousandth of it."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """An acceptance override: the confidence from which an answer is accepted, whatever the specialist's threshold."""

    confidence: float | None
    """None accepts no answer."""
    reason: str
    """What that keeps."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """The part of a request that one specialist is asked to do."""

    text: str
    """What is asked; a question that leant on earlier turns stands on its own here."""
    asked: str = ""
    """The whole request in the asker's own words; empty where there is no other wording."""
    columns: Columns | None = None
    label: Label = Label.INTERNAL
    impersonal: Label | None = None
    """What the label would be without the personal data in it; None for the same."""
    clearance: Label = Label.INTERNAL
    """The most sensitive label the asker may see."""
    tenant: str = "default"
    language: str | None = None
    """Language of the request; None where nobody has detected it."""
    max_tokens: int | None = None
    vector: np.ndarray | None = field(default=None, compare=False, repr=False)  # (D,)
    """The text's encoding when the router already made it: the network has one encoder, so it holds for all."""
    truncated: bool = False
    """`vector` is of the beginning only: the text is longer than the encoder's window."""
    keep: Keep | None = None
    """Acceptance override of the cost-quality policy; None where the specialist's own threshold counts."""
