"""`coterie index` and `search`: update an index with its documents, search it, and measure it."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer

from coterie.cli.bridge import configured, find_file, run
from coterie.cli.options import Clearance, check_choice, check_index_name, check_utf8, parse_label
from coterie.cli.output import (
    PARTIAL,
    USAGE,
    Json,
    counted,
    dim,
    error_document,
    give,
    number,
    one_line,
    remark,
    say,
    shell,
    show_json,
    warn,
)
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.config.file import Config, KnowledgeSection
    from coterie.knowledge.build import Indexed
    from coterie.knowledge.documents import DocumentIndex, Mode
    from coterie.knowledge.sources import FoundFiles, Scores
    from coterie.types import Label, Passage

T = TypeVar("T")

_SHOWN = 20
"""Number of failures that are printed; JSON has all of them."""


def index(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The index: its [knowledge] key, or a new name.")],
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

    PDF, DOCX, XLSX, PPTX, HTML, Markdown, text and CSV are read, cut into chunks, encoded and indexed. Unchanged
    documents are skipped, and documents whose file is gone are removed; with PATH, only below it. A document that
    cannot be read is named, the rest is indexed, and the exit code is 7. Until the end the index answers as before;
    the same command continues an interrupted run.
    """
    from coterie.config.file import KnowledgeSection

    folder: Path = context.obj
    config = configured(folder)
    check_index_name(name)
    typed = {"label": parse_label("--label", label), "tenant": tenant}
    new, section = name not in config.knowledge, config.knowledge.get(name, KnowledgeSection())
    section = section.model_copy(update={key: value for key, value in typed.items() if value is not None})
    if new:
        section = _as_before(folder, name, section)
    files = _files_to_index(folder, config, section, name=name, paths=paths or [], beir=beir)
    report = _build(folder, name, section, files, config=config, rebuild=rebuild)
    empty = _empty(name, files, report)
    document = {"index": name, "folder": str(folder), **asdict(report)}
    if as_json:  # one document, whatever comes
        show_json(document if empty is None else document | {"error": error_document(empty)})
        if empty is not None or report.failed:
            raise typer.Exit(PARTIAL if empty is None else USAGE)
        return
    _show(name, folder, files, report)
    if new:
        remark(
            f"{name!r} is not in coterie.toml: it can be searched, but no specialist reads it. For one that does:\n"
            f"{shell(folder, 'add', 'NAME', '--task', 'answer', '--knowledge', name)}\n"
            f"or keep it in coterie.toml:\n{_as_table(name, folder, paths or [], section)}"
        )
    if empty is not None:
        raise empty
    if report.failed:
        raise typer.Exit(PARTIAL)


def _as_table(name: str, folder: Path, paths: list[Path], section: KnowledgeSection) -> str:
    """Return the index as a table of coterie.toml, where paths are relative to the network's folder."""
    home = folder.resolve()
    listed = [
        os.path.relpath(path, home) if path.resolve().is_relative_to(home) else str(path.resolve()) for path in paths
    ]
    lines = [f"[knowledge.{name}]"]
    lines += [f"paths = {json.dumps(listed, ensure_ascii=False)}"] if paths else []
    lines += [f'label = "{section.label.value}"'] if section.label else []
    lines += [f"tenant = {json.dumps(section.tenant, ensure_ascii=False)}"] if section.tenant else []
    return "\n".join(lines)


def _empty(name: str, files: FoundFiles, report: Indexed) -> InputError | None:
    """Return the error for an indexing run that read nothing although there was something to read; None otherwise."""
    if not files.sources or report.documents:
        return None
    return InputError(
        f"None of {counted(len(files.sources), 'document')} could be read; index {name!r} is empty.",
        hint="The reasons are listed by document.",
    )


def _as_before(folder: Path, name: str, section: KnowledgeSection) -> KnowledgeSection:
    """Return the section of an index outside the file, with its former label and tenant where none is given now."""
    from coterie.knowledge.open import index_folder, indexed_access

    before = {key: value for key, value in vars(indexed_access(index_folder(folder, name))).items() if value}
    kept = {key: value for key, value in before.items() if getattr(section, key) is None}
    if kept:
        options = ", ".join(f"--{key} {value}" for key, value in kept.items())
        remark(f"{name!r} is not in coterie.toml and is indexed as it was: {options}.")
    return section.model_copy(update=kept)


