"""A ledger's rows as JSON and CSV: what each hour, day, tenant, specialist or model took, gave and would have cost.

A share of nothing, like a figure that rests on something unknown, is null: never 0.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from coterie.config.accounting import AccountingSection
from coterie.types import Grouping, Ledger, LedgerRow, LedgerSummary, Step, Training, Usage

Figure = str | int | float | None
_PLACES = 9
_LENGTH = {"day": 86_400.0, "hour": 3_600.0}
"""Seconds of a row that is a time."""
_JOULES_PER_KWH = 3_600_000.0


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """What a report is made with beside the ledger."""

    by: Grouping
    since: float
    """Seconds since the epoch; 0 from the beginning."""
    now: float
    cores: int
    """Of the machine, for its utilisation."""
    accounting: AccountingSection


def breakdown_json(ledger: Ledger, reporting: Reporting, answers: Mapping[str, int]) -> dict[str, object]:
    """The shape scripts may rely on.

    Args:
        ledger: What the store adds up to.
        reporting: How it is reported.
        answers: Accepted findings of each specialist since the beginning, over which its trainings are spread.
    """
    began = reporting.now if ledger.began is None else ledger.began
    return {
        "by": reporting.by,
        "total": row_json(ledger.total, reporting, seconds=reporting.now - max(reporting.since, began)),
        "rows": [row_json(row, reporting, seconds=_seconds_of(row.key, reporting, began)) for row in ledger.rows],
        "trainings": [_trainings_json(name, each, answers) for name, each in _by_specialist(ledger.trainings)],
    }


def row_json(row: LedgerRow, reporting: Reporting, *, seconds: float | None) -> dict[str, Figure]:
    """One row.

    Args:
        row: The sums.
        reporting: How they are reported.
        seconds: The time that they lie in, for the utilisation; None where there is no such thing.
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
        "joules_per_answer": _each(row.joules, row.answered),
        "cost_per_answer": _each(cost, row.answered),
        "counterfactual_cost": _rounded(row.counterfactual_cost) if row.compared else None,
        "compared": row.compared,
        "saved": _rounded(saved),
        "judged": row.judged,
        "correct": row.correct,
        "correct_share": _share(row.correct, row.judged),
        "joules_per_correct": _each(row.judged_joules, row.correct),
        "cost_per_correct": _each(row.judged_cost, row.correct),
    }


def breakdown_csv(rows: Sequence[Mapping[str, Figure]], *, by: Grouping) -> str:
    """The rows as CSV, the first column named after what they are by; what is unknown is empty."""
    text = io.StringIO()
    names = list(rows[0]) if rows else ["key"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([by if name == "key" else name for name in names])
    writer.writerows([_cell(row[name]) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: Figure) -> Figure:
    """As a spreadsheet takes it for what it is: a name that begins like a formula gets a quote before it."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


def _by_specialist(trainings: Sequence[Training]) -> list[tuple[str, list[Training]]]:
    found: dict[str, list[Training]] = defaultdict(list)
    for training in trainings:
        found[training.specialist].append(training)
    return sorted(found.items())


def _trainings_json(name: str, trainings: Sequence[Training], answers: Mapping[str, int]) -> dict[str, Figure]:
    """What the trainings of a specialist took, and their share in each of its answers up to now."""
    joules = sum(each.joules for each in trainings)
    known = [training.cost for training in trainings if training.cost is not None]
    cost = sum(known, Decimal(0)) if len(known) == len(trainings) else None
    return {
        "specialist": name,
        "trainings": len(trainings),
        "seconds": _rounded(sum(each.seconds for each in trainings), 3),
        "cpu_seconds": _rounded(sum(each.cpu_seconds for each in trainings), 3),
        "joules": _rounded(joules),
        "joules_kind": "measured" if all(each.joules_kind == "measured" for each in trainings) else "estimated",
        "cost": _rounded(cost),
        "answers": answers.get(name, 0),
        "joules_per_answer": _each(joules, answers.get(name, 0)),
        "cost_per_answer": _each(cost, answers.get(name, 0)),
    }


def _seconds_of(key: str, reporting: Reporting, began: float) -> float | None:
    """So much of a day or an hour lies in the report; None for a row that is no time."""
    length = _LENGTH.get(reporting.by)
    if length is None:
        return None
    start = datetime.fromisoformat(key).replace(tzinfo=UTC).timestamp()
    return min(start + length, reporting.now) - max(start, reporting.since, began)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _each(amount: float | Decimal | None, count: int) -> float | None:
    return _rounded(float(amount) / count) if amount is not None and count else None


def _rounded(value: float | Decimal | None, places: int = _PLACES) -> float | None:
    return None if value is None else round(float(value), places)


# --- The totals as JSON for `coterie report --json`.


def summary_json(summary: LedgerSummary, *, currency: str) -> dict[str, str | int | float | None]:
    """The shape scripts may rely on.

    Amounts are JSON numbers rounded to nine decimal places, for scripts that add and compare; the ledger
    itself keeps exact decimals. An unknown amount is null, never 0.

    Args:
        summary: Totals from the store.
        currency: What the amounts are in.
    """
    return {
        "requests": summary.requests,
        "accepted": summary.accepted,
        "abstained": summary.abstained,
        "escalated": summary.escalated,
        "p50_ms": _rounded_report(summary.p50_ms, 3),
        "p95_ms": _rounded_report(summary.p95_ms, 3),
        "joules": round(summary.joules, _PLACES),
        "joules_kind": summary.joules_kind,
        "cost": _rounded_report(summary.cost, _PLACES),
        "counterfactual_cost": _rounded_report(summary.counterfactual_cost, _PLACES),
        "currency": currency,
    }


def format_money(amount: Decimal | None, currency: str) -> str:
    """An amount for people: three significant digits, never in scientific notation; `unknown` when it is."""
    if amount is None:
        return "unknown"
    places = max(2, 2 - amount.adjusted()) if amount else 2
    return f"{amount:.{places}f} {currency}"


def format_cost(usage: Usage, steps: Iterable[Step], currency: str) -> str:
    """What a request cost for people: of a sum of which a part is unknown, the known part as "at least"."""
    known = sum((step.usage.cost for step in steps if step.usage.cost is not None), Decimal(0))
    if usage.cost is None and known:
        return f"at least {format_money(known, currency)}"
    return format_money(usage.cost, currency)


def _rounded_report(value: float | Decimal | None, places: int) -> float | None:
    return None if value is None else round(float(value), places)
