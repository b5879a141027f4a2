"""Shelves of documents: cut into chunks, indexed by words and by meaning, searched as far as the asker may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face

from ._document import Chunk, Document, Shelf

if TYPE_CHECKING:
    from ._postgres import PostgresShelf

__all__ = ["Chunk", "Document", "PostgresShelf", "Shelf"]

__getattr__ = lazy_face(__name__, {"PostgresShelf": "_postgres"})
