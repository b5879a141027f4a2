"""`coterie train`: train specialists, and compare their rungs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import log_command, record_trainings
from coterie.cli.options import given
from coterie.cli.output import (
    BAR_MISSED,
    Json,
    Stop,
    give,
    interval,
    number,
    remark,
    say,
    shell,
    show_stops,
    show_table,
    size,
    warn,
)

if TYPE_CHECKING:
    from coterie.training.train import TrainingReport

SETTINGS = (
    "rungs",
    "chain",
    "chain_quality",
    "base",
    "base_licence",
    "target_risk",
    "bar",
    "seed",
    "calibration_calls",
    "test_calls",
)
"""Settings that may be given for one training only; a version that answers does not read them."""
_FLOOR = "lexical"


def train(
    context: typer.Context,
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Specialists to train; all of them if none is named."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train specialists.

    Every rung is tried; held-out results are shown beside the lexical floor, and the cheapest rung that meets the bar
    is chosen. The options replace those of coterie.toml for this training. The new version is stored in the registry
    and serves from the next start on. If a specialist misses its bar, or is measurably worse than the champion, an
    error is printed and the exit code is 3. The version that served before stays the champion, if there was one,
    unless it was even worse; the new one is the candidate: see `coterie registry`.
    """
    folder, overrides = context.obj, given(context)
    trained = _trained(folder, names or (), overrides)
    report: dict[str, Any] = trained.to_json()
    specialists = report["specialists"]
    for name, result in specialists.items():
        about = {"name": name, "version": result["version"], "promoted": result["promoted"]}
        overridden = {"overrides": overrides} if overrides else {}
        log_command(folder, "train", about={**about, "reason": result["promotion"], **overridden})
    _record(folder, trained)
    give(report, lambda: _show_all(report, folder), as_json=as_json)
    warn(f"{name}: {warning}" for name, result in specialists.items() for warning in result.get("warnings", ()))
    if missed := [line for name, result in specialists.items() for line in _missed(name, result, folder)]:
        remark("\n".join(missed))
        raise typer.Exit(BAR_MISSED)


def _trained(folder: Path, names: Sequence[str], overrides: Mapping[str, Any]) -> TrainingReport:
    """Train with progress; after an interruption, print what is kept."""
    from coterie.cli.progress import TerminalProgress, say_fine_tuning_is_kept
    from coterie.training.train import CHECKPOINTS_FOLDER
    from coterie.training.train import train as train_network

    try:
        with TerminalProgress() as progress:
            return train_network(folder, names, progress=progress, overrides=overrides)
    except KeyboardInterrupt:
        say_fine_tuning_is_kept(folder / CHECKPOINTS_FOLDER)
        raise


def _record(folder: Path, report: TrainingReport) -> None:
    """Write the cost of the trainings into the ledger, from which `coterie report` spreads it over the answers."""
    from coterie.store.summary import training_of

    now, made = time.time(), report.specialists.values()
    record_trainings(
        folder, [training_of(one.took, specialist=one.name, version=one.version, time=now) for one in made]
    )


def _show_all(report: Mapping[str, Any], folder: Path) -> None:
    for name, result in report["specialists"].items():
        _show(name, result)
    say(f'{report["seconds"]:,.0f} s. Next: {shell(folder, "ask")} "..."')


def _show(name: str, result: Mapping[str, Any]) -> None:
    """Print one specialist: a row per rung, then the chosen rung and whether it is enough."""
    say(f"\n{name} ({result['task']}), version {result['version']}")
    rungs = [rung for rung in result.get("rungs", ()) if "held_out" in rung]
    if rungs:
        quality = next(key for key in rungs[0]["validation"] if key != "interval")
        columns = ["rung", quality, "95% range", "covered", "accepted", "ECE", "size", "time"]
        show_table(columns, [row for rung in rungs for row in (*_floor(rung, quality), _row(rung, quality))])
    for rung in rungs:
        if "curve" in rung:
            _show_chain(rung)
    say(f"Taken: {result['rung']}, {result['reason']}.")
    _show_use(result, next((rung for rung in rungs if rung["rung"] == result["rung"]), {}))
    if "untuned" in result.get("metrics", {}):
        say(drafts(result["metrics"]))
    for rung in rungs:
        if "untuned" in rung:
            say(_beside_untuned(rung["held_out"], rung["untuned"]))
    for metric, bar in result.get("bar", {}).items():
        word = "MISSED" if result["bar_met"] is False else "met"
        measured = number(result["metrics"].get(metric))
        sure = _sure(result["metrics"].get("intervals", {}).get(metric), bar, missed=word == "MISSED")
        say(f"Bar {metric} >= {bar:g}: {word}, {measured} {_measured(rungs)}{sure}.")


