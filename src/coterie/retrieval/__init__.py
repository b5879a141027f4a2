"""Shelves of documents: cut into chunks, indexed by words and by meaning, searched as far as the asker may see.

Its parts are imported when they are first asked for: the process that reads files uses only those that read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face

if TYPE_CHECKING:
    from ._build import ENCODER_BATCH, Failure, Indexed, Progress, build_index
    from ._chunk import chunk
    from ._document import Chunk, Document, Mode, Shelf
    from ._draft import drop_draft
    from ._evaluate import Scores, evaluate, ndcg, read_judgements, read_queries
    from ._fusion import fuse
    from ._guard import Given, declared_access, given_before, why_refused
    from ._keyword import analyse
    from ._local import LocalShelf
    from ._manifest import ShelfState, shelf_state
    from ._open import KNOWLEDGE_FOLDER, open_declared, open_reranker, open_shelf, shelf_folder
    from ._parsed import Parsed, Unreadable
    from ._postgres import PostgresShelf
    from ._read import Reader
    from ._rerank import Candidate, Reranker, Weights
    from ._sources import Access, Found, Source, find_files, name_kinds, read_corpus

_HOMES = {
    "Access": "_sources",
    "Candidate": "_rerank",
    "Chunk": "_document",
    "Document": "_document",
    "ENCODER_BATCH": "_build",
    "Failure": "_build",
    "Found": "_sources",
    "Given": "_guard",
    "Indexed": "_build",
    "KNOWLEDGE_FOLDER": "_open",
    "LocalShelf": "_local",
    "Mode": "_document",
    "Parsed": "_parsed",
    "PostgresShelf": "_postgres",
    "Progress": "_build",
    "Reader": "_read",
    "Reranker": "_rerank",
    "Scores": "_evaluate",
    "Shelf": "_document",
    "ShelfState": "_manifest",
    "Source": "_sources",
    "Unreadable": "_parsed",
    "Weights": "_rerank",
    "analyse": "_keyword",
    "build_index": "_build",
    "chunk": "_chunk",
    "declared_access": "_guard",
    "drop_draft": "_draft",
    "evaluate": "_evaluate",
    "find_files": "_sources",
    "fuse": "_fusion",
    "given_before": "_guard",
    "name_kinds": "_sources",
    "ndcg": "_evaluate",
    "open_declared": "_open",
    "open_reranker": "_open",
    "open_shelf": "_open",
    "read_corpus": "_sources",
    "read_judgements": "_evaluate",
    "read_queries": "_evaluate",
    "shelf_folder": "_open",
    "shelf_state": "_manifest",
    "why_refused": "_guard",
}

__all__ = [
    "ENCODER_BATCH",
    "KNOWLEDGE_FOLDER",
    "Access",
    "Candidate",
    "Chunk",
    "Document",
    "Failure",
    "Found",
    "Given",
    "Indexed",
    "LocalShelf",
    "Mode",
    "Parsed",
    "PostgresShelf",
    "Progress",
    "Reader",
    "Reranker",
    "Scores",
    "Shelf",
    "ShelfState",
    "Source",
    "Unreadable",
    "Weights",
    "analyse",
    "build_index",
    "chunk",
    "declared_access",
    "drop_draft",
    "evaluate",
    "find_files",
    "fuse",
    "given_before",
    "name_kinds",
    "ndcg",
    "open_declared",
    "open_reranker",
    "open_shelf",
    "read_corpus",
    "read_judgements",
    "read_queries",
    "shelf_folder",
    "shelf_state",
    "why_refused",
]

__getattr__ = lazy_face(__name__, _HOMES)
