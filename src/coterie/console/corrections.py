"""What people said would have been right, as training rows of the specialist."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from coterie.config.specialists import SpecialistSection
from coterie.console.visits import Visit
from coterie.errors import DataError, InputError
from coterie.learning.files import sniff_delimiter
from coterie.runtime.files import write_bytes
from coterie.store.content import is_dropped
from coterie.tasks.classify.section import ClassifySection
from coterie.types import Feedback, Trace

_SUFFIXES = {".csv", ".jsonl"}


def correctable(section: SpecialistSection) -> bool:
    """Whether a label that somebody gives makes a row of its data: of texts with one label."""
    plain = isinstance(section, ClassifySection) and not (section.multi_label or section.record)
    return plain and section.data is not None and Path(section.data).suffix in _SUFFIXES


async def waiting_corrections(visit: Visit, name: str) -> list[tuple[str, str]]:
    """Texts and labels that were given since and are no rows of its data yet."""
    section = visit.config.specialists[name]
    if not correctable(section):
        return []
    found = await visit.reads.corrections(name, visit.caller.tenant)
    return await visit.aside(_new_rows, visit.folder / str(section.data), section, name, found)


async def teach(visit: Visit, name: str, text: str, label: str) -> bool:
    """Add one row to its data; False if it has the text already. Raises `InputError`, `DataError`."""
    section = visit.config.specialists[name]
    if not correctable(section):
        raise InputError(f"{name!r} has no data that one row can be added to.", hint="Leave the text out.")
    path = visit.folder / str(section.data)
    if text in {known for known, _ in await visit.aside(_rows_of, path, section)}:
        return False
    await visit.aside(_append, path, section, [(text, label)])
    return True


async def learn_corrections(visit: Visit, name: str) -> int:
    """Add them to its data; how many there were. Raises `DataError`."""
    section = visit.config.specialists[name]
    rows = await waiting_corrections(visit, name)
    if rows:
        await visit.aside(_append, visit.folder / str(section.data), section, rows)
    return len(rows)


def _new_rows(
    path: Path, section: SpecialistSection, name: str, found: Sequence[tuple[Trace, Feedback]]
) -> list[tuple[str, str]]:
    known = {text for text, _ in _rows_of(path, section)}
    rows: dict[str, str] = {}
    for trace, feedback in found:
        text = next((part.text for part in trace.route.parts if name in part.specialists), "")
        if text and text not in known and isinstance(feedback.value, str) and not is_dropped(text):
            rows[text] = feedback.value
    return list(rows.items())


def _columns(section: SpecialistSection) -> tuple[str, str]:
    return getattr(section, "text_column", None) or "text", getattr(section, "label_column", "label")


def _delimiter(content: str, section: SpecialistSection) -> str:
    """What stands between the cells: a spreadsheet of most of Europe writes semicolons."""
    return sniff_delimiter(content.partition("\n")[0].encode(), _columns(section))


def _rows_of(path: Path, section: SpecialistSection) -> list[tuple[str, str]]:
    """Texts and labels of the file, as they stand there."""
    text, label = _columns(section)
    try:
        content = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            written = csv.DictReader(io.StringIO(content), delimiter=_delimiter(content, section))
            return [(row.get(text) or "", row.get(label) or "") for row in written]
        rows = [json.loads(line) for line in content.splitlines() if line.strip()]
        return [(str(row.get(text, "")), str(row.get(label, ""))) for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"The data in {str(path)!r} cannot be read: {error}.", hint="See what stands there.") from error


def _append(path: Path, section: SpecialistSection, rows: Sequence[tuple[str, str]]) -> None:
    """Write the file anew with more rows, whole or not at all."""
    text, label = _columns(section)
    content = path.read_text(encoding="utf-8-sig")
    made = io.StringIO(newline="")
    if path.suffix == ".csv":
        delimiter = _delimiter(content, section)
        names = next(csv.reader(io.StringIO(content), delimiter=delimiter))
        writer = csv.DictWriter(made, names, restval="", lineterminator="\n", delimiter=delimiter)
        writer.writerows({text: a, label: b} for a, b in rows)
    else:
        made.writelines(json.dumps({text: a, label: b}, ensure_ascii=False) + "\n" for a, b in rows)
    write_bytes(path, (content.rstrip("\n") + "\n" + made.getvalue()).encode())