def _show_use(result: Mapping[str, Any], taken: Mapping[str, Any]) -> None:
    """Print how the rows were used, what a probability refers to, and the accept threshold."""
    if "measured" in taken or "threshold" in taken:
        say(_used(result, taken))
    if "positive" in taken:
        say(f"Predicts: the probability of {taken['positive']}.")
    if accepts := taken.get("threshold", {}).get("reason"):
        say(f"Accepts: {accepts}.")


def _used(result: Mapping[str, Any], taken: Mapping[str, Any]) -> str:
    rows = [result["data"][part]["rows"] for part in ("train", "held_out")]
    if "validation" not in taken.get("measured", ""):
        return f"Rows: {rows[0]:,} to train and, out of fold, to calibrate; {rows[1]:,} held out to measure."
    from coterie.tasks.classify.task import FEW_OF_A_LABEL

    of_label = rows[0] / (result.get("labels") or 1)
    note = f", {of_label:.0f} a label: too few to hold some out" if of_label < FEW_OF_A_LABEL else ""
    return f"Rows: all {rows[0]:,} to train, calibrate and measure, each out of fold{note}."


def _show_chain(chain: Mapping[str, Any]) -> None:
    """Print the results of the chain at each possible stop, and the chosen stop."""
    names, stop = chain["chain"], chain["stop"]
    stops = [
        Stop(point["stop"], point["accuracy"], point["interval"], point["asked"], point["stop"] == stop["value"])
        for point in chain["curve"]
    ]
    show_stops(names, stops, title="The chain on held-out rows, which choose nothing")
    say(f"Chain {' > '.join(names)}: {stop['reason']}.")


def drafts(metrics: Mapping[str, Any]) -> str:
    """Describe the effect of tuning on the drafts, each figure followed by that of the untuned model."""
    names = {"token_f1": "token F1", "rouge_l": "ROUGE-L", "grounded": "grounded"}
    shown = [f"{words} {number(metrics[key])} ({number(metrics['untuned'][key])})" for key, words in names.items()]
    return f"Drafts of {metrics['drafted']} pairs held back (untuned): {', '.join(shown)}."


def _beside_untuned(tuned: Mapping[str, Any], untuned: Mapping[str, Any]) -> str:
    """Describe the effect of tuning on the generated text, each figure followed by that of the untuned model."""
    names = {"token_f1": "token F1", "exact_match": "the same text"}
    shown = [
        f"{words} {number(tuned[key])}, {interval(tuned['intervals'].get(key))} "
        f"({number(untuned[key])}, {interval(untuned['intervals'][key])})"
        for key, words in names.items()
    ]
    return f"On held-out pairs (untuned, on {untuned['n']} of them): {'; '.join(shown)}."


def _sure(pair: Sequence[float] | None, bar: float, *, missed: bool) -> str:
    """Describe whether a bar is met with confidence."""
    if pair is None or missed:
        return ""
    return ", with 95% confidence" if pair[0] >= bar else f", but not with 95% confidence ({interval(pair)})"


def _measured(rungs: Sequence[Mapping[str, Any]]) -> str:
    measured = rungs[0].get("measured", "") if rungs else ""
    return f"by {measured}" if "validation" in measured else "on held-out rows"


def _floor(rung: Mapping[str, Any], quality: str) -> list[list[object]]:
    """Return a row for the plain model that a rung is compared with, where that model is no rung itself."""
    floor = rung.get("floor")
    if not floor or quality not in floor:
        return []
    return [[f"{floor['model']} (floor)", number(floor[quality]), interval(floor["interval"]), *["-"] * 5]]


def _row(rung: Mapping[str, Any], quality: str) -> list[object]:
    held_out = rung["held_out"]
    return [
        f"{rung['rung']} (floor)" if rung["rung"] == _FLOOR and "floor" not in rung else rung["rung"],
        number(held_out.get(quality)),
        interval(held_out.get("intervals", {}).get(quality)),
        *(number(held_out.get(figure)) for figure in ("coverage", "accepted_accuracy", "ece")),
        size(rung["bytes"]),
        f"{rung['seconds']:.1f} s",
    ]


def _missed(name: str, result: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield what a missed bar, or a drop behind the champion, means for the serving version."""
    if result["bar_met"] is not False:
        if not result.get("promoted"):
            look = shell(folder, "registry", "diff", name, "champion", "candidate")
            yield f"NOT PROMOTED: {name} is worse than the version that serves: {result.get('promotion')}. See: {look}"
        return
    bars = ", ".join(f"{metric} >= {bar:g}" for metric, bar in result["bar"].items())
    if result.get("promoted"):
        then = "There is no better version, so this one serves."
    else:
        then = "It is stored but not promoted: the version that served before still does."
    yield f"BAR MISSED: {name} did not reach {bars}. {then}"
