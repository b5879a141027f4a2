"""The checks of `coterie doctor`: each check is a function that changes nothing and raises nothing."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import socket
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from coterie.accounting.meter import POWERCAP, PackageMeter, open_cards
from coterie.cli.bridge import run
from coterie.cli.output import shell
from coterie.config.file import Config, LlamaModel, OpenAIModel, RemoteModel, load_config
from coterie.engines.http import RequestHeaders
from coterie.engines.onnx import BUNDLED, OnnxEncoder, open_encoder
from coterie.errors import ConfigError, CoterieError, ModelUnpinned, SetupError
from coterie.governance.audit import read_entry, read_time
from coterie.knowledge.build import changed_documents
from coterie.knowledge.generation import index_state
from coterie.knowledge.kinds import open_reranker
from coterie.knowledge.open import declared_access, index_folder, why_refused
from coterie.knowledge.sources import find_files
from coterie.models.catalogue import locate
from coterie.registry.registry import open_registry
from coterie.routing.profile import PROFILE_FILE
from coterie.tasks.contract import task_of
from coterie.types import Label

_OLDEST_PYTHON = (3, 11)
_COMPARED = 1000
"""Number of requests of the audit log that are looked up in the ledger."""
_SETTLING = 60.0
"""Seconds within which a request may be in the ledger or in the audit log only."""
_IS_REQUEST = b'"kind":"request"'
_NAMED = 3
"""Number of changed documents that are named."""
_DISK_NEEDED = 200_000_000
"""Free bytes that are needed: a trained example and its ledger, with a reserve."""
_DISK_FULL = 1_000_000
"""Free bytes below which writing the audit log is not reliable, so that nothing is answered."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check."""

    name: str
    ok: bool
    found: str
    required: bool = True
    """Whether the network cannot answer while this check fails."""
    fix: str = ""
    """The command or edit that fixes the problem."""


_Note = partial(Check, required=False)


def examine(folder: Path) -> Iterator[Check]:
    """Run every check that is possible; without a valid coterie.toml only the first few are."""
    yield _python()
    yield _encoder()
    try:
        config = load_config(folder)
    except CoterieError as error:
        yield Check(name="coterie.toml", ok=False, found=error.message, fix=error.hint or "Correct the file.")
        return
    yield Check(name="coterie.toml", ok=True, found=f"{len(config.specialists)} specialist(s)")
    yield from _own_encoder(config, folder)
    if not config.specialists and config.capture.enabled:
        yield Check(
            name="specialists", ok=True, found="none in coterie.toml; the flywheel makes them of captured calls"
        )
    elif not config.specialists:
        fix = shell(folder, "add", "NAME", "--task", "classify", "--data", "FILE.csv")
        yield Check(name="specialists", ok=False, found="none in coterie.toml", fix=fix)
    yield from _extras(config)
    yield from _data(config, folder)
    yield from _versions(config, folder)
    yield from _models(config, folder)
    yield from _indexes(config, folder)
    yield from _secrets(config)
    yield from _names(config)
    yield _energy(config)
    yield from _gpus(config)
    yield _store(config, folder)
    yield from _ledger(config, folder)
    yield _port(config)
    yield from _workers(folder)
    free = shutil.disk_usage(folder).free
    fix = "Make room: 200 MB are needed."
    full = free < _DISK_FULL  # nothing can be written, so nothing is answered
    yield Check(name="disk", ok=free >= _DISK_NEEDED, required=full, found=f"{free / 1e9:.1f} GB free", fix=fix)


def _python() -> Check:
    version, needed = (".".join(map(str, numbers)) for numbers in (sys.version_info[:3], _OLDEST_PYTHON))
    fix = f"Install Python {needed} or newer."
    return Check(name="python", ok=sys.version_info >= _OLDEST_PYTHON, found=version, fix=fix)


def _encoder() -> Check:
    """Check that the encoder in the package is present and unchanged, byte for byte."""
    try:
        encoder = OnnxEncoder.bundled()
        run(encoder.close())
    except (CoterieError, ImportError) as error:
        message = error.message if isinstance(error, CoterieError) else str(error)
        return Check(name="encoder", ok=False, found=message, fix="pip install --force-reinstall coterie")
    return Check(name="encoder", ok=True, found=f"sha256 {encoder.sha256[:16]} ...")


def _own_encoder(config: Config, folder: Path) -> Iterator[Check]:
    """Check the encoder that `[network] encoder` names, where it is not the bundled one."""
    name = config.network.encoder
    if name == BUNDLED:
        return
    try:
        encoder = open_encoder(name, folder)
        run(encoder.close())
    except CoterieError as error:
        yield Check(
            name=f"encoder {name}", ok=False, found=error.message, fix=error.hint or "Correct [network] encoder."
        )
        return
    languages = ", ".join(sorted(encoder.languages)) or "unknown"
    yield Check(name=f"encoder {name}", ok=True, found=f"sha256 {encoder.sha256[:16]} ..., languages {languages}")


