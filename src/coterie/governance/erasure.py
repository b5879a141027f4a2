"""Erasure of somebody's content from a network's folder: of a tenant, a session, or a person who is mentioned.

Records that Coterie wrote for itself are erased: sessions, traces, kept requests, a tenant's keys and its
documents in the indexes. Files of the users (documents, training data) and permanent results (versions, the
audit log) are named and left: deleting them silently would do harm of its own.
"""

from __future__ import annotations

import mmap
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from coterie.config.file import Config, KnowledgeSection
from coterie.config.operation import ROWS_FOLDER
from coterie.engines.onnx import open_encoder
from coterie.errors import NotIndexed
from coterie.governance.keys import OWN_TENANT, open_keys
from coterie.knowledge.build import drop_draft
from coterie.knowledge.documents import DocumentIndex
from coterie.knowledge.open import KNOWLEDGE_FOLDER, index_folder, open_index
from coterie.registry.registry import REGISTRY_FOLDER
from coterie.store.erasure import ErasureScope, Holdings, Mention
from coterie.store.opening import is_stored, open_store
from coterie.types import Label

Kind = Literal["index", "version", "audit", "keys", "file"]
"""Kind of a file that mentions somebody: of an index, a trained version, the audit log, the keys, or a user's own."""
_NOBODY = "nobody's own name"
"""A tenant that sees what every tenant may see, and no more."""
LONGEST_DOCUMENT = 1 << 30
"""Most characters of a document that are searched."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """A file that mentions somebody and that Coterie may not change."""

    path: str
    """Path relative to the network's folder."""
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Erased:
    """The content that was erased (or would be), and the files that are left."""

    holdings: Holdings = field(default_factory=Holdings)
    keys: tuple[str, ...] = ()
    """Ids of the tenant's keys: they are revoked, and their names are removed."""
    documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By index, documents of this tenant alone, which were removed from the index."""
    mentioning: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By index, documents that mention the person; they stay."""
    left: tuple[Left, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.holdings or self.keys or self.documents or self.mentioning or self.left)


async def erase(folder: Path, config: Config, scope: ErasureScope, *, dry_run: bool = False) -> Erased:
    """Erase the content in a scope.

    Args:
        folder: The network's folder.
        config: The network's configuration.
        scope: Whose content to erase.
        dry_run: Report what would be erased, and change nothing.

    Raises:
        StoreError: the database cannot be written or rewritten: see `SQLiteStore.erase_all`.
        SetupError: keys or an index cannot be read or written.
    """
    holdings = await _erase_store(folder, config, scope, dry_run=dry_run)
    if not dry_run and scope.session is None:
        _drop_drafts(folder)
    if scope.mention is not None:
        return replace(await find_mentions(folder, config, scope.mention), holdings=holdings)
    if scope.session is not None or scope.tenant is None:
        return Erased(holdings=holdings)
    ring = open_keys(config, folder)
    return Erased(
        holdings=holdings,
        keys=tuple(key.id for key in (ring.of(scope.tenant) if dry_run else ring.erase(scope.tenant))),
        documents=await _take_out(folder, config, scope.tenant, dry_run=dry_run),
    )


async def find_mentions(folder: Path, config: Config, mention: Mention) -> Erased:
    """Return the documents in indexes and the files of the folder that mention somebody: they stay after an erasure."""
    return Erased(mentioning=await _mentioning(folder, config, mention), left=tuple(_left(folder, config, mention)))


async def _erase_store(folder: Path, config: Config, scope: ErasureScope, *, dry_run: bool) -> Holdings:
    if not is_stored(config, folder):
        return Holdings()
    store = await open_store(config, folder)
    try:
        return await (store.holdings(scope) if dry_run else store.erase_all(scope))
    finally:
        await store.close()


# --- indexes -------------------------------------------------------------------------------------


