"""`coterie registry show` and `diff`: one version, and two side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.output import Json, interval, number, say, show_json, show_table

if TYPE_CHECKING:
    from coterie.registry.compare import VersionComparison
    from coterie.registry.registry import Registry
    from coterie.registry.version import Version

Name = Annotated[str, typer.Argument(metavar="NAME", help="A specialist.")]
_VERSION = "champion, candidate, a version, or at least 4 of its first digits."
_SLICES_SHOWN = 10


def open_folder(folder: Path) -> Registry:
    """The registry of a network's folder."""
    from coterie.config.file import load_config
    from coterie.registry.registry import open_registry

    return open_registry(folder, load_config(folder).registry)


# --- One version ---------------------------------------------------------------------------------


def show(
    context: typer.Context,
    *,
    name: Name,
    version: Annotated[str, typer.Argument(metavar="VERSION", help=_VERSION)] = "champion",
    as_json: Json = False,
) -> None:
    """Show one version.

    Where it comes from, how good it is, its files with their checksums, its licences and its signature.
    """
    opened = open_folder(context.obj)
    found = opened.load(name, opened.resolve(name, version))
    document = {
        "name": name,
        "version": found.version,
        "stored": opened.added(name, found.version),
        "signature": {"state": found.signature.state, "key": found.signature.key},
        "files": [{"file": file, **described} for file, described in _files(found).items()],
        "report": found.report,
        "history": [vars(each) for each in opened.history(name) if found.version in {each.version, each.replaced}],
    }
    if as_json:
        show_json(document)
    else:
        _show(document)


def _files(version: Version) -> dict[str, dict[str, Any]]:
    from hashlib import sha256

    return {
        file: {"bytes": len(content), "sha256": sha256(content).hexdigest()}
        for file, content in sorted(version.files.items())
    }


def _show(document: Mapping[str, Any]) -> None:
    report = document["report"]
    show_table(["", ""], _facts(document), title=f"{document['name']} {document['version']}")
    data = report.get("data") or {}
    rows = [(use, d.get("file"), d.get("rows"), d.get("sha256"), d.get("licence")) for use, d in data.items()]
    show_table(["data", "file", "rows", "SHA-256", "licence"], rows)
    metrics = report.get("metrics") or {}
    intervals = metrics.get("intervals") or {}
    figures = [(key, number(metrics[key]), interval(intervals.get(key))) for key in _figures(metrics)]
    if figures:
        show_table(["figure", "value", "95% interval"], figures)
    show_table(["file", "bytes", "SHA-256"], [(f["file"], f["bytes"], f["sha256"]) for f in document["files"]])
    for change in document["history"]:
        say(_told(change))


def _told(change: Mapping[str, Any]) -> str:
    """A change of champion as a line."""
    what = f"{change['action']} {change['version']}" + (", forced" if change["forced"] else "")
    instead = f" instead of {change['replaced']}" if change["replaced"] else ""
    return f"{change['time']} {change['by']}: {what}{instead}: {change['reason'] or 'no reason given'}"


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    report, base = document["report"], document["report"].get("base") or {}
    for key in ("task", "description", "rung", "reason", "labels", "seed", "code_version"):
        yield key.replace("_", " "), report.get(key)
    bars = ", ".join(f"{measure} >= {bar}" for measure, bar in (report.get("bar") or {}).items())
    yield "bar", f"{bars}: {'met' if report.get('bar_met') else 'MISSED'}" if bars else None
    yield (
        "base",
        f"{base.get('name')} ({base.get('licence') or 'licence not known'}), {base.get('sha256')}" if base else None,
    )
    yield "libraries", ", ".join(f"{name} {version}" for name, version in (report.get("libraries") or {}).items())
    yield "stored", document["stored"]
    key = document["signature"]["key"]
    yield "signature", f"{document['signature']['state']}, key {key}" if key else document["signature"]["state"]


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    """Names of the figures that are shares or scores."""
    return [key for key, value in metrics.items() if isinstance(value, float)]


# --- Two versions --------------------------------------------------------------------------------


def diff(
    context: typer.Context,
    *,
    name: Name,
    before: Annotated[str, typer.Argument(metavar="A", help=_VERSION)] = "champion",
    after: Annotated[str, typer.Argument(metavar="B", help=_VERSION)] = "candidate",
    as_json: Json = False,
) -> None:
    """Show two versions side by side.

    Their figures with the differences, on which labels the second one is better or worse, what they were made from
    that differs, and which files. A drop is called one if it is beyond chance on the same held-out rows.
    """
    from coterie.registry.compare import changed, compare

    opened = open_folder(context.obj)
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
        "files": list(_changed_files(old, new)),
    }
    if as_json:
        show_json(document)
    else:
        _show_diff(document, comparison)


def _side_by_side(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    old, new = before.get("metrics") or {}, after.get("metrics") or {}
    for key in dict.fromkeys([*_figures(old), *_figures(new)]):
        a, b = old.get(key), new.get(key)
        difference = b - a if isinstance(a, float) and isinstance(b, float) else None
        yield {"figure": key, "before": a, "after": b, "difference": difference}


def _changed_files(old: Version, new: Version) -> Iterator[dict[str, Any]]:
    before, after = _files(old), _files(new)
    for file in sorted(before.keys() | after.keys()):
        if before.get(file) != after.get(file):
            yield {"file": file, "before": before.get(file), "after": after.get(file)}


def _show_diff(document: Mapping[str, Any], comparison: VersionComparison) -> None:
    heads = ("before", "after")
    rows = [
        (m["figure"], *map(number, (m["before"], m["after"])), _signed(m["difference"])) for m in document["metrics"]
    ]
    show_table(
        ["figure", *heads, "difference"], rows, title=f"{document['name']} {document['before']}, {document['after']}"
    )
    say(f"Compared {comparison.reason}." if comparison.comparable else f"Not to be compared: {comparison.reason}.")
    _show_slices(comparison)
    say("\n".join(f"WORSE: {change.reason}" for change in comparison.regressions) or "Nothing is measurably worse.")
    changes = [(key, each["before"], each["after"]) for key, each in document["changed"].items()]
    if changes:
        show_table(["made from", *heads], changes)
    files = [(each["file"], *(_bytes(each[side]) for side in heads)) for each in document["files"]]
    if files:
        show_table(["file that differs", *heads], files)


def _show_slices(comparison: VersionComparison) -> None:
    """The slices that moved most, the worst first."""
    moved = [change for change in comparison.slices if change.after != change.before]
    moved.sort(key=lambda change: (not change.worse, change.after - change.before))
    shown = [*moved[:_SLICES_SHOWN], *moved[max(_SLICES_SHOWN, len(moved) - _SLICES_SHOWN) :]]
    if not shown:
        return
    cells = [
        (
            each.what,
            each.n,
            number(each.before),
            number(each.after),
            _signed(each.after - each.before),
            "worse" if each.worse else "",
        )
        for each in shown
    ]
    show_table(["slice", "rows", "before", "after", "difference", ""], cells)


def _signed(difference: float | None) -> str:
    return "-" if difference is None else f"{difference:+.3f}"


def _bytes(file: Mapping[str, Any] | None) -> object:
    return None if file is None else f"{file['bytes']:,} bytes"
