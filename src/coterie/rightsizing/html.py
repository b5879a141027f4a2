"""The report: one HTML file with everything in it: nothing is fetched, no script runs, and all text is escaped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape

from coterie.accounting.breakdown import format_money
from coterie.charts.page import card, page
from coterie.charts.svg import element
from coterie.learning.judging import Case
from coterie.rightsizing.charts import LARGE, colour, quality_cost, reliability_chart, risk_coverage_chart
from coterie.rightsizing.result import LargeRow, Per1000, RightSizing, RungRow

_PAIRS = 12  # confused pairs shown
_EXAMPLES = 2  # texts of each
_LONGEST = 160  # characters of an example
_HEADINGS = (
    "answered alone",
    "accuracy of those",
    "calibration error",
    "p50 / p95 ms",
    "memory",
    "size",
    "training",
    "J / 1,000",
)


def html_report(found: RightSizing) -> str:
    """A right-sizing as a page that can be sent, printed and read without a network."""
    held_out = found.data["held_out"]
    title = f"Right-sizing: {found.task} on {held_out['file']}"
    body = [
        element("h1", escape(title)),
        element("p", escape(_subtitle(found)), class_="soft"),
        element("p", escape(str(found.verdict)), class_=f"verdict {found.verdict.outcome}"),
        card("One row a rung", _table_caption(found), element("div", _table(found), class_="scroll")),
        element("div", "".join(_charts(found)), class_="charts"),
        "" if found.task == "extract" else _confusions(found.taken),
        _warnings(found.warnings),
        _conditions(found),
    ]
    return page(title, body, colours=(*(colour(i) for i in range(5)), LARGE))


def _subtitle(found: RightSizing) -> str:
    train, held_out = found.data["train"], found.data["held_out"]
    bar = " and ".join(f"{name} {least:g}" for name, least in found.bar.items()) or "none"
    return (
        f"Trained on {train['rows']:,} rows, measured on {held_out['rows']:,} held-out rows. Bar: {bar}. "
        f"Target risk: {found.target_risk:.0%}. {found.conditions.date[:10]}."
    )


# --- The table -----------------------------------------------------------------------------------


def _table_caption(found: RightSizing) -> str:
    return (
        f"On held-out rows, which choose nothing. Answered alone: confidence above the threshold that keeps the error "
        f"at or below {found.target_risk:.0%}, or the share that a warning names. Latency: single requests in one "
        "thread. Memory: a process with this rung alone, and what of it came after importing coterie. Energy (J) and "
        "money are estimated; a dash means not known."
    )


def _table(found: RightSizing) -> str:
    headings = ["rung", f"{found.measure}, 95% interval", *_HEADINGS, f"{found.conditions.currency} / 1,000"]
    rows = [_rung_row(row, i, taken=row is found.taken) for i, row in enumerate(found.rungs)]
    if found.large is not None:
        rows.append(_large_row(found.large))
    head = element("tr", "".join(element("th", escape(heading)) for heading in headings))
    return element("table", element("thead", head) + element("tbody", "".join(rows)))


def _rung_row(row: RungRow, place: int, *, taken: bool) -> str:
    evaluation = row.evaluation
    cells = [
        _key(row.rung, colour(place)),
        _figure_cell(row),
        "-" if evaluation.coverage is None else f"{evaluation.coverage:.1%}",
        _number(evaluation.accepted_accuracy),
        _number(evaluation.ece),
        _times(row.p50, row.p95),
        _memory(row),
        _size(row.bytes),
        f"{row.seconds:,.1f} s",
        *_per_1000(row.per_1000),
    ]
    return element("tr", "".join(element("td", cell) for cell in cells), class_="taken" if taken else None)


def _memory(row: RungRow) -> str:
    """Of the process, and what of it the rung took; a dash for one that asks a model."""
    if row.resident_bytes is None or row.increase_bytes is None:
        return "-"
    return f"{row.resident_bytes / 1e6:,.0f} MB " + element("small", f"+{row.increase_bytes / 1e6:,.0f}")


def _large_row(large: LargeRow) -> str:
    cells = [
        _key(large.name, LARGE),
        _figure_cell(large),
        *["-"] * 3,
        "-" if large.p50 is None or large.p95 is None else _times(large.p50, large.p95),
        *["-"] * 3,
        *_per_1000(large.per_1000),
    ]
    return element("tr", "".join(element("td", cell) for cell in cells))


def _figure_cell(row: RungRow | LargeRow) -> str:
    low, high = row.figure.interval
    return f"{_number(row.figure.value)} " + element("small", f"{low:.3f} to {high:.3f}")


def _key(name: str, class_: str) -> str:
    return element("span", class_=f"key {class_}") + escape(name)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _times(p50: float, p95: float) -> str:
    return f"{_short(p50)} / {_short(p95)}"


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def _per_1000(per_1000: Per1000) -> tuple[str, str]:
    joules = "-" if per_1000.joules is None else _short(per_1000.joules)
    return joules, "-" if per_1000.money is None else format_money(per_1000.money, "").strip()


# --- The charts ----------------------------------------------------------------------------------


def _charts(found: RightSizing) -> Iterable[str]:
    keys = [_key(row.rung, colour(i)) for i, row in enumerate(found.rungs)]
    legend = element("div", "".join(element("span", key) for key in keys), class_="legend")
    yield card("Quality and cost", "Up and to the left is better; bars are 95% intervals.", quality_cost(found))
    yield card(
        "Risk and coverage",
        "What answering more costs in errors. The dot is where the accept threshold stands.",
        legend,
        risk_coverage_chart(found),
    )
    yield card(
        "Reliability",
        "On the dashed line a confidence says what it means: of answers at 0.9, nine in ten are right.",
        legend,
        reliability_chart(found),
    )
    yield _thresholds(found)
    yield _chain(found)


# --- The rest ------------------------------------------------------------------------------------


def _chain(found: RightSizing) -> str:
    """What the chain comes to at every stop."""
    if not found.chain:
        return ""
    rungs = list(found.chain[0].asked)
    asks = [f"asks {rung}" for rung in rungs]
    headings = ["answers from", "accuracy, 95% interval", *asks, "J / 1,000", f"{found.conditions.currency} / 1,000"]
    head = element("tr", "".join(element("th", escape(heading)) for heading in headings))
    body = "".join(
        element(
            "tr",
            "".join(
                element("td", cell)
                for cell in (
                    f"{rungs[-1]} alone" if point.stop is None else f"{point.stop:g}",
                    f"{point.figure.value:.3f} "
                    + element("small", f"{point.figure.interval.low:.3f} to {point.figure.interval.high:.3f}"),
                    *(f"{share:.0%}" for share in point.asked.values()),
                    *_per_1000(point.per_1000),
                )
            ),
            class_="taken" if point.taken else None,
        )
        for point in found.chain
    )
    about = "From which confidence a rung before the last answers, and what that came to. Energy and money: estimated."
    return card("The chain", about, element("table", element("thead", head) + element("tbody", body)))


def _confusions(row: RungRow) -> str:
    """The most confused pairs of the rung taken, with texts."""
    pairs: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in row.cases:
        if not case.correct:
            pairs["|".join(case.row.labels), _said(case)].append(case)
    most = sorted(pairs.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:_PAIRS]
    if not most:
        return card("Confused pairs", f"{row.rung} took no label for another.")
    head = element("tr", "".join(element("th", name) for name in ("right", "said", "rows", "such as")))
    rows = [
        element(
            "tr",
            element("td", escape(right))
            + element("td", escape(said))
            + element("td", f"{len(cases):,}", class_="count")
            + element("td", _quotes(cases)),
        )
        for (right, said), cases in most
    ]
    table = element("table", element("thead", head) + element("tbody", "".join(rows)), class_="words")
    wrong = sum(map(len, pairs.values()))
    caption = f"{row.rung} is wrong on {wrong:,} of {len(row.cases):,} rows; the most frequent mistakes."
    return card("Confused pairs", caption, element("div", table, class_="scroll"))


def _said(case: Case) -> str:
    return "|".join(case.value) if isinstance(case.value, tuple) else str(case.value)


def _quotes(cases: Sequence[Case]) -> str:
    shown = [_example(case) for case in cases[:_EXAMPLES]]
    return "".join(element("div", escape(text), class_="quote") for text in shown)


def _example(case: Case) -> str:
    """The case's text, or its columns where there is none, cut when it is long."""
    columns = ", ".join(f"{name} {value}" for name, value in case.row.columns.items())
    text = " ".join((case.row.text.strip() or columns).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _thresholds(found: RightSizing) -> str:
    rows = [(row.rung, row.threshold) for row in found.rungs if row.threshold]
    items = "".join(element("dt", escape(rung)) + element("dd", escape(reason)) for rung, reason in rows)
    caption = "Fitted out of fold on the training rows, for each rung."
    return card("When a rung answers alone", caption, element("dl", items)) if rows else ""


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(element("li", escape(warning)) for warning in warnings)
    return card("What makes these figures doubtful", "", element("ul", items))


def _conditions(found: RightSizing) -> str:
    """What it takes to check the figures."""
    conditions, price = found.conditions, found.conditions.price_per_cpu_hour
    rows = [
        (name.replace("_", "-"), f"{about['file']}, {about['rows']:,} rows, SHA-256 {about['sha256']}")
        for name, about in found.data.items()
    ]
    rows += [
        ("seed", str(found.seed)),
        ("rung taken because", str(found.reason)),
        ("energy", f"{conditions.watts_per_core:g} W a busy core, from CPU-seconds: estimated"),
        ("money", f"{price} {conditions.currency} a core-hour: estimated" if price is not None else "no price is set"),
        ("machine", ", ".join(f"{name} {value}" for name, value in conditions.machine.items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in conditions.versions.items())),
        ("date", conditions.date),
    ]
    if found.large is not None:
        rows.insert(2, (found.large.name, found.large.source))
    items = "".join(element("dt", escape(name)) + element("dd", escape(text)) for name, text in rows)
    return card("Conditions", "", element("dl", items))
