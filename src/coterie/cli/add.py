"""`coterie add`: one more specialist in the network's file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from coterie.cli.files import find_file
from coterie.cli.index import check_name as check_shelf
from coterie.cli.output import Json, remark, say, shell, show_json
from coterie.errors import ConfigError, InputError
from coterie.runtime.files import copy_file, sole_editor, write_bytes

if TYPE_CHECKING:
    from coterie.config.specialists import SpecialistSection

_TAKEN_NAMES = {"router"}
"""Names of the registry that are no specialist's."""


@dataclass(frozen=True, kw_only=True)
class _File:
    """A data file as it was given, where it will be and whether it has to be copied there."""

    source: Path
    target: Path
    in_toml: str

    @property
    def copied(self) -> bool:
        return self.source != self.target


# --- The options: each is a key of [specialists.NAME] --------------------------------------------

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name: small letters, digits, - and _.")]
_Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Training data, CSV or JSONL; copied into the folder if outside. `answer` needs none."
    ),
]
_Task = Annotated[str, typer.Option(metavar="TASK", help="classify, score, extract, answer or generate.")]
_Knowledge = Annotated[
    list[str] | None,
    typer.Option(metavar="SHELF", help="answer: a shelf that it reads, from [knowledge] or as it was indexed."),
]
_Rungs = Annotated[
    list[str] | None,
    typer.Option("--rungs", "--rung", metavar="RUNG,...", help="Rungs to try, cheapest first; see `rungs`."),
]
_Chain = Annotated[
    str | None, typer.Option("--chain", metavar="RUNG,...", help="Rungs to keep as one chain; see `chain`.")
]
_Description = Annotated[
    str, typer.Option(metavar="TEXT", help="What it is for, in a sentence: the router learns from it.")
]
_Licence = Annotated[str | None, typer.Option(metavar="SPDX", help="Licence of the data, such as CC-BY-4.0.")]
_Test = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Held-out data; without it a fifth of the training data is held out."),
]
_Bar = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METRIC=VALUE", help="What it must reach on held-out data: accuracy=0.9, macro_f1, auc, token_f1."
    ),
]
_TargetRisk = Annotated[
    float | None, typer.Option(metavar="SHARE", help="Highest share of wrong answers among accepted ones.")
]
_Reads = Annotated[list[str] | None, typer.Option(metavar="FACT", help="A fact it needs from others.")]
_Writes = Annotated[list[str] | None, typer.Option(metavar="FACT", help="A fact it adds for others.")]
_Model = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="generate, answer: the [models] entry that writes the text, or is tuned to."),
]


def add(
    context: typer.Context,
    *,
    name: _Name,
    data: _Data = None,
    task: _Task = "classify",
    description: _Description = "",
    licence: _Licence = None,
    test: _Test = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    pair_column: PairColumn = None,
    multi_label: MultiLabel = False,
    fields: Fields = None,
    bar: _Bar = None,
    target_risk: _TargetRisk = None,
    exclude: Exclude = None,
    protected: Protected = None,
    reads: _Reads = None,
    writes: _Writes = None,
    model: _Model = None,
    knowledge: _Knowledge = None,
    rungs: _Rungs = None,
    chain: _Chain = None,
    as_json: Json = False,
) -> None:
    """Add a specialist to coterie.toml.

    Its name, its settings and every row of its data are checked first. FILE is looked for where you are, then in
    the network's folder. A file outside the folder is copied to data/NAME (with its suffix), so the folder stays
    complete by itself. Comments and order of coterie.toml are kept.
    """
    folder: Path = context.obj
    files = _places(folder, name, {"data": data, "test": test})
    given = {
        "task": task,
        "description": description,
        **{key: file.in_toml for key, file in files.items()},
        "licence": licence,
        "text_column": text_column,
        "label_column": label_column,
        "group_column": group_column,
        "pair_column": pair_column,
        "multi_label": multi_label,
        "fields": parse_fields(fields or ()),
        "bar": parse_bars(bar or ()),
        "target_risk": target_risk,
        "exclude": exclude,
        "protected": protected,
        "reads": reads,
        "writes": writes,
        "model": model,
        "knowledge": knowledge,
    }
    given |= {"rungs": _listed(*rungs or ()), "chain": _listed(chain or "")}
    settings = {key: value for key, value in given.items() if value or isinstance(value, float)}
    _tell(folder, _add(folder, name, settings, files), as_json=as_json)


def _places(folder: Path, name: str, given: Mapping[str, Path | None]) -> dict[str, _File]:
    """Where each data file belongs; a name that cannot be has none."""
    from coterie.config.file import load_config

    _check_name(name, load_config(folder).specialists)
    stems = {"data": name, "test": f"{name}.test"}
    return {key: _place(folder, stems[key], path) for key, path in given.items() if path is not None}


def _listed(*typed: str) -> list[str]:
    """Names that were typed with commas between them, or one after the other."""
    return [name.strip() for names in typed for name in names.split(",") if name.strip()]


def _add(folder: Path, name: str, settings: Mapping[str, Any], files: Mapping[str, _File]) -> dict[str, Any]:
    """Add it while nobody else edits coterie.toml. What was added and what is odd about it."""
    from coterie.config.section import FILE_NAME

    with sole_editor(folder / FILE_NAME):
        return _add_alone(folder, name, settings, files)


