"""Reports of versions: read, compared, and judged for a promotion to champion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from coterie.errors import ArtefactRefused, NotTrained, PromotionRefused
from coterie.registry.registry import Registry
from coterie.registry.version import Version
from coterie.types import Reason, Verdict, all_of

# --- Reports of this or an older Coterie: what is missing is None or empty, never an error.


def mapping(value: object) -> Mapping[str, object]:
    """Return a JSON object as it is, anything else as an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[object]:
    """Return a JSON array as it is, anything else as an empty one."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def number(value: object) -> float | None:
    """Return a JSON number; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def figure(report: Mapping[str, object], measure: str) -> float | None:
    """Return a figure on the held-out rows; None if there is none."""
    return number(mapping(report.get("metrics")).get(measure))


def interval_of(report: Mapping[str, object], measure: str) -> tuple[float, float] | None:
    """Return the 95% interval of a figure; None if there is none."""
    bounds = sequence(mapping(mapping(report.get("metrics")).get("intervals")).get(measure))
    numbers = [bound for bound in map(number, bounds) if bound is not None]
    return next(pairwise(numbers), None)


def measures(report: Mapping[str, object]) -> tuple[str, ...]:
    """Return the measures that decide whether the version is good: the bar's measures, or the task's default one."""
    stated = sequence(report.get("measures")) or list(mapping(report.get("bar")))
    return (
        tuple(map(str, stated)) or tuple(name for name in ("auc", "accuracy") if figure(report, name) is not None)[:1]
    )


def headline(report: Mapping[str, object]) -> dict[str, object]:
    """Return a version's rung, its first deciding measure with value and interval, and whether the bar was met."""
    measure = next(iter(measures(report)), None)
    return {
        "rung": report.get("rung"),
        "measure": measure,
        "value": figure(report, measure) if measure else None,
        "interval": interval_of(report, measure) if measure else None,
        "bar_met": report.get("bar_met"),
    }


def held_out_rows(report: Mapping[str, object]) -> str | None:
    """Return the checksum of the rows that the version was measured on."""
    rows = mapping(mapping(report.get("data")).get("held_out")).get("rows_sha256")
    return rows if isinstance(rows, str) else None


def rung_row(report: Mapping[str, object], rung: object) -> Mapping[str, object]:
    """Return a report's entry of a rung; empty if it was not tried."""
    rows = report.get("rungs")
    row_mappings = (
        (mapping(row) for row in rows) if isinstance(rows, Sequence) and not isinstance(rows, str) else iter(())
    )
    return next((row for row in row_mappings if row.get("rung") == rung), {})


# --- Comparison of two versions.


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure of two versions."""

    what: str
    """Name of the figure: `accuracy`, or `recall of 'card_lost'`."""
    before: float
    after: float
    n: int | None
    """Number of rows that the figure covers."""
    chance: float | None
    """Probability of such a fall by chance; None if it is unknown."""
    worse: bool = False
    """Whether the figure fell, and not by chance."""

    @property
    def reason(self) -> Reason:
        """The change as a reason."""
        return Reason(
            "compare.fell" if self.after < self.before else "compare.went",
            what=self.what,
            before=self.before,
            after=self.after,
            difference=self.after - self.before,
            chance=self.chance,
            rows=self.n or None,
        )


@dataclass(frozen=True, kw_only=True)
class VersionComparison:
    """The comparison of two versions' figures."""

    comparable: bool
    reason: Reason
    """The rows of the comparison, or why the versions cannot be compared."""
    overall: tuple[Change, ...] = ()
    """Changes over all rows, the deciding measure first."""
    slices: tuple[Change, ...] = ()
    """Changes over the rows of each label."""
    apart: tuple[Change, ...] = ()
    """The deciding measure on each version's own rows, if these differ. It refuses nothing, as some rows are harder."""

    @property
    def regressions(self) -> tuple[Change, ...]:
        """The changes for the worse."""
        return tuple(change for change in (*self.overall, *self.slices) if change.worse)


def compare(before: Mapping[str, object], after: Mapping[str, object]) -> VersionComparison:
    """Compare a version with an earlier one, by their reports.

    Only figures of the same held-out rows are compared. Overall and in slices, each by itself, the chance of
    calling anything worse that is not is at most one in twenty (`coterie.learning.evaluation.worse`). So a slice of
    few rows must lose nearly all of them before it counts: eleven rows, with 77 slices, if nothing was gained.
    """
    rows = held_out_rows(after)
    if not measures(after):
        return VersionComparison(comparable=False, reason=Reason("compare.not_measured"))
    if rows is None or rows != held_out_rows(before):
        reason = Reason("compare.other_rows")
        return VersionComparison(comparable=False, reason=reason, apart=_judged(_apart(before, after)))
    n = number(mapping(after.get("metrics")).get("n")) or 0
    return VersionComparison(
        comparable=True,
        reason=Reason("compare.same_rows", rows=int(n)),
        overall=_judged(_overall(before, after)),
        slices=_judged(_slices(before, after)),
    )


def _judged(changes: Iterator[Change]) -> tuple[Change, ...]:
    """Return the changes, each with whether it is a significant drop, all of them tested together."""
    from coterie.learning.evaluation import worse  # noqa: PLC0415 - serving compares nothing, and it brings scipy

    all_changes = list(changes)
    tested = [change for change in all_changes if change.chance is not None]
    verdicts = iter(worse([change.chance for change in tested if change.chance is not None]))
    return tuple(replace(change, worse=change.chance is not None and next(verdicts)) for change in all_changes)


