"""Shelves of documents: cut into chunks, indexed by words and by meaning, searched as far as the asker may see."""

from ._document import Chunk, Document, Shelf

__all__ = ["Chunk", "Document", "Shelf"]
