"""`coterie search`: what a shelf finds, and how well, measured on queries with known answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, get_args

import typer

from coterie.cli.bridge import run
from coterie.cli.index import check_name, parse_label
from coterie.cli.output import Json, dim, number, say, show_json
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.knowledge.documents import Mode, Shelf
    from coterie.knowledge.evaluation import Scores
    from coterie.types import Label, Passage

T = TypeVar("T")


def search(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The shelf.")],
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="What to look for; none with --eval.", show_default=False)
    ] = "",
    k: Annotated[int, typer.Option("--k", metavar="N", min=1, max=1000, help="Passages, at most.")] = 10,
    clearance: Annotated[
        str | None,
        typer.Option("--as", metavar="LABEL", help="Search as somebody cleared for this; default: default_label."),
    ] = None,
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Search as this tenant.")] = "default",
    mode: Annotated[
        str | None, typer.Option(metavar="MODE", help="keyword, vector, hybrid or rerank; default: the shelf's own.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option("--eval", metavar="QUERIES.jsonl", help="Measure on these queries (BEIR's format).")
    ] = None,
    judgements: Annotated[
        Path | None, typer.Option("--qrels", metavar="QRELS.tsv", help="With --eval: which documents are relevant.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search a shelf of documents.

    Only what the asker may see is searched; what is above it changes nothing that is found. With --eval the shelf is
    asked every query of a file instead, and nDCG@10 and recall@100 of the documents found are printed.
    """
    from coterie.config.file import KnowledgeSection, load_config

    folder: Path = context.obj
    config = load_config(folder)
    label = parse_label(clearance) if clearance else config.network.default_label
    section = config.knowledge.get(name, KnowledgeSection())
    chosen = _mode(mode) or ("rerank" if section.rerank else "hybrid")
    if queries is None and judgements is None:
        if not query.strip():
            raise InputError("Asked to search for nothing.", hint="Give a QUERY, or --eval and --qrels.")
        passages = _with_shelf(
            folder,
            name,
            lambda shelf: shelf.search(_valid(query), k=k, clearance=label, tenant=tenant, mode=chosen),
        )
        _show_passages(passages, as_json=as_json)
        return
    if queries is None or judgements is None or query:
        raise InputError("--eval and --qrels belong together, without a QUERY.", hint="Give both files (see --help).")
    scores = _evaluate(folder, name, queries, judgements, mode=chosen, label=label, tenant=tenant)
    if as_json:
        show_json({**scores.to_json(), "mode": chosen})
    else:
        measured = f"nDCG@10 {number(scores.ndcg_at_10)}, recall@100 {number(scores.recall_at_100)}"
        say(f"{scores.queries:,} queries: {measured}")


def _valid(query: str) -> str:
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise InputError("The query is not valid UTF-8.", hint="Check the terminal's encoding.") from error
    return query


def _mode(text: str | None) -> Mode | None:
    from coterie.knowledge.documents import Mode

    if text is None:
        return None
    if text not in get_args(Mode):
        raise InputError(f"Unknown mode {text!r}.", hint=f"One of {', '.join(get_args(Mode))}.")
    return text  # type: ignore[return-value] # it is one of them


def _with_shelf(folder: Path, name: str, use: Callable[[Shelf], Awaitable[T]]) -> T:
    """Open a shelf of the file, or one that was indexed without being in it, and close it whatever happens."""
    from coterie.config.file import load_config
    from coterie.engines.onnx import OnnxEncoder
    from coterie.knowledge.open import open_declared, shelf_folder

    check_name(name)
    config = load_config(folder)
    if name not in config.knowledge and not shelf_folder(folder, name).is_dir():
        raise InputError(
            f"Unknown shelf {name!r}: it is neither in coterie.toml ({sorted(config.knowledge)}) nor indexed.",
            hint=f"Index documents for it: coterie index {name} PATH",
        )

    async def work() -> T:
        encoder = OnnxEncoder.bundled()
        try:
            shelf = open_declared(name, config, folder, encoder=encoder)
            try:
                return await use(shelf)
            finally:
                await shelf.close()
        finally:
            await encoder.close()

    return run(work())


def _evaluate(
    folder: Path, name: str, queries: Path, judgements: Path, *, mode: Mode | None, label: Label, tenant: str
) -> Scores:
    from coterie.cli.files import find_file
    from coterie.cli.progress import TerminalProgress
    from coterie.knowledge.evaluation import evaluate, read_judgements, read_queries

    asked = read_queries(find_file(folder, queries))
    judged = read_judgements(find_file(folder, judgements))

    async def use(shelf: Shelf) -> Scores:
        with TerminalProgress() as progress:
            progress.start("asking", len(asked))
            return await evaluate(
                shelf, asked, judged, mode=mode, clearance=label, tenant=tenant, progress=progress.advance
            )

    return _with_shelf(folder, name, use)


def _show_passages(passages: Sequence[Passage], *, as_json: bool) -> None:
    if as_json:
        show_json({"passages": [_document(passage) for passage in passages]})
        return
    for rank, passage in enumerate(passages, start=1):
        place = f"{passage.document}" + (f", page {passage.page}" if passage.page else "")
        say(f"{rank}. {place} [{passage.start}:{passage.end}] {passage.label.value}, score {passage.score:.4f}")
        if passage.heading:
            dim(f"   {passage.heading}")
        say("   " + " ".join(passage.text.split()))
    if not passages:
        say("Nothing found.")


def _document(passage: Passage) -> dict[str, object]:
    return {
        "document": passage.document,
        "start": passage.start,
        "end": passage.end,
        "score": passage.score,
        "label": passage.label.value,
        "text": passage.text,
        "heading": passage.heading,
        "page": passage.page,
    }
