"""`coterie index`: a shelf brought up to date with the documents it is made of."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coterie.cli.bridge import run
from coterie.cli.exits import USAGE, error_document
from coterie.cli.output import Json, counted, remark, say, shell, show_json
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.config.file import Config, KnowledgeSection
    from coterie.knowledge.build import Indexed
    from coterie.knowledge.sources import FoundFiles
    from coterie.types import Label

_SHOWN = 20
"""Failures that are printed; JSON has all of them."""


def index(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The shelf: its [knowledge] key, or a new name.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Files and folders; without any, those of the [knowledge] section."),
    ] = None,
    beir: Annotated[
        Path | None, typer.Option(metavar="CORPUS.jsonl", help="A corpus in BEIR's format instead of files.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Sensitivity of the documents, instead of the section's.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="NAME", help="The one tenant who may see them, instead of the section's.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Read and encode everything again, whatever is there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Index documents for retrieval.

    PDF, DOCX, HTML, Markdown, text and CSV are read, cut into chunks, encoded and indexed. Unchanged documents are
    passed over, and those whose file is gone disappear; with PATH, only below it. A document that cannot be read
    is reported and the rest go on. Until all is done the shelf answers as before; what was interrupted goes on where
    it was when the command is given again.
    """
    from coterie.config.file import load_config

    folder: Path = context.obj
    config = load_config(folder)
    section, new = _section(config, name, label=label, tenant=tenant)
    if new:
        section = _as_before(folder, name, section)
    found = _found(folder, config, section, name=name, paths=paths or [], beir=beir)
    report = _build(folder, name, section, found, config=config, rebuild=rebuild)
    empty = _empty(name, found, report)
    if as_json:
        show_json(_document(name, folder, report, empty))
        if empty is not None:
            raise typer.Exit(USAGE)
        return
    _show(name, folder, found, report)
    if new:
        remark(
            f"{name!r} is not in coterie.toml: it can be searched, but no specialist reads it. For one that does:\n"
            f"{shell(folder, 'add', 'NAME', '--task', 'answer', '--knowledge', name)}\n"
            f"or keep it in coterie.toml:\n{_as_table(name, folder, paths or [], section)}"
        )
    if empty is not None:
        raise empty


def _as_table(name: str, folder: Path, paths: list[Path], section: KnowledgeSection) -> str:
    """The shelf as coterie.toml would have it, where paths are relative to the network's folder."""
    home = folder.resolve()
    listed = [
        os.path.relpath(path, home) if path.resolve().is_relative_to(home) else str(path.resolve()) for path in paths
    ]
    lines = [f"[knowledge.{name}]"]
    lines += [f"paths = {json.dumps(listed, ensure_ascii=False)}"] if paths else []
    lines += [f'label = "{section.label.value}"'] if section.label else []
    lines += [f"tenant = {json.dumps(section.tenant, ensure_ascii=False)}"] if section.tenant else []
    return "\n".join(lines)


def _empty(name: str, found: FoundFiles, report: Indexed) -> InputError | None:
    """The error of an indexing that read nothing, where there was something to read."""
    if not found.sources or report.documents:
        return None
    return InputError(
        f"None of {counted(len(found.sources), 'document')} could be read; shelf {name!r} is empty.",
        hint="The reasons are listed by document.",
    )


def _section(config: Config, name: str, *, label: str | None, tenant: str | None) -> tuple[KnowledgeSection, bool]:
    """The shelf's section with what the command line says instead, and whether it is new: not in the file."""
    from coterie.config.file import KnowledgeSection

    check_name(name)
    section, new = config.knowledge.get(name, KnowledgeSection()), name not in config.knowledge
    changes: dict[str, object] = {}
    if label is not None:
        changes["label"] = parse_label(label)
    if tenant is not None:
        changes["tenant"] = tenant
    return section.model_copy(update=changes), new


def _as_before(folder: Path, name: str, section: KnowledgeSection) -> KnowledgeSection:
    """A shelf that is not in the file, with the label and the tenant that it was given before and is not given now."""
    from coterie.knowledge.guard import given_before
    from coterie.knowledge.open import shelf_folder

    before = {key: value for key, value in given_before(shelf_folder(folder, name))._asdict().items() if value}
    kept = {key: value for key, value in before.items() if getattr(section, key) is None}
    if kept:
        said = ", ".join(f"--{key} {value}" for key, value in kept.items())
        remark(f"{name!r} is not in coterie.toml and is indexed as it was: {said}.")
    return section.model_copy(update=kept)


