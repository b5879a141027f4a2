"""ContractNLI as documents with pairs: what `run.py` trains on and asks about.

Training documents are read from `train.json`. Where there are only its first 50 and the file of pairs with their
evidence, the others are excerpts: the spans that the pairs quote (all evidence, and some that is none). An excerpt has
all that decides its pairs and half of what does not, so it is filled up, to the number of spans that its document has,
with spans of a whole document that are evidence of nothing, and counts as one group with that document: else a model
would meet fewer clauses that look like evidence than in whole contracts. Its pairs are still easier than those of whole
documents, so it is learnt from and not calibrated on.
`num_evidence_spans` of that file tells the label and is never read.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LABELS = {"0": "Entailment", "1": "Contradiction", "2": "NotMentioned"}
_HYPOTHESES = 17  # rows of one document in the pairs file, in the documents' order


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A hypothesis about a document."""

    hypothesis: str
    label: str
    evidence: Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A contract, or an excerpt of one."""

    id: str
    text: str
    pairs: Sequence[Pair]
    group: str
    """Documents that share clauses."""
    plain: Sequence[str] = ()
    """Spans that are evidence of nothing."""
    excerpt: bool = False
    """Not a whole document: learnt from, but not calibrated on."""


def read_documents(path: Path) -> list[Document]:
    """Whole documents of one of the data set's JSON files."""
    content = json.loads(path.read_text(encoding="utf-8"))
    hypotheses = {key: label["hypothesis"] for key, label in content["labels"].items()}
    return [_document(document, hypotheses) for document in content["documents"]]


def _document(content: Mapping[str, Any], hypotheses: Mapping[str, str]) -> Document:
    spans = [(int(start), int(end)) for start, end in content["spans"]]
    annotations = content["annotation_sets"][0]["annotations"]
    decisive = {span_number for annotation in annotations.values() for span_number in annotation["spans"]}
    plain = [content["text"][start:end].strip() for index, (start, end) in enumerate(spans) if index not in decisive]
    return Document(
        id=str(content["id"]),
        text=content["text"],
        group=str(content["id"]),
        plain=[text for text in plain if text],
        pairs=[
            Pair(
                hypothesis=hypotheses[key], label=annotation["choice"], evidence=[spans[i] for i in annotation["spans"]]
            )
            for key, annotation in annotations.items()
        ],
    )


def read_excerpts(path: Path, whole: Sequence[Document]) -> list[Document]:
    """An excerpt a document of the pairs file, in its order, but for the first ones, which are there whole."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        _excerpt(number, rows[number * _HYPOTHESES : (number + 1) * _HYPOTHESES], whole[number % len(whole)])
        for number in range(len(whole), len(rows) // _HYPOTHESES)
    ]


def _excerpt(number: int, rows: Sequence[Mapping[str, str]], filler: Document) -> Document:
    draw = random.Random(number)  # noqa: S311 - a seed a document, not a secret
    quoted = [[line.strip() for line in row["concatenated_spans"].split("\n") if line.strip()] for row in rows]
    own = dict.fromkeys(line for lines in quoted for line in lines)
    missing = max(0, int(rows[0]["num_spans"]) - len(own))
    others = draw.sample(filler.plain, min(missing, len(filler.plain)))
    lines = list(own | dict.fromkeys(others))
    draw.shuffle(lines)  # the file's order puts evidence of one pair together
    spans, at = {}, 0
    for line in lines:
        spans[line] = (at, at + len(line))
        at += len(line) + 1
    pairs = [
        Pair(
            hypothesis=row["hypothesis"],
            label=LABELS[row["label"]],
            evidence=[spans[line] for line in lines] if LABELS[row["label"]] != "NotMentioned" else [],
        )
        for row, lines in zip(rows, quoted, strict=True)
    ]
    return Document(id=f"excerpt-{number}", text="\n".join(lines), pairs=pairs, group=filler.id, excerpt=True)


def training_files(folder: Path) -> list[Path]:
    """The whole training file, or those with the first documents and with pairs."""
    whole = folder / "train.json"
    return [whole] if whole.is_file() else [folder / "train_first50.json", folder / "evidence_csv" / "train.csv"]


def training_documents(files: Sequence[Path]) -> list[Document]:
    """Documents whole, as far as there are any, and excerpts of the others."""
    first, *others = files
    documents = read_documents(first)
    excerpts = [excerpt for path in others if path.suffix == ".csv" for excerpt in read_excerpts(path, documents)]
    more = [document for path in others if path.suffix == ".json" for document in read_documents(path)]
    return [*documents, *more, *excerpts]


def write_documents(path: Path, documents: Sequence[Document]) -> Path:
    """A JSONL record a document, with its pairs."""
    path.write_text("".join(json.dumps(record) + "\n" for record in _records(documents)), encoding="utf-8")
    return path


def _records(documents: Sequence[Document]) -> Iterator[dict[str, object]]:
    for document in documents:
        pairs = [
            {"hypothesis": pair.hypothesis, "label": pair.label, "evidence": [list(span) for span in pair.evidence]}
            for pair in document.pairs
        ]
        yield {"text": document.text, "document": document.group, "excerpt": document.excerpt, "pairs": pairs}