def _encoder_sha256(config: Config, folder: Path) -> str | None:
    """Return the checksum of the network's encoder; None if the encoder is not on this machine."""
    try:
        return open_encoder(config.network.encoder, folder).sha256
    except CoterieError:
        return None


def _energy(config: Config) -> Check:
    watts = f"estimated: {config.accounting.watts_per_core:g} W a busy core"
    if not config.accounting.energy_meter:
        return _Note(name="energy", ok=True, found=watts)
    if PackageMeter(powercap=POWERCAP).present:
        return _Note(name="energy", ok=True, found="measured by the processor's counter")
    if any(POWERCAP.glob("intel-rapl:*/energy_uj")):
        fix = f"sudo chmod a+r {POWERCAP}/intel-rapl:*/energy_uj"
        return _Note(name="energy", ok=False, found=f"{watts}; the processor's counter may not be read", fix=fix)
    return _Note(name="energy", ok=True, found=f"{watts}; this machine has no counter")


def _gpus(config: Config) -> Iterator[Check]:
    """Check whether the energy of a server on this machine's graphics cards can be measured."""
    for name, model in config.models.items():
        if isinstance(model, RemoteModel) and model.gpus:
            cards = ", ".join(map(str, model.gpus))
            if open_cards(model.gpus) is not None:
                state, fix = f"measured by the counters of graphics cards {cards}", ""
            else:
                fix = "pip install 'coterie[gpu]', and NVIDIA's driver, of the cards that nvidia-smi lists"
                state = f"estimated: the counters of graphics cards {cards} cannot be read"
            yield _Note(name=f"energy of {name}", ok=not fix, found=state, fix=fix)


def _names(config: Config) -> Iterator[Check]:
    """Check whether names are detected where a remote model may not see personal data."""
    below = {
        name: model
        for name, model in config.models.items()
        if isinstance(model, RemoteModel) and name in _called(config) and model.clearance < Label.CONFIDENTIAL
    }
    if not below:
        return
    clear = [name for name, model in below.items() if not model.pseudonymise]
    if config.privacy.detector != "patterns":
        kept = f"; a request that names somebody does not reach {', '.join(clear)}" if clear else ""
        yield _Note(name="names", ok=True, found=f"{config.privacy.detector} looks for them{kept}")
        return
    fix = 'Set [privacy] detector = "names" in coterie.toml'
    if clear:
        fix += ", and pseudonymise = true in " + ", ".join(f"[models.{name}]" for name in clear)
    state = f"names of persons and their addresses are sent to {', '.join(below)}: patterns do not see them"
    yield _Note(name="names", ok=False, found=state, fix=f"{fix} (docs/how-to/find-personal-data.md).")


def _extras(config: Config) -> Iterator[Check]:
    """Check the optional packages that coterie.toml needs."""
    llama = any(isinstance(model, LlamaModel) for model in config.models.values())
    documents = any(section.paths for section in config.knowledge.values())
    signed = config.registry.require_signature or bool(config.registry.signing_key)
    for extra, package, wanted, needed in (
        ("llama", "xllamacpp", llama, "engine 'llama' needs it"),
        ("docs", "pdfplumber", documents, "PDF, XLSX and PPTX files need it"),
        ("sign", "cryptography", signed, "signatures need it"),
        ("otel", "opentelemetry", config.observe.otlp_endpoint is not None, "otlp_endpoint needs it"),
    ):
        if wanted:
            there = importlib.util.find_spec(package) is not None
            state = f"{package} is installed" if there else f"{package} is not installed; {needed}"
            fix = f"pip install 'coterie[{extra}]'"
            yield Check(name=f"extra {extra}", ok=there, required=extra != "docs", found=state, fix=fix)


def _data(config: Config, folder: Path) -> Iterator[Check]:
    for name, section in config.specialists.items():
        files = [file for file in (section.data, section.test) if file is not None]
        missing = [file for file in files if not (folder / file).is_file()]
        state = f"no file {', '.join(map(repr, missing))}" if missing else ", ".join(files) or "it needs none"
        fix = f"Put the file there, or correct specialists.{name} in coterie.toml."
        yield Check(name=f"data {name}", ok=not missing, found=state, fix=fix)


