"""Open the content of a network's folder for one command: configuration, network, store, registry, or a file."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from coterie.cli.output import remark, shell, warn
from coterie.errors import InputError, StoreError, UnknownSpecialist
from coterie.runtime.files import write_with

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.config.specialists import SpecialistSection
    from coterie.engines.onnx import OnnxEncoder
    from coterie.network.network import Network
    from coterie.registry.registry import Registry
    from coterie.store.sqlite import SQLiteStore
    from coterie.types import AuditEvent, Bill, Training


class _Closable(Protocol):
    async def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)
T = TypeVar("T")


def configured(folder: Path) -> Config:
    """Return the configuration in the folder's coterie.toml. Raises `ConfigError`."""
    from coterie.config.file import load_config

    return load_config(folder)


def section_of(config: Config, name: str) -> SpecialistSection:
    """Return a specialist's section. Raises `UnknownSpecialist`."""
    if name not in config.specialists:
        raise UnknownSpecialist(
            f"Asked for {name!r}; this network has {sorted(config.specialists)}.", hint="Use one of these names."
        )
    return config.specialists[name]


def registry_of(folder: Path) -> Registry:
    """Return the registry of a network's folder."""
    from coterie.registry.registry import open_registry

    return open_registry(folder, configured(folder).registry)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; Ctrl-C cancels the coroutine and lets it clean up."""
    from coterie.runtime.concurrency import run as run_to_the_end

    return run_to_the_end(work)


def with_network(folder: Path, use: Callable[[Network], Awaitable[T]]) -> T:
    """Open the folder's network, use it, close it in every case, and return the result of `use`."""
    return run(_use(opened(folder), use))


async def opened(
    folder: Path,
    *,
    warm: bool = False,
    empty: bool = False,
    encoder: OnnxEncoder | None = None,
    config: Config | None = None,
) -> Network:
    """Open the folder's network; specialists that cannot answer yet are named beside the result."""
    from coterie.assembly import open_network

    network = await open_network(folder, warm=warm, empty=empty, encoder=encoder, config=config)
    say_untrained(network.untrained, folder)
    return network


def say_untrained(names: Sequence[str], folder: Path) -> None:
    """Print which specialists have no version, and the command that trains them."""
    if names:
        there = ", ".join(map(repr, names))
        remark(f"Not trained, so not asked: {there}. Train: {shell(folder, 'train', *names)}")


def with_store(
    folder: Path, config: Config, use: Callable[[SQLiteStore], Awaitable[T]], *, make: bool = False
) -> T | None:
    """Open the store alone, use it and close it; None, without creating a file by default, if nothing is stored yet."""
    from coterie.store.opening import is_stored, open_store

    if not is_stored(config, folder) and not make:
        return None
    opening = open_store(config, folder, reading=not make)
    return run(_use(opening, use))


async def _use(opening: Awaitable[C], use: Callable[[C], Awaitable[T]]) -> T:
    opened = await opening
    try:
        return await use(opened)
    finally:
        await opened.close()


def log_command(
    folder: Path,
    kind: str,
    *,
    tenant: str = "",
    about: Mapping[str, object] | None = None,
    hashed: Mapping[str, str] | None = None,
) -> None:
    """Record a command in the network's audit log, where the network has one.

    Args:
        folder: The network's folder.
        kind: The kind of the event.
        tenant: The tenant of the event.
        about: Fields that are recorded unchanged.
        hashed: Names of which only the hash is recorded.

    Raises:
        AuditError: the event cannot be written.
    """
    from coterie.types import AuditEvent

    def event(digest: Callable[[str], str]) -> AuditEvent:
        hashes = {name: digest(text) for name, text in (hashed or {}).items()}
        return AuditEvent(kind=kind, time=time.time(), tenant=tenant, about={**(about or {}), **hashes})

    log_event(folder, event)


def log_event(folder: Path, make: Callable[[Callable[[str], str]], AuditEvent]) -> None:
    """Write an event, made with the log's hash function, to the audit log, if there is one. Raises `AuditError`."""
    from coterie.governance.audit import open_audit

    log = open_audit(configured(folder).audit, folder)
    if log is not None:
        log.append_all([make(log.digest)])


def find_file(folder: Path, given: Path) -> Path:
    """Find a named file in the current folder, then in the network's folder. Raises `InputError`."""
    candidates = given, folder / given
    file = next((path for path in candidates if path.is_file()), None)
    if file is None and any(path.is_dir() for path in candidates):
        raise InputError(f"{str(given)!r} is a folder.", hint="Give the path of a CSV or JSONL file in it.")
    if file is None:
        raise InputError(
            f"No data file {str(given)!r}, neither here ({str(Path.cwd())!r}) nor in the network's folder.",
            hint="Give the path of a CSV or JSONL file.",
        )
    return file


def check_writable(option: str, path: Path | None) -> None:
    """Check that a file can be written, before the work that ends with it. Raises `InputError`."""
    if path is None:
        return
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        problem = "that is a folder" if path.is_dir() else f"{str(folder)!r} is no folder that may be written to"
        raise InputError(f"{option} is {str(path)!r}; {problem}.", hint="Name a file in a folder that is there.")


def write_private(path: Path, content: bytes) -> None:
    """Write a whole file that holds users' texts, readable by this user only. Raises `InputError`."""

    def fill(draft: Path) -> None:
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_bytes(content)

    try:
        write_with(path, fill)
    except OSError as error:
        raise InputError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error


def record_trainings(folder: Path, trainings: Sequence[Training]) -> None:
    """Write what was spent on specialists into the ledger. Where it cannot be written, a warning is printed."""

    async def write(store: SQLiteStore) -> None:
        for training in trainings:
            await store.record_training(training)

    if not trainings:
        return
    try:
        with_store(folder, configured(folder), write, make=True)
    except StoreError as error:  # what was made is there all the same
        warn([f"what was spent could not be written into the ledger: {error.message}"])


def record_bill(folder: Path, config: Config, name: str, kind: str, bill: Bill) -> None:
    """Write into the ledger what remote models took for a specialist outside its training.

    Args:
        folder: The network's folder.
        config: Its configuration, with the prices.
        name: The specialist.
        kind: What they were asked for, in place of a version.
        bill: What each call took, by the key of its model.
    """
    from coterie.accounting.meter import CostMeter, priced_bill
    from coterie.store.summary import training_of

    took = priced_bill(CostMeter(config.accounting, config.models, None), name, bill, config.models)
    if took is not None:
        record_trainings(folder, [training_of(took, specialist=name, version=kind, time=time.time())])
