"""Two versions side by side: what changed between their reports, and whether the later one is worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from coterie.registry.report import figure, held_out_rows, interval_of, mapping, measures, number
from coterie.types import Reason


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure of two versions."""

    what: str
    """`accuracy`, or `recall of 'card_lost'`."""
    before: float
    after: float
    n: int | None
    """Rows it is about."""
    chance: float | None
    """How likely it fell so far by chance; None if that cannot be said."""
    worse: bool = False
    """It fell, and not by chance."""

    @property
    def reason(self) -> Reason:
        """What became of the figure."""
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
    """How the figures of two versions stand to each other."""

    comparable: bool
    reason: Reason
    """On which rows they were compared, or why they cannot be."""
    overall: tuple[Change, ...] = ()
    """Of all rows, the measure that decides first."""
    slices: tuple[Change, ...] = ()
    """Of the rows of each label."""
    apart: tuple[Change, ...] = ()
    """Where the rows differ, the measure that decides, each on its own rows. Refuses nothing: some rows are harder."""

    @property
    def regressions(self) -> tuple[Change, ...]:
        """What got worse."""
        return tuple(change for change in (*self.overall, *self.slices) if change.worse)


def compare(before: Mapping[str, object], after: Mapping[str, object]) -> VersionComparison:
    """Hold a version against an earlier one, by their reports.

    Only figures of the same held-out rows are compared. Overall and in slices, each by itself, at most one time in
    twenty something is called worse that is not (`coterie.learning.metrics.worse`). So a slice of few rows must lose
    nearly all of them before it shows: eleven rows, with 77 slices, if nothing was won.
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
    """The changes, each with whether it is a drop beyond chance, all of them tested together."""
    from coterie.learning.metrics import worse  # noqa: PLC0415 - serving compares nothing, and it brings scipy

    found = list(changes)
    tested = [change for change in found if change.chance is not None]
    verdicts = iter(worse([change.chance for change in tested if change.chance is not None]))
    return tuple(replace(change, worse=change.chance is not None and next(verdicts)) for change in found)


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
    """The first measure that both have, each on rows of its own."""
    for name in measures(after):
        old, new = figure(before, name), figure(after, name)
        if old is not None and new is not None:
            yield Change(what=name, before=old, after=new, n=None, chance=_by_intervals(name, before, after))
            return


def _chance(name: str, before: Mapping[str, object], after: Mapping[str, object], rows: int | None) -> float | None:
    """How likely a figure fell by chance: row by row if it is a share of rows, else from its intervals."""
    if name == "accuracy" and rows is not None:
        return _paired(before, after, rows)
    return _by_intervals(name, before, after)


def _by_intervals(name: str, before: Mapping[str, object], after: Mapping[str, object]) -> float | None:
    from coterie.learning.metrics import interval_drop  # noqa: PLC0415 - serving compares nothing, and it brings scipy

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
    """By the rows that only one of the two got right; None if a report does not say which."""
    from coterie.learning.metrics import paired_drop, unpack  # noqa: PLC0415 - serving compares nothing, and it brings scipy

    try:
        return paired_drop(unpack(str(before.get("right")), n), unpack(str(after.get("right")), n))
    except ValueError:
        return None


# --- What else changed ---------------------------------------------------------------------------


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """What two versions were made of and differ in, as `(before, after)` by its name in the report."""
    old, new = _origin(before), _origin(after)
    return {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}


def _origin(report: Mapping[str, object]) -> dict[str, object]:
    """Where a version comes from, one value a key: `seed`, `data.train.sha256`, `config.bar` ..."""
    flat = {key: report[key] for key in ("rung", "seed", "code_version", "encoder_sha256", "labels") if key in report}
    for part in ("config", "base", "libraries"):
        flat |= _below(part, report.get(part))
    for use, described in mapping(report.get("data")).items():
        flat |= _below(f"data.{use}", described)
    return flat


def _below(place: str, part: object) -> dict[str, object]:
    return {f"{place}.{key}": value for key, value in mapping(part).items()}