def check_name(name: str) -> None:
    """Refuse what could be no key of the file: the name is a folder's too. Raises `InputError`."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        raise InputError(f"{name!r} is no name of a shelf.", hint="Small letters, digits, - and _, a letter first.")


def parse_label(text: str) -> Label:
    """A label by its name. Raises `InputError`."""
    from coterie.types import Label

    try:
        return Label(text)
    except ValueError:
        raise InputError(
            f"Unknown label {text!r}.", hint=f"One of {', '.join(label.value for label in Label)}."
        ) from None


def _found(
    folder: Path, config: Config, section: KnowledgeSection, *, name: str, paths: list[Path], beir: Path | None
) -> FoundFiles:
    from coterie.cli.files import find_file
    from coterie.knowledge.sources import Access, find_files, read_corpus

    label = section.label or config.network.default_label
    access = Access(label=label, labels=section.labels, tenant=section.tenant)
    if beir is not None:
        if paths:
            raise InputError(
                "Asked to index both PATH and --beir.", hint="Give one of them: a corpus is a whole shelf."
            )
        return read_corpus(find_file(folder, beir), access)
    if not paths and not section.paths:
        raise InputError(
            f"Shelf {name!r} has no paths: neither on the command line nor under [knowledge.{name}].",
            hint=f"Give files or folders: {shell(folder, 'index', name, 'PATH')}",
        )
    whole = [folder / path for path in section.paths]
    return find_files(folder, paths or whole, access, exact=not paths, shelf=whole)


def _build(
    folder: Path, name: str, section: KnowledgeSection, found: FoundFiles, *, config: Config, rebuild: bool
) -> Indexed:
    from coterie.cli.progress import TerminalProgress
    from coterie.engines.onnx import OnnxEncoder
    from coterie.knowledge.build import ENCODER_BATCH, build_index
    from coterie.knowledge.guard import Given, declared_access
    from coterie.knowledge.kinds import open_reranker
    from coterie.knowledge.open import open_shelf, shelf_folder

    declared = declared_access(config, name)
    if name not in config.knowledge:
        declared = replace(declared, label=section.label or declared.label, tenant=section.tenant)

    async def work() -> Indexed:
        encoder = OnnxEncoder.bundled(threads=os.cpu_count() or 1, max_batch=ENCODER_BATCH)
        try:
            shelf = open_shelf(name, section, folder, network=config.network.name, encoder=encoder, rebuild=rebuild)
            try:
                with TerminalProgress() as progress:
                    return await build_index(
                        shelf,
                        found,
                        encoder=encoder,
                        folder=shelf_folder(folder, name),
                        name=name,
                        progress=progress,
                        reranker=open_reranker(section, encoder),
                        declared=declared,
                        given=None if name in config.knowledge else Given(section.label, section.tenant),
                    )
            finally:
                await shelf.close()
        finally:
            await encoder.close()

    return run(work())


def _document(name: str, folder: Path, report: Indexed, empty: InputError | None) -> dict[str, object]:
    """The report, with the error in it where there is one: one document, whatever comes."""
    from dataclasses import asdict

    told = {"shelf": name, "folder": str(folder), **asdict(report)}
    return told if empty is None else told | {"error": error_document(empty)}


def _show(name: str, folder: Path, found: FoundFiles, report: Indexed) -> None:
    say(
        f"{name}: {counted(report.documents, 'document')}: {report.added:,} added, {report.changed:,} changed, "
        f"{report.removed:,} removed, {report.unchanged:,} unchanged; {report.chunks:,} chunks encoded in "
        f"{report.seconds:,.1f} s."
    )
    if report.resumed:
        say(f"{report.resumed:,} of them were ready from an indexing that was interrupted.")
    _show_passed_over(found, report)
    if report.documents:
        say(f'Next: {shell(folder, "search", name)} "..."')


def _show_passed_over(found: FoundFiles, report: Indexed) -> None:
    """What was assumed, what could not be read, what was not taken."""
    from coterie.knowledge.sources import name_kinds

    for document, note in report.notes.items():
        remark(f"Note: {document}: {note}.")
    for failure in report.failed[:_SHOWN]:
        kept = " Its earlier version stays." if failure.kept else ""
        if failure.withdrawn:
            kept = " Its earlier version was taken away: more could see it than may see the document now."
        remark(f"Not read: {failure.document}: {failure.reason}.{kept}")
    if len(report.failed) > _SHOWN:
        remark(f"... and {len(report.failed) - _SHOWN:,} more; --json lists all.")
    for reason in report.idle.values():
        remark(f"Warning: {reason}.")
    if found.nothing is not None:
        remark(f"Warning: {found.nothing.message}")
    if report.skipped:
        remark(f"Passed over: {name_kinds(report.kinds)}.")
    for link in report.outside[:_SHOWN]:
        remark(f"Passed over: {link}: a link that leads out of the folder that is indexed.")
    if len(report.outside) > _SHOWN:
        remark(f"... and {len(report.outside) - _SHOWN:,} more such links; --json lists all.")
