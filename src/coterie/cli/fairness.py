"""`coterie fairness`: how a score treats groups of people on a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import run
from coterie.cli.eval import asking, opened_specialist, trained_on
from coterie.cli.files import find_file
from coterie.cli.output import Json, remark, say, show_json, show_table
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.config.specialists import SpecialistSection
    from coterie.learning.dataset import Dataset
    from coterie.learning.fairness import Fairness, GroupShare
    from coterie.registry.version import Version
    from coterie.types import Finding

_VERDICTS = {
    "reference": "approved most",
    "above": "at least 4/5",
    "below": "BELOW 4/5",
    "undecided": "undecided",
    "too few": "too few rows",
}


def fairness(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A trained `score` specialist.")],
    data: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSONL with its columns, and the outcome.")],
    group: Annotated[list[str], typer.Option(metavar="COLUMN", help="By this column; may be given several times.")],
    cut: Annotated[
        list[float] | None,
        typer.Option(metavar="N", help="Numbers are grouped from here on; may be given several times; else quartiles."),
    ] = None,
    line: Annotated[float, typer.Option(metavar="P", help="Probability from which a row is refused.", min=0, max=1)] = (
        0.5
    ),
    as_json: Json = False,
) -> None:
    """Show how a score treats groups: who is approved, who is refused wrongly, how the groups compare.

    Approval and error rates by group with 95% intervals, and the ratio to the group approved most: below four fifths is
    what to look at. The column need not be one that the score uses; a protected attribute is not. Measure on rows that
    it was not trained on: of those that it was, the version's report has the figures out of fold.
    """
    from coterie.config.file import load_config
    from coterie.registry.registry import open_registry
    from coterie.tasks.registry import task_of

    folder: Path = context.obj
    config = load_config(folder)
    section = _section(config.specialists.get(name), name, sorted(config.specialists))
    path = find_file(folder, data)
    version = open_registry(folder, config.registry).champion(name)
    dataset = task_of(section).read_rows(section.model_copy(update={"group_column": None}), path, for_evaluation=True)
    _check_columns(dataset, group)
    findings = run(_ask(name, config, folder, version, dataset))
    found = [_fairness(dataset, findings, column, cut or (), line) for column in group]
    if trained_on(version.report, dataset):
        remark(
            f"Warning: version {version.version} was trained on this file, so errors come out too few; "
            f"`coterie registry show {name}` has them out of fold."
        )
    if as_json:
        show_json({"specialist": name, "version": version.version, "file": dataset.name, **_document(found)})
        return
    for each in found:
        _show(each, section.label_column)


def _section(section: SpecialistSection | None, name: str, known: list[str]) -> SpecialistSection:
    from coterie.tasks.registry import task_of

    if section is None or task_of(section).form != "number":
        raise InputError(
            f"Asked how {name!r} treats groups; it is no `score` specialist of this network, which has {known}.",
            hint="Name one with task = 'score'.",
        )
    return section


def _check_columns(dataset: Dataset, wanted: list[str]) -> None:
    for column in wanted:
        if not any(column in row.columns for row in dataset.rows):
            raise InputError(
                f"Asked for groups by {column!r}; {dataset.name} has {sorted(dataset.column_names)}.",
                hint="Name one of its columns.",
            )


async def _ask(name: str, config: Config, folder: Path, version: Version, dataset: Dataset) -> Sequence[Finding]:
    from coterie.learning.evaluate import consult_rows

    async with opened_specialist(name, config, folder, version) as (specialist, _):
        with asking(name, dataset) as advance:
            return await consult_rows(specialist, dataset.rows, progress=advance, label=config.network.default_label)


def _fairness(
    dataset: Dataset, findings: Sequence[Finding], column: str, cuts: Sequence[float], line: float
) -> Fairness:
    """The groups of the rows that got a probability."""
    from coterie.learning.fairness import fairness as compare
    from coterie.learning.fairness import group_names

    names = group_names([row.columns.get(column) for row in dataset.rows], cuts)
    scored = [
        (name, float(finding.value), int(row.labels[0]) if row.labels else None, finding.accepted)
        for name, row, finding in zip(names, dataset.rows, findings, strict=True)
        if isinstance(finding.value, float)
    ]
    if not scored:
        raise InputError("No row of the file got a probability.", hint="Give a file with the columns of its training.")
    groups, probabilities, outcomes, alone = map(list, zip(*scored, strict=True))
    return compare(column, groups, probabilities, outcomes, alone, line=line)


def _document(found: list[Fairness]) -> dict[str, Any]:
    return {"columns": [each.to_json() for each in found]}


def _show(found: Fairness, outcome: str) -> None:
    rows = [
        (
            group.name,
            f"{group.n:,}",
            _share(group.base),
            _share(group.approved),
            f"{group.ratio:.2f}",
            _VERDICTS[group.verdict],
            _share(group.refused_wrongly),
            _share(group.approved_wrongly),
            _share(group.alone),
        )
        for group in found.groups
    ]
    columns = [found.column, "rows", outcome, "approved", "ratio", "", "refused wrongly", "approved wrongly", "alone"]
    show_table(columns, rows, title=f"Approved below {found.line:g}; brackets hold 95% intervals")
    say(
        f"Largest gaps: approved {found.gap('approved'):.2f}, refused wrongly {found.gap('refused_wrongly'):.2f}, "
        f"approved wrongly {found.gap('approved_wrongly'):.2f}."
    )


def _share(share: GroupShare) -> str:
    if share.value != share.value:  # nan
        return "-"
    return f"{share.value:.2f} [{share.interval.low:.2f}, {share.interval.high:.2f}]"
