"""Whether a version may take the champion's place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from coterie.errors import ArtefactRefused, NotTrained
from coterie.registry.promotion import champion_of, compare, judge
from coterie.registry.registry import Registry
from coterie.registry.version import Version
from coterie.types import Reason, Verdict


def judge_promotion(registry: Registry, name: str, version: Version) -> Verdict:
    """A version serves if the registry would promote it; one that misses its bar, only where nothing better does."""
    try:
        champion = registry.champion(name)
        old = champion.report
    except (NotTrained, ArtefactRefused) as error:
        verdict = judge(version, None)
        code = "promote.only_version" if isinstance(error, NotTrained) else "promote.champion_damaged"
        return verdict if verdict.allowed else replace(verdict, allowed=True, reason=Reason(code, why=verdict.reason))
    verdict = judge(version, champion)
    if verdict.allowed or version.report.get("bar_met") is not False:
        return verdict
    return _beside(version, old, champion, verdict)


def warn_fallen(registry: Registry, name: str, version: Version) -> tuple[str, ...]:
    """That a version which nothing holds back is far from the one that serves, on rows that cannot be compared."""
    champion = champion_of(registry, name)
    if champion is None:
        return ()
    return tuple(
        f"{change.what} is {change.after:.3f}; of {champion.version}, which served before, it was {change.before:.3f}, "
        "on other held-out rows: these may be harder, or the data may have come to harm. Back to it: "
        f"coterie registry rollback {name}"
        for change in compare(champion.report, version.report).apart
        if change.worse
    )


def _beside(version: Version, old: Mapping[str, object], champion: Version, refusal: Verdict) -> Verdict:
    """The promotion of a version that misses its bar: it may be less bad than the champion."""
    comparison = compare(old, version.report)
    if not comparison.overall:
        return replace(refusal, reason=Reason("promote.misses_bar_alone", champion=champion.version))
    first, worse = comparison.overall[0], [change.reason for change in comparison.regressions]
    reason = Reason(
        "promote.misses_bar", measure=first.what, after=first.after, before=first.before, champion=champion.version
    )
    return replace(refusal, allowed=first.after > first.before and not worse, reason=reason.noting(*worse))