def _versions(config: Config, folder: Path) -> Iterator[Check]:
    """Check that every specialist has a verified version, with the profile that the router needs to find it."""
    registry, unknown = open_registry(folder, config.registry), []
    for name, section in config.specialists.items():
        try:
            version = registry.champion(name)
        except CoterieError as error:
            unknown.append(name)
            yield Check(name=f"trained {name}", ok=False, found=error.message, fix=shell(folder, "train", name))
            continue
        yield Check(name=f"trained {name}", ok=True, found=f"version {version.version}")
        if task_of(section).needs_profile and PROFILE_FILE not in version.files:
            unknown.append(name)
    names = () if len(unknown) == len(config.specialists) else unknown
    state = f"does not know {', '.join(unknown)}" if unknown else f"knows {len(config.specialists)} specialist(s)"
    yield Check(name="router", ok=not unknown, found=state, fix=shell(folder, "train", *names))


def _models(config: Config, folder: Path) -> Iterator[Check]:
    for key, model in config.models.items():
        if not isinstance(model, LlamaModel):
            continue
        try:
            path = locate(model, folder)
        except CoterieError as error:
            fix = shell(folder, "models", "pin", key) if isinstance(error, ModelUnpinned) else error.hint
            yield Check(name=f"model {key}", ok=False, found=error.message, fix=fix)
        else:
            yield Check(name=f"model {key}", ok=True, found=f"{path} (checksum right)")


def _indexes(config: Config, folder: Path) -> Iterator[Check]:
    """Check that each index was made with the present encoder; required where a specialist reads the index."""
    read = {index for section in config.specialists.values() for index in section.knowledge}
    for name, section in config.knowledge.items():
        if section.store != "local":
            continue
        state = index_state(index_folder(folder, name))
        ok, state_text, fix = False, "not indexed yet", shell(folder, "index", name)
        if state is not None:
            ok = state.encoder == _encoder_sha256(config, folder)
            state_text = f"{state.documents:,} documents, {state.chunks:,} chunks"
            if not ok:
                state_text, fix = f"made with another encoder ({state.encoder[:12]})", f"{fix} --rebuild"
            elif problem := why_refused(index_folder(folder, name), declared_access(config, name)):
                ok, state_text = False, f"indexed before coterie.toml said {problem} of it"
        older = ""
        if ok and state is not None:
            older = "read by an older version that cuts tables" if state.is_outdated else _changed(folder, config, name)
        if older:
            state_text = f"{state_text}; {older}: index it again"
            yield Check(
                name=f"index {name}", ok=False, required=False, found=state_text, fix=shell(folder, "index", name)
            )
        else:
            yield Check(name=f"index {name}", ok=ok, required=name in read, found=state_text, fix=fix)


def _changed(folder: Path, config: Config, name: str) -> str:
    """Describe the documents that changed since an index was made; empty if none did or the index has no paths."""
    section, own = config.knowledge[name], index_folder(folder, name)
    paths = [folder / path for path in section.paths]
    reranker = open_reranker(section, _encoder_sha256(config, folder) or "")
    try:
        files = find_files(folder, paths, declared_access(config, name), exact=True, index=paths)
        changed = changed_documents(own, files, packing="" if reranker is None else reranker.packing) if paths else []
    except (CoterieError, OSError, sqlite3.Error) as error:
        return f"its documents cannot be compared ({error})"
    more = f" and {len(changed) - _NAMED:,} more" if len(changed) > _NAMED else ""
    named = ", ".join(changed[:_NAMED])
    return f"{len(changed):,} documents changed since, are new or gone ({named}{more})" if changed else ""


def _secrets(config: Config) -> Iterator[Check]:
    """Check whether each named variable is set; a model that is never called needs none."""
    called = _called(config)
    for key, model in config.models.items():
        if isinstance(model, OpenAIModel) and model.api_key is not None:
            variable = model.api_key.removeprefix("env:")
            there, state, fix = bool(os.environ.get(variable)), "set", f"export {variable}=..."
            try:
                RequestHeaders(model.api_key).check()
            except ConfigError as error:
                fix = error.hint if there else fix
                there, state = False, "not set" if not there else "no key: a header cannot carry it"
            state = f"{variable} is {state}"
            if key not in called:
                state += f"; model {key!r} is called only for requests that name it"
            yield Check(name=f"secret {key}", ok=there, required=key in called, found=state, fix=fix)


def _called(config: Config) -> set[str | None]:
    """Return the models that must work; one that is only compared with, or named by few requests, is left out."""
    called = {section.model for section in config.specialists.values()}
    if config.generalist is not None and config.generalist.escalate:
        called |= {config.generalist.model, *config.generalist.fallback}
    if config.capture.enabled:  # what is captured are calls of models
        called |= set(config.capture.models or config.models)
    return called


def _store(config: Config, folder: Path) -> Check:
    """Check whether the ledger can be written, by taking and releasing a write lock."""
    if config.store.url is not None:
        return _store_database(config)
    path = folder / config.store.path
    fix = f"Make {str(path.parent)!r} writable, or set store.path in coterie.toml."
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        return Check(name="store", ok=False, found=f"{str(existing)!r} is not writable", fix=fix)
    if existing != path:
        return Check(name="store", ok=True, found=f"{path} will be made with the first request")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=5, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Check(name="store", ok=False, found=f"{path}: {error}", fix=fix)
    return Check(name="store", ok=True, found=str(path))


