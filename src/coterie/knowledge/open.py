"""From a `[knowledge]` section to an open shelf."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from coterie.config.file import Config, KnowledgeSection
from coterie.config.section import EnvSecret
from coterie.errors import ArtefactRefused, ExtraMissing
from coterie.knowledge.documents import IndexedDocument, Mode, Shelf
from coterie.knowledge.local import LocalShelf, TokenEncoder
from coterie.knowledge.rerank import Reranker
from coterie.knowledge.sources import Access
from coterie.runtime.codec import from_json, to_json
from coterie.runtime.files import write_new
from coterie.types import SYSTEM, CallContext, Label, Passage

# --- Access: nobody is answered from an index that was built for more people than its file now allows.

_FILE = "access.json"


def declared_access(config: Config, name: str) -> Access:
    """Who may see a shelf's documents, as coterie.toml says it; of a shelf that is not in it, by the default label."""
    section = config.knowledge.get(name, KnowledgeSection())
    return Access(label=section.label or config.network.default_label, labels=section.labels, tenant=section.tenant)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the command line said of a shelf that is not in the file: it holds until something else is said."""

    label: Label | None = None
    tenant: str | None = None


def keep_access(folder: Path, declared: Access, *, whole: bool, given: Given = Given()) -> None:
    """Write down what the file said when a shelf was indexed; of a part of it, the less strict of that and before.

    Args:
        folder: The shelf's.
        declared: What the file said.
        whole: Nothing stands on the shelf that was not looked at.
        given: What the command line said; of a part, what it said of the whole stays.
    """
    before = known_access(folder)
    if not whole:
        if before is None:
            return
        declared, given = _laxer(before, declared), given_before(folder)
    path = folder / _FILE
    content = {**to_json(declared), "given": to_json(given)}
    written = path.with_suffix(".new")
    written.unlink(missing_ok=True)
    write_new(written, f"{json.dumps(content)}\n".encode(), mode=0o600)
    written.replace(path)


def known_access(folder: Path) -> Access | None:
    """What the file said when the shelf in this folder was indexed; None where nobody wrote it down."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return from_json(Access, found, unknown="ignore")
    return None


def given_before(folder: Path) -> Given:
    """What the command line said when the shelf in this folder was indexed; nothing where nobody wrote it down."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))["given"]
        return from_json(Given, found)
    return Given()


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


class GuardedShelf:
    """Implements `Shelf` before another one."""

    def __init__(self, shelf: Shelf, folder: Path, declared: Access, *, name: str) -> None:
        self._shelf, self._folder, self._declared, self._name = shelf, folder, declared, name
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
        return await self._shelf.search(
            query, k=k, clearance=clearance, tenant=tenant, vector=vector, document=document, mode=mode, call=call
        )

    async def documents(self) -> Mapping[str, str]:
        """As the other says."""
        return await self._shelf.documents()

    async def tenants(self) -> frozenset[str]:
        """As the other says."""
        return await self._shelf.tenants()

    async def update(self, put: Sequence[IndexedDocument], remove: Collection[str] = ()) -> None:
        """As the other does."""
        await self._shelf.update(put, remove)

    async def text(self, name: str, start: int, end: int, *, clearance: Label, tenant: str = "default") -> str | None:
        """Raises `ArtefactRefused` while the index is more open than the file."""
        self._check()
        return await self._shelf.text(name, start, end, clearance=clearance, tenant=tenant)

    async def close(self) -> None:
        """Close the other."""
        await self._shelf.close()

    def _check(self) -> None:
        try:
            written = (self._folder / _FILE).stat().st_mtime_ns
        except OSError:
            return
        if written != self._checked:
            self._refused, self._checked = why_refused(self._folder, self._declared), written
        if self._refused:
            raise ArtefactRefused(
                f"Shelf {self._name!r} was indexed before coterie.toml said {self._refused} of it.",
                hint=f"Index it again: coterie index {self._name}",
            )


# --- Opening an index.

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
