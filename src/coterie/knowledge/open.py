"""From a `[knowledge]` section to an open index."""

from __future__ import annotations

from pathlib import Path

from coterie.config.file import Config, KnowledgeSection
from coterie.knowledge.contract import INDEX_TYPES, IndexPlace
from coterie.knowledge.documents import DocumentIndex
from coterie.knowledge.guard import GuardedIndex, declared_access
from coterie.knowledge.local import TokenEncoder
from coterie.knowledge.sources import Access

KNOWLEDGE_FOLDER = "state/knowledge"
"""Below the network's folder: a folder an index."""


def index_folder(folder: Path, name: str) -> Path:
    """Where an index keeps what is its own."""
    return folder / KNOWLEDGE_FOLDER / name


def open_declared(name: str, config: Config, folder: Path, *, encoder: TokenEncoder) -> DocumentIndex:
    """The index of a network, to be searched: guarded by what coterie.toml says of it, if it is in it.

    Raises what `open_index` raises.
    """
    section = config.knowledge.get(name)
    return open_index(
        name,
        section or KnowledgeSection(),
        folder,
        network=config.network.name,
        encoder=encoder,
        declared=None if section is None else declared_access(config, name),
    )


def open_index(
    name: str,
    section: KnowledgeSection,
    folder: Path,
    *,
    network: str,
    encoder: TokenEncoder,
    rebuild: bool = False,
    declared: Access | None = None,
) -> DocumentIndex:
    """The index that a section names. Nothing is read before the first search, so it need not be indexed yet.

    Args:
        name: Its `[knowledge]` key.
        section: Where it is kept and how it is searched.
        folder: The network's folder.
        network: The network's name: a database holds indexes of several.
        encoder: Encodes queries.
        rebuild: Take what is there for nothing: the next update builds all of it again.
        declared: Who may see it now (`declared_access`): it is not searched while its index is more open than that.

    Raises:
        ConfigError: the variable that is to hold the database's address does not.
        ExtraMissing: the package that speaks to the database is not installed.
    """
    own = index_folder(folder, name)
    place = IndexPlace(name=name, folder=own, network=network, encoder=encoder, rebuild=rebuild)
    index = INDEX_TYPES.load(section.index_kind).open(section, place)
    return index if declared is None else GuardedIndex(index, own, declared, name=name)
