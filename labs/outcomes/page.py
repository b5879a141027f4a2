"""A replay as a page: quality by money, the points of each curve, and what the figures rest on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil, floor, isnan, log10
from typing import NamedTuple

from markupsafe import Markup

from coterie.reports.charts import Axis, Chart, span
from coterie.reports.pages import Card, Cell, Report, Table, decimals, interval, page
from labs.outcomes.curve import Point
from labs.outcomes.replay import Replay

_ROUTED, _CHAINS, _FRONTIER, _ALONE, _CHOSEN, _CHOSEN_CHAIN = "c0", "c2", "c3", "large", "c1", "c4"
"""Classes of the series' colours."""
_STEEP = 20.0
"""Where the dearest point costs as many times the cheapest, the axis of money is logarithmic."""
_FEW_POWERS = 4
_ROWS = 12
"""Points of a curve in a table."""


def replay_page(found: Replay, *, file: str, conditions: Mapping[str, str]) -> str:
    """Render a replay.

    Args:
        found: What was played.
        file: Name of the file of outcomes.
        conditions: What it takes to have the same figures again, by name.
    """
    return page(
        Report(
            title=f"Replay of {file}",
            subtitle=f"{found.rows:,} prompts, {len(found.models)} models. Each prompt is decided by what was learned "
            f"from {found.learned_from}, never by its own outcome. Quality counts against {found.generalist}.",
            verdict=_verdict(found),
            cards=[
                _curve_card(found),
                _baselines(found),
                *_points("Routing policies", "Each row is one rate between score and money.", found, found.curve),
                *_points("Chains: the cheapest model first", "", found, found.chains),
                *_points("Frontier: the best policy for the money", _beside_singles(found), found, found.frontier),
                *_domains(found),
                *([Card(title="Warnings", items=found.warnings, wide=True)] if found.warnings else []),
                _conditions(found, conditions),
            ],
        )
    )


def _beside_singles(found: Replay) -> str:
    """What the frontier is worth beside single models."""
    excess = found.frontier_excess
    if excess is None:
        return ""
    behind = "nowhere" if excess <= 0 else f"nowhere more than {100 * excess:.1f} points"
    return f"A chain, a single model or a coin between two. At equal cost it is {behind} behind the best single model."


def _verdict(found: Replay) -> list[str]:
    """The routing policy for the aim, and the chain for it; nothing without an aim."""
    lines = []
    for which, point, reason in (
        ("The routing policy", found.chosen, found.reason),
        ("The chain", found.chosen_chain, found.chain_reason),
        ("The frontier", found.chosen_frontier, found.frontier_reason),
    ):
        if point is not None and found.chosen is not None:
            money = "money unknown" if point.per_1000 is None else f"{point.per_1000:.4g} per 1,000"
            came = f"{which} for {found.chosen.name} comes to quality {decimals(point.quality)}, {money}"
            lines.append(f"{came}: {reason}.")
    return lines


# --- The chart -----------------------------------------------------------------------------------


def _curve_card(found: Replay) -> Card:
    chart = _chart(found)
    missing = () if chart else ["No point has both a quality and a price."]
    return Card(title="Quality and money", caption=_caption(found), legend=_legend(found), chart=chart, items=missing)


def _caption(found: Replay) -> str:
    where = "Up and to the left is better; the bar is a 95% interval."
    if _priced(found):
        return where
    return f"No price is known, so what is counted is how often {found.generalist} is asked. {where}"


def _priced(found: Replay) -> bool:
    return any(point.per_1000 is not None for point in found.curve)


def _legend(found: Replay) -> list[tuple[str, str]]:
    keys = [(_ROUTED, "routing"), *([(_CHAINS, "chains")] if found.chains else [])]
    keys += [*([(_FRONTIER, "frontier")] if found.frontier else []), (_ALONE, "without routing")]
    if found.chosen is not None:
        keys.append((_CHOSEN, f"routing, {found.chosen.name}"))
    if found.chosen_chain is not None:
        keys.append((_CHOSEN_CHAIN, f"chain, {found.chosen_chain.name.removesuffix(', chain')}"))
    return keys


def _chart(found: Replay) -> Markup | None:
    """Quality by money, or by the share that goes to the generalist where no price is known."""
    series = ((_ROUTED, found.curve), (_CHAINS, found.chains), (_FRONTIER, found.frontier))
    lines = [(colour, _placed(points, found)) for colour, points in series if points]
    dots = [(_ALONE, _placed(found.baselines, found))]
    for colour, chosen in ((_CHOSEN, found.chosen), (_CHOSEN_CHAIN, found.chosen_chain)):
        dots.append((colour, _placed([] if chosen is None else [chosen], found)))
    every = [place for _, places in (*lines, *dots) for place in places]
    if not every:
        return None
    chart = _frame(found, every)
    for colour, places in lines:
        chart.line([(place.x, place.point.quality) for place in places], colour)
        for place in places:
            chart.dot(place.x, place.point.quality, f"small {colour}", title=_says(place))
    for colour, places in dots:
        for place in _together(places):
            _dot(chart, place, colour)
    return chart.render()


def _together(places: Sequence[_Place]) -> list[_Place]:
    """Policies that come to the same are one, with all of their names."""
    same: dict[tuple[float, float], list[_Place]] = {}
    for place in places:
        same.setdefault((place.x, place.point.quality), []).append(place)
    names = {at: ", ".join(each.point.name.partition(":")[0] for each in group) for at, group in same.items()}
    return [_Place(at[0], replace(group[0].point, name=names[at])) for at, group in same.items()]


