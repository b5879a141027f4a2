"""What an index's plug-in is: ours register through the entry point `coterie.indexes` as anybody's do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from coterie.config.file import KnowledgeSection
from coterie.runtime.plugins import PluginGroup

if TYPE_CHECKING:
    from coterie.knowledge.documents import DocumentIndex
    from coterie.knowledge.local import TokenEncoder

K = TypeVar("K", bound=KnowledgeSection)


@dataclass(frozen=True, kw_only=True)
class IndexPlace:
    """Where an index is opened."""

    name: str
    """Its `[knowledge]` key."""
    folder: Path
    """Where it may keep what is its own."""
    network: str
    """The network's name: a database holds indexes of several."""
    encoder: TokenEncoder
    """Encodes queries and passages."""
    rebuild: bool = False
    """Take what is there for nothing: the next update builds all of it again."""


class IndexType(ABC, Generic[K]):
    """One kind of index of documents. What it finds is filtered by label and tenant before it is ranked."""

    section: type[K]
    """Checks the `[knowledge.NAME]` tables that name it."""

    @abstractmethod
    def open(self, section: K, place: IndexPlace) -> DocumentIndex:
        """The index, of which nothing is read before the first search. It keeps `testing.contracts.check_index`.

        Raises:
            ConfigError, ExtraMissing: what it needs is not here.
        """


INDEX_TYPES: PluginGroup[IndexType[Any]] = PluginGroup("coterie.indexes", IndexType, "index")
"""Every kind of index by its name."""
