"""The content of an index and its interface: the boundary between reading documents and keeping them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from coterie.protocols import Retriever
from coterie.types import SYSTEM, CallContext, Label, Passage

if TYPE_CHECKING:
    import numpy as np

Mode = Literal["keyword", "vector", "hybrid", "rerank"]
"""How an index is searched: by words, by meaning, by both, or by both with the best results reranked."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A piece of a document, small enough to be encoded whole: `text[start:end]` of the document."""

    start: int
    end: int
    heading: str = ""
    """The headings above the chunk, outermost first, joined by ` > `."""
    page: int | None = None
    """Page on which the chunk begins, from 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IndexedDocument:
    """One document as an index keeps it."""

    name: str
    """Name, unique in its index: the path as it was given, or an id."""
    sha256: str
    """SHA-256 of the source's bytes and of how they were read; an unchanged one lets a build skip the document."""
    text: str
    label: Label
    tenant: str | None
    """The one tenant that may see the document; None for every tenant."""
    chunks: tuple[Chunk, ...]
    vectors: np.ndarray  # (N, D) float32, one a chunk, of length 1
    dated: str | None = None
    """Date of the document: `2024`, `2024-05` or `2024-05-31`; None if it is unknown."""
    tokens: tuple[bytes, ...] = ()
    """The packed tokens of each chunk for the reranker; empty if the index is not reranked."""


@runtime_checkable
class DocumentIndex(Retriever, Protocol):
    """A retriever that can be filled. `coterie index` writes to it, one process at a time."""

    async def search(
        self,
        query: str,
        *,
        k: int,
        clearance: Label,
        tenant: str = "default",
        vector: np.ndarray | None = None,
        document: str | None = None,
        mode: Mode | None = None,
        call: CallContext = SYSTEM,
    ) -> Sequence[Passage]:
        """Return at most `k` passages, best first, as `Retriever` specifies; a `mode` of None is the index's own."""
        ...

    async def documents(self, *, clearance: Label | None = None, tenant: str = "default") -> Mapping[str, str]:
        """Return the `sha256` of every document, by name; with a clearance, of those that this principal may see."""
        ...

    async def tenants(self) -> frozenset[str]:
        """Return every tenant that has documents of its own, so that an erasure finds those of deleted tenants too."""
        ...

    async def update(self, put: Sequence[IndexedDocument], remove: Collection[str] = ()) -> None:
        """Put documents in the place of those of the same name, and remove others.

        The update is atomic, even if it fails or the process is killed: a concurrent search finds the old or the new
        state. Names in `remove` that do not exist are ignored.

        Raises:
            IndexBusy: another process is writing to the index.
        """
        ...

    async def text(self, name: str, start: int, end: int, *, clearance: Label, tenant: str = "default") -> str | None:
        """Return `text[start:end]` of a document, for context of a passage; None if it is missing or not visible."""
        ...
