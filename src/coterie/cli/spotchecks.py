"""`coterie spotchecks`: requests that a coin chose to be judged, and what they say of the dial."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coterie.cli.audit import write_down
from coterie.cli.bridge import with_store
from coterie.cli.files import write_bytes
from coterie.cli.output import Json, paragraph, remark, say, show_json, show_table
from coterie.cli.report import parse_since
from coterie.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coterie.cascade.keep import Line
    from coterie.cascade.network_dial import NetworkDial
    from coterie.cascade.spot import SpotChecks
    from coterie.config.file import Config
    from coterie.store.feedback import Complaints
    from coterie.types import Feedback, Trace

_QUALITY = 0.95
"""Of the lines that are shown, where neither the command nor the network says one."""


def spotchecks(
    context: typer.Context,
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only requests since then; default: since the serving version was promoted."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help='Only requests before then: "2d" leaves out the newest two days.')
    ] = None,
    reviewer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Only what came with this key's id counts as a judgement; repeatable. Default: whoever says.",
        ),
    ] = None,
    quality: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Show the lines for this share of the generalist's quality.")
    ] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="List the requests that wait for a judgement.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Let them move the dial, from the network's next start on.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the requests that a coin chose to be judged, and what they say of the dial.

    The share is `spot_checks` in [cascade]. Judge one with `coterie feedback ID --value LABEL`. One that nobody judged
    counts as wrong where answers are to be kept. Other feedback never moves the dial; more complaints than a
    specialist's confidences allow are reported.
    """
    from coterie.cascade.spot import dump_checks

    folder: Path = context.obj
    found = _look(folder, since=since, until=until, reviewers=reviewer, quality=quality)
    if update:
        _refuse_nothing(found)
        checks = {each.name: each.checks for each in found.rows}
        write_bytes(found.path, dump_checks(checks))
        about = {each.name: {"checks": len(each.checks), "judged": each.checks.judged} for each in found.rows}
        write_down(folder, "spotchecks", about=about)
    if as_json:
        show_json(_document(found, updated=update))
        return
    _show(found, waiting=waiting)
    if update:
        say(f"Kept in {str(found.path)!r}; the dial goes by them when the network is opened next.")


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One specialist."""

    name: str
    checks: SpotChecks
    waiting: tuple[tuple[str, str], ...]
    """Id and tenant of the requests that nobody judged."""
    complaints: Complaints | None
    before: Line
    """By calibration outcomes alone."""
    after: Line
    """With the spot checks."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    share: float
    quality: float
    path: Path
    rows: tuple[_Row, ...]


def _look(
    folder: Path, *, since: str | None, until: str | None, reviewers: Sequence[str] | None, quality: float | None
) -> _Found:
    """Every specialist that the dial moves, with its checks since its version serves."""
    from coterie.assembly import champions, network_dial, spot_checks_path
    from coterie.cascade.dial import Aim
    from coterie.cascade.spot import collect
    from coterie.config.file import load_config
    from coterie.registry.registry import open_registry

    config, now = load_config(folder), time.time()
    share = config.cascade.spot_checks
    if not share:
        raise InputError(
            "No requests are chosen: [cascade] spot_checks is 0.", hint="Set it to a share, such as spot_checks = 0.02."
        )
    versions = champions(config, folder, outlines=True)
    dial = network_dial(config, folder, versions)
    if not dial.known:
        raise InputError(
            "There is no dial to move: it stands between a [generalist] that may be asked and `classify` specialists.",
            hint="See docs/how-to/trade-cost-and-quality.md.",
        )
    end = now if until is None else parse_since(until, now=now, option="--until")
    aim = Aim(quality=quality if quality is not None else config.cascade.quality or _QUALITY).quality or 0.0
    registry, begins, rows = open_registry(folder, config.registry), dict[str, float](), []
    for name in dial.known:
        promoted = max((datetime.fromisoformat(each.time).timestamp() for each in registry.history(name)), default=0.0)
        begins[name] = max(promoted, parse_since(since, now=now))
    read = _read(folder, config, begins=set(begins.values()), until=end, reviewers=reviewers)
    for name, begin in begins.items():
        chosen, complaints = read.get(begin, ([], {}))
        version = versions[name].version
        checks = collect(chosen, name, version=version, share=share, since=begin, until=end)
        rows.append(_row(name, chosen, checks, complaints=complaints.get(name), dial=dial, quality=aim))
    return _Found(share=share, quality=aim, path=spot_checks_path(config, folder), rows=tuple(rows))