class _Place(NamedTuple):
    """A point and where it lies on the axis of money."""

    x: float
    point: Point


def _placed(points: Iterable[Point], found: Replay) -> list[_Place]:
    """The points that can be drawn, the cheapest first."""
    along = [(_along(point, found), point) for point in points if not isnan(point.quality)]
    return sorted((_Place(x, point) for x, point in along if x is not None), key=lambda place: place.x)


def _along(point: Point, found: Replay) -> float | None:
    if _priced(found):
        return point.per_1000
    return point.shares[found.models.index(found.generalist)] if point.shares else None


def _frame(found: Replay, places: Sequence[_Place]) -> Chart:
    cheapest, dearest = min(place.x for place in places), max(place.x for place in places)
    ends = [place.point.quality for place in places]
    low, high = span(ends, least=0.04)
    steep = _priced(found) and cheapest > 0 and dearest > _STEEP * cheapest
    title = "money per 1,000 prompts" if _priced(found) else f"share that {found.generalist} answers"
    start, end = (cheapest / 1.5, dearest * 1.5) if steep else (0.0, dearest * 1.05 or 1.0)
    return Chart(
        x=Axis(
            title=title + (" (log)" if steep else ""),
            low=start,
            high=end,
            log=steep,
            show="{:g}".format,
            marks=_marks(start, end) if steep else (),
        ),
        y=Axis(title="quality (mean score)", low=low, high=high, show="{:.2f}".format),
        description=f"Quality by {title}",
    )


def _marks(low: float, high: float) -> tuple[float, ...]:
    """Ticks of a logarithmic axis; between powers of ten too, where there are few of those."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= _FEW_POWERS else (1,)
    return tuple(mark for power in powers for step in steps if low <= (mark := step * 10.0**power) <= high)


def _dot(chart: Chart, place: _Place, colour: str) -> None:
    """A policy by itself: with its name, or, where the policy stands, with its interval."""
    if colour == _ALONE:
        chart.label(place.x, place.point.quality, place.point.name, colour)
    elif place.point.interval is not None and not isnan(place.point.interval[0]):
        chart.bar(place.x, *place.point.interval, colour)
    chart.dot(place.x, place.point.quality, colour, title=_says(place))


def _says(place: _Place) -> str:
    return f"{place.point.name}: {place.point.quality:.3f} at {place.x:.4g}"


# --- The tables ----------------------------------------------------------------------------------


def _points(title: str, caption: str, found: Replay, points: Sequence[Point]) -> Iterable[Card]:
    if not points:
        return
    step = max(1, -(-len(points) // _ROWS))
    kept = [*points[::step], *(points[-1:] if (len(points) - 1) % step else [])]
    rows: list[list[Cell | str]] = [
        [point.name, _quality(point), _money(point), *_shares(point, found)] for point in kept
    ]
    headings = ["", "quality, 95% interval", "per 1,000", *found.models]
    yield Card(title=title, caption=caption, table=Table(headings=headings, rows=rows), wide=True)


def _baselines(found: Replay) -> Card:
    rows: list[list[Cell | str]] = [[point.name, _quality(point), _money(point)] for point in found.baselines]
    caption = "Each has the same prompts; hindsight knows every outcome and is no policy."
    table = Table(headings=["", "quality, 95% interval", "per 1,000"], rows=rows)
    return Card(title="Without routing", caption=caption, table=table)


def _domains(found: Replay) -> Iterable[Card]:
    """Each model's quality on each kind of prompt, and the routing policy's."""
    if not found.domains:
        return
    policy = [] if found.chosen is None else [f"routing, {found.chosen.name}", "per 1,000"]
    rows: list[list[Cell | str]] = []
    for domain in found.domains:
        models = [_quality(each) if each.name == found.generalist else decimals(each.quality) for each in domain.models]
        chosen: list[Cell | str] = [] if domain.chosen is None else [_quality(domain.chosen), _money(domain.chosen)]
        rows.append([domain.name or "none named", f"{domain.rows:,}", *models, *chosen])
    caption = f"Mean score of each model alone; {found.generalist} is the generalist."
    table = Table(headings=["domain", "prompts", *found.models, *policy], rows=rows)
    yield Card(title="By domain", caption=caption, table=table, wide=True)


def _quality(point: Point) -> Cell:
    known = point.interval is not None and not isnan(point.interval[0])
    return Cell(text=decimals(point.quality), note=interval(*point.interval) if known and point.interval else "")


def _money(point: Point) -> str:
    return "unknown" if point.per_1000 is None else f"{point.per_1000:.4g}"


def _shares(point: Point, found: Replay) -> list[str]:
    return [f"{share:.0%}" for share in point.shares] or ["-"] * len(found.models)


def _conditions(found: Replay, conditions: Mapping[str, str]) -> Card:
    terms = list(conditions.items())
    if found.recovery is not None and found.recovery_interval is not None:
        low, high = found.recovery_interval
        figures = found.recovery
        text = (
            f"{figures.apgr:.3f} of the gap recovered on average ({low:.3f} to {high:.3f}; chance: 0.5); half "
            f"of it with {figures.cpt50:.0%} strong calls, 95% of the quality with {figures.strong_for_95:.0%}"
        )
        terms.append(("two models", text))
    return Card(title="Conditions", terms=terms, wide=True)