def _store_database(config: Config) -> Check:
    """Check whether the server of `[store] url` can be reached."""
    from coterie.store.opening import database_of

    try:
        address = database_of(config)
        assert address is not None  # noqa: S101 - there is an url
        address.reach()
    except SetupError as error:
        return Check(name="store", ok=False, found=error.message, fix=error.hint or "")
    return Check(name="store", ok=True, found=address.place)


def _ledger(config: Config, folder: Path) -> Iterator[Check]:
    """Check whether ledger and audit log have the same requests.

    A database that lost its `-wal` file lacks some requests of the log, and an emptied log lacks some of the ledger.
    """
    if config.store.url is not None:
        return
    log, path, before = folder / config.audit.path, folder / config.store.path, time.time() - _SETTLING
    audited = _audited(log, before=before) if log.is_file() else []
    try:
        with closing(_opened_ledger(path)) as connection:
            settled_traces = {trace for trace in audited if connection.execute(_IS_SETTLED, (trace,)).fetchone()}
            begin = _begin_of(log) if log.is_file() else -math.inf
            settled = [row[0] for row in connection.execute(_LAST_SETTLED, (begin, before, _COMPARED // 2))]
    except sqlite3.Error as error:
        if "no such table" not in str(error):  # which `_store` tells of
            return
        settled_traces, settled = set(), []
    lost = [trace for trace in audited if trace not in settled_traces]
    fix = (
        f"Restore {path.name!r} with its -wal file from a copy: answers that were given are missing. A request whose "
        f"answer could not be stored is missing too; the last {_COMPARED:,} requests of the audit log are compared."
    )
    if audited:
        state = f"has the last {len(audited):,} requests of the audit log"
        if lost:
            state = (
                f"{len(lost):,} of the last {len(audited):,} requests of the audit log are not in it, "
                f"such as {lost[-1]}"
            )
        yield Check(name="ledger", ok=not lost, found=state, fix=fix)
    unwritten = sorted(set(settled) - set(audited))
    if config.audit.enabled and unwritten:
        state = f"{len(unwritten):,} of the last {len(settled):,} requests of the ledger are not in it"
        fix = (
            f"Restore {log.name!r} and the files beside it from a copy, and run: coterie audit verify. A log that was "
            "moved away, or not kept before, begins anew with the next request."
        )
        yield Check(name="audit", ok=False, found=f"{state}, such as {unwritten[-1]}", fix=fix)


_IS_SETTLED = "SELECT 1 FROM requests WHERE id = ?"
_LAST_SETTLED = "SELECT id FROM requests WHERE time >= ? AND time < ? ORDER BY time DESC LIMIT ?"


def _opened_ledger(path: Path) -> sqlite3.Connection:
    """Open the database, or an empty one where there is none."""
    if not path.is_file():
        return sqlite3.connect(":memory:")
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=5)


def _begin_of(log: Path) -> float:
    """Return the time of the first entry of an audit log; for a log without entries, a time before everything."""
    with log.open("rb") as file:
        time_of_first = read_time(file.readline(1 << 20))
    return -math.inf if time_of_first is None else time_of_first


def _audited(log: Path, *, before: float) -> list[str]:
    """Return the traces of the last requests in the audit log that are older than `before`."""
    with log.open("rb") as file:
        lines = deque((line for line in file if _IS_REQUEST in line and line.endswith(b"\n")), maxlen=2 * _COMPARED)
    traces = []
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            entry = read_entry(line)
            if entry["kind"] == "request" and entry["time"] < before:
                traces.append(str(entry["about"]["trace"]))
    return traces[-_COMPARED:]


def _workers(folder: Path) -> Iterator[Check]:
    """Check whether the serving workers could be replaced at the last attempt."""
    from coterie.gateway.workers import REPLACEMENT

    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads((folder / REPLACEMENT).read_text(encoding="utf-8"))
        when = datetime.fromtimestamp(record["time"], UTC)
        state = f"not replaced at {when:%Y-%m-%d %H:%M} UTC, the old ones serve: {record['why']}"
        fix = "The log of `coterie serve` says more. Mend it, then send SIGHUP to its first process."
        yield _Note(name="workers", ok=False, found=state, fix=fix)


def _port(config: Config) -> Check:
    """Check whether the gateway could listen now. Only a note: the network's own gateway may use the port."""
    host, port = config.gateway.host, config.gateway.port
    fix = f"Stop what uses it, or pass another: coterie serve --port {port + 1}"
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return _Note(name="port", ok=False, found=f"{host}:{port}: {error.strerror or error}", fix=fix)
    return _Note(name="port", ok=True, found=f"{host}:{port} is free")