def _overall(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[Change]:
    names = [*measures(after), *(["accuracy"] if after.get("task") == "classify" else [])]
    for name in dict.fromkeys(names):
        old, new = figure(before, name), figure(after, name)
        if old is None or new is None:
            continue
        n = number(mapping(after.get("metrics")).get("labelled"))
        rows = None if n is None else int(n)
        yield Change(what=name, before=old, after=new, n=rows, chance=_chance(name, before, after, rows))


def _apart(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[Change]:
    """Yield the first measure that both versions have, each on its own rows."""
    for name in measures(after):
        old, new = figure(before, name), figure(after, name)
        if old is not None and new is not None:
            yield Change(what=name, before=old, after=new, n=None, chance=_by_intervals(name, before, after))
            return


def _chance(name: str, before: Mapping[str, object], after: Mapping[str, object], rows: int | None) -> float | None:
    """Return the probability of a fall by chance: row by row for a share of rows, else from the intervals."""
    if name == "accuracy" and rows is not None:
        return _paired(before, after, rows)
    return _by_intervals(name, before, after)


def _by_intervals(name: str, before: Mapping[str, object], after: Mapping[str, object]) -> float | None:
    from coterie.learning.evaluation import interval_drop  # noqa: PLC0415 - serving compares nothing, and it brings scipy

    old, new = interval_of(before, name), interval_of(after, name)
    values = figure(before, name), figure(after, name)
    if old is None or new is None or values[0] is None or values[1] is None:
        return None
    return interval_drop(values[0], values[1], (old[1] - old[0], new[1] - new[0]))


def _slices(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[Change]:
    others = mapping(before.get("slices"))
    for label, described in mapping(after.get("slices")).items():
        new, old = mapping(described), mapping(others.get(label))
        n, recall, was = number(new.get("n")), number(new.get("recall")), number(old.get("recall"))
        if n is not None and recall is not None and was is not None and n == number(old.get("n")):
            chance = _paired(old, new, int(n))
            yield Change(what=f"recall of {label!r}", before=was, after=recall, n=int(n), chance=chance)


def _paired(before: Mapping[str, object], after: Mapping[str, object], n: int) -> float | None:
    """Return the probability from the rows that only one version got right; None if a report lacks them."""
    from coterie.learning.evaluation import paired_drop, unpack  # noqa: PLC0415 - serving compares nothing, and it brings scipy

    try:
        return paired_drop(unpack(str(before.get("right")), n), unpack(str(after.get("right")), n))
    except ValueError:
        return None


# --- Other changes.


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """Return differences in the origins of two versions, as `(before, after)` by name in the report."""
    old, new = _origin(before), _origin(after)
    return {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}


def _origin(report: Mapping[str, object]) -> dict[str, object]:
    """Return the origin of a version, one value a key: `seed`, `data.train.sha256`, `config.bar` ..."""
    flat = {key: report[key] for key in ("rung", "seed", "code_version", "encoder_sha256", "labels") if key in report}
    for part in ("config", "base", "libraries"):
        flat |= _below(part, report.get(part))
    for use, described in mapping(report.get("data")).items():
        flat |= _below(f"data.{use}", described)
    return flat


def _below(prefix: str, part: object) -> dict[str, object]:
    return {f"{prefix}.{key}": value for key, value in mapping(part).items()}


# --- Promotion.

_RULE = "registry.promote"


def promote_version(registry: Registry, name: str, version: str, *, reason: str = "", force: bool = False) -> Verdict:
    """Promote a version to champion if it is good enough, or with `force` in any case; return the verdict.

    Raises:
        PromotionRefused: the version misses its bar, or is worse than the champion; the verdict says by how much.
        ArtefactRefused: the version is damaged.
    """
    verdict = judge(registry.load(name, version), champion_of(registry, name))
    if not verdict.allowed and not force:
        raise PromotionRefused(
            verdict, hint=f"Promote it all the same: coterie registry promote {name} {version} --force --reason TEXT"
        )
    registry.promote(name, version, reason=reason or str(verdict.reason), forced=not verdict.allowed)
    return verdict


def champion_of(registry: Registry, name: str) -> Version | None:
    """Return the champion; None if there is none, or it is damaged, so that it prevents no promotion."""
    try:
        return registry.champion(name)
    except (NotTrained, ArtefactRefused):
        return None


def judge(version: Version, champion: Version | None) -> Verdict:
    """Return whether a version may replace the champion, with every reason against it."""
    report = version.report
    if champion is not None and champion.version == version.version:
        return Verdict(allowed=True, rule=_RULE, reason=Reason("promote.serves_already"))
    against = list(shortfalls(report))
    if champion is None:
        beside = Reason("note.no_champion")
    else:
        comparison = compare(champion.report, report)
        against += [change.reason for change in comparison.regressions]
        code = "note.not_worse" if comparison.comparable else "note.not_comparable"
        figures = [
            Reason("note.apart", what=change.what, before=change.before, after=change.after)
            for change in comparison.apart
        ]
        beside = Reason(code, *figures, champion=champion.version, why=comparison.reason)
    if against:
        return Verdict(allowed=False, rule=_RULE, reason=all_of(against))
    met = Reason("promote.meets_bar" if report.get("bar_met") else "promote.no_bar")
    return Verdict(allowed=True, rule=_RULE, reason=met.noting(beside))


def shortfalls(report: Mapping[str, object]) -> Iterator[Reason]:
    """Yield a reason for each measure by which a version misses its bar."""
    if report.get("bar_met") is not False:
        return
    for measure, wanted in mapping(report.get("bar")).items():
        least, reached = number(wanted), figure(report, measure)
        if reached is None:
            yield Reason("promote.bar_not_measured", measure=measure, bar=number(wanted))
        elif least is not None and reached < least:
            yield Reason("promote.below_bar", measure=measure, value=reached, short=least - reached, bar=least)
