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

TEMPLATE = """\
# A network of narrow models. Every key is described in docs/reference/config.md; unknown keys are refused.

[network]
name = {name}
# default_label = "internal"   # sensitivity of a request that carries none

[accounting]
# Money for one CPU core for an hour: a public on-demand price, two virtual cores for 0.1008 USD an hour (AWS m7i.large,
# us-east-1, 2025). Write your own price, or leave it out: then the cost of what runs here is unknown.
price_per_cpu_hour = "0.0504"

# A specialist is one narrow model. Add one with
#
#     coterie add triage --task classify --data tickets.csv --description "Sorts support messages by topic"
#
# or write it here:
#
# [specialists.triage]
# task = "classify"            # or "score", "extract", "answer", "generate", "tools"
# description = "Sorts support messages by topic"    # the router learns from it
# data = "data/triage.csv"     # CSV or JSONL with the columns text,label
# target_risk = 0.05           # at most so many of the accepted answers are wrong, with 95% confidence
# bar = {{ accuracy = 0.9 }}     # training says loudly when this is missed

# A large model behind the specialists is optional; it sees only what its clearance allows.
#
# [models.large]
# engine = "openai"
# base_url = "https://example.org/v1"
# name = "large-model"
# api_key = "env:LARGE_MODEL_KEY"    # the name of the variable, never the key itself
#
# [generalist]
# model = "large"
"""


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
    write_bytes(folder / FILE_NAME, TEMPLATE.format(name=string(name).as_string()).encode())
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