def _files_to_index(
    folder: Path, config: Config, section: KnowledgeSection, *, name: str, paths: list[Path], beir: Path | None
) -> FoundFiles:
    from coterie.knowledge.open import index_folder
    from coterie.knowledge.sources import Access, find_files, read_corpus, remembered_names

    label = section.label or config.network.default_label
    access = Access(label=label, labels=section.labels, tenant=section.tenant)
    if beir is not None:
        if paths:
            raise InputError(
                "Asked to index both PATH and --beir.", hint="Give one of them: a corpus is a whole index."
            )
        return read_corpus(find_file(folder, beir), access)
    if not paths and not section.paths:
        raise InputError(
            f"Index {name!r} has no paths: neither on the command line nor under [knowledge.{name}].",
            hint=f"Give files or folders: {shell(folder, 'index', name, 'PATH')}",
        )
    whole = [folder / path for path in section.paths]
    names_of_before = remembered_names(index_folder(folder, name))
    return find_files(folder, paths or whole, access, exact=not paths, index=whole, remembered=names_of_before)


def _build(
    folder: Path, name: str, section: KnowledgeSection, files: FoundFiles, *, config: Config, rebuild: bool
) -> Indexed:
    from coterie.cli.progress import TerminalProgress
    from coterie.engines.onnx import open_encoder
    from coterie.knowledge.build import ENCODER_BATCH, build_index
    from coterie.knowledge.kinds import open_reranker
    from coterie.knowledge.open import IndexedAccess, declared_access, index_folder, open_index

    declared, configured_ = declared_access(config, name), name in config.knowledge
    if not configured_:
        declared = replace(declared, label=section.label or declared.label, tenant=section.tenant)

    async def work() -> Indexed:
        async with AsyncExitStack() as stack:
            threads = os.cpu_count() or 1
            encoder = open_encoder(config.network.encoder, folder, threads=threads, max_batch=ENCODER_BATCH)
            stack.push_async_callback(encoder.close)
            index = open_index(name, section, folder, network=config.network.name, encoder=encoder, rebuild=rebuild)
            stack.push_async_callback(index.close)
            return await build_index(
                index,
                files,
                encoder=encoder,
                folder=index_folder(folder, name),
                name=name,
                progress=stack.enter_context(TerminalProgress()),
                reranker=open_reranker(section, encoder.sha256),
                declared=declared,
                given=None if configured_ else IndexedAccess(label=section.label, tenant=section.tenant),
            )

    return run(work())


def _show(name: str, folder: Path, files: FoundFiles, report: Indexed) -> None:
    say(
        f"{name}: {counted(report.documents, 'document')}: {report.added:,} added, {report.changed:,} changed, "
        f"{report.removed:,} removed, {report.unchanged:,} unchanged; {report.chunks:,} chunks encoded in "
        f"{report.seconds:,.1f} s."
    )
    if report.resumed:
        say(f"{report.resumed:,} of them were ready from an indexing that was interrupted.")
    _show_passed_over(files, report)
    if report.documents:
        say(f'Next: {shell(folder, "search", name)} "..."')


def _show_passed_over(files: FoundFiles, report: Indexed) -> None:
    """Print what was assumed, which documents could not be read, and which were not taken."""
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
    warn(f"{reason}." for reason in report.idle.values())
    if files.nothing is not None:
        warn([files.nothing.message])
    if report.skipped:
        remark(f"Passed over: {name_kinds(report.kinds)}.")
    for link in report.outside[:_SHOWN]:
        remark(f"Passed over: {link}: a link that leads out of the folder that is indexed.")
    if len(report.outside) > _SHOWN:
        remark(f"... and {len(report.outside) - _SHOWN:,} more such links; --json lists all.")


# --- Search --------------------------------------------------------------------------------------


