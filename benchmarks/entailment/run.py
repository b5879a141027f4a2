"""Entailment over contracts: does a contract entail a hypothesis, contradict it, or not mention it; ContractNLI.

    COTERIE_DATA=FOLDER python benchmarks/entailment/run.py            # trains, then reports on the test documents
    COTERIE_DATA=FOLDER python benchmarks/entailment/run.py --on dev   # while developing: the test file is not opened

Evidence is found by the product, never given. Intervals draw whole contracts, since pairs of one contract are alike.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _contractnli import Document, read_documents, training_documents, training_files, write_documents

from _data import find
from _record import Bar, Record, arguments, sha256
from _specialists import Measured, apart, measure_rungs, percentiles, rung_figures
from coterie.learning.dataset import Row
from coterie.types import Finding

CLAIM = "A specialist trained in minutes on a CPU says what a contract says of a hypothesis, and quotes where."
TARGET_RISK = 0.1  # of whole documents there are too few to show 5% for more than a fraction of the pairs
_DRAWS = 1000


def measure(train: Sequence[Document], held: Sequence[Document], seed: int) -> dict[str, Any]:
    """Both rungs trained and asked, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        section = {
            "task": "pairs",
            "data": str(write_documents(folder / "train.jsonl", train)),
            "test": str(write_documents(folder / "held.jsonl", held)),
            "pair_column": "hypothesis",
            "group_column": "document",
            "learn_only_column": "excerpt",
            "target_risk": TARGET_RISK,
            "seed": seed,
        }
        measured = measure_rungs(folder, section)
    figures = rung_figures(measured)
    for rung, result in measured.items():
        figures[rung] |= pair_figures(result)
        figures[rung]["intervals"]["accuracy"] = document_interval(result.asked.rows, result.asked.right)
    return figures


# --- Figures of pairs ----------------------------------------------------------------------------


def pair_figures(measured: Measured) -> dict[str, Any]:
    """Quality of the evidence, accuracy a hypothesis, and latency of a document's first and later questions."""
    asked_rows = measured.asked
    first = np.array([i == 0 or asked_rows.rows[i - 1].text != row.text for i, row in enumerate(asked_rows.rows)])
    return {
        "evidence": evidence_figures(asked_rows.rows, asked_rows.findings),
        "accuracy_by_hypothesis": by_hypothesis(asked_rows.rows, asked_rows.right),
        "first_question_ms": percentiles(asked_rows.milliseconds[first]),
        "next_question_ms": percentiles(asked_rows.milliseconds[~first]),
    }


def evidence_figures(rows: Sequence[Row], findings: Sequence[Finding]) -> dict[str, float]:
    """Of rows with evidence: how often a quote overlaps it, and of quotes shown first: how often that one does."""
    pairs = [(row, finding) for row, finding in zip(rows, findings, strict=True) if row.evidence]
    hits = [any(_overlaps(row, quote) for quote in _quotes(finding)) for row, finding in pairs]
    shown = [(row, _quotes(finding)[0]) for row, finding in pairs if _quotes(finding)]
    return {
        "rows": len(pairs),
        "hit_rate": float(np.mean(hits)),
        "shown": len(shown) / len(pairs),
        "first_quote_hits": float(np.mean([_overlaps(row, quote) for row, quote in shown])),
    }


def _quotes(finding: Finding) -> list[tuple[int, int]]:
    return [
        (evidence.start, evidence.end)
        for evidence in finding.evidence
        if evidence.kind == "quote" and evidence.start is not None and evidence.end is not None
    ]


def _overlaps(row: Row, quote: tuple[int, int]) -> bool:
    """Whether half of the shorter of the two is shared."""
    return any(
        min(end, quote[1]) - max(start, quote[0]) >= 0.5 * min(end - start, quote[1] - quote[0])
        for start, end in row.evidence
    )


def by_hypothesis(rows: Sequence[Row], right: np.ndarray) -> dict[str, float]:
    """Accuracy on the rows of each hypothesis."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for row, good in zip(rows, right.tolist(), strict=True):
        hits[str(row.columns["hypothesis"])].append(good)
    return {hypothesis: float(np.mean(own)) for hypothesis, own in sorted(hits.items())}


def document_interval(rows: Sequence[Row], right: np.ndarray) -> list[float]:
    """95% bootstrap interval of the accuracy, drawing whole documents."""
    own: dict[str | None, list[bool]] = defaultdict(list)
    for row, good in zip(rows, right.tolist(), strict=True):
        own[row.group].append(good)
    hits, sizes = (np.array([function(hits) for hits in own.values()]) for function in (sum, len))
    drawn = np.random.default_rng(0).integers(len(sizes), size=(_DRAWS, len(sizes)))
    accuracies = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return [float(share) for share in np.percentile(accuracies, [2.5, 97.5])]


# --- What it is held against ---------------------------------------------------------------------


def baselines(train: Sequence[Document], held: Sequence[Document]) -> dict[str, float]:
    """Accuracy of the most frequent label, of that of each hypothesis, and of TF-IDF of whole texts a hypothesis."""
    truth = _labels(held)
    everything = Counter(label for own in _labels(train).values() for label in own)
    majority = {key: Counter(own).most_common(1)[0][0] for key, own in _labels(train).items()}
    features = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    seen, new = (features.fit_transform(_texts(train)), features.transform(_texts(held)))
    right = Counter[str]()
    for hypothesis, labels in truth.items():
        known_labels = _labels(train)[hypothesis]
        predicted = (
            LinearSVC(random_state=0).fit(seen, known_labels).predict(new)
            if len(set(known_labels)) > 1
            else known_labels[:1] * len(labels)
        )
        right["tfidf_svm"] += sum(a == b for a, b in zip(predicted, labels, strict=True))
        right["majority_of_hypothesis"] += sum(label == majority[hypothesis] for label in labels)
        right["majority"] += sum(label == everything.most_common(1)[0][0] for label in labels)
    return {name: count / sum(map(len, truth.values())) for name, count in right.items()}


def _labels(documents: Sequence[Document]) -> Mapping[str, list[str]]:
    """The label of each document, by hypothesis."""
    labels: dict[str, list[str]] = defaultdict(list)
    for document in documents:
        for pair in document.pairs:
            labels[pair.hypothesis].append(pair.label)
    return labels


def _texts(documents: Sequence[Document]) -> list[str]:
    return [document.text for document in documents]


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--on", choices=("dev", "test"), default="test", help="documents to report on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--documents", type=int, help="use so many training and held-out documents only, to try it")
    given = parser.parse_args()
    path = next(file for file in find("contractnli") if file.stem == given.on)
    files = training_files(path.parent)
    if given.on == "test":  # settings were chosen on dev; it is whole documents, which calibration wants
        files.append(path.with_name("dev.json"))
    train, held = (documents[: given.documents] for documents in (training_documents(files), read_documents(path)))
    record = Record(claim=CLAIM, seeds=[given.seed])
    record.data = {f"contractnli/{file.name}": sha256(file) for file in (*files, path)}
    record.figures = {"on": given.on, "documents": {"train": len(train), "held_out": len(held)}}
    record.figures |= apart(measure, train, held, given.seed) | {"baselines": baselines(train, held)}
    ours: Any = record.figures["embedding"]
    record.bars += [
        Bar(what=f"ContractNLI {given.on} accuracy", measured=ours["accuracy"], limit=0.80),
        Bar(what=f"ContractNLI {given.on} ECE", measured=ours["ece"], limit=0.03, at_most=True),
        Bar(what="p95 of a later question, ms", measured=ours["next_question_ms"]["p95"], limit=200, at_most=True),
    ]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
