"""A ledger's rows as JSON and CSV: what each hour, day, tenant, specialist or model used, returned and cost.

A share with a zero denominator is null, and so is a figure that depends on an unknown value. Neither is written as 0.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from coterie.config.operation import AccountingSection
from coterie.types import Grouping, Ledger, LedgerRow, LedgerSummary, Step, Training, Usage

Figure = str | int | float | None
_PLACES = 9
_LENGTH = {"day": 86_400.0, "hour": 3_600.0}
"""Length in seconds of a row that stands for a day or an hour."""
_JOULES_PER_KWH = 3_600_000.0


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """The settings of a report: its grouping, its period, the number of cores and the accounting section."""

    by: Grouping
    since: float
    """Start of the report in seconds since the epoch; 0 for the beginning."""
    now: float
    cores: int
    """Number of cores of the machine, for the utilisation."""
    accounting: AccountingSection


def breakdown_json(ledger: Ledger, reporting: Reporting, answers: Mapping[str, int]) -> dict[str, object]:
    """Return the report as JSON, in the stable form that scripts read.

    Args:
        ledger: The sums from the store.
        reporting: The settings of the report.
        answers: Accepted findings of each specialist since the beginning, over which its trainings are spread.
    """
    began = reporting.now if ledger.began is None else ledger.began
    return {
        "by": reporting.by,
        "total": row_json(ledger.total, reporting, seconds=reporting.now - max(reporting.since, began)),
        "rows": [row_json(row, reporting, seconds=_seconds_of(row.key, reporting, began)) for row in ledger.rows],
        "trainings": [_trainings_json(name, runs, answers) for name, runs in _by_specialist(ledger.trainings)],
    }


def row_json(row: LedgerRow, reporting: Reporting, *, seconds: float | None) -> dict[str, Figure]:
    """Return one row as JSON.

    Args:
        row: The sums of the row.
        reporting: The settings of the report.
        seconds: The length of the row's period, for the utilisation; None where the row has no period.
    """
    cost = None if row.unpriced else row.cost
    grams = reporting.accounting.grams_co2_per_kwh
    saved = None if row.compared_cost is None or not row.compared else row.counterfactual_cost - row.compared_cost
    return {
        "key": row.key,
        "requests": row.requests,
        "accepted": row.accepted,
        "abstained": row.abstained,
        "escalated": row.escalated,
        "local_share": _share(row.accepted, row.accepted + row.abstained + row.escalated),
        "p50_ms": _rounded(row.p50_ms, 3),
        "p95_ms": _rounded(row.p95_ms, 3),
        "tokens_in": row.tokens_in,
        "tokens_cached": row.tokens_cached,
        "tokens_out": row.tokens_out,
        "cpu_seconds": round(row.cpu_seconds, 6),
        "utilisation": None if not seconds else round(row.cpu_seconds / (seconds * reporting.cores), 6),
        "joules": _rounded(row.joules),
        "joules_low": _rounded(row.joules_low),
        "joules_high": _rounded(row.joules_high),
        "joules_measured": _rounded(row.joules_measured),
        "grams_co2": None if grams is None else _rounded(row.joules / _JOULES_PER_KWH * grams),
        "known_cost": None if row.unpriced and not row.cost else _rounded(row.cost),
        "unpriced": row.unpriced,
        "joules_per_answer": _per_item(row.joules, row.answered),
        "cost_per_answer": _per_item(cost, row.answered),
        "counterfactual_cost": _rounded(row.counterfactual_cost) if row.compared else None,
        "compared": row.compared,
        "saved": _rounded(saved),
        "judged": row.judged,
        "correct": row.correct,
        "correct_share": _share(row.correct, row.judged),
        "joules_per_correct": _per_item(row.judged_joules, row.correct),
        "cost_per_correct": _per_item(row.judged_cost, row.correct),
    }


def breakdown_csv(rows: Sequence[Mapping[str, Figure]], *, by: Grouping) -> str:
    """Return the rows as CSV. The first column is named after the grouping; an unknown value is an empty cell."""
    text = io.StringIO()
    names = list(rows[0]) if rows else ["key"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([by if name == "key" else name for name in names])
    writer.writerows([_cell(row[name]) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: Figure) -> Figure:
    """Return a value as a CSV cell; text that begins like a formula gets a leading quote, so it stays text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


