"""The section of the large model; its face is `coterie.config`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from coterie.config.section import STRICT, Money


class GeneralistSection(BaseModel):
    """`[generalist]`: the large model, used only for what the small ones cannot do."""

    model_config = STRICT

    model: str
    """Key of the `[models]` entry."""
    escalate: bool = True
    """Ask it when a specialist abstains. Off: it is only the yardstick of `coterie report`."""
    escalate_out_of_scope: bool = False
    """Also ask it for requests that belong to no specialist."""
    history: bool = False
    """Also give it the conversation, word for word. Off, it gets what the small models made of it, and no more."""
    synthesise: bool = False
    """Let it make one text of several findings, which costs a call; off, they are put together here."""
    fallback: tuple[str, ...] = ()
    """Keys of `[models]` entries that are asked in its place, in this order, when it fails."""
    hedge_after: float | None = Field(default=None, gt=0, le=600)
    """Seconds after which a model that has said nothing is asked a second time, or the next of `fallback` beside it.

    The first to speak is heard. Set it near the 95th percentile of its first words: then one call in twenty is doubled.
    """
    deadline: float = Field(default=60.0, gt=0, le=3600)
    """Seconds that one request may spend on the generalist, whatever is tried."""
    rounds: int = Field(default=2, ge=1, le=10)
    """A question about a document: how often it may plan and conclude."""
    jobs: int = Field(default=8, ge=1, le=64)
    """A question about a document: so many short questions it may have the small models read for, over all rounds."""
    tokens: int | None = Field(default=None, ge=1)
    """A question about a document: once it has used so many tokens it is not asked again; left out, no limit."""
    money: Money | None = None
    """A question about a document: the same in money, where its price is known; left out, no limit."""
