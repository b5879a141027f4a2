"""Whether a version may become champion: it meets its bar, and is nowhere worse than the champion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coterie.errors import ArtefactRefused, NotTrained, PromotionRefused
from coterie.registry.compare import compare
from coterie.registry.registry import Registry
from coterie.registry.report import figure, mapping, number
from coterie.registry.version import Version
from coterie.types import Reason, Verdict, all_of

_RULE = "registry.promote"


def promote_version(registry: Registry, name: str, version: str, *, reason: str = "", force: bool = False) -> Verdict:
    """Make a version champion if it may be, and return why it may; with `force` also if it may not.

    Raises:
        PromotionRefused: it misses its bar, or is worse than the champion; the verdict says by how much.
        ArtefactRefused: it is damaged.
    """
    verdict = judge(registry.load(name, version), champion_of(registry, name))
    if not verdict.allowed and not force:
        raise PromotionRefused(
            verdict, hint=f"Promote it all the same: coterie registry promote {name} {version} --force --reason TEXT"
        )
    registry.promote(name, version, reason=reason or str(verdict.reason), forced=not verdict.allowed)
    return verdict


def champion_of(registry: Registry, name: str) -> Version | None:
    """The champion, if there is one that can be loaded: one that is damaged holds nobody back."""
    try:
        return registry.champion(name)
    except (NotTrained, ArtefactRefused):
        return None


def judge(version: Version, champion: Version | None) -> Verdict:
    """Whether a version may take the champion's place, with every reason why not."""
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
            Reason("note.apart", what=each.what, before=each.before, after=each.after) for each in comparison.apart
        ]
        beside = Reason(code, *figures, champion=champion.version, why=comparison.reason)
    if against:
        return Verdict(allowed=False, rule=_RULE, reason=all_of(against))
    met = Reason("promote.meets_bar" if report.get("bar_met") else "promote.no_bar")
    return Verdict(allowed=True, rule=_RULE, reason=met.noting(beside))


def shortfalls(report: Mapping[str, object]) -> Iterator[Reason]:
    """By how much it misses its bar, a reason a measure."""
    if report.get("bar_met") is not False:
        return
    for measure, wanted in mapping(report.get("bar")).items():
        least, reached = number(wanted), figure(report, measure)
        if reached is None:
            yield Reason("promote.bar_not_measured", measure=measure, bar=number(wanted))
        elif least is not None and reached < least:
            yield Reason("promote.below_bar", measure=measure, value=reached, short=least - reached, bar=least)
