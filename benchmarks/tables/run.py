"""Questions that need a row, a column and a cell, over the same tables in every format that is read.

    python benchmarks/tables/run.py [--dev] [--overlooked]

Each format becomes an index by `coterie init`, `index`, `add` and `train`; nothing is trained on. The tables are of
this project (`tables.json`), so the benchmark needs no data folder. `--dev` asks the tables that were looked at.
`--overlooked` asks other tables (`overlooked.json`), two questions in five for a row or a column that they lack.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "answer"))

from _index import SPECIALIST, make_network
from make_tables import FILE, FORMATS, OVERLOOKED, Table, read_tables

from _record import Record, arguments, sha256
from coterie import open_network
from coterie.learning.evaluation import bootstrap_mean
from coterie.types import Answer, Request

CLAIM = "A question about one cell of a table is answered with that cell and a citation of its row, in every format."


class Said(NamedTuple):
    """What was said to one question."""

    stated: bool
    answered: bool
    right: bool
    """The row that answers is cited."""
    alone: bool
    """And of the cells that could have been meant, only the right one is said."""


def judge(table: Table, answer: tuple[str, str] | None, given: Answer) -> Said:
    """Whether the right row was cited, and the right cell said."""
    [finding] = given.trace.findings
    answered = finding.accepted and bool(finding.citations)
    if answer is None or not answered:
        return Said(answer is not None, answered, right=False, alone=False)
    wanted = [row for row in table.rows if answer[0] in row[0]]
    cells = [_plain(cell) for cell in wanted[0][1:] if cell]
    [right] = [cell for cell in cells if _plain(answer[1]) in cell][:1] or [""]
    cited = any(_has(citation.text, answer[0]) and _has(citation.text, answer[1]) for citation in finding.citations[:1])
    others = [cell for cell in cells if cell != right and cell not in right]
    value = _plain(str(finding.value))
    return Said(True, answered, cited, cited and right in value and not any(other in value for other in others))


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("€", "EUR").replace("\u2013", "-")).strip()


def _has(text: str, part: str) -> bool:
    return _plain(part) in _plain(text)


async def ask(folder: Path, tables: Sequence[Table]) -> list[Said]:
    """Every question, one after the other."""
    network = await open_network(folder)
    try:
        return [
            judge(table, answer, await network.ask(Request(text=question, specialist=SPECIALIST)))
            for table in tables
            for question, answer in table.asked
        ]
    finally:
        await network.close()


def figures(answers: Sequence[Said]) -> dict[str, object]:
    """What became of the questions, with intervals over them."""
    stated, answered, right, alone = (np.array([getattr(answer, name) for answer in answers]) for name in Said._fields)

    def share(values: np.ndarray) -> dict[str, object]:
        if not len(values):
            return {"n": 0}
        interval = bootstrap_mean(values.astype(float), seed=0)
        return {"share": float(values.mean()), "interval": [interval.low, interval.high], "n": len(values)}

    return {
        "answered_of_stated": share(answered[stated]),
        "right_of_stated": share(right[stated]),
        "answered_rightly": share(right[answered]),
        "cell_alone_of_right": share(alone[right]),
        "answered_of_not_stated": share(answered[~stated]),
    }


def measure(tables: Sequence[Table], form: str) -> list[Said]:
    """What a new index with these tables in a format says."""
    suffix, make = FORMATS[form]
    with tempfile.TemporaryDirectory() as name:
        documents = {f"{table.name}{suffix}": make(table) for table in tables}
        return asyncio.run(ask(make_network(Path(name), documents), tables))


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--dev", action="store_true", help="ask the tables that were looked at; nothing is written")
    parser.add_argument("--overlooked", action="store_true", help="ask for rows and columns that tables lack")
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), help="only these formats")
    given = parser.parse_args()
    file = OVERLOOKED if given.overlooked else FILE
    tables = read_tables(held_out=not given.dev, file=file)
    record = Record(claim=CLAIM)
    record.data[file.name] = sha256(file)
    by_format: dict[str, list[Said]] = {}
    for form in given.formats:
        try:
            by_format[form] = measure(tables, form)
        except Exception as error:  # noqa: BLE001 - a format that is not read answers nothing
            sys.stderr.write(f"{form}: {error}\n")
            by_format[form] = [
                Said(answer is not None, False, False, False) for table in tables for _, answer in table.asked
            ]
        sys.stderr.write(f"{form}: {_line(figures(by_format[form]))}\n")
    whole = [answer for rows in by_format.values() for answer in rows]
    sys.stderr.write(f"all: {_line(figures(whole))}\n")
    record.figures = figures(whole) | {"formats": {form: figures(answers) for form, answers in by_format.items()}}
    if not given.dev:
        record.write(given.out.with_name("overlooked_result.json") if given.overlooked else given.out)


def _line(measured: dict[str, object]) -> str:
    return ", ".join(
        f"{name} {figure.get('share', 0):.2f}" for name, figure in measured.items() if isinstance(figure, dict)
    )


if __name__ == "__main__":
    main()
