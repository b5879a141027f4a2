"""`coterie rightsize`: find the smallest rung that is enough for a job, and the cost of each larger one."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie import __version__
from coterie.cli.bridge import check_writable, configured, find_file, record_bill, run
from coterie.cli.options import check_task, given, parse_label, parse_money, section_from, task_for
from coterie.cli.output import (
    BAR_MISSED,
    Json,
    Stop,
    dim,
    give,
    interval,
    number,
    paragraph,
    remark,
    say,
    show_stops,
    show_table,
    size,
    warn,
)
from coterie.errors import InputError
from coterie.runtime.files import write_bytes

if TYPE_CHECKING:
    from coterie.cli.progress import TerminalProgress
    from coterie.config.file import Config, LlamaModel, RemoteModel
    from coterie.config.operation import AccountingSection
    from coterie.config.specialists import SpecialistSection
    from coterie.learning.job import AskedModel
    from coterie.protocols import StreamingEngine
    from coterie.rightsizing.large import RecordedAnswer
    from coterie.rightsizing.result import Conditions, LargeRow, Per1000, RightSizing, RungRow
    from coterie.rightsizing.rightsize import Rows
    from coterie.types import Bill, Label

LEFT_OUT = (
    "data",
    "description",
    "licence",
    "alike",
    "reads",
    "writes",
    "knowledge",
    "passages",
    "view_tokens",
    "model",
    "pairs",
    "max_tokens",
    "data_label",
    "calibration_calls",
    "test_calls",
)
"""Fields of a specialist's section that are no option; DATA, --model, --label and --model-rows set some of them."""
_MOST_WATTS = 1000.0
_MUCH = 10  # from here on a figure needs no decimals

_Tune = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What the rung slm tunes: a [models] entry of the network, or a name `coterie models list` knows.",
    ),
]
_Watts = Annotated[
    float | None, typer.Option(metavar="WATTS", help="Power of a busy core; else [accounting] of the network, or 10.")
]
_Price = Annotated[
    str | None, typer.Option(metavar="MONEY", help="A core for an hour; else [accounting] of the network, or unknown.")
]
_Recorded = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A large model's answers: answer, and text or row; tokens_in, tokens_out, milliseconds, cost if known.",
    ),
]
_RecordedName = Annotated[str | None, typer.Option(metavar="NAME", help="What to call the model of --recorded.")]
_Model = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="[models] entry of the network that rung llm asks; without that rung, one to put beside the rungs.",
    ),
]
_ModelRows = Annotated[
    int,
    typer.Option(metavar="NUMBER", min=1, help="--model: most held-out rows to ask; rung llm: training rows too."),
]
_Label = Annotated[
    str | None, typer.Option(metavar="LABEL", help="--model: sensitivity of the texts; default: the network's.")
]
_SaveAnswers = Annotated[
    Path | None, typer.Option(metavar="FILE", help="--model: write its answers as JSONL, for --recorded.")
]
_PriceIn = Annotated[str | None, typer.Option(metavar="MONEY", help="--recorded: a million prompt tokens.")]
_PriceOut = Annotated[str | None, typer.Option(metavar="MONEY", help="--recorded: a million generated tokens.")]
_Report = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a report as one HTML file.")]
_Keep = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Keep each rung's trained version in this registry, and fine-tuning when interrupted."
    ),
]


@dataclass(frozen=True, kw_only=True)
class _Large:
    """The typed options of the large model that is compared with the rungs."""

    recorded: Path | None
    name: str | None
    prices: tuple[str | None, str | None]
    """Prices of a million prompt tokens and a million generated tokens."""
    model: str | None
    rows: int
    label: str | None
    save: Path | None

    def __post_init__(self) -> None:
        if self.recorded is not None and self.model is not None:
            raise InputError("Given both --recorded and --model.", hint="One large model at a time.")


