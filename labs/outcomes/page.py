"""A replay as a page: quality by money, the points of each curve, and what the figures rest on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil, floor, isnan, log10
from typing import NamedTuple

from markupsafe import Markup

from coterie.reports.pages import Axis, Card, Cell, Chart, Report, Table, decimals, interval, page, span
from labs.outcomes.curve import Point
from labs.outcomes.replay import Replay

_ROUTED, _CHAINS, _FRONTIER, _ALONE, _CHOSEN, _CHOSEN_CHAIN = "c0", "c2", "c3", "large", "c1", "c4"
"""Classes of the series' colours."""
_STEEP = 20.0
"""Where the dearest point costs as many times the cheapest, the axis of money is logarithmic."""
_FEW_POWERS = 4
_ROWS = 12
"""Points of a curve in a table."""


def replay_page(replay: Replay, *, file: str, conditions: Mapping[str, str]) -> str:
    """Render a replay.

    Args:
        replay: What was played.
        file: Name of the file of outcomes.
        conditions: What it takes to have the same figures again, by name.
    """
    return page(
        Report(
            title=f"Replay of {file}",
            subtitle=f"{replay.rows:,} prompts, {len(replay.models)} models. Each prompt is decided by what was "
            f"learned from {replay.learned_from}, never by its own outcome. Quality counts against "
            f"{replay.generalist}.",
            verdict=_verdict(replay),
            cards=[
                _curve_card(replay),
                _baselines(replay),
                *_points("Routing policies", "Each row is one rate between score and money.", replay, replay.curve),
                *_points("Chains: the cheapest model first", "", replay, replay.chains),
                *_points("Frontier: the best policy for the money", _beside_singles(replay), replay, replay.frontier),
                *_domains(replay),
                *([Card(title="Warnings", items=replay.warnings, wide=True)] if replay.warnings else []),
                _conditions(replay, conditions),
            ],
        )
    )


def _beside_singles(replay: Replay) -> str:
    """What the frontier is worth beside single models."""
    excess = replay.frontier_excess
    if excess is None:
        return ""
    behind = "nowhere" if excess <= 0 else f"nowhere more than {100 * excess:.1f} points"
    return f"A chain, a single model or a coin between two. At equal cost it is {behind} behind the best single model."


def _verdict(replay: Replay) -> list[str]:
    """The routing policy for the aim, and the chain for it; nothing without an aim."""
    lines = []
    for which, point, reason in (
        ("The routing policy", replay.chosen, replay.reason),
        ("The chain", replay.chosen_chain, replay.chain_reason),
        ("The frontier", replay.chosen_frontier, replay.frontier_reason),
    ):
        if point is not None and replay.chosen is not None:
            money = "money unknown" if point.per_1000 is None else f"{point.per_1000:.4g} per 1,000"
            came = f"{which} for {replay.chosen.name} comes to quality {decimals(point.quality)}, {money}"
            lines.append(f"{came}: {reason}.")
    return lines


# --- The chart -----------------------------------------------------------------------------------


def _curve_card(replay: Replay) -> Card:
    chart = _chart(replay)
    missing = () if chart else ["No point has both a quality and a price."]
    return Card(title="Quality and money", caption=_caption(replay), legend=_legend(replay), chart=chart, items=missing)


def _caption(replay: Replay) -> str:
    where = "Up and to the left is better; the bar is a 95% interval."
    if _priced(replay):
        return where
    return f"No price is known, so what is counted is how often {replay.generalist} is asked. {where}"


def _priced(replay: Replay) -> bool:
    return any(point.per_1000 is not None for point in replay.curve)


def _legend(replay: Replay) -> list[tuple[str, str]]:
    keys = [(_ROUTED, "routing"), *([(_CHAINS, "chains")] if replay.chains else [])]
    keys += [*([(_FRONTIER, "frontier")] if replay.frontier else []), (_ALONE, "without routing")]
    if replay.chosen is not None:
        keys.append((_CHOSEN, f"routing, {replay.chosen.name}"))
    if replay.chosen_chain is not None:
        keys.append((_CHOSEN_CHAIN, f"chain, {replay.chosen_chain.name.removesuffix(', chain')}"))
    return keys


def _chart(replay: Replay) -> Markup | None:
    """Quality by money, or by the share that goes to the generalist where no price is known."""
    series = ((_ROUTED, replay.curve), (_CHAINS, replay.chains), (_FRONTIER, replay.frontier))
    lines = [(colour, _placed(points, replay)) for colour, points in series if points]
    dots = [(_ALONE, _placed(replay.baselines, replay))]
    for colour, chosen in ((_CHOSEN, replay.chosen), (_CHOSEN_CHAIN, replay.chosen_chain)):
        dots.append((colour, _placed([] if chosen is None else [chosen], replay)))
    every = [spot for _, places in (*lines, *dots) for spot in places]
    if not every:
        return None
    chart = _frame(replay, every)
    for colour, places in lines:
        chart.line([(spot.x, spot.point.quality) for spot in places], colour)
        for spot in places:
            chart.dot(spot.x, spot.point.quality, f"small {colour}", title=_says(spot))
    for colour, places in dots:
        for spot in _together(places):
            _dot(chart, spot, colour)
    return chart.render()


