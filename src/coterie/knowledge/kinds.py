"""Index plug-ins: what one implements, and the indexes that come with Coterie.

Both register through the entry point `coterie.indexes`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from coterie.config.file import KnowledgeSection
from coterie.config.section import EnvSecret
from coterie.errors import ExtraMissing
from coterie.runtime.plugins import PluginGroup

if TYPE_CHECKING:
    from coterie.knowledge.documents import DocumentIndex, Mode
    from coterie.knowledge.indexes import Reranker
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


# --- The indexes that come with Coterie, registered as plug-ins.


def open_reranker(section: KnowledgeSection, encoder: str) -> Reranker | None:
    """Return the bundled reranker, if the section wants one and it was made for the encoder with this checksum.

    An index in PostgreSQL stores no tokens of passages, so it has no reranker.
    """
    from coterie.knowledge.indexes import Reranker

    reranker = Reranker.bundled() if section.rerank and section.index_kind == "local" else None
    return reranker if reranker is not None and reranker.encoder == encoder else None


def _mode(section: KnowledgeSection) -> Mode:
    return "rerank" if section.rerank else "hybrid"


class LocalType(IndexType[KnowledgeSection]):
    """An index in files of the network's folder."""

    section = KnowledgeSection

    def open(self, section: KnowledgeSection, at: IndexPlace) -> DocumentIndex:
        """Return the index in its own folder."""
        from coterie.knowledge.local import LocalIndex  # as below: a section is checked without numpy

        reranker = open_reranker(section, at.encoder.sha256)
        return LocalIndex(
            at.folder,
            name=at.name,
            encoder=at.encoder,
            mode=_mode(section),
            rerank=None if reranker is None else (reranker, at.encoder),
            rebuild=at.rebuild,
        )


class PostgresType(IndexType[KnowledgeSection]):
    """An index in tables of a PostgreSQL database."""

    section = KnowledgeSection

    def open(self, section: KnowledgeSection, place: IndexPlace) -> DocumentIndex:
        """Return the index in the database whose address an environment variable holds."""
        if find_spec("psycopg") is None:
            raise ExtraMissing(
                f"The index {place.name!r} in PostgreSQL needs the package 'psycopg'.",
                hint="pip install 'coterie[postgres]'",
            )
        from coterie.knowledge.postgres import PostgresIndex  # it imports psycopg

        address = EnvSecret(section.store)
        return PostgresIndex(
            address.reveal(),
            source=f"The environment variable {address.removeprefix('env:')!r}",
            network=place.network,
            name=place.name,
            encoder=place.encoder,
            mode=_mode(section),
            rebuild=place.rebuild,
        )


LOCAL, POSTGRES = LocalType(), PostgresType()