def rightsize(
    context: typer.Context,
    *,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Training data, CSV or JSONL.")],
    task: Annotated[
        str, typer.Option(metavar="TASK", help="classify, pairs, score, extract, or one of an installed package.")
    ] = "classify",
    tune: _Tune = None,
    watts_per_core: _Watts = None,
    price_per_cpu_hour: _Price = None,
    recorded: _Recorded = None,
    recorded_name: _RecordedName = None,
    price_in: _PriceIn = None,
    price_out: _PriceOut = None,
    model: _Model = None,
    model_rows: _ModelRows = 200,
    label: _Label = None,
    save_answers: _SaveAnswers = None,
    report: _Report = None,
    keep: _Keep = None,
    as_json: Json = False,
) -> None:
    """Find the smallest rung that is enough.

    Every rung is trained on DATA and measured on held-out rows: quality, coverage, latency, memory, size, energy, cost.
    The verdict names the cheapest rung that meets the bar with 95% confidence, or none (exit code 3). A large model can
    be compared, recorded or live: what it took is in the ledger. Else only --report, --keep and --save-answers write
    files; no network is needed.
    """
    folder, fields = context.obj, given(context)
    asks = "llm" in fields.get("rungs", ())
    if asks:
        _check_asking(model, tune, save_answers)
        fields |= {
            "data_label": parse_label("--label", label),
            "calibration_calls": model_rows,
            "test_calls": model_rows,
        }
    fields["model"] = model if asks else tune
    section = _section(folder, task, data, fields)
    large = _Large(
        recorded=None if recorded is None else find_file(folder, recorded),
        name=recorded_name,
        prices=(price_in, price_out),
        model=None if asks else model,
        rows=model_rows,
        label=label,
        save=save_answers,
    )
    check_writable("--report", report)
    check_writable("--save-answers", save_answers)
    config = _config(folder, needed=model is not None)
    sizing = _find(folder, section, config, large, _accounting(config, watts_per_core, price_per_cpu_hour), keep=keep)
    _give(sizing, report, as_json=as_json)


def _find(
    folder: Path,
    section: SpecialistSection,
    config: Config | None,
    large: _Large,
    accounting: AccountingSection,
    *,
    keep: Path | None,
) -> RightSizing:
    """Read the data, ask the large model first (it fails fast), then train and measure."""
    from coterie.cli.progress import TerminalProgress
    from coterie.engines.onnx import BUNDLED, open_encoder
    from coterie.rightsizing.rightsize import read_rows
    from coterie.rightsizing.rightsize import rightsize as measure_rungs

    rungs = section.rungs or ()
    teacher = _asked_model(section, config, folder) if "llm" in rungs and config is not None else None
    tuned = section.model if "slm" in rungs or "llm" not in rungs else None
    rows = read_rows(section)
    try:
        with TerminalProgress() as progress:
            return measure_rungs(
                rows,
                encoder=open_encoder(config.network.encoder if config else BUNDLED, folder, threads=2),
                accounting=accounting,
                conditions=_conditions(accounting),
                large=_large_row(large, config, folder, rows, progress),
                keep=keep,
                progress=progress,
                model=_tuned_model(tuned, config, folder),
                asked_model=teacher,
            )
    except KeyboardInterrupt:
        _say_what_is_kept(section, keep)
        raise
    finally:
        if teacher is not None and config is not None:
            record_bill(folder, config, Path(str(section.data)).stem, "rightsize", teacher.bill)


def _say_what_is_kept(section: SpecialistSection, keep: Path | None) -> None:
    """Print what is kept after an interruption, where minutes of fine-tuning could be lost."""
    from coterie.cli.progress import say_fine_tuning_is_kept
    from coterie.rightsizing.rightsize import CHECKPOINTS_FOLDER
    from coterie.tasks.contract import task_of

    if keep is not None and say_fine_tuning_is_kept(keep / CHECKPOINTS_FOLDER):
        return
    if {"encoder", "slm"} & {*task_of(section).wanted_rungs(section)}:
        more = " With --keep DIR a fine-tuning goes on where it was." if keep is None else ""
        remark(f"Nothing is kept{'' if keep is None else ' yet'}: it starts over.{more}")


# --- What was typed ------------------------------------------------------------------------------


def _check_asking(model: str | None, tune: str | None, save: Path | None) -> None:
    """Check the options of the rung `llm`: a model, and no conflicting option. Raises `InputError`."""
    if model is None:
        raise InputError("--rungs has 'llm', and no --model says whom it asks.", hint="Name a key of [models].")
    if tune not in {None, model}:
        raise InputError(
            f"--tune is {tune!r} and --model is {model!r}; the rungs of one job tune and ask the same model.",
            hint="Name the same one twice, or try the rungs 'slm' and 'llm' one after the other.",
        )
    if save is not None:
        raise InputError(
            "Given --save-answers with rung 'llm'.",
            hint="Its answers are kept in state/answers.jsonl of the network's folder, and never asked for twice.",
        )


def _section(folder: Path, task: str, data: Path, fields: dict[str, Any]) -> SpecialistSection:
    """Return the section of the described specialist. Raises `InputError` for invalid settings."""
    from coterie.tasks.contract import TASK_TYPES

    task = task_for(task, fields)
    check_task(task, fields)
    if why_not := TASK_TYPES.load(task).not_rightsized:
        raise InputError(f"--task is {task!r}, which is not right-sized.", hint=why_not)
    fields |= {"data": str(find_file(folder, data))}
    if "test" in fields:
        fields["test"] = str(find_file(folder, Path(fields["test"])))
    return section_from(task, fields)


