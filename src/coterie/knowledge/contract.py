"""The contract of an index plug-in; bundled ones register through the entry point `coterie.indexes` like any."""

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
    """The context in which an index is opened."""

    name: str
    """The index's `[knowledge]` key."""
    folder: Path
    """Folder for the index's own files."""
    network: str
    """The network's name: a database holds the indexes of several networks."""
    encoder: TokenEncoder
    """Encodes queries and passages."""
    rebuild: bool = False
    """Ignore the existing index: the next update builds all of it again."""


class IndexType(ABC, Generic[K]):
    """One kind of index of documents. Results are filtered by label and tenant before they are ranked."""

    section: type[K]
    """Model that validates the `[knowledge.NAME]` tables of this kind."""

    @abstractmethod
    def open(self, section: K, place: IndexPlace) -> DocumentIndex:
        """Return the index; nothing is read before the first search. It passes `testing.contracts.check_index`.

        Raises:
            ConfigError, ExtraMissing: something the index needs is missing.
        """


INDEX_TYPES: PluginGroup[IndexType[Any]] = PluginGroup("coterie.indexes", IndexType, "index")
"""All index plug-ins by name."""
