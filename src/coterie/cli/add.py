"""`coterie init` and `coterie add`: create a network's folder, and add a specialist to its coterie.toml."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import configured, find_file
from coterie.cli.options import check_index_name, check_task, given, task_for
from coterie.cli.output import Json, give, say, shell, warn
from coterie.errors import ConfigError, InputError, SetupError
from coterie.runtime.files import copy_file, sole_editor, write_bytes

if TYPE_CHECKING:
    from coterie.config.specialists import SpecialistSection

_TAKEN_NAMES = {"router"}
"""Names in the registry that a specialist must not have."""
_STEMS = {"data": "{}", "test": "{}.test", "pairs": "{}.pairs"}
"""Name of a data file's copy, by its setting and the specialist's name."""


@dataclass(frozen=True, kw_only=True)
class _File:
    """A data file: its given path, its path in the network, and whether it has to be copied there."""

    source: Path
    target: Path
    in_toml: str

    @property
    def copied(self) -> bool:
        return self.source != self.target


def add(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: small letters, digits, - and _.")],
    task: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="classify, pairs, score, extract, answer, generate, tools, or one of an installed package.",
        ),
    ] = "classify",
    as_json: Json = False,
) -> None:
    """Add a specialist to coterie.toml.

    Each option is a key of the specialist's section. The name, the settings and every row of the data are checked
    first. FILE is looked up in the current folder, then in the network's folder. A file outside the network's folder
    is copied to data/NAME (with its suffix), so the folder is complete. Comments and order of coterie.toml are kept.
    """
    from coterie.config.section import FILE_NAME

    folder, fields = context.obj, given(context)
    task = task_for(task, fields)
    check_task(task, fields)
    check_name(name, configured(folder).specialists)
    files = {
        key: _data_file(folder, stem.format(name), Path(fields[key])) for key, stem in _STEMS.items() if key in fields
    }
    settings = {"task": task, **fields, **{key: file.in_toml for key, file in files.items()}}
    with sole_editor(folder / FILE_NAME):
        document = _add(folder, name, settings, files)
    warn(document["warnings"])
    give(document, lambda: _show(folder, document), as_json=as_json)


def _add(folder: Path, name: str, settings: Mapping[str, Any], files: Mapping[str, _File]) -> dict[str, Any]:
    """Check everything, then write: data first, coterie.toml last. Return what was added, with its warnings."""
    from coterie.config.edit import add_tables
    from coterie.config.file import parse_config
    from coterie.config.section import FILE_NAME

    config = configured(folder)
    check_name(name, config.specialists)  # somebody may have taken it meanwhile
    indexes = _unlisted(folder, settings.get("knowledge", ()), config.knowledge)
    path = folder / FILE_NAME
    text = path.read_bytes().decode("utf-8-sig")
    tables = {("knowledge", index): _as_indexed(folder, index) for index in indexes}
    added = add_tables(text, {**tables, ("specialists", name): settings})
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
    about = {"name": name, "settings": settings, "rows": counts, "copied": copied}
    return {**about, "indexes": indexes, "warnings": warnings}


def _unlisted(folder: Path, wanted: Sequence[str], listed: Collection[str]) -> list[str]:
    """Return the built indexes that are not in coterie.toml yet. Raises `InputError` for one that is neither."""
    from coterie.knowledge.open import index_folder

    new = [name for name in dict.fromkeys(wanted) if name not in listed]
    for name in new:
        check_index_name(name)
        if not index_folder(folder, name).is_dir():
            raise InputError(
                f"Unknown index {name!r}: it is neither in coterie.toml ({sorted(listed)}) nor indexed.",
                hint=f"Index documents for it: {shell(folder, 'index', name, 'PATH')}",
            )
    return new


def check_name(name: str, taken: Mapping[str, object]) -> None:
    """Check the name of a new specialist. Raises `InputError`."""
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


def _data_file(folder: Path, stem: str, typed: Path) -> _File:
    """Return where a data file is and where in the network's folder it belongs."""
    import filecmp

    path, home = find_file(folder, typed), folder.resolve()
    source = path.parent.resolve() / path.name
    if source.is_relative_to(home):
        return _File(source=source, target=source, in_toml=source.relative_to(home).as_posix())
    target = home / "data" / f"{stem}{source.suffix}"
    if target.exists() and not filecmp.cmp(source, target, shallow=False):
        raise InputError(
            f"{str(source)!r} belongs to {str(target)!r}, where another file is already.",
            hint="Move that one away, or put yours into the network's folder yourself and give its path there.",
        )
    return _File(source=source, target=target, in_toml=target.relative_to(home).as_posix())


def _as_indexed(folder: Path, index: str) -> dict[str, str]:
    from coterie.knowledge.open import index_folder, indexed_access

    return {key: str(value) for key, value in vars(indexed_access(index_folder(folder, index))).items() if value}


