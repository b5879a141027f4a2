"""Opening the index of a `[knowledge]` section, which grants the access declared when it was indexed.

Labels and tenant are stored in the index, since hidden documents must not be searched. A label that is raised
in coterie.toml therefore takes effect only after indexing again; until then the index is refused, and the
error names the command that indexes it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coterie.config.file import Config, KnowledgeSection
from coterie.errors import ArtefactRefused
from coterie.knowledge.documents import DocumentIndex, IndexedDocument, Mode
from coterie.knowledge.kinds import INDEX_TYPES, IndexPlace
from coterie.knowledge.local import TokenEncoder
from coterie.knowledge.sources import Access
from coterie.runtime.codec import from_json, parse_json, to_json
from coterie.runtime.files import write_new
from coterie.types import SYSTEM, CallContext, Label, Passage

_FILE = "access.json"


def declared_access(config: Config, name: str) -> Access:
    """Return the access to an index by coterie.toml; for an index that is not in the file, by the default label."""
    section = config.knowledge.get(name, KnowledgeSection())
    return Access(label=section.label or config.network.default_label, labels=section.labels, tenant=section.tenant)


@dataclass(frozen=True, kw_only=True)
class IndexedAccess:
    """The access that the command line gave for an index that is not in the file: it holds until it is given anew."""

    label: Label | None = None
    tenant: str | None = None


def keep_access(folder: Path, declared: Access, *, whole: bool, given: IndexedAccess = IndexedAccess()) -> None:
    """Record the access at an indexing; for a part of the index, the less strict of it and the earlier one.

    Args:
        folder: The index's folder.
        declared: The access that coterie.toml declares.
        whole: The indexing covered everything in the index.
        given: The access that the command line gave; for a part, the earlier record of the whole stays.
    """
    before = known_access(folder)
    if not whole:
        if before is None:
            return
        declared, given = _laxer(before, declared), indexed_access(folder)
    path = folder / _FILE
    content = {**to_json(declared), "given": to_json(given)}
    written = path.with_suffix(".new")
    written.unlink(missing_ok=True)
    write_new(written, f"{json.dumps(content)}\n".encode(), mode=0o600)
    written.replace(path)


def known_access(folder: Path) -> Access | None:
    """Return the access that the file declared when this index was indexed; None if it is not recorded."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        stored = parse_json((folder / _FILE).read_text(encoding="utf-8"))
        return from_json(Access, stored, unknown="ignore")
    return None


def indexed_access(folder: Path) -> IndexedAccess:
    """Return the access that the command line gave when the index was indexed; nothing if it is not recorded."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        stored = parse_json((folder / _FILE).read_text(encoding="utf-8"))["given"]
        return from_json(IndexedAccess, stored)
    return IndexedAccess()


def why_refused(folder: Path, declared: Access) -> str:
    """Return the setting in the file that hides documents which the index may show; empty if there is none."""
    then = known_access(folder)
    if then is None:
        return ""
    if declared.tenant not in {None, then.tenant}:
        return f"tenant = {declared.tenant!r}"
    if then.label < declared.label:
        return f"label = {declared.label.value!r}"
    for pattern, label in declared.labels.items():
        if max(then.labels.get(pattern, then.label), then.label) < label:
            return f"labels[{pattern!r}] = {label.value!r}"
    return ""


def _laxer(one: Access, other: Access) -> Access:
    both = {
        pattern: min(one.labels[pattern], label) for pattern, label in other.labels.items() if pattern in one.labels
    }
    tenant = one.tenant if one.tenant == other.tenant else None
    return Access(label=min(one.label, other.label), labels=both, tenant=tenant)


class GuardedIndex:
    """A `DocumentIndex` that guards another one."""

    def __init__(self, index: DocumentIndex, folder: Path, declared: Access, *, name: str) -> None:
        self._index, self._folder, self._declared, self._name = index, folder, declared, name
        self._checked, self._refused = -1, ""

    async def search(
        self,
        query: str,
        *,
        k: int,
        clearance: Label,
        tenant: str = "default",
        vector: np.ndarray | None = None,
        document: str | None = None,
        mode: Mode | None = None,
        call: CallContext = SYSTEM,
    ) -> Sequence[Passage]:
        """Search the other index. Raises `ArtefactRefused` while it is more open than the file."""
        self._check()
        return await self._index.search(
            query, k=k, clearance=clearance, tenant=tenant, vector=vector, document=document, mode=mode, call=call
        )

    async def documents(self, *, clearance: Label | None = None, tenant: str = "default") -> Mapping[str, str]:
        """Return the other index's documents. Raises `ArtefactRefused` for a principal while it is too open."""
        if clearance is None:
            return await self._index.documents()
        self._check()
        return await self._index.documents(clearance=clearance, tenant=tenant)

    async def tenants(self) -> frozenset[str]:
        """Return the other index's tenants."""
        return await self._index.tenants()

    async def update(self, put: Sequence[IndexedDocument], remove: Collection[str] = ()) -> None:
        """Update the other index."""
        await self._index.update(put, remove)

    async def text(self, name: str, start: int, end: int, *, clearance: Label, tenant: str = "default") -> str | None:
        """Return a text of the other index. Raises `ArtefactRefused` while it is more open than the file."""
        self._check()
        return await self._index.text(name, start, end, clearance=clearance, tenant=tenant)

    async def close(self) -> None:
        """Close the other index."""
        await self._index.close()

    def _check(self) -> None:
        try:
            written = (self._folder / _FILE).stat().st_mtime_ns
        except OSError:
            return
        if written != self._checked:
            self._refused, self._checked = why_refused(self._folder, self._declared), written
        if self._refused:
            raise ArtefactRefused(
                f"Index {self._name!r} was indexed before coterie.toml said {self._refused} of it.",
                hint=f"Index it again: coterie index {self._name}",
            )


KNOWLEDGE_FOLDER = "state/knowledge"
"""Folder of all indexes below the network's folder; each index has its own folder."""


def index_folder(folder: Path, name: str) -> Path:
    """Return the folder of an index's own files."""
    return folder / KNOWLEDGE_FOLDER / name


def open_declared(name: str, config: Config, folder: Path, *, encoder: TokenEncoder) -> DocumentIndex:
    """Open an index of a network for searching, guarded by coterie.toml if the index is in it.

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
    """Open the index of a section. Nothing is read before the first search, so it need not be indexed yet.

    Args:
        name: The index's `[knowledge]` key.
        section: Where the index is kept and how it is searched.
        folder: The network's folder.
        network: The network's name: a database holds the indexes of several networks.
        encoder: Encodes queries.
        rebuild: Ignore the existing index: the next update builds all of it again.
        declared: The current access (`declared_access`): the index is not searched while it is more open than
            that.

    Raises:
        ConfigError: the variable for the database's address is not set.
        ExtraMissing: the package that connects to the database is not installed.
    """
    own = index_folder(folder, name)
    place_ = IndexPlace(name=name, folder=own, network=network, encoder=encoder, rebuild=rebuild)
    index = INDEX_TYPES.load(section.index_kind).open(section, place_)
    return index if declared is None else GuardedIndex(index, own, declared, name=name)