@asynccontextmanager
async def _indexes(folder: Path, config: Config) -> AsyncIterator[Mapping[str, DocumentIndex]]:
    """Yield every index, open: the configured ones, and those that exist only as a folder."""
    root = index_folder(folder, "x").parent
    alone = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()
    sections = dict.fromkeys(sorted(alone), KnowledgeSection()) | dict(config.knowledge)
    async with AsyncExitStack() as opened:
        if not sections:
            yield {}
            return
        encoder = open_encoder(config.network.encoder, folder)
        opened.push_async_callback(encoder.close)
        indexes = {}
        for name, section in sections.items():
            indexes[name] = open_index(name, section, folder, network=config.network.name, encoder=encoder)
            opened.push_async_callback(indexes[name].close)
        yield indexes


def _drop_drafts(folder: Path) -> None:
    """Delete the drafts of interrupted indexings and trainings: the next run rebuilds them from what is there then."""
    for path in (folder / ROWS_FOLDER).glob("*.jsonl"):
        path.unlink(missing_ok=True)
    root = index_folder(folder, "x").parent
    for path in root.iterdir() if root.is_dir() else ():
        drop_draft(path, path.name)


async def _take_out(folder: Path, config: Config, tenant: str, *, dry_run: bool) -> Mapping[str, tuple[str, ...]]:
    """Remove a tenant's own documents from the indexes; return them by index."""
    by_index: dict[str, tuple[str, ...]] = {}
    async with _indexes(folder, config) as indexes:
        for name, index in indexes.items():
            theirs = [document for document in await _names(index) if await _is_theirs(index, document, tenant)]
            if theirs and not dry_run:
                await index.update((), theirs)
            if theirs:
                by_index[name] = tuple(sorted(theirs))
    return by_index


async def _mentioning(folder: Path, config: Config, mention: Mention) -> Mapping[str, tuple[str, ...]]:
    """Return the documents that mention somebody, by index."""
    by_index: dict[str, tuple[str, ...]] = {}
    async with _indexes(folder, config) as indexes:
        for name, index in indexes.items():
            names = await _names(index)
            tenants = {OWN_TENANT, *(await index.tenants())} if names else set()
            texts = [(document, await _text(index, document, tenants)) for document in names]
            about = [document for document, text in texts if mention.within(document) or mention.within(text)]
            if about:
                by_index[name] = tuple(sorted(about))
    return by_index


async def _names(index: DocumentIndex) -> Sequence[str]:
    """Return the names of an index's documents; none if nothing is indexed."""
    try:
        return list(await index.documents())
    except NotIndexed:
        return ()


async def _is_theirs(index: DocumentIndex, document: str, tenant: str) -> bool:
    """Return whether the tenant may see a document that nobody else may see."""
    theirs, anybodys = [
        await index.text(document, 0, 1, clearance=Label.RESTRICTED, tenant=who) for who in (tenant, _NOBODY)
    ]
    return theirs is not None and anybodys is None


async def _text(index: DocumentIndex, document: str, tenants: Collection[str]) -> str:
    """Return a document's text, if one of these tenants may see it."""
    for tenant in tenants:
        text = await index.text(document, 0, LONGEST_DOCUMENT, clearance=Label.RESTRICTED, tenant=tenant)
        if text is not None:
            return text
    return ""


# --- files ---------------------------------------------------------------------------------------


def _left(folder: Path, config: Config, mention: Mention) -> Iterator[Left]:
    """Yield the files that mention somebody, except for the database and the rows of a training."""
    database = folder / config.store.path
    for path in sorted(folder.rglob("*")):
        taken = path.name.startswith(database.name) or path.parent == folder / ROWS_FOLDER
        if taken or path.is_symlink() or not path.is_file():
            continue
        if mention.within(path.name) or _is_about(path, mention):
            yield Left(path=path.relative_to(folder).as_posix(), kind=_kind(path, folder, config))


def _is_about(path: Path, mention: Mention) -> bool:
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return mention.within_bytes(content)


def _kind(path: Path, folder: Path, config: Config) -> Kind:
    places: Mapping[Kind, Path] = {
        "audit": folder / config.audit.path,
        "keys": folder / config.gateway.keys,
        "index": folder / KNOWLEDGE_FOLDER,
        "version": folder / REGISTRY_FOLDER,
    }
    return next((kind for kind, folder in places.items() if path.is_relative_to(folder)), "file")