def _check_data(section: SpecialistSection, files: Mapping[str, _File]) -> tuple[dict[str, int], list[str]]:
    """Read every row of the given files; return the number of rows and the warnings."""
    from coterie.tasks.contract import task_of

    read = {
        key: task_of(section).read_rows(section, files[key].source, for_evaluation=key == "test")
        for key in ("data", "test")
        if key in files
    }
    warnings = [warning for dataset in read.values() for warning in dataset.warnings]
    return {key: len(dataset) for key, dataset in read.items()}, warnings


def _show(folder: Path, document: Mapping[str, Any]) -> None:
    name, settings = document["name"], document["settings"]
    rows = ", ".join(f"{count:,} rows of {settings[key]}" for key, count in document["rows"].items())
    say(f"Added {name}: {settings['task']}{f', {rows}' if rows else ''}.")
    for source, target in document["copied"].items():
        say(f"Copied {source} to {target}, so that the folder is complete by itself.")
    for index in document["indexes"]:
        say(
            f"Added [knowledge.{index}] as it is indexed; with its `paths` in coterie.toml, `coterie index` finds them."
        )
    say(f"Next: {shell(folder, 'train', name)}")


FILE_NAME = "coterie.toml"  # as in `coterie.config`, which would bring pydantic into `coterie --help`
_MADE_BY_RUNNING = {"registry", "state", "__pycache__"}

TEMPLATE = Path(__file__).with_name("template.toml")
"""The template of a new folder's coterie.toml; `{name}` is the network's name."""


def init(
    context: typer.Context,
    *,
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make; it may exist.")],
    example: Annotated[
        str | None, typer.Option(metavar="NAME", help="Start from an example instead of an empty network: lender.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a network's folder, empty or from an example.

    Without --example the folder gets a commented coterie.toml; with one, the example's coterie.toml and data. A
    folder that already has a coterie.toml is left alone, and no file is ever overwritten.
    """
    folder: Path = context.obj / target
    if (folder / FILE_NAME).exists():
        raise InputError(
            f"{str(folder)!r} already has a {FILE_NAME}.",
            hint=f"Choose another folder, or use this one: {shell(folder, 'doctor')}",
        )
    made = _copy_example(example, folder) if example else _write_minimal(folder)
    steps = _next_steps(folder, example)
    document = {"folder": str(folder), "example": example, "files": made, "next": steps}
    words = [f"Made {folder} with {', '.join(made)}. Next:\n", *(f"  {step}" for step in steps)]
    give(document, "\n".join(words), as_json=as_json)


def _write_minimal(folder: Path) -> list[str]:
    from tomlkit import string

    folder.mkdir(parents=True, exist_ok=True)
    name = folder.resolve().name or "network"
    text = TEMPLATE.read_text(encoding="utf-8").replace("{name}", string(name).as_string())
    write_bytes(folder / FILE_NAME, text.encode())
    return [FILE_NAME]


def _copy_example(example: str, folder: Path) -> list[str]:
    """Copy an example beside the target first, then move it in, its coterie.toml last."""
    import shutil

    source = _find_example(example)
    entries = sorted(entry.name for entry in source.iterdir() if entry.name not in _MADE_BY_RUNNING)
    if taken := [name for name in entries if (folder / name).exists()]:
        raise InputError(
            f"{str(folder)!r} already has {', '.join(map(repr, taken))}, which example {example!r} would overwrite.",
            hint="Choose an empty folder.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    stage = folder / f".coterie-init-{os.urandom(4).hex()}"
    try:
        shutil.copytree(source, stage, ignore=shutil.ignore_patterns(*_MADE_BY_RUNNING))
        for name in sorted(entries, key=lambda name: name == FILE_NAME):
            (stage / name).rename(folder / name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return entries


def _find_example(example: str) -> Path:
    """Return the example's folder: inside the installed package, or in the checkout the package runs from."""
    package = Path(__file__).parents[1]
    roots = [package / "examples", package.parents[1] / "examples"]
    examples = {
        entry.name: entry
        for root in reversed(roots)
        if root.is_dir()
        for entry in root.iterdir()
        if (entry / FILE_NAME).is_file()
    }
    if not examples:
        raise SetupError("This installation of Coterie has no examples.", hint="Install it again.")
    if example not in examples:
        raise InputError(f"No example is called {example!r}.", hint=f"There is: {', '.join(sorted(examples))}.")
    return examples[example]


def _next_steps(folder: Path, example: str | None) -> list[str]:
    from coterie.config.file import LlamaModel, load_config

    if example is None:
        yet = [shell(folder, "add", "NAME", "--task", "classify", "--data", "FILE.csv")]
    else:
        config = load_config(folder)
        models = (model for model in config.models.values() if isinstance(model, LlamaModel))
        yet = [shell(folder, "models", "pull", model.name) for model in models]
        yet += [shell(folder, "index", index) for index in config.knowledge]
    return [
        *yet,
        shell(folder, "train"),
        f'{shell(folder, "ask")} "..."',
        shell(folder, "serve"),
        shell(folder, "doctor"),
    ]