def search(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The index: its [knowledge] key.")],
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="What to look for; none with --eval.", show_default=False)
    ] = "",
    k: Annotated[int, typer.Option("--k", metavar="N", min=1, max=1000, help="Passages, at most.")] = 10,
    clearance: Clearance = None,
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Search as this tenant.")] = "default",
    mode: Annotated[
        str | None, typer.Option(metavar="MODE", help="keyword, vector, hybrid or rerank; default: the index's own.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option("--eval", metavar="QUERIES.jsonl", help="Measure on these queries (BEIR's format).")
    ] = None,
    judgements: Annotated[
        Path | None, typer.Option("--qrels", metavar="QRELS.tsv", help="With --eval: which documents are relevant.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search an index of documents.

    Only documents that the caller may see are searched; others do not change the result. With --eval the index is
    asked every query of a file instead, and nDCG@10 and recall@100 of the documents found are printed.
    """
    from coterie.config.file import KnowledgeSection
    from coterie.knowledge.documents import Mode

    folder: Path = context.obj
    config = configured(folder)
    label = parse_label("--as", clearance) or config.network.default_label
    rerank = config.knowledge.get(name, KnowledgeSection()).rerank
    chosen: Any = check_choice("mode", mode or ("rerank" if rerank else "hybrid"), get_args(Mode))
    if queries is None and judgements is None:
        if not query.strip():
            raise InputError("Asked to search for nothing.", hint="Give a QUERY, or --eval and --qrels.")
        check_utf8(query)
        passages = _with_index(
            folder, name, lambda index: index.search(query, k=k, clearance=label, tenant=tenant, mode=chosen)
        )
        document = {"passages": [_document(passage) for passage in passages]}
        give(document, lambda: _show_passages(passages), as_json=as_json)
        return
    if queries is None or judgements is None or query:
        raise InputError("--eval and --qrels belong together, without a QUERY.", hint="Give both files (see --help).")
    scores = _evaluate(folder, name, queries, judgements, mode=chosen, label=label, tenant=tenant)
    measured = f"nDCG@10 {number(scores.ndcg_at_10)}, recall@100 {number(scores.recall_at_100)}"
    give({**scores.to_json(), "mode": chosen}, f"{scores.queries:,} queries: {measured}", as_json=as_json)


def _with_index(folder: Path, name: str, use: Callable[[DocumentIndex], Awaitable[T]]) -> T:
    """Open an index, also one that is not in coterie.toml, use it, and close it in every case."""
    from coterie.engines.onnx import open_encoder
    from coterie.knowledge.open import index_folder, open_declared

    check_index_name(name)
    config = configured(folder)
    if name not in config.knowledge and not index_folder(folder, name).is_dir():
        raise InputError(
            f"Unknown index {name!r}: it is neither in coterie.toml ({sorted(config.knowledge)}) nor indexed.",
            hint=f"Index documents for it: coterie index {name} PATH",
        )

    async def work() -> T:
        async with AsyncExitStack() as stack:
            encoder = open_encoder(config.network.encoder, folder)
            stack.push_async_callback(encoder.close)
            index = open_declared(name, config, folder, encoder=encoder)
            stack.push_async_callback(index.close)
            return await use(index)

    return run(work())


def _evaluate(
    folder: Path, name: str, queries: Path, judgements: Path, *, mode: Mode, label: Label, tenant: str
) -> Scores:
    from coterie.cli.progress import stage
    from coterie.knowledge.sources import evaluate, read_judgements, read_queries

    questions = read_queries(find_file(folder, queries))
    judged = read_judgements(find_file(folder, judgements))

    async def use(index: DocumentIndex) -> Scores:
        with stage("asking", len(questions)) as advance:
            return await evaluate(index, questions, judged, mode=mode, clearance=label, tenant=tenant, progress=advance)

    return _with_index(folder, name, use)


def _show_passages(passages: Sequence[Passage]) -> None:
    for rank, passage in enumerate(passages, start=1):
        position = f"{passage.document}" + (f", page {passage.page}" if passage.page else "")
        say(f"{rank}. {position} [{passage.start}:{passage.end}] {passage.label.value}, score {passage.score:.4f}")
        if passage.heading:
            dim(f"   {passage.heading}")
        say("   " + one_line(passage.text))
    if not passages:
        say("Nothing found.")


def _document(passage: Passage) -> dict[str, object]:
    keys = ("document", "start", "end", "score", "text", "heading", "page")
    return {**{key: getattr(passage, key) for key in keys}, "label": passage.label.value}