def _by_specialist(trainings: Sequence[Training]) -> list[tuple[str, list[Training]]]:
    by_specialist: dict[str, list[Training]] = defaultdict(list)
    for training in trainings:
        by_specialist[training.specialist].append(training)
    return sorted(by_specialist.items())


def _trainings_json(name: str, trainings: Sequence[Training], answers: Mapping[str, int]) -> dict[str, Figure]:
    """Return the usage of a specialist's trainings, and their share per answer up to now."""
    joules = sum(training.joules for training in trainings)
    costs = [training.cost for training in trainings if training.cost is not None]
    cost = sum(costs, Decimal(0)) if len(costs) == len(trainings) else None
    return {
        "specialist": name,
        "trainings": len(trainings),
        "seconds": _rounded(sum(training.seconds for training in trainings), 3),
        "cpu_seconds": _rounded(sum(training.cpu_seconds for training in trainings), 3),
        "joules": _rounded(joules),
        "joules_kind": "measured" if all(training.joules_kind == "measured" for training in trainings) else "estimated",
        "cost": _rounded(cost),
        "answers": answers.get(name, 0),
        "joules_per_answer": _per_item(joules, answers.get(name, 0)),
        "cost_per_answer": _per_item(cost, answers.get(name, 0)),
    }


def _seconds_of(key: str, reporting: Reporting, began: float) -> float | None:
    """Return the seconds of a day or an hour that lie in the report; None for a row that is no period."""
    length = _LENGTH.get(reporting.by)
    if length is None:
        return None
    start = datetime.fromisoformat(key).replace(tzinfo=UTC).timestamp()
    return min(start + length, reporting.now) - max(start, reporting.since, began)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _per_item(amount: float | Decimal | None, count: int) -> float | None:
    return _rounded(float(amount) / count) if amount is not None and count else None


def _rounded(value: float | Decimal | None, places: int = _PLACES) -> float | None:
    return None if value is None else round(float(value), places)


# --- The totals as JSON for `coterie report --json`.


def summary_json(summary: LedgerSummary, *, currency: str) -> dict[str, str | int | float | None]:
    """Return the totals as JSON, in the stable form that scripts read.

    Amounts are JSON numbers rounded to nine decimal places, for scripts that add and compare; the ledger
    itself keeps exact decimals. An unknown amount is null, never 0.

    Args:
        summary: Totals from the store.
        currency: The currency of the amounts.
    """
    return {
        "requests": summary.requests,
        "accepted": summary.accepted,
        "abstained": summary.abstained,
        "escalated": summary.escalated,
        "p50_ms": _rounded(summary.p50_ms, 3),
        "p95_ms": _rounded(summary.p95_ms, 3),
        "joules": round(summary.joules, _PLACES),
        "joules_kind": summary.joules_kind,
        "cost": _rounded(summary.cost),
        "counterfactual_cost": _rounded(summary.counterfactual_cost),
        "currency": currency,
    }


def format_money(amount: Decimal | None, currency: str) -> str:
    """Format an amount for people: three significant digits, no scientific notation; `unknown` for None."""
    if amount is None:
        return "unknown"
    places = max(2, 2 - amount.adjusted()) if amount else 2
    return f"{amount:.{places}f} {currency}"


def format_cost(usage: Usage, steps: Iterable[Step], currency: str) -> str:
    """Format what a request cost for people; if part of the sum is unknown, the known part as "at least"."""
    at_least = sum((step.usage.cost for step in steps if step.usage.cost is not None), Decimal(0))
    if usage.cost is None and at_least:
        return f"at least {format_money(at_least, currency)}"
    return format_money(usage.cost, currency)