def _together(places: Sequence[_Place]) -> list[_Place]:
    """Policies that come to the same are one, with all of their names."""
    same: dict[tuple[float, float], list[_Place]] = {}
    for spot in places:
        same.setdefault((spot.x, spot.point.quality), []).append(spot)
    names = {at: ", ".join(spot.point.name.partition(":")[0] for spot in group) for at, group in same.items()}
    return [_Place(at[0], replace(group[0].point, name=names[at])) for at, group in same.items()]


class _Place(NamedTuple):
    """A point and where it lies on the axis of money."""

    x: float
    point: Point


def _placed(points: Iterable[Point], replay: Replay) -> list[_Place]:
    """The points that can be drawn, the cheapest first."""
    along = [(_along(point, replay), point) for point in points if not isnan(point.quality)]
    return sorted((_Place(x, point) for x, point in along if x is not None), key=lambda spot: spot.x)


def _along(point: Point, replay: Replay) -> float | None:
    if _priced(replay):
        return point.per_1000
    return point.shares[replay.models.index(replay.generalist)] if point.shares else None


def _frame(replay: Replay, places: Sequence[_Place]) -> Chart:
    cheapest, dearest = min(spot.x for spot in places), max(spot.x for spot in places)
    ends = [spot.point.quality for spot in places]
    low, high = span(ends, least=0.04)
    steep = _priced(replay) and cheapest > 0 and dearest > _STEEP * cheapest
    title = "money per 1,000 prompts" if _priced(replay) else f"share that {replay.generalist} answers"
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


def _dot(chart: Chart, spot: _Place, colour: str) -> None:
    """A policy by itself: with its name, or, where the policy stands, with its interval."""
    if colour == _ALONE:
        chart.label(spot.x, spot.point.quality, spot.point.name, colour)
    elif spot.point.interval is not None and not isnan(spot.point.interval[0]):
        chart.bar(spot.x, *spot.point.interval, colour)
    chart.dot(spot.x, spot.point.quality, colour, title=_says(spot))


def _says(spot: _Place) -> str:
    return f"{spot.point.name}: {spot.point.quality:.3f} at {spot.x:.4g}"


# --- The tables ----------------------------------------------------------------------------------


def _points(title: str, caption: str, replay: Replay, points: Sequence[Point]) -> Iterable[Card]:
    if not points:
        return
    step = max(1, -(-len(points) // _ROWS))
    kept = [*points[::step], *(points[-1:] if (len(points) - 1) % step else [])]
    rows: list[list[Cell | str]] = [
        [point.name, _quality(point), _money(point), *_shares(point, replay)] for point in kept
    ]
    headings = ["", "quality, 95% interval", "per 1,000", *replay.models]
    yield Card(title=title, caption=caption, table=Table(headings=headings, rows=rows), wide=True)


def _baselines(replay: Replay) -> Card:
    rows: list[list[Cell | str]] = [[point.name, _quality(point), _money(point)] for point in replay.baselines]
    caption = "Each has the same prompts; hindsight knows every outcome and is no policy."
    table = Table(headings=["", "quality, 95% interval", "per 1,000"], rows=rows)
    return Card(title="Without routing", caption=caption, table=table)


def _domains(replay: Replay) -> Iterable[Card]:
    """Each model's quality on each kind of prompt, and the routing policy's."""
    if not replay.domains:
        return
    policy = [] if replay.chosen is None else [f"routing, {replay.chosen.name}", "per 1,000"]
    rows: list[list[Cell | str]] = []
    for domain in replay.domains:
        models = [
            _quality(model) if model.name == replay.generalist else decimals(model.quality) for model in domain.models
        ]
        chosen: list[Cell | str] = [] if domain.chosen is None else [_quality(domain.chosen), _money(domain.chosen)]
        rows.append([domain.name or "none named", f"{domain.rows:,}", *models, *chosen])
    caption = f"Mean score of each model alone; {replay.generalist} is the generalist."
    table = Table(headings=["domain", "prompts", *replay.models, *policy], rows=rows)
    yield Card(title="By domain", caption=caption, table=table, wide=True)


def _quality(point: Point) -> Cell:
    is_known = point.interval is not None and not isnan(point.interval[0])
    return Cell(text=decimals(point.quality), note=interval(*point.interval) if is_known and point.interval else "")


def _money(point: Point) -> str:
    return "unknown" if point.per_1000 is None else f"{point.per_1000:.4g}"


def _shares(point: Point, replay: Replay) -> list[str]:
    return [f"{share:.0%}" for share in point.shares] or ["-"] * len(replay.models)


def _conditions(replay: Replay, conditions: Mapping[str, str]) -> Card:
    terms = list(conditions.items())
    if replay.recovery is not None and replay.recovery_interval is not None:
        low, high = replay.recovery_interval
        figures = replay.recovery
        text = (
            f"{figures.apgr:.3f} of the gap recovered on average ({low:.3f} to {high:.3f}; chance: 0.5); half "
            f"of it with {figures.cpt50:.0%} strong calls, 95% of the quality with {figures.strong_for_95:.0%}"
        )
        terms.append(("two models", text))
    return Card(title="Conditions", terms=terms, wide=True)
