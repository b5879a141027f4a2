"""`coterie rightsize`: how much machinery a job needs, and what each step up costs."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from coterie import __version__
from coterie.cli.add import parse_bars
from coterie.cli.data_options import (
    Exclude,
    Fields,
    GroupColumn,
    LabelColumn,
    MultiLabel,
    PairColumn,
    Protected,
    TextColumn,
    parse_fields,
)
from coterie.cli.files import check_writable, find_file
from coterie.cli.large import Large, large_row, parse_money
from coterie.cli.output import Json, remark
from coterie.cli.rightsize_show import give
from coterie.errors import ConfigError, InputError

if TYPE_CHECKING:
    from coterie.config.accounting import AccountingSection
    from coterie.config.file import Config, LlamaModel
    from coterie.config.specialists import SpecialistSection
    from coterie.learning.asked import AskedModel
    from coterie.rightsizing.result import Conditions, RightSizing


_MOST_WATTS = 1000.0

_Data = Annotated[Path, typer.Argument(metavar="DATA", help="Training data, CSV or JSONL.")]
_Task = Annotated[
    str, typer.Option(metavar="TASK", help="classify, pairs, score, extract, or one of an installed package.")
]
_Test = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Held-out data; without it a seeded fifth of DATA is held out.")
]
_Bar = Annotated[
    list[str] | None,
    typer.Option(metavar="METRIC=VALUE", help="What is enough: accuracy=0.9, macro_f1, auc."),
]
_Rungs = Annotated[
    str | None,
    typer.Option(metavar="RUNG,...", help="Rungs that may be taken, cheapest first; the floor is always shown."),
]
_Chain = Annotated[
    str | None,
    typer.Option(metavar="RUNG,...", help="Rungs to keep as one chain, cheapest first, in place of --rungs."),
]
_Tune = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What the rung slm tunes: a [models] entry of the network, or a name `coterie models list` knows.",
    ),
]
_Base = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What the rung encoder fine-tunes: minilm (the default), a folder, or what `coterie models pull` fetched.",
    ),
]
_TargetRisk = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Highest share of wrong answers among accepted ones; else 0.05, or the smallest that the rows can show.",
    ),
]
_Seed = Annotated[int, typer.Option(metavar="NUMBER", help="Seed of everything random.")]
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
_LabelOption = Annotated[
    str | None,
    typer.Option("--label", metavar="LABEL", help="--model: sensitivity of the texts; default: the network's."),
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


def rightsize(
    context: typer.Context,
    *,
    data: _Data,
    task: _Task = "classify",
    test: _Test = None,
    bar: _Bar = None,
    rungs: _Rungs = None,
    chain: _Chain = None,
    tune: _Tune = None,
    base: _Base = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    pair_column: PairColumn = None,
    multi_label: MultiLabel = False,
    fields: Fields = None,
    exclude: Exclude = None,
    protected: Protected = None,
    target_risk: _TargetRisk = None,
    seed: _Seed = 0,
    watts_per_core: _Watts = None,
    price_per_cpu_hour: _Price = None,
    recorded: _Recorded = None,
    recorded_name: _RecordedName = None,
    price_in: _PriceIn = None,
    price_out: _PriceOut = None,
    model: _Model = None,
    model_rows: _ModelRows = 200,
    label: _LabelOption = None,
    save_answers: _SaveAnswers = None,
    report: _Report = None,
    keep: _Keep = None,
    as_json: Json = False,
) -> None:
    """Find the smallest rung that is enough.

    Every rung is trained on DATA and measured on held-out rows: quality, coverage, latency, memory, size, energy, cost.
    The verdict names the cheapest that meets the bar with 95% confidence, or none (exit code 3). A large model can
    stand beside them, recorded or live. Only --report, --keep and --save-answers write; no network is needed.
    """
    folder: Path = context.obj
    columns = {"text_column": text_column, "label_column": label_column, "group_column": group_column}
    features = {"pair_column": pair_column, "multi_label": multi_label, "fields": parse_fields(fields or ())}
    named = {"exclude": exclude, "protected": protected, "rungs": rungs, "chain": chain, "base": _place(base)}
    asks = _asks(rungs, model, tune, save_answers)
    limits = {"bar": parse_bars(bar or ()), "target_risk": target_risk, "seed": seed}
    asked = _asking(model, label, model_rows) if asks else {"model": tune}
    section = _section(folder, data, test, {"task": task, **columns, **features, **named, **limits, **asked})
    large = Large(
        recorded=None if recorded is None else find_file(folder, recorded),
        name=recorded_name,
        prices=(price_in, price_out),
        model=None if asks else model,
        rows=model_rows,
        label=label,
        save=save_answers,
    )
    found = _find(folder, section, large, watts=watts_per_core, price=price_per_cpu_hour, keep=keep, report=report)
    give(found, report, as_json=as_json)


def _find(
    folder: Path,
    section: SpecialistSection,
    large: Large,
    *,
    watts: float | None,
    price: str | None,
    keep: Path | None,
    report: Path | None,
) -> RightSizing:
    """Read, ask the large model first (it fails fast), then train and measure: minutes do not end in no place."""
    from coterie.cli.progress import TerminalProgress
    from coterie.engines.onnx import OnnxEncoder
    from coterie.rightsizing.bench import read_rows
    from coterie.rightsizing.rightsize import rightsize as measure_rungs

    check_writable("--report", report)
    check_writable("--save-answers", large.save)
    asks = "llm" in (section.rungs or ())
    config = _config(folder, needed=large.model is not None or asks)
    asked = _asked(section, config, folder) if asks and config is not None else None
    tuned = section.model if "slm" in (section.rungs or ()) or not asks else None
    accounting = _accounting(config, watts, price)
    rows = read_rows(section)
    try:
        with TerminalProgress() as progress:
            return measure_rungs(
                rows,
                encoder=OnnxEncoder.bundled(threads=2),
                accounting=accounting,
                conditions=_conditions(accounting),
                large=large_row(large, config, rows, progress),
                keep=keep,
                progress=progress,
                model=_tuned_model(tuned, config, folder),
                asked=asked,
            )
    except KeyboardInterrupt:
        _say_what_is_kept(section, keep)
        raise


def _say_what_is_kept(section: SpecialistSection, keep: Path | None) -> None:
    """What an interruption leaves, where minutes of fine-tuning may be lost."""
    from coterie.cli.progress import say_fine_tuning_is_kept
    from coterie.rightsizing.rightsize import CHECKPOINTS_FOLDER
    from coterie.tasks.registry import task_of

    if keep is not None and say_fine_tuning_is_kept(keep / CHECKPOINTS_FOLDER):
        return
    if {"encoder", "slm"} & {*task_of(section).wanted_rungs(section)}:
        more = " With --keep DIR a fine-tuning goes on where it was." if keep is None else ""
        remark(f"Nothing is kept{'' if keep is None else ' yet'}: it starts over.{more}")


def _asked(section: SpecialistSection, config: Config, folder: Path) -> AskedModel | None:
    """What the rung `llm` asks."""
    from coterie.governance.egress import ClearancePolicy, Gate
    from coterie.learning.asked import find_asked

    if section.model not in config.models:
        raise InputError(
            f"Asked for model {section.model!r}; the network's models are {sorted(config.models)}.",
            hint="Add [models.NAME] to coterie.toml.",
        )
    return find_asked(section, config, folder, Gate(ClearancePolicy()))


# --- What was typed ------------------------------------------------------------------------------


def _asks(rungs: str | None, model: str | None, tune: str | None, save: Path | None) -> bool:
    """Whether the rung `llm` is tried. Raises `InputError` where it lacks a model, or something does not go with it."""
    if "llm" not in [rung.strip() for rung in (rungs or "").split(",")]:
        return False
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
    return True


def _asking(model: str | None, label: str | None, rows: int) -> dict[str, object]:
    """What the rung `llm` asks, and how often."""
    return {"model": model, "data_label": label, "calibration_calls": rows, "test_calls": rows}


def _place(base: str | None) -> str | None:
    """The base encoder's name; of a folder its place, wherever the command is run."""
    return str(Path(base).resolve()) if base and Path(base).is_dir() else base


