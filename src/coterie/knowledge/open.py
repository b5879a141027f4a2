"""From a `[knowledge]` section to an open index, which is as open as the file was when it was made.

Labels and tenant stand in the index, since what is hidden must not be searched. So a label that is raised in
coterie.toml holds only once the index is indexed again; until then the index is refused, with the command that does it.
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
from coterie.knowledge.contract import INDEX_TYPES, IndexPlace
from coterie.knowledge.documents import DocumentIndex, IndexedDocument, Mode
from coterie.knowledge.local import TokenEncoder
from coterie.knowledge.sources import Access
from coterie.runtime.codec import from_json, parse_json, to_json
from coterie.runtime.files import write_new
from coterie.types import SYSTEM, CallContext, Label, Passage

_FILE = "access.json"


def declared_access(config: Config, name: str) -> Access:
    """Who may see an index's documents by coterie.toml; of an index that is not in it, by the default label."""
    section = config.knowledge.get(name, KnowledgeSection())
    return Access(label=section.label or config.network.default_label, labels=section.labels, tenant=section.tenant)


@dataclass(frozen=True, kw_only=True)
class IndexedAccess:
    """What the command line said of an index that is not in the file: it holds until something else is said."""

    label: Label | None = None
    tenant: str | None = None


def keep_access(folder: Path, declared: Access, *, whole: bool, given: IndexedAccess = IndexedAccess()) -> None:
    """Write down what the file said when an index was indexed; of a part of it, the less strict of that and before.

    Args:
        folder: The index's.
        declared: What the file said.
        whole: Nothing is in the index that was not looked at.
        given: What the command line said; of a part, what it said of the whole stays.
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
    """What the file said when the index in this folder was indexed; None where nobody wrote it down."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = parse_json((folder / _FILE).read_text(encoding="utf-8"))
        return from_json(Access, found, unknown="ignore")
    return None


def indexed_access(folder: Path) -> IndexedAccess:
    """What the command line said when the index in this folder was indexed; nothing where nobody wrote it down."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = parse_json((folder / _FILE).read_text(encoding="utf-8"))["given"]
        return from_json(IndexedAccess, found)
    return IndexedAccess()


def why_refused(folder: Path, declared: Access) -> str:
    """What the file hides that the index may show; empty if nothing."""
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
    """Implements `DocumentIndex` before another one."""

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
        """Raises `ArtefactRefused` while the index is more open than the file."""
        self._check()
        return await self._index.search(
            query, k=k, clearance=clearance, tenant=tenant, vector=vector, document=document, mode=mode, call=call
        )

    async def documents(self, *, clearance: Label | None = None, tenant: str = "default") -> Mapping[str, str]:
        """As the other says. Raises `ArtefactRefused` for a principal while the index is more open than the file."""
        if clearance is None:
            return await self._index.documents()
        self._check()
        return await self._index.documents(clearance=clearance, tenant=tenant)

    async def tenants(self) -> frozenset[str]:
        """As the other says."""
        return await self._index.tenants()

    async def update(self, put: Sequence[IndexedDocument], remove: Collection[str] = ()) -> None:
        """As the other does."""
        await self._index.update(put, remove)

    async def text(self, name: str, start: int, end: int, *, clearance: Label, tenant: str = "default") -> str | None:
        """Raises `ArtefactRefused` while the index is more open than the file."""
        self._check()
        return await self._index.text(name, start, end, clearance=clearance, tenant=tenant)

    async def close(self) -> None:
        """Close the other."""
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