_Chosen = list[tuple["Trace", tuple["Feedback", ...]]]


def _read(
    folder: Path, config: Config, *, begins: Iterable[float], until: float, reviewers: Sequence[str] | None
) -> Mapping[float, tuple[_Chosen, Mapping[str, Complaints]]]:
    """What was chosen and what was complained of since each of these times; empty where there is no store yet."""
    from functools import partial

    from coterie.cascade.spot import is_chosen
    from coterie.store.sqlite import SQLiteStore

    async def read(store: SQLiteStore) -> dict[float, tuple[_Chosen, Mapping[str, Complaints]]]:
        chooses = partial(is_chosen, share=config.cascade.spot_checks)
        found: dict[float, tuple[_Chosen, Mapping[str, Complaints]]] = {}
        for since in begins:
            chosen = await store.chosen(chooses, since=since, until=until, keys=reviewers or None)
            found[since] = chosen, await store.complaints(since=since, until=until)
        return found

    return with_store(folder, config, read) or {}


def _row(
    name: str, chosen: _Chosen, checks: SpotChecks, *, complaints: Complaints | None, dial: NetworkDial, quality: float
) -> _Row:
    from dataclasses import replace

    asked = sorted({place for place, right in zip(checks.group, checks.right, strict=True) if right is None})
    return _Row(
        name=name,
        checks=checks,
        waiting=tuple((chosen[place][0].id, chosen[place][0].tenant) for place in asked),
        complaints=complaints,
        before=replace(dial, checked={}, _lines={}).line(name, quality),
        after=replace(dial, checked={name: checks}, _lines={}).line(name, quality),
    )


def _refuse_nothing(found: _Found) -> None:
    if not any(each.checks.judged for each in found.rows):
        raise InputError(
            "Nobody has judged a chosen request yet, so there is nothing to fold in.",
            hint="List them with --waiting; judge one: coterie feedback ID --value LABEL",
        )


# --- What is shown -------------------------------------------------------------------------------


def _document(found: _Found, *, updated: bool) -> dict[str, object]:
    return {
        "share": found.share,
        "quality": found.quality,
        "updated": updated,
        "specialists": [
            {
                "name": each.name,
                "version": each.checks.version,
                "since": each.checks.since,
                "until": each.checks.until,
                "chosen": len(each.checks),
                "judged": each.checks.judged,
                "right": sum(right is True for right in each.checks.right),
                "waiting": [{"trace_id": request, "tenant": tenant} for request, tenant in each.waiting],
                "complaints": None
                if each.complaints is None
                else {**each.complaints._asdict(), "alarm": each.complaints.alarm},
                "calibrated": {"from": each.before.value, "kept": each.before.kept, "reason": each.before.reason},
                "checked": {"from": each.after.value, "kept": each.after.kept, "reason": each.after.reason},
            }
            for each in found.rows
        ],
    }


def _show(found: _Found, *, waiting: bool) -> None:
    if waiting:
        lines = [(request, tenant, each.name) for each in found.rows for request, tenant in each.waiting]
        show_table(["request", "tenant", "specialist"], lines, title=f"{len(lines):,} wait for a judgement")
        return
    rows = [
        (
            each.name,
            len(each.checks),
            each.checks.judged,
            sum(right is True for right in each.checks.right),
            _kept(each.before),
            _kept(each.after),
            "-" if each.complaints is None else f"{each.complaints.wrong:,} of {each.complaints.answers:,}",
        )
        for each in found.rows
    ]
    columns = ["specialist", "chosen", "judged", "right", "kept, calibrated", "kept, checked", "complaints"]
    title = f"Spot checks: a share of {found.share:g}; lines for {found.quality:g} of the generalist's quality"
    show_table(columns, rows, title=title)
    for each in found.rows:
        if each.after.reason:
            subject = "the line is taken" if each.after.value is not None else ""
            said = f"{each.name}: {subject} {each.after.reason}".replace("  ", " ")
            paragraph(said + (f" {found.quality:g} is kept." if each.after.value is None else "."))
        if each.complaints is not None and each.complaints.alarm:
            remark(
                f"Alarm: {each.complaints.wrong:,} of {each.complaints.answers:,} answers of {each.name!r} were called "
                f"wrong; its confidences let expect {each.complaints.expected:.1f} wrong ones in all. Spot checks or a "
                "new training will show whether it has drifted."
            )


def _kept(line: Line) -> str:
    return "none" if line.value is None else f"{line.kept:.0%} from {line.value:.2f}"
