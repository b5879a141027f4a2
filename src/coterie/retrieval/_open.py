"""From a `[knowledge]` section to an open shelf."""

from __future__ import annotations

from pathlib import Path

from coterie.config import KnowledgeSection
from coterie.errors import ConfigError

from ._document import Mode, Shelf
from ._local import LocalShelf, TokenEncoder
from ._rerank import Reranker

KNOWLEDGE_FOLDER = "state/knowledge"
"""Below the network's folder: a folder a shelf."""


def shelf_folder(folder: Path, name: str) -> Path:
    """Where a shelf keeps what is its own."""
    return folder / KNOWLEDGE_FOLDER / name


def open_reranker(section: KnowledgeSection, encoder: TokenEncoder) -> Reranker | None:
    """The bundled reranker, if the section wants one and the encoder is the one it was made for."""
    reranker = Reranker.bundled() if section.rerank else None
    return reranker if reranker is not None and reranker.encoder == encoder.sha256 else None


def open_shelf(
    name: str, section: KnowledgeSection, folder: Path, *, encoder: TokenEncoder, rebuild: bool = False
) -> Shelf:
    """The shelf that a section names. Nothing is read before the first search, so it need not be indexed yet.

    Args:
        name: Its `[knowledge]` key.
        section: Where it is kept and how it is searched.
        folder: The network's folder.
        encoder: Encodes queries.
        rebuild: Take what is there for nothing: the next update builds all of it again.

    Raises:
        ConfigError: the section names a store that is not known.
    """
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
    raise ConfigError(
        f"knowledge.{name}.store is {section.store!r}; known is 'local'.",
        hint=f'Set store = "local" under [knowledge.{name}].',
    )
