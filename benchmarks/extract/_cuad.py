"""CUAD's contracts as rows of an `extract` specialist: whole texts, with the lawyers' clauses located in them.

The public original gives for each contract and category the clause texts, without offsets, and one normalised answer. A
clause is located by its words, whatever white space is between them. Where a text occurs several times (`Company`), the
place nearest to the field's longest quote counts: the lawyers marked the parties where they are introduced.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from _contracts import contract_key, contract_texts

FIELDS: Mapping[str, str] = {
    "parties": "text*",
    "agreement_date": "date",
    "effective_date": "date",
    "expiration_date": "date",
    "governing_law": "choice",
    "renewal_term": "duration",
    "notice_period": "duration",
}
_COLUMNS: Mapping[str, str] = {
    "parties": "Parties",
    "agreement_date": "Agreement Date",
    "effective_date": "Effective Date",
    "expiration_date": "Expiration Date",
    "governing_law": "Governing Law",
    "renewal_term": "Renewal Term",
    "notice_period": "Notice Period To Terminate Renewal",
}
_VALIDATION = 0.2  # of the contracts that are no test, by a hash of their names
_OMITTED = "<omitted>"
_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d\d)")
"""As the lawyers write one, the month first: the language of a contract does not say so, its region does."""
_PIVOT = 70  # years from here on are of the last century


class Contract(NamedTuple):
    """One row, ready to be written as JSONL."""

    name: str
    text: str
    fields: Mapping[str, list[dict[str, object]] | None]
    lost: int
    """Pieces of clauses that are not in the text word for word."""

    def line(self) -> str:
        """The row."""
        return json.dumps({"contract": self.name, "text": self.text, "fields": self.fields}, ensure_ascii=False)


def read_contracts(table: Path, archive: Path) -> list[Contract]:
    """Every contract of CUAD, in the table's order."""
    texts = {contract_key(name): text for name, text in contract_texts(archive)}
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        _contract(row, texts[contract_key(row["Filename"])]) for row in rows if contract_key(row["Filename"]) in texts
    ]


def divide(contracts: Sequence[Contract], split: Path, *, validation: bool) -> tuple[list[Contract], list[Contract]]:
    """Contracts to train on and to measure on. The test is the lender example's: no contract is on both sides anywhere.

    Args:
        contracts: All of them.
        split: The lender example's list.
        validation: Leave the test alone: measure on a fifth of the others, drawn by a hash of their names.
    """
    test = {contract_key(name) for name in json.loads(split.read_text(encoding="utf-8"))["test"]}
    rest = [contract for contract in contracts if contract_key(contract.name) not in test]
    if not validation:
        return rest, [contract for contract in contracts if contract_key(contract.name) in test]
    ranked = sorted(
        rest, key=lambda contract: hashlib.sha256(f"extract:{contract_key(contract.name)}".encode()).hexdigest()
    )
    cut = round(_VALIDATION * len(ranked))
    return ranked[cut:], ranked[:cut]


def _contract(row: Mapping[str, str], text: str) -> Contract:
    fields: dict[str, list[dict[str, object]] | None] = {}
    lost = 0
    for name, column in _COLUMNS.items():
        clauses = ast.literal_eval(row[column]) if row[column] else []
        pieces = [piece for clause in clauses for piece in clause.split(_OMITTED) if piece.strip()]
        spans = _locate(text, pieces)
        lost += len(pieces) - len(spans)
        value = _value(row, column) if not FIELDS[name].startswith("text") else None
        extra = {} if value is None else {"value": value}
        fields[name] = [{"start": start, "end": end, **extra} for start, end in spans] or None
    return Contract(name=row["Filename"], text=text, fields=fields, lost=lost)


def _value(row: Mapping[str, str], column: str) -> str | None:
    """The normalised answer; None where the lawyers left it open."""
    answer = next((row[key] for key in (f"{column}-Answer", f"{column}- Answer") if key in row), "").strip()
    if date := _DATE.fullmatch(answer):
        month, day, year = map(int, date.groups())
        return f"{year + (1900 if year >= _PIVOT else 2000)}-{month:02}-{day:02}"
    return answer if answer and "[" not in answer else None


def _locate(text: str, pieces: Sequence[str]) -> list[tuple[int, int]]:
    """The place of each piece, the longest first, the others nearest to it."""
    spans: list[tuple[int, int]] = []
    for piece in sorted(pieces, key=len, reverse=True):
        pattern = r"\s+".join(re.escape(word) for word in piece.split())
        places = [match.span() for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", text)]
        places = places or [match.span() for match in re.finditer(pattern, text)]
        if places:
            anchor = spans[0][0] if spans else 0
            spans.append(min(places, key=lambda span: abs(span[0] - anchor)))
    return sorted(set(spans))
