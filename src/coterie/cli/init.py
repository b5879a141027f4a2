"""`coterie init`: make a network's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from coterie.cli.output import Json, give, shell
from coterie.errors import InputError, SetupError
from coterie.runtime.files import write_bytes

FILE_NAME = "coterie.toml"  # as in `coterie.config`, which would bring pydantic into `coterie --help`
_MADE_BY_RUNNING = {"registry", "state", "__pycache__"}

TEMPLATE = Path(__file__).with_name("template.toml")
"""What a folder begins with; `{name}` is the network's."""


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

    Without --example it gets a commented coterie.toml; with one, the example's coterie.toml and data. A folder that
    already has a coterie.toml is left alone, and no file is ever overwritten.
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
    """The example's folder: inside the installed package, or in the checkout the package runs from."""
    package = Path(__file__).parents[1]
    roots = [package / "examples", package.parents[1] / "examples"]
    found = {
        entry.name: entry
        for root in reversed(roots)
        if root.is_dir()
        for entry in root.iterdir()
        if (entry / FILE_NAME).is_file()
    }
    if not found:
        raise SetupError("This installation of Coterie has no examples.", hint="Install it again.")
    if example not in found:
        raise InputError(f"No example is called {example!r}.", hint=f"There is: {', '.join(sorted(found))}.")
    return found[example]


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