def _split_rungs(option: str, typed: str | None) -> list[str] | None:
    """Rungs that were typed with commas between them. Raises `InputError`."""
    from coterie.types import Rung

    if typed is None:
        return None
    rungs, known = [rung.strip() for rung in typed.split(",")], [rung for rung in get_args(Rung) if rung != "chain"]
    if odd := [rung for rung in rungs if rung not in known]:
        raise InputError(f"{option} has {odd[0]!r}.", hint=f"Rungs are {', '.join(known)}.")
    return rungs


def _section(folder: Path, data: Path, test: Path | None, settings: Mapping[str, Any]) -> SpecialistSection:
    """The specialist that was described. Raises `InputError` for what no specialist can be."""
    from pydantic import ValidationError

    from coterie.config.renamed import renamed_table
    from coterie.config.specialists import make_section
    from coterie.tasks.registry import TASK_TYPES

    given = {
        **settings,
        "rungs": _split_rungs("--rungs", settings["rungs"]),
        "chain": _split_rungs("--chain", settings["chain"]),
        "data": str(find_file(folder, data)),
        "test": None if test is None else str(find_file(folder, test)),
    }
    try:
        if why_not := TASK_TYPES.load(settings["task"]).not_rightsized:
            raise InputError(f"--task is {settings['task']!r}.", hint=why_not)
        typed = {key: value for key, value in given.items() if value or _is_number(value)}
        return make_section(**renamed_table(typed))
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "The command"
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            said = f"task {given['task']!r} has no such setting"
        about = f" ({first['loc'][1]!r})" if len(first["loc"]) > 1 else ""
        raise InputError(f"{option}{about}: {said}.", hint="See coterie rightsize --help.") from None
    except ConfigError as error:
        raise InputError(f"--task: {error.message}", hint=error.hint) from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _tuned_model(name: str | None, config: Config | None, folder: Path) -> LlamaModel | None:
    """The model of `--tune`, its path as seen from here; None when nothing was typed."""
    from coterie.config.file import LlamaModel
    from coterie.models.catalogue import CATALOGUE

    if name is None:
        return None
    model = config.models.get(name) if config else None
    known = sorted(each.name for each in CATALOGUE.values() if each.kind == "gguf")
    if model is None and name in known:
        return LlamaModel(engine="llama", name=name)
    if not isinstance(model, LlamaModel):
        here = sorted(key for key, each in (config.models if config else {}).items() if isinstance(each, LlamaModel))
        raise InputError(
            f"--tune is {name!r}; models that run in this process are {here}, and by their names {known}.",
            hint='Name one, or add [models.NAME] with engine = "llama" to coterie.toml.',
        )
    return model if model.name in known else model.model_copy(update={"name": str((folder / model.name).absolute())})


def _config(folder: Path, *, needed: bool) -> Config | None:
    """The network's file: for its prices and models; without one everything is as nobody said."""
    from coterie.config.file import load_config
    from coterie.config.section import FILE_NAME

    return load_config(folder) if needed or (folder / FILE_NAME).exists() else None


def _accounting(config: Config | None, watts: float | None, price: str | None) -> AccountingSection:
    """Watts and price of a core: what was typed, else the network's, else the default."""
    from coterie.config.accounting import AccountingSection

    known = config.accounting if config else AccountingSection()
    if watts is not None and not 0 < watts <= _MOST_WATTS:
        raise InputError(f"--watts-per-core is {watts:g}.", hint=f"It is above 0 and at most {_MOST_WATTS:g}.")
    given = {"watts_per_core": watts, "price_per_cpu_hour": parse_money("--price-per-cpu-hour", price)}
    return known.model_copy(update={key: value for key, value in given.items() if value is not None})


def _conditions(accounting: AccountingSection) -> Conditions:
    """When, where and with what this runs; no name or path of the machine is in it."""
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
    """The processor's model where the system says it, else its architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()
