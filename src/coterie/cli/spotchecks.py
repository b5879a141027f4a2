"""`coterie feedback` and `spotchecks`: people judge answers, and accept thresholds are derived from a random sample."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coterie.cli.ask import no_trace
from coterie.cli.bridge import configured, log_command, log_event, registry_of, with_store
from coterie.cli.options import Tenant, TraceId, parse_since
from coterie.cli.output import Json, give, paragraph, remark, say, show_table
from coterie.errors import InputError
from coterie.runtime.codec import parse_json
from coterie.runtime.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from coterie.config.file import Config
    from coterie.policy.cost_quality import AcceptThreshold, CostQualityPolicy, SpotChecks
    from coterie.store.rows import Complaints
    from coterie.store.sqlite import SQLiteStore
    from coterie.types import Feedback, Scalar, Trace


_QUALITY = 0.95
"""Quality for the shown thresholds, where neither the command nor the network sets one."""


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
        float | None,
        typer.Option(metavar="SHARE", help="Show the thresholds for this share of the generalist's quality."),
    ] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="List the requests that wait for a judgement.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Let them move the thresholds, from the network's next start on.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the requests that were chosen at random to be judged, and the accept thresholds that follow from them.

    The share is `spot_checks` in [policy]. Judge one with `coterie feedback ID --value LABEL`. An unjudged request
    counts as wrong where answers are to be accepted. Other feedback never moves a threshold; more complaints than a
    specialist's confidences allow are reported.
    """
    from coterie.policy.cost_quality import dump_checks

    folder: Path = context.obj
    overview = _look(folder, since=since, until=until, reviewers=reviewer, quality=quality)
    if update:
        if not any(row.checks.judged for row in overview.rows):
            raise InputError(
                "Nobody has judged a chosen request yet, so there is nothing to fold in.",
                hint="List them with --waiting; judge one: coterie feedback ID --value LABEL",
            )
        checks = {row.name: row.checks for row in overview.rows}
        write_bytes(overview.path, dump_checks(checks))
        about = {row.name: {"checks": len(row.checks), "judged": row.checks.judged} for row in overview.rows}
        log_command(folder, "spotchecks", about=about)
    give(_document(overview, updated=update), lambda: _show(overview, waiting=waiting, updated=update), as_json=as_json)


