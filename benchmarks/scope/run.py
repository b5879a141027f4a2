"""Which score tells texts that belong to no label? Labels are hidden from training and taken for out of scope.

    COTERIE_DATA=FOLDER python benchmarks/scope/run.py

No out-of-scope text is trained on or chooses: some labels of CLINC150's and BANKING77's training rows (and whole
domains of the former) are hidden, the rung is trained on four fifths of the others, and scores have to tell the last
fifth from the hidden ones. CLINC150's own out-of-scope validation rows are only looked at afterwards (`check`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf

from _data import find, thin
from _folds import Fitted, dataset, fit_embedding
from _record import Record, arguments, sha256
from _training_rows import SETS, Rows
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.evaluation import auroc
from coterie.learning.splits import folds

CLAIM = "Several signs together tell what is out of scope without an example of it; which ones has two sides."
SHARE = 0.2  # of the labels hidden
KEPT = 0.95  # of the texts in scope
DOMAINS = 2  # hidden together


class Texts(NamedTuple):
    """What scores look at."""

    logits: np.ndarray  # (M, L) divided by the temperature
    vectors: np.ndarray  # (M, D)


Score = Callable[[Texts], np.ndarray]


def scores(fitted: Fitted) -> dict[str, Score]:
    """Every single score; higher is more in scope."""
    train, hot = fitted.vectors, fitted.examples.hot
    means = hot.T @ train / hot.sum(axis=0)[:, None]
    centroids = means / np.linalg.norm(means, axis=1, keepdims=True)
    within = _metric(train - means[hot.argmax(axis=1)])
    centre = train.mean(axis=0)
    whole = _metric(train - centre)
    return {
        "largest logit": lambda new: new.logits.max(axis=1),
        "energy": lambda new: logsumexp(new.logits, axis=1),
        "largest probability": lambda new: new.logits.max(axis=1) - logsumexp(new.logits, axis=1),
        "nearest centroid": lambda new: (new.vectors @ centroids.T).max(axis=1),
        "Mahalanobis": lambda new: -_squares(new.vectors @ within, means @ within).min(axis=1),
        "relative Mahalanobis": lambda new: (
            ((new.vectors - centre) @ whole) ** 2
        ).sum(axis=1) - _squares(new.vectors @ within, means @ within).min(axis=1),
        **{f"{k} nearest, cosine": lambda new, k=k: _nearest(new.vectors, train, k) for k in (1, 5, 10)},
        "nearest along 64 axes": lambda new: fitted.fit.compared.neighbours.of(new.vectors),  # type: ignore[union-attr]
    }  # fmt: skip


def _nearest(vectors: np.ndarray, train: np.ndarray, k: int) -> np.ndarray:  # (M, D), (N, D) -> (M,)
    """Mean cosine to the k nearest training texts."""
    return np.asarray(np.partition(vectors @ train.T, -k, axis=1)[:, -k:].mean(axis=1))


def _metric(centred: np.ndarray) -> np.ndarray:  # (N, D) -> (D, D)
    """Its product with a vector has the Mahalanobis length (Ledoit and Wolf 2004)."""
    return np.asarray(np.linalg.cholesky(np.linalg.inv(ledoit_wolf(centred, assume_centered=True)[0])))


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # (N, D), (M, D) -> (N, M)
    return np.asarray((a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1))


COMBINED = (
    ("largest logit", "nearest centroid"),
    ("largest logit", "1 nearest, cosine"),
    ("largest logit", "5 nearest, cosine"),
    ("largest logit", "relative Mahalanobis"),
    ("largest logit", "nearest along 64 axes"),
    ("largest logit", "relative Mahalanobis", "nearest along 64 axes"),
    ("largest logit", "nearest centroid", "nearest along 64 axes"),
)


def compare(fitted: Fitted, inside: Texts, outside: Texts) -> dict[str, dict[str, float]]:
    """AUROC and recall of each score and combination; standardised by the texts in scope."""
    scored = {name: (score(inside), score(outside)) for name, score in scores(fitted).items()}
    table = {name: _figures(*pair) for name, pair in scored.items()}
    for names in COMBINED:
        parts = [_standardised(*scored[name]) for name in names]
        table[" + ".join(names)] = _figures(
            np.sum([a for a, _ in parts], axis=0), np.sum([b for _, b in parts], axis=0)
        )
    return table


def _standardised(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (inside - inside.mean()) / inside.std(), (outside - inside.mean()) / inside.std()


def _figures(inside: np.ndarray, outside: np.ndarray) -> dict[str, float]:
    truth = np.repeat([True, False], [len(inside), len(outside)])
    least = np.quantile(inside, 1 - KEPT)
    return {"auroc": auroc(np.concatenate([inside, outside]), truth), "recall": float((outside < least).mean())}


def hidden_labels(name: str, labels: Sequence[str]) -> dict[str, list[list[str]]]:
    """What is hidden, by the way it is chosen."""
    random = np.random.default_rng
    ways = {
        f"{name}, labels": [
            random(seed).permutation(sorted(labels))[: round(SHARE * len(labels))].tolist() for seed in range(3)
        ]
    }
    if name == "clinc150":
        domains: Mapping[str, list[str]] = json.loads(find(name)[0].with_name("domains.json").read_text("utf-8"))
        order = random(0).permutation(sorted(domains)).tolist()
        groups = [order[at : at + DOMAINS] for at in range(0, len(order), DOMAINS)]
        ways[f"{name}, domains"] = [[label for domain in group for label in domains[domain]] for group in groups]
    return ways


def hide(rows: Rows, vectors: np.ndarray, hidden: Sequence[str], encoder: OnnxEncoder) -> dict[str, dict[str, float]]:
    """Train without the hidden labels, on four fifths of the others."""
    out = np.array([label in set(hidden) for _, label in rows])
    kept = np.flatnonzero(~out)
    fold = folds(dataset([rows[at] for at in kept]), 5, 0)
    parts = [kept[fold != 0], kept[fold == 0], np.flatnonzero(out)]
    fitted = fit_embedding([rows[at] for at in parts[0]], vectors[parts[0]], encoder)
    inside, outside = (
        Texts(fitted.logits([rows[at][0] for at in part], vectors[part]), vectors[part]) for part in parts[1:]
    )
    return compare(fitted, inside, outside)


def mean_tables(tables: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Each figure's mean over tables."""
    return {
        name: {key: float(np.mean([table[name][key] for table in tables])) for key in figures}
        for name, figures in tables[0].items()
    }