def _asked_model(section: SpecialistSection, config: Config, folder: Path) -> AskedModel | None:
    """Return the model that the rung `llm` asks."""
    from coterie.governance.audit import open_audit
    from coterie.governance.egress import ClearancePolicy, Gate
    from coterie.learning.job import find_asked

    if section.model not in config.models:
        raise InputError(
            f"Asked for model {section.model!r}; the network's models are {sorted(config.models)}.",
            hint="Add [models.NAME] to coterie.toml.",
        )
    return find_asked(section, config, folder, Gate(ClearancePolicy(), audit=open_audit(config.audit, folder)))


def _tuned_model(name: str | None, config: Config | None, folder: Path) -> LlamaModel | None:
    """Return the model of `--tune`, with its path relative to the current folder; None without the option."""
    from coterie.config.file import LlamaModel
    from coterie.models.catalogue import CATALOGUE

    if name is None:
        return None
    models = config.models if config else {}
    catalogue_names = sorted(model.name for model in CATALOGUE.values() if model.kind == "gguf")
    model = models.get(name)
    if model is None and name in catalogue_names:
        return LlamaModel(engine="llama", name=name)
    if not isinstance(model, LlamaModel):
        here = sorted(key for key, model in models.items() if isinstance(model, LlamaModel))
        raise InputError(
            f"--tune is {name!r}; models that run in this process are {here}, and by their names {catalogue_names}.",
            hint='Name one, or add [models.NAME] with engine = "llama" to coterie.toml.',
        )
    return (
        model
        if model.name in catalogue_names
        else model.model_copy(update={"name": str((folder / model.name).absolute())})
    )


def _config(folder: Path, *, needed: bool) -> Config | None:
    """Return the network's configuration, for its prices and models; None without a file, which means defaults."""
    from coterie.config.section import FILE_NAME

    return configured(folder) if needed or (folder / FILE_NAME).exists() else None


def _accounting(config: Config | None, watts: float | None, price: str | None) -> AccountingSection:
    """Return watts and price of a core: the typed values, else the network's, else the defaults."""
    from coterie.config.operation import AccountingSection

    section = config.accounting if config else AccountingSection()
    if watts is not None and not 0 < watts <= _MOST_WATTS:
        raise InputError(f"--watts-per-core is {watts:g}.", hint=f"It is above 0 and at most {_MOST_WATTS:g}.")
    typed = {"watts_per_core": watts, "price_per_cpu_hour": parse_money("--price-per-cpu-hour", price)}
    return section.model_copy(update={key: value for key, value in typed.items() if value is not None})


def _conditions(accounting: AccountingSection) -> Conditions:
    """Return time, place and environment of this run, without a name or path of the machine."""
    from importlib import metadata

    from coterie.rightsizing.result import Conditions

    load = round(os.getloadavg()[0], 2)
    return Conditions(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine={"processor": _processor(), "cores": os.cpu_count(), "system": platform.system(), "load": load},
        versions={"coterie": __version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in ("numpy", "scikit-learn", "onnxruntime")},
        watts_per_core=accounting.watts_per_core,
        price_per_cpu_hour=accounting.price_per_cpu_hour,
        currency=accounting.currency,
    )


def _processor() -> str:
    """Return the processor's model where the system reports it, else its architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.machine()


# --- A large model beside the rungs --------------------------------------------------------------


def _large_row(
    large: _Large, config: Config | None, folder: Path, rows: Rows, progress: TerminalProgress
) -> LargeRow | None:
    """Return the large model's row, from recorded answers or from answers asked for now; None without a large model."""
    from coterie.governance.audit import open_audit
    from coterie.governance.egress import ClearancePolicy, Gate
    from coterie.rightsizing.large import Prices, judge_answers, read_answers, write_answers

    if large.recorded is not None:
        answers = read_answers(large.recorded, text_column=rows.section.text_column or "text")
        tokens_in, tokens_out = large.prices
        prices = Prices(
            tokens_in=parse_money("--price-in", tokens_in), tokens_out=parse_money("--price-out", tokens_out)
        )
        name = large.name or large.recorded.stem
        return judge_answers(name, f"recorded in {large.recorded.name}", answers, rows.held, prices)
    if large.model is None or config is None:
        return None
    model = _remote_model(large.model, config)
    label = parse_label("--label", large.label) or config.network.default_label
    engine = Gate(ClearancePolicy(), audit=open_audit(config.audit, folder)).open(large.model, model)
    bill: Bill = []
    try:
        answers = run(_answers(engine, rows, label=label, most=large.rows, progress=progress, bill=bill))
    finally:
        record_bill(folder, config, Path(str(rows.section.data)).stem, "rightsize", bill)
    if large.save is not None:
        write_bytes(large.save, write_answers(answers))
    now = model.prices_at()
    prices = Prices(tokens_in=now.tokens_in, tokens_out=now.tokens_out)
    return judge_answers(large.model, f"{model.name}, asked now", answers, rows.held, prices)