def _add_alone(folder: Path, name: str, settings: Mapping[str, Any], files: Mapping[str, _File]) -> dict[str, Any]:
    """Check everything, then write: data first, coterie.toml last."""
    from coterie.config.edit import add_tables
    from coterie.config.file import load_config, parse_config
    from coterie.config.section import FILE_NAME

    config = load_config(folder)
    _check_name(name, config.specialists)  # somebody may have taken it meanwhile
    shelves = _unlisted(folder, settings.get("knowledge", ()), config.knowledge)
    path = folder / FILE_NAME
    text = path.read_bytes().decode("utf-8")
    known = {("knowledge", each): _as_indexed(folder, each) for each in shelves}
    added = add_tables(text, {**known, ("specialists", name): settings})
    try:
        section = parse_config(added).specialists[name]
    except ConfigError as error:
        problems = error.message.partition(":\n")[2] or error.message
        raise InputError(f"{name!r} cannot be added:\n{problems}", hint="Nothing was changed.") from error
    counts, warnings = _check_data(section, files)
    for file in files.values():
        if file.copied:
            copy_file(file.source, file.target)
    write_bytes(path, added.encode())
    copied = {str(file.source): file.in_toml for file in files.values() if file.copied}
    return {
        "name": name,
        "settings": settings,
        "rows": counts,
        "copied": copied,
        "shelves": shelves,
        "warnings": warnings,
    }


def _unlisted(folder: Path, wanted: Sequence[str], listed: Collection[str]) -> list[str]:
    """The shelves that are indexed and not yet in coterie.toml. Raises `InputError` for one that is neither."""
    from coterie.knowledge.open import shelf_folder

    new = [name for name in dict.fromkeys(wanted) if name not in listed]
    for name in new:
        check_shelf(name)
        if not shelf_folder(folder, name).is_dir():
            raise InputError(
                f"Unknown shelf {name!r}: it is neither in coterie.toml ({sorted(listed)}) nor indexed.",
                hint=f"Index documents for it: {shell(folder, 'index', name, 'PATH')}",
            )
    return new


def _check_name(name: str, taken: Mapping[str, object]) -> None:
    if name in taken:
        raise InputError(
            f"This network already has a specialist {name!r}.", hint="Choose another name, or edit coterie.toml."
        )
    if name in _TAKEN_NAMES or not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        plain = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
        better = re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-_0123456789")[:63]
        why = (
            "that is the router's" if name in _TAKEN_NAMES else "it takes a small letter, then letters, digits, - or _"
        )
        usable = better and better not in _TAKEN_NAMES and better not in taken
        raise InputError(f"{name!r} is no name for a specialist: {why}.", hint=f"Try {better!r}." if usable else "")


def parse_bars(bars: Sequence[str]) -> dict[str, float]:
    """`--bar METRIC=VALUE`, any number of them, as a table. Raises `InputError`."""
    parsed: dict[str, float] = {}
    for bar in bars:
        metric, _, value = bar.partition("=")
        try:
            parsed[metric.strip()] = float(value)
        except ValueError:
            raise InputError(f"--bar is {bar!r}.", hint="Write METRIC=VALUE, such as accuracy=0.9.") from None
    return parsed


def _place(folder: Path, stem: str, given: Path) -> _File:
    """Where a data file is and where in the network's folder it belongs."""
    import filecmp

    found, home = find_file(folder, given), folder.resolve()
    source = found.parent.resolve() / found.name
    if source.is_relative_to(home):
        return _File(source=source, target=source, in_toml=source.relative_to(home).as_posix())
    target = home / "data" / f"{stem}{source.suffix}"
    if target.exists() and not filecmp.cmp(source, target, shallow=False):
        raise InputError(
            f"{str(source)!r} belongs to {str(target)!r}, where another file is already.",
            hint="Move that one away, or put yours into the network's folder yourself and give its path there.",
        )
    return _File(source=source, target=target, in_toml=target.relative_to(home).as_posix())


def _as_indexed(folder: Path, shelf: str) -> dict[str, str]:
    """The label and the tenant that a shelf was given when it was indexed."""
    from coterie.knowledge.guard import given_before
    from coterie.knowledge.open import shelf_folder

    return {key: str(value) for key, value in given_before(shelf_folder(folder, shelf))._asdict().items() if value}


def _check_data(section: SpecialistSection, files: Mapping[str, _File]) -> tuple[dict[str, int], list[str]]:
    """Read every row where it is now; how many there are, and what is odd about them."""
    from coterie.learning.reading import read_section

    counts: dict[str, int] = {}
    warnings: list[str] = []
    for key, file in files.items():
        dataset = read_section(section, file.source, for_evaluation=key == "test")
        counts[key] = len(dataset)
        warnings += dataset.warnings
    return counts, warnings


def _tell(folder: Path, document: Mapping[str, Any], *, as_json: bool) -> None:
    for warning in document["warnings"]:
        remark(f"Warning: {warning}")
    if as_json:
        show_json(document)
    else:
        _show(folder, document)


def _show(folder: Path, document: Mapping[str, Any]) -> None:
    """What was added, in words."""
    name, settings = document["name"], document["settings"]
    rows = ", ".join(f"{count:,} rows of {settings[key]}" for key, count in document["rows"].items())
    say(f"Added {name}: {settings['task']}{f', {rows}' if rows else ''}.")
    for source, target in document["copied"].items():
        say(f"Copied {source} to {target}, so that the folder is complete by itself.")
    for shelf in document["shelves"]:
        say(
            f"Added [knowledge.{shelf}] as it is indexed; with its `paths` in coterie.toml, `coterie index` finds them."
        )
    say(f"Next: {shell(folder, 'train', name)}")
