"""CUAD's contracts with the lawyers' clauses located in them, as questions that a contract answers or does not."""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from _questions import QUESTIONS

from _contracts import contract_key, contract_texts
from coterie.tasks.extract.tagging import TokenizedText
from coterie.types import Label, Passage

_OMITTED = "<omitted>"
_EVERYWHERE = 40
"""Characters from which the same words elsewhere in the contract answer the question as well."""
_VALIDATION = 0.15
_PASSAGE = 700  # characters

Spans = tuple[tuple[int, int], ...]


class Contract(NamedTuple):
    """A contract, and where each clause type is stated."""

    name: str
    text: str
    clauses: Mapping[str, Spans]
    """Places by clause type; none where the lawyers found no such clause."""
    lost: int
    """Pieces of clauses that are not in the text word for word."""


def read_contracts(table: Path, archive: Path) -> list[Contract]:
    """Every contract of CUAD, in the table's order."""
    texts = {contract_key(name): text for name, text in contract_texts(archive)}
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        _contract(row, texts[contract_key(row["Filename"])]) for row in rows if contract_key(row["Filename"]) in texts
    ]


def divide(contracts: Sequence[Contract], split: Path) -> tuple[list[Contract], list[Contract], list[Contract]]:
    """Contracts to learn from, to choose by and to test on. The test is the lender example's."""
    test = {contract_key(name) for name in json.loads(split.read_text(encoding="utf-8"))["test"]}
    rest = [contract for contract in contracts if contract_key(contract.name) not in test]
    ranked = sorted(
        rest, key=lambda contract: hashlib.sha256(f"answer:{contract_key(contract.name)}".encode()).hexdigest()
    )
    cut = round(_VALIDATION * len(ranked))
    return ranked[cut:], ranked[:cut], [contract for contract in contracts if contract_key(contract.name) in test]


def ask(contracts: Sequence[Contract], wording: int) -> Iterator[dict[str, object]]:
    """A row a contract and clause type, as a specialist's `data` has it; `answer` is null where nothing is stated."""
    for contract in contracts:
        for kind, wordings in QUESTIONS.items():
            spans = contract.clauses[kind]
            yield {
                "question": wordings[wording],
                "document": contract.name,
                "topic": kind,
                "answer": [[start, end] for start, end in spans] or None,
            }


def _contract(row: Mapping[str, str], text: str) -> Contract:
    clauses: dict[str, Spans] = {}
    lost = 0
    for kind in QUESTIONS:
        stated = ast.literal_eval(row[kind]) if row[kind] else []
        pieces = [piece for clause in stated for piece in clause.split(_OMITTED) if piece.strip()]
        spans = locate(text, pieces)
        lost += sum(not _places(text, piece) for piece in pieces)
        clauses[kind] = spans
    return Contract(name=row["Filename"].strip(), text=text, clauses=clauses, lost=lost)


def locate(text: str, pieces: Sequence[str]) -> Spans:
    """Where pieces stand: a long one wherever it is repeated, a short one nearest to the longest."""
    spans: list[tuple[int, int]] = []
    for piece in sorted(pieces, key=len, reverse=True):
        places = _places(text, piece)
        if len(piece) >= _EVERYWHERE:
            spans += places
        elif places:
            anchor = spans[0][0] if spans else 0
            spans.append(min(places, key=lambda span: abs(span[0] - anchor)))
    return tuple(sorted(set(spans)))


def _places(text: str, piece: str) -> list[tuple[int, int]]:
    pattern = r"\s+".join(re.escape(word) for word in piece.split())
    whole = [match.span() for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", text)]
    return whole or [match.span() for match in re.finditer(pattern, text)]


def cut(document: str, text: str, heading: str = "", offset: int = 0) -> list[Passage]:
    """Passages of whole sentences."""
    places: list[tuple[int, int]] = []
    for sentence in TokenizedText(text).sentences:
        if places and sentence.end - places[-1][0] <= _PASSAGE:
            places[-1] = (places[-1][0], sentence.end)
        else:
            places.append((sentence.start, sentence.end))
    return [
        Passage(
            document=document,
            start=offset + start,
            end=offset + end,
            text=text[start:end],
            score=0.0,
            label=Label.PUBLIC,
            heading=heading,
        )
        for start, end in places
    ]
