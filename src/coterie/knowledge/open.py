"""From a `[knowledge]` section to an open shelf."""

from __future__ import annotations

from pathlib import Path

from coterie.config.file import Config, KnowledgeSection
from coterie.knowledge.contract import INDEX_TYPES, IndexPlace
from coterie.knowledge.documents import Shelf
from coterie.knowledge.guard import GuardedShelf, declared_access
from coterie.knowledge.local import TokenEncoder
from coterie.knowledge.sources import Access

KNOWLEDGE_FOLDER = "state/knowledge"
"""Below the network's folder: a folder a shelf."""


def shelf_folder(folder: Path, name: str) -> Path:
    """Where a shelf keeps what is its own."""
    return folder / KNOWLEDGE_FOLDER / name


def open_declared(name: str, config: Config, folder: Path, *, encoder: TokenEncoder) -> Shelf:
    """The shelf of a network, to be searched: guarded by what coterie.toml says of it, if it is in it.

    Raises what `open_shelf` raises.
    """
    section = config.knowledge.get(name)
    return open_shelf(
        name,
        section or KnowledgeSection(),
        folder,
        network=config.network.name,
        encoder=encoder,
        declared=None if section is None else declared_access(config, name),
    )


def open_shelf(
    name: str,
    section: KnowledgeSection,
    folder: Path,
    *,
    network: str,
    encoder: TokenEncoder,
    rebuild: bool = False,
    declared: Access | None = None,
) -> Shelf:
    """The shelf that a section names. Nothing is read before the first search, so it need not be indexed yet.

    Args:
        name: Its `[knowledge]` key.
        section: Where it is kept and how it is searched.
        folder: The network's folder.
        network: The network's name: a database holds shelves of several.
        encoder: Encodes queries.
        rebuild: Take what is there for nothing: the next update builds all of it again.
        declared: Who may see it now (`declared_access`): it is not searched while its index is more open than that.

    Raises:
        ConfigError: the variable that is to hold the database's address does not.
        ExtraMissing: the package that speaks to the database is not installed.
    """
    own = shelf_folder(folder, name)
    place = IndexPlace(name=name, folder=own, network=network, encoder=encoder, rebuild=rebuild)
    shelf = INDEX_TYPES.load(section.index_kind).open(section, place)
    return shelf if declared is None else GuardedShelf(shelf, own, declared, name=name)
