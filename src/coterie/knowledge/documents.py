"""What is in an index, and what an index can do: the seam between reading documents and keeping them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from coterie.protocols import Retriever
from coterie.types import SYSTEM, CallContext, Label, Passage

if TYPE_CHECKING:
    import numpy as np

Mode = Literal["keyword", "vector", "hybrid", "rerank"]
"""How an index is searched: by words, by meaning, by both, or by both with a finer look at the best."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A piece of a document, small enough to be encoded whole. `text[start:end]` of the document is what it says."""

    start: int
    end: int
    heading: str = ""
    """The headings it stands under, outermost first, joined by ` > `."""
    page: int | None = None
    """Page it begins on, from 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IndexedDocument:
    """One document as an index keeps it."""

    name: str
    """Unique in its index: a path as it was given, or an id."""
    sha256: str
    """Of the source's bytes and of how they were read: who knows it may skip the document."""
    text: str
    label: Label
    tenant: str | None
    """The one tenant who may see it; None: every tenant."""
    chunks: tuple[Chunk, ...]
    vectors: np.ndarray  # (N, D) float32, one a chunk, of length 1
    dated: str | None = None
    """When it is from: `2024`, `2024-05` or `2024-05-31`; None where that is unknown."""
    tokens: tuple[bytes, ...] = ()
    """What the reranker reads of each chunk, as it packed it; empty if the index is not reranked."""


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
        """At most `k` passages, best first, as `Retriever` promises; `mode` None is the index's own."""
        ...

    async def documents(self, *, clearance: Label | None = None, tenant: str = "default") -> Mapping[str, str]:
        """The `sha256` of every document, by name; with a clearance, of those that this principal may see."""
        ...

    async def tenants(self) -> frozenset[str]:
        """Every tenant that has documents of its own here: erasure must look at those of tenants that are gone, too."""
        ...

    async def update(self, put: Sequence[IndexedDocument], remove: Collection[str] = ()) -> None:
        """Put documents in the place of those of the same name, and take others away.

        All of it or, if it fails or the process is killed, nothing: whoever searches meanwhile finds the old or the new
        state. Names in `remove` that are not there are passed over.

        Raises:
            IndexBusy: another process is writing to it.
        """
        ...

    async def text(self, name: str, start: int, end: int, *, clearance: Label, tenant: str = "default") -> str | None:
        """`text[start:end]` of a document, for context around a passage; None if it is not there or may not be seen."""
        ...
