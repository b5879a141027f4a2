"""Replay recorded outcomes: what a routing policy between models would have given and cost.

python -m labs.replay outcomes.jsonl [OPTIONS]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer
from threadpoolctl import threadpool_limits

from coterie import __version__
from coterie.cli.app import main as run_command
from coterie.cli.options import parse_money
from coterie.cli.output import Json, dim, interval, number, paragraph, remark, say, show_json, show_table
from coterie.engines.onnx import OnnxEncoder
from coterie.errors import InputError
from coterie.models.catalogue import hash_file
from coterie.policy.cost_quality import Aim
from coterie.runtime.files import write_bytes
from labs.outcomes.curve import Point
from labs.outcomes.page import replay_page
from labs.outcomes.replay import Replay
from labs.outcomes.replay import replay as replay_outcomes
from labs.outcomes.table import read_table
from labs.update import join_outcomes

app = typer.Typer(name="replay", rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

_SHOWN = 12
"""Points of the curve in the table; `--json` has them all."""


@app.command()
def replay(
    *,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Recorded outcomes, JSONL; see docs/how-to/trade-cost-and-quality.md."),
    ],
    quality: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Keep this share of the generalist's quality, 0 to 1.")
    ] = None,
    budget: Annotated[str | None, typer.Option(metavar="MONEY", help="Spend at most this per 1,000 requests.")] = None,
    train: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Learn from these outcomes; else FILE is cross-validated in five folds."),
    ] = None,
    generalist: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Whose quality counts as 1; default: the dearest model.")
    ] = None,
    window: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL=TOKENS", help="A prompt of more tokens is not sent to the model; repeatable."),
    ] = None,
    frontier: Annotated[
        bool,
        typer.Option("--frontier", help="Also play the best policy for each sum of money: chains, models, coins."),
    ] = False,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Seed of everything random.")] = 0,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as a page with a chart that needs no network.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Then add FILE to the network's own outcomes ([policy] outcomes).")
    ] = False,
    folder: Annotated[
        Path, typer.Option("-C", metavar="DIR", help="Folder of the network that --update adds to.")
    ] = Path(),
    as_json: Json = False,
) -> None:
    """Replay recorded outcomes: which model a routing policy would have picked, and what that would have cost.

    FILE has a prompt a line with each model's score and cost. Printed are the curve of quality against money, the
    policy for --quality or --budget, and what the cheapest model, the largest, the best single one, chance and
    hindsight come to. A prompt's own outcome never decides about it. No model is asked.
    """
    settings = {"aim": _aim(quality, budget), "generalist": generalist, "with_frontier": frontier, "seed": seed}
    replayed = _play(file, train, _windows(window or []), settings)
    if html is not None:
        write_bytes(
            html, replay_page(replayed, file=file.name, conditions=_conditions(file, train, window, seed)).encode()
        )
    joined = join_outcomes(folder, file) if update else None
    if as_json:
        show_json(_document(replayed) | ({} if joined is None else {"update": joined}))
        return
    _show(replayed)
    if joined is not None:
        was, now = (joined[key] or "unknown" for key in ("generalist_before", "generalist_after"))
        say(f"{joined['added']:,} lines added to {joined['file']!r}. The generalist is right: {was}; now {now}.")


def _play(file: Path, train: Path | None, windows: dict[str, int], settings: dict[str, Any]) -> Replay:
    threadpool_limits(1, user_api="blas")  # many small products: two threads take ten times as long on a busy machine
    outcomes = read_table(file).within(windows)
    learned = None if train is None else read_table(train).within(windows)
    encoder = OnnxEncoder.bundled(threads=2)
    return replay_outcomes(
        outcomes,
        encoder.encode(outcomes.prompts),
        train=learned,
        train_vectors=None if learned is None else encoder.encode(learned.prompts),
        **settings,
    )


def _aim(quality: float | None, budget: str | None) -> Aim | None:
    if quality is None and budget is None:
        return None
    if quality is not None and budget is not None:
        raise InputError("--quality and --budget were both given.", hint="Give one of the two.")
    return Aim(quality=quality, budget=parse_money("--budget", budget))


def _windows(given: Sequence[str]) -> dict[str, int]:
    windows = {}
    for option in given:
        name, _, tokens = option.rpartition("=")
        if not name or not tokens.isdecimal():
            raise InputError(f"--window is {option!r}.", hint="Write it as MODEL=TOKENS, such as small=4096.")
        windows[name] = int(tokens)
    return windows


def _conditions(file: Path, train: Path | None, windows: Sequence[str] | None, seed: int) -> dict[str, str]:
    """What it takes to have the same figures again, for the page."""
    files = [("outcomes", file), *([("training file", train)] if train else [])]
    conditions = {what: f"{path.name}, SHA-256 {hash_file(path)}" for what, path in files}
    return conditions | {"windows": ", ".join(windows or []) or "none", "seed": str(seed), "coterie": __version__}


def _document(replayed: Replay) -> dict[str, object]:
    document = asdict(replayed)
    lists = (document["curve"], document["baselines"], document["chains"], document["frontier"])
    alone = [domain["models"] for domain in document["domains"]]
    stands = ("chosen", "chosen_chain", "chosen_frontier")
    chosen = [*(document[key] for key in stands), *(domain["chosen"] for domain in document["domains"])]
    for point in (*(point for points in (*lists, *alone) for point in points), *chosen):
        if point is not None:
            point["shares"] = dict(zip(replayed.models, point["shares"], strict=False))
            if isnan(point["quality"]):
                point["quality"] = None
            if point["interval"] is not None and isnan(point["interval"][0]):
                point["interval"] = None
    return document


def _show(replayed: Replay) -> None:
    points = list(replayed.curve)
    step = max(1, -(-len(points) // _SHOWN))
    kept = [*points[::step], *(points[-1:] if (len(points) - 1) % step else [])]
    title = f"{replayed.rows:,} prompts, {len(replayed.models)} models, learned from {replayed.learned_from}"
    columns = ["", "quality", "95% range", "per 1,000", *replayed.models]
    show_table(columns, [_row(point, replayed) for point in kept], title=title)
    show_table(columns, [_row(point, replayed) for point in replayed.baselines], title="Without routing")
    if replayed.chains:
        show_table(columns, [_row(point, replayed) for point in replayed.chains], title="Chains: the cheapest first")
    if replayed.chosen_chain is not None:
        show_table(columns, [_row(replayed.chosen_chain, replayed)], title="The chain for it")
        paragraph(f"{replayed.chain_reason[:1].upper()}{replayed.chain_reason[1:]}.")
    if replayed.frontier:
        _show_frontier(replayed, columns)
    if replayed.chosen is not None:
        show_table(columns, [_row(replayed.chosen, replayed)], title="The routing policy for it")
        paragraph(f"{replayed.reason[:1].upper()}{replayed.reason[1:]}.")
    if replayed.domains:
        _show_domains(replayed)
    if replayed.recovery is not None and replayed.recovery_interval is not None:
        dim(_recovered(replayed))
    for warning in replayed.warnings:
        remark(f"Note: {warning}.")


def _show_frontier(replayed: Replay, columns: Sequence[str]) -> None:
    """The best policies by money, what they are worth beside single models, and the one for a budget."""
    step = max(1, -(-len(replayed.frontier) // _SHOWN))
    kept = [*replayed.frontier[::step], *(replayed.frontier[-1:] if (len(replayed.frontier) - 1) % step else [])]
    show_table(columns, [_row(point, replayed) for point in kept], title="Frontier: the best policy for the money")
    excess = replayed.frontier_excess or 0.0
    say(
        f"At equal cost it is nowhere more than {100 * max(0.0, excess):.1f} points behind the best single model."
        if excess > 0
        else "At equal cost it is nowhere behind the best single model."
    )
    if replayed.chosen_frontier is not None:
        show_table(columns, [_row(replayed.chosen_frontier, replayed)], title="The frontier's policy for it")
        paragraph(f"{replayed.frontier_reason[:1].upper()}{replayed.frontier_reason[1:]}.")


def _show_domains(replayed: Replay) -> None:
    """Each model's quality on each kind of prompt, and the routing policy's."""
    routed = [] if replayed.chosen is None else ["routed", "per 1,000"]
    rows = []
    for domain in replayed.domains:
        own = next(model for model in domain.models if model.name == replayed.generalist)
        cells = [domain.name or "(none named)", domain.rows, *(_quality(model) for model in domain.models)]
        taken = [] if domain.chosen is None else [_quality(domain.chosen), _money(domain.chosen)]
        rows.append([*cells, interval(own.interval), *taken])
    columns = ["domain", "prompts", *replayed.models, f"95% range of {replayed.generalist}", *routed]
    show_table(columns, rows, title="Quality by domain")


def _recovered(replayed: Replay) -> str:
    figures = replayed.recovery
    assert figures is not None, "asked only where there is one"  # noqa: S101
    return (
        f"Two models: {figures.apgr:.3f} of the gap recovered on average ({interval(replayed.recovery_interval)}; "
        f"chance: 0.5); half of it with {figures.cpt50:.0%} strong calls, 95% of the quality with "
        f"{figures.strong_for_95:.0%}."
    )


def _quality(point: Point) -> str:
    return number(None if isnan(point.quality) else point.quality)


def _money(point: Point) -> str:
    return "unknown" if point.per_1000 is None else f"{point.per_1000:.4g}"


def _row(point: Point, replayed: Replay) -> Sequence[object]:
    shares = [f"{share:.0%}" for share in point.shares] or ["-"] * len(replayed.models)
    return [point.name, _quality(point), interval(point.interval), _money(point), *shares]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    return run_command(arguments, command=app, name="python -m labs.replay")


if __name__ == "__main__":
    sys.exit(main())