def _remote_model(name: str, config: Config) -> RemoteModel:
    from coterie.config.file import RemoteModel

    model = config.models.get(name)
    if not isinstance(model, RemoteModel):
        remote_names = sorted(key for key, model in config.models.items() if isinstance(model, RemoteModel))
        raise InputError(
            f"Asked for model {name!r}; the network's remote models are {remote_names}.",
            hint='Add [models.NAME] with engine = "openai" to coterie.toml.',
        )
    return model


async def _answers(
    engine: StreamingEngine, rows: Rows, *, label: Label, most: int, progress: TerminalProgress, bill: Bill
) -> list[RecordedAnswer]:
    """Ask a remote model of the network, then close it."""
    from coterie.rightsizing.large import ask_model

    try:
        return await ask_model(
            engine, rows.held, rows.train, most=most, label=label, seed=rows.section.seed, progress=progress, bill=bill
        )
    finally:
        await engine.close()


# --- What is shown -------------------------------------------------------------------------------


def _give(sizing: RightSizing, report: Path | None, *, as_json: bool) -> None:
    """Write the report, show the result, and set the exit code by whether a rung is enough."""
    from coterie.rightsizing.page import rightsizing_page

    if report is not None:
        write_bytes(report, rightsizing_page(sizing).encode())
    warn(sizing.warnings)
    give(sizing.to_json(), lambda: _show(sizing, report), as_json=as_json)
    if sizing.verdict.outcome in {"missed", "reached"}:
        raise typer.Exit(BAR_MISSED)


def _show(sizing: RightSizing, report: Path | None) -> None:
    rows, held_out = sizing.data["train"]["rows"], sizing.data["held_out"]["rows"]
    columns = [sizing.measure, "95% range", "alone", "right", "ECE", "p50/p95 ms", "RSS", "size", "train", "J/1k"]
    money = f"{sizing.conditions.currency}/1k"
    table = [_row(row) for row in sizing.rungs]
    if sizing.large is not None:
        table.append(_large_cells(sizing.large))
    title = f"Trained on {rows:,} rows, measured on {held_out:,} held-out rows of {sizing.data['held_out']['file']}"
    show_table(["rung", *columns, money], table, title=title, gap=0)
    if sizing.chain:
        stops = [
            Stop(point.stop, *point.figure, list(point.asked.values()), point.taken, _per_1000(point.per_1000))
            for point in sizing.chain
        ]
        show_stops(list(sizing.chain[0].asked), stops, title="The chain", more=("J/1k", money))
    paragraph(f"Verdict: {sizing.verdict}")
    dim(
        f"alone: share answered at a target risk of {sizing.target_risk:.0%}, or at the one a warning names; right: "
        "accuracy of those; RSS: a process with this rung alone; J/1k and money: for 1,000 answers, estimated."
    )
    if report is not None:
        say(f"Report: {report}")


def _row(row: RungRow) -> list[str]:
    evaluation = row.evaluation
    return [
        row.rung,
        number(row.figure.value),
        interval(row.figure.interval),
        "-" if evaluation.coverage is None else f"{evaluation.coverage:.0%}",
        number(evaluation.accepted_accuracy),
        number(evaluation.ece),
        f"{_short(row.p50)}/{_short(row.p95)}",
        "-" if row.resident_bytes is None else f"{row.resident_bytes / 1e6:,.0f} MB",
        size(row.bytes),
        f"{row.seconds:,.0f} s",
        *_per_1000(row.per_1000),
    ]


def _large_cells(large: LargeRow) -> list[str]:
    times = "-" if large.p50 is None or large.p95 is None else f"{_short(large.p50)}/{_short(large.p95)}"
    figure = [number(large.figure.value), interval(large.figure.interval)]
    return [large.name, *figure, *["-"] * 3, times, *["-"] * 3, *_per_1000(large.per_1000)]


def _per_1000(per_1000: Per1000) -> tuple[str, str]:
    """Format joules and money per 1,000 requests; a dash for an unknown amount."""
    joules = "-" if per_1000.joules is None else _short(per_1000.joules)
    return joules, "-" if per_1000.money is None else _amount(per_1000.money)


def _amount(money: Decimal) -> str:
    """Format an amount with two significant digits, or in cents: `0.000039`, `3.33`."""
    places = max(2, 1 - money.adjusted()) if money else 2
    return f"{money:.{places}f}"


def _short(value: float) -> str:
    """Format a number with two significant digits: `0.43`, `4.3`, `43`, `4,300`."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < _MUCH else f"{value:,.0f}"