@dataclass(frozen=True, kw_only=True)
class _Row:
    name: str
    checks: SpotChecks
    waiting: tuple[tuple[str, str], ...]
    """Id and tenant of the requests that were not judged yet."""
    complaints: Complaints | None
    before: AcceptThreshold
    """The threshold by calibration outcomes alone."""
    after: AcceptThreshold
    """The threshold with the spot checks."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    share: float
    quality: float
    path: Path
    rows: tuple[_Row, ...]


def _look(
    folder: Path, *, since: str | None, until: str | None, reviewers: Sequence[str] | None, quality: float | None
) -> _Found:
    """Return each specialist whose threshold follows the policy, with its spot checks since its version serves."""
    from coterie.assembly import champions, cost_quality_policy, spot_checks_path
    from coterie.policy.cost_quality import Aim, collect

    config, now = configured(folder), time.time()
    share = config.policy.spot_checks
    if not share:
        raise InputError(
            "No requests are chosen: [policy] spot_checks is 0.", hint="Set it to a share, such as spot_checks = 0.02."
        )
    versions = champions(config, folder, outlines=True)
    policy = cost_quality_policy(config, folder, versions)
    if not policy.known:
        raise InputError(
            "There is no threshold to move: that needs a [generalist] that may be asked and `classify` specialists.",
            hint="See docs/how-to/trade-cost-and-quality.md.",
        )
    end = now if until is None else parse_since(until, now=now, option="--until")
    aim = Aim(quality=quality if quality is not None else config.policy.quality or _QUALITY).quality or 0.0
    registry, begins, rows = registry_of(folder), dict[str, float](), []
    for name in policy.known:
        promoted = max(
            (datetime.fromisoformat(promotion.time).timestamp() for promotion in registry.history(name)), default=0.0
        )
        begins[name] = max(promoted, parse_since(since, now=now))
    read = _read(folder, config, begins=set(begins.values()), until=end, reviewers=reviewers)
    for name, begin in begins.items():
        chosen, complaints = read.get(begin, ([], {}))
        version = versions[name].version
        checks = collect(chosen, name, version=version, share=share, since=begin, until=end)
        rows.append(_row(name, chosen, checks, complaints=complaints.get(name), policy=policy, quality=aim))
    return _Found(share=share, quality=aim, path=spot_checks_path(config, folder), rows=tuple(rows))


_Chosen = list[tuple["Trace", tuple["Feedback", ...]]]


def _read(
    folder: Path, config: Config, *, begins: Iterable[float], until: float, reviewers: Sequence[str] | None
) -> Mapping[float, tuple[_Chosen, Mapping[str, Complaints]]]:
    """Return the spot checks and complaints since each of these times; empty where there is no store yet."""
    from functools import partial

    from coterie.policy.cost_quality import is_chosen

    async def read(store: SQLiteStore) -> dict[float, tuple[_Chosen, Mapping[str, Complaints]]]:
        chooses = partial(is_chosen, share=config.policy.spot_checks)
        by_start: dict[float, tuple[_Chosen, Mapping[str, Complaints]]] = {}
        for since in begins:
            chosen = await store.chosen(chooses, since=since, until=until, keys=reviewers or None)
            by_start[since] = chosen, await store.complaints(since=since, until=until)
        return by_start

    return with_store(folder, config, read) or {}


def _row(
    name: str,
    chosen: _Chosen,
    checks: SpotChecks,
    *,
    complaints: Complaints | None,
    policy: CostQualityPolicy,
    quality: float,
) -> _Row:
    from dataclasses import replace

    waiting_groups = sorted({group for group, right in zip(checks.group, checks.right, strict=True) if right is None})
    return _Row(
        name=name,
        checks=checks,
        waiting=tuple((chosen[group][0].id, chosen[group][0].tenant) for group in waiting_groups),
        complaints=complaints,
        before=replace(policy, checked={}, _thresholds={}).threshold(name, quality),
        after=replace(policy, checked={name: checks}, _thresholds={}).threshold(name, quality),
    )


# --- What is shown -------------------------------------------------------------------------------


def _document(overview: _Found, *, updated: bool) -> dict[str, object]:
    return {
        "share": overview.share,
        "quality": overview.quality,
        "updated": updated,
        "specialists": [
            {
                "name": row.name,
                "version": row.checks.version,
                "since": row.checks.since,
                "until": row.checks.until,
                "chosen": len(row.checks),
                "judged": row.checks.judged,
                "right": sum(right is True for right in row.checks.right),
                "waiting": [{"trace_id": request, "tenant": tenant} for request, tenant in row.waiting],
                "complaints": None
                if row.complaints is None
                else {**row.complaints._asdict(), "alarm": row.complaints.alarm},
                "calibrated": {
                    "from": row.before.value,
                    "kept": row.before.accepted_share,
                    **_reason(row.before),
                },
                "checked": {"from": row.after.value, "kept": row.after.accepted_share, **_reason(row.after)},
            }
            for row in overview.rows
        ],
    }


def _reason(threshold: AcceptThreshold) -> dict[str, object]:
    return {"reason": ""} if threshold.reason is None else threshold.reason.described()


def _show(overview: _Found, *, waiting: bool, updated: bool) -> None:
    if waiting:
        lines = [(request, tenant, row.name) for row in overview.rows for request, tenant in row.waiting]
        show_table(["request", "tenant", "specialist"], lines, title=f"{len(lines):,} wait for a judgement")
    else:
        _show_rows(overview)
    if updated:
        say(f"Kept in {str(overview.path)!r}; the thresholds follow them when the network is opened next.")


def _show_rows(overview: _Found) -> None:
    rows = [
        (
            row.name,
            len(row.checks),
            row.checks.judged,
            sum(right is True for right in row.checks.right),
            _accepted(row.before),
            _accepted(row.after),
            "-" if row.complaints is None else f"{row.complaints.wrong:,} of {row.complaints.answers:,}",
        )
        for row in overview.rows
    ]
    columns = ["specialist", "chosen", "judged", "right", "accepted, calibrated", "accepted, checked", "complaints"]
    title = (
        f"Spot checks: a share of {overview.share:g}; thresholds for {overview.quality:g} of the generalist's quality"
    )
    show_table(columns, rows, title=title)
    for row in overview.rows:
        if row.after.reason:
            taken = "the threshold is taken " if row.after.value is not None else ""
            kept = "" if taken else f" {overview.quality:g} of the generalist's quality"
            paragraph(f"{row.name}: {taken}{row.after.reason}{kept}.")
        if row.complaints is not None and row.complaints.alarm:
            remark(
                f"Alarm: {row.complaints.wrong:,} of {row.complaints.answers:,} answers of {row.name!r} were called "
                f"wrong; its confidences let expect {row.complaints.expected:.1f} wrong ones in all. Spot checks or a "
                "new training will show whether it has drifted."
            )


def _accepted(threshold: AcceptThreshold) -> str:
    if threshold.value is None:
        return "none"
    return f"{threshold.accepted_share:.0%} from {threshold.value:.2f}"


def feedback(
    context: typer.Context,
    *,
    trace_id: TraceId,
    up: Annotated[bool, typer.Option("--up", help="The answer was right.")] = False,
    down: Annotated[bool, typer.Option("--down", help="It was wrong.")] = False,
    value: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help="What would have been right; a JSON list for several labels."),
    ] = None,
    comment: Annotated[str, typer.Option(metavar="TEXT", help="Whatever else is to be said.")] = "",
    specialist: Annotated[
        str, typer.Option(metavar="NAME", help="Whose finding is meant; left out, the whole answer.")
    ] = "",
    tenant: Tenant = "default",
    as_json: Json = False,
) -> None:
    """Record whether an answer was right.

    The feedback is stored beside the trace and replaces earlier feedback. It is erased with its session, and counts in
    the quality that `coterie report` shows.
    """
    from coterie.governance.audit import audit_feedback
    from coterie.network.stages import check_value
    from coterie.types import Feedback

    if up and down:
        raise InputError("Both --up and --down were given.", hint="Give one of them.")
    if not (up or down or value is not None or comment.strip()):
        raise InputError("Nothing was said of the answer.", hint="Give --up, --down, --value or --comment.")
    folder: Path = context.obj
    feedback_ = Feedback(
        trace_id=trace_id,
        time=time.time(),
        tenant=tenant,
        specialist=specialist,
        thumb="up" if up else "down" if down else None,
        value=_read_value(value),
        comment=comment,
    )
    refused, code = None, ""
    try:
        config = configured(folder)
        trace = with_store(folder, config, lambda store: store.trace(trace_id, tenant))
        if trace is not None:
            check_value(feedback_, trace, _labels(folder, config))
        if trace is None or not with_store(folder, config, lambda store: store.feedback(feedback_)):
            refused, code = no_trace(folder, trace_id, tenant), "trace_not_found"
    except InputError as error:
        refused, code = error, error.code
    log_event(folder, lambda digest: audit_feedback(feedback_, digest=digest, refused=code))
    if refused is not None:
        raise refused
    if comment and not config.store.keep_content:
        remark("The comment was not kept: [store] keep_content is false.")
    give({"trace_id": trace_id, "status": "kept"}, f"Kept beside trace {trace_id}.", as_json=as_json)


def _labels(folder: Path, config: Config) -> Callable[[str], tuple[str, ...]]:
    """Return a function for the labels of a specialist's serving version; empty where there is no such version."""
    from coterie.errors import CoterieError
    from coterie.registry.registry import open_registry
    from coterie.tasks.versions import card_of

    def labels(name: str) -> tuple[str, ...]:
        if name not in config.specialists:
            return ()
        try:
            version = open_registry(folder, config.registry).outline(name)
            return card_of(name, config.specialists[name], version).labels
        except CoterieError:
            return ()

    return labels


def _read_value(text: str | None) -> Scalar | tuple[str, ...]:
    """Read a label or a text unchanged; a JSON list of texts is several labels."""
    if text is None or not text.lstrip().startswith("["):
        return text
    try:
        parsed = parse_json(text)
    except ValueError:
        return text
    return tuple(parsed) if isinstance(parsed, list) and all(isinstance(item, str) for item in parsed) else text
