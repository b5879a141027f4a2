"""A version's `card.md`: a Hugging Face model card made from its report and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

Table = Sequence[Sequence[str]]

_PIPELINES = {"classify": "text-classification", "score": "tabular-classification", "generate": "text-generation"}
_JOBS = {
    "classify": "names the label, or labels, of a text",
    "score": "gives a probability from columns, or a text, with its reasons",
    "generate": "drafts a text from a source text and may say only what that says",
}
_LIMITS = (
    "It knows its own domain only. Asked about anything else it should abstain, which is likely, not certain.",
    "The figures hold for data like the held-out rows; on other data it can be worse, and its confidence not show it.",
    "An abstention is an answer: send it to a person or to a larger model, not to a guess.",
)


def write_card(report: Mapping[str, object]) -> str:
    """The model card of a report.

    Args:
        report: What the trainer wrote. Read here, each part only if it is there: `name`, `task`, `description`,
            `rung`, `reason`, `bar`, `bar_met`, `labels` (a number), `seed`, `data` (for `train` and `held_out` each
            `file`, `sha256`, `rows`, `licence`), `metrics` (held-out figures; an interval of one stands in
            `intervals`), `rungs` (a row each, with `rung` and `held_out`), `warnings`.
    """
    name, task = _text(report.get("name")), _text(report.get("task"))
    parts = [
        _front_matter(task, _text(report.get("rung"))),
        f"# {name}",
        _text(report.get("description")),
        f"A Coterie specialist: it {_JOBS.get(task, 'has one task')}, or it abstains and says why.",
        _table([("", ""), *_facts(report)]),
        "## Data",
        _table([("", "file", "rows", "SHA-256", "licence"), *_data(report)]),
        "## Held-out results",
        _results(report),
        "## Intended use and limits",
        _list([_use(report), *_LIMITS]),
        *_warnings(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(task: str, rung: str) -> str:
    lines = ["library_name: coterie", f"pipeline_tag: {_PIPELINES[task]}" if task in _PIPELINES else ""]
    tags = [tag for tag in ("coterie", task, rung) if re.fullmatch(r"[a-z0-9-]+", tag)]
    return "\n".join(["---", *filter(None, lines), "tags:", *(f"- {tag}" for tag in tags), "---"])


def _facts(report: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The rows of the table at the top."""
    for key, shown in (("task", "task"), ("rung", "rung"), ("labels", "labels"), ("seed", "seed")):
        if report.get(key) is not None:
            yield shown, _text(report[key])
    if reason := _text(report.get("reason")):
        yield "chosen because", reason
    for measure, least in _mapping(report.get("bar")).items():
        met = {True: "met", False: "MISSED"}.get(report.get("bar_met") is True, "")
        yield "bar", f"{measure} >= {_number(least)}: {met}"
    if encoder := _text(report.get("encoder_sha256")):
        yield "encoder SHA-256", encoder


def _data(report: Mapping[str, object]) -> Iterator[tuple[str, ...]]:
    for use, described in _mapping(report.get("data")).items():
        about = _mapping(described)
        licence = _text(about.get("licence")) or "not stated"
        yield _text(use), _text(about.get("file")), _text(about.get("rows")), _text(about.get("sha256")), licence


def _results(report: Mapping[str, object]) -> str:
    """Every figure with its interval, the lexical floor beside it."""
    chosen, floor = _mapping(report.get("metrics")), _floor(report)
    if not chosen:
        return "Not measured."
    rung = _text(report.get("rung"))
    header = ["measure", rung or "value", *(["lexical (floor)"] if floor else [])]
    names = [name for name in chosen if _is_number(chosen[name])]
    rows = [[name, _figure(chosen, name), *([_figure(floor, name)] if floor else [])] for name in names]
    note = "Brackets hold 95% bootstrap intervals." if "intervals" in chosen else ""
    if not floor and rung == "lexical":
        note = f"This is the lexical floor itself. {note}"
    return "\n\n".join(filter(None, [_table([header, *rows]), note.strip()]))


def _floor(report: Mapping[str, object]) -> Mapping[str, object]:
    """Held-out figures of the lexical rung, empty if that is the chosen one or was not tried."""
    rows = report.get("rungs")
    if report.get("rung") == "lexical" or not isinstance(rows, Sequence):
        return {}
    found = (_mapping(row) for row in rows)
    return next((_mapping(row.get("held_out")) for row in found if row.get("rung") == "lexical"), {})


def _figure(metrics: Mapping[str, object], name: str) -> str:
    """A figure and, if there is one, its interval."""
    value = metrics.get(name)
    if not _is_number(value):
        return "-"
    interval = _mapping(metrics.get("intervals")).get(name)
    if not isinstance(interval, Sequence) or isinstance(interval, str):
        return _number(value)
    return f"{_number(value)} [{', '.join(_number(bound) for bound in interval)}]"


def _use(report: Mapping[str, object]) -> str:
    """What it is for."""
    bar = "" if report.get("bar_met") is not False else " It missed its bar: look at the figures before relying on it."
    return f"Made for one job inside a Coterie network, behind its router and its threshold.{bar}"


def _warnings(report: Mapping[str, object]) -> list[str]:
    warnings = report.get("warnings")
    if not isinstance(warnings, Sequence) or isinstance(warnings, str) or not warnings:
        return []
    return ["## Found in the data", _list([_text(warning) for warning in warnings])]


# --- Markdown ------------------------------------------------------------------------------------


def _table(rows: Table) -> str:
    if len(rows) < 2:
        return ""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _text(value: object) -> str:
    """A value as one line of plain Markdown: what it says cannot become a heading, a cell or a tag."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _text(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
