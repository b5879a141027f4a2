"""From a `[knowledge]` section to an open shelf."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from coterie.config.file import Config, KnowledgeSection
from coterie.config.section import EnvSecret
from coterie.errors import ExtraMissing
from coterie.knowledge.documents import Mode, Shelf
from coterie.knowledge.guard import GuardedShelf, declared_access
from coterie.knowledge.local import LocalShelf, TokenEncoder
from coterie.knowledge.rerank import Reranker
from coterie.knowledge.sources import Access

KNOWLEDGE_FOLDER = "state/knowledge"
"""Below the network's folder: a folder a shelf."""


def shelf_folder(folder: Path, name: str) -> Path:
    """Where a shelf keeps what is its own."""
    return folder / KNOWLEDGE_FOLDER / name


def open_reranker(section: KnowledgeSection, encoder: TokenEncoder) -> Reranker | None:
    """The bundled reranker, if the section wants one and the encoder is the one it was made for.

    A shelf in PostgreSQL keeps no tokens of passages, so it has none.
    """
    reranker = Reranker.bundled() if section.rerank and section.store == "local" else None
    return reranker if reranker is not None and reranker.encoder == encoder.sha256 else None


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
    shelf = _opened(name, section, folder, network=network, encoder=encoder, rebuild=rebuild)
    return shelf if declared is None else GuardedShelf(shelf, shelf_folder(folder, name), declared, name=name)


def _opened(
    name: str, section: KnowledgeSection, folder: Path, *, network: str, encoder: TokenEncoder, rebuild: bool
) -> Shelf:
    mode: Mode = "rerank" if section.rerank else "hybrid"
    if section.store == "local":
        reranker = open_reranker(section, encoder)
        return LocalShelf(
            shelf_folder(folder, name),
            name=name,
            encoder=encoder,
            mode=mode,
            rerank=None if reranker is None else (reranker, encoder),
            rebuild=rebuild,
        )
    if find_spec("psycopg") is None:
        raise ExtraMissing(
            f"The shelf {name!r} in PostgreSQL needs the package 'psycopg'.", hint="pip install 'coterie[postgres]'"
        )
    from coterie.knowledge.postgres import PostgresShelf  # noqa: PLC0415 - it imports psycopg

    address = EnvSecret(section.store)
    return PostgresShelf(
        address.reveal(),
        source=f"The environment variable {address.removeprefix('env:')!r}",
        network=network,
        name=name,
        encoder=encoder,
        mode=mode,
        rebuild=rebuild,
    )