def check(rows: Rows, vectors: np.ndarray, encoder: OnnxEncoder) -> dict[str, dict[str, float]]:
    """CLINC150's validation rows in scope and out of it, after the choice."""
    content = json.loads(find("clinc150")[0].read_text(encoding="utf-8"))
    fitted = fit_embedding(rows, vectors, encoder)
    parts = []
    for part in ("val", "oos_val"):
        texts = [text for text, _ in content[part]]
        new = encoder.encode(texts)
        parts.append(Texts(fitted.logits(texts, new), new))
    return compare(fitted, *parts)


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--rows", type=int, help="use so many rows only, to try the script")
    given = parser.parse_args()
    record, encoder = Record(claim=CLAIM, seeds=[0, 1, 2]), OnnxEncoder.bundled()
    for name in ("clinc150", "banking77"):
        record.data |= {f"{name}/{path.name}": sha256(path) for path in find(name)[:1]}
        rows = thin(SETS[name](), given.rows)
        vectors = encoder.encode([text for text, _ in rows])
        for way, choices in hidden_labels(name, sorted({label for _, label in rows})).items():
            record.figures[way] = mean_tables([hide(rows, vectors, choice, encoder) for choice in choices])
            print(way, json.dumps(record.figures[way], indent=1), flush=True)
        if name == "clinc150":
            record.figures["check: clinc150, out-of-scope validation rows"] = check(rows, vectors, encoder)
    record.figures["mean"] = mean_tables([table for way, table in record.figures.items() if "check" not in way])  # type: ignore[misc]
    record.write(given.out)


if __name__ == "__main__":
    main()
