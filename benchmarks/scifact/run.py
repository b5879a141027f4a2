"""How well an index finds the abstracts that claims are about: BEIR SciFact, every mode in the same index in one run.

    COTERIE_DATA=FOLDER python benchmarks/scifact/run.py            # indexes (once, in work/), asks the test claims
    COTERIE_DATA=FOLDER python benchmarks/scifact/run.py --train    # asks the training claims instead: for choosing
    COTERIE_DATA=FOLDER python benchmarks/scifact/run.py --fit      # fits the reranker's three weights on them

The training claims' relevant abstracts are the cited ones, as BEIR has it (919 for 809 claims). An interrupted indexing
goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scipy.optimize import minimize

from _data import find
from _record import ROOT, Bar, Record, arguments, sha256
from coterie.cli.app import main as coterie
from coterie.config.file import KnowledgeSection
from coterie.engines.onnx import OnnxEncoder, TokenStates
from coterie.knowledge.indexes import CandidatePassage, Reranker, Weights
from coterie.knowledge.local import LocalIndex
from coterie.knowledge.open import index_folder, open_index
from coterie.knowledge.sources import evaluate, ndcg, read_judgements, read_queries
from coterie.types import Label

CLAIM = "Words and meaning together, reranked by the encoder's own tokens, find more than either, on a CPU."
NETWORK = ROOT / "work" / "scifact"
INDEX = "scifact"
MODES = ("keyword", "vector", "hybrid", "rerank")
Judged = Mapping[str, Mapping[str, int]]


def cited(claims: Path) -> dict[str, dict[str, int]]:
    """The judgements of the training claims: what each cites."""
    judged: dict[str, dict[str, int]] = {}
    for line in claims.read_text(encoding="utf-8").splitlines():
        claim = json.loads(line)
        judged.setdefault(str(claim["id"]), {}).update(dict.fromkeys(re.findall(r"\d+", claim["cited_doc_ids"]), 1))
    return judged


def index(corpus: Path, network: Path) -> dict[str, object]:
    """Bring the index up to date; what was done before is not done again."""
    network.mkdir(parents=True, exist_ok=True)
    (network / "coterie.toml").write_text('[network]\nname = "scifact"\n', encoding="utf-8")
    start = time.perf_counter()
    if coterie(["-C", str(network), "index", INDEX, "--beir", str(corpus), "--label", "public"]):
        sys.exit("indexing failed")
    return {"seconds": time.perf_counter() - start}


async def measure(network: Path, queries: Mapping[str, str], judged: Judged) -> dict[str, dict[str, object]]:
    """Every mode's figures, with the interval of nDCG@10 over queries."""
    encoder = OnnxEncoder.bundled()
    index = open_index(INDEX, KnowledgeSection(), network, network=INDEX, encoder=encoder)
    figures = {}
    for mode in MODES:
        start = time.perf_counter()
        scores = await evaluate(index, queries, judged, mode=mode, clearance=Label.PUBLIC)
        values = np.array(list(scores.by_query.values()))
        figures[mode] = {
            **scores.to_json(),
            "interval": list(interval(values)),
            "ms_per_query": (time.perf_counter() - start) / scores.queries * 1000,
        }
        print(f"{mode:8} {figures[mode]}", flush=True)
    await index.close()
    await encoder.close()
    return figures


def interval(values: np.ndarray) -> tuple[float, float]:
    """95% of the means of resampled queries lie within."""
    random = np.random.default_rng(0)
    means = values[random.integers(0, len(values), (2000, len(values)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


# --- Fitting the reranker's weights ---------------------------------------------------------------


async def fit(network: Path, queries: Mapping[str, str], judged: Judged) -> dict[str, float]:
    """Weights by listwise softmax over each claim's candidates, and their cross-validated nDCG@10."""
    rows = await signs(network, queries, judged)
    print(f"{len(rows)} claims with candidates")
    scores = []
    for fold in range(5):
        weights = solve([row for n, row in enumerate(rows) if n % 5 != fold])
        scores += [gain(row, weights) for n, row in enumerate(rows) if n % 5 == fold]
    print(f"five-fold nDCG@10 {np.mean(scores):.4f}")
    return dict(zip(("keyword", "cosine", "interaction"), solve(rows).round(3).tolist(), strict=True))


Row = tuple[np.ndarray, list[str], Mapping[str, int]]


async def signs(network: Path, queries: Mapping[str, str], judged: Judged) -> list[Row]:
    """(signs (N, 3), documents, grades) of each claim's candidates, taken where the reranker takes them."""
    encoder = OnnxEncoder.bundled()
    bundled = Reranker.bundled()
    columns = [Weights(*(float(position == sign) for position in range(3))) for sign in range(3)]
    seen: list[np.ndarray] = []

    class Noting(Reranker):
        def score(self, query: TokenStates, candidates: Sequence[CandidatePassage]) -> np.ndarray:
            parts = []
            for column in columns:
                self._weights = column
                parts.append(super().score(query, candidates))
            seen.append(np.stack(parts, axis=1))
            return -np.arange(len(candidates), dtype=np.float32)  # keeps the order

    noting = Noting(bundled._projection, bundled._rarity, columns[0], bundled.encoder)  # noqa: SLF001
    index = LocalIndex(index_folder(network, INDEX), name=INDEX, encoder=encoder, rerank=(noting, encoder))
    rows: list[Row] = []
    for query, text in queries.items():
        if query not in judged:
            continue
        passages = await index.search(text, k=60, clearance=Label.PUBLIC, mode="rerank")
        rows.append((seen[-1], [passage.document for passage in passages][: len(seen[-1])], judged[query]))
    await index.close()
    await encoder.close()
    return rows


def solve(rows: Sequence[Row], rate: float = 1e-3) -> np.ndarray:
    """Weights with the largest likelihood that a relevant document is drawn, by L-BFGS."""
    kept = [(x, np.array([d in grades for d in names])) for x, names, grades in rows if set(names) & set(grades)]
    scale = np.concatenate([x for x, _ in kept]).std(axis=0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        total, slope = rate * weights @ weights, 2 * rate * weights
        for x, hit in kept:
            scores = x / scale @ weights
            share = np.exp(scores - scores.max())
            share /= share.sum()
            among = share * hit / (share * hit).sum()
            total -= np.log((share * hit).sum()) / len(kept)
            slope = slope - (x / scale).T @ (among - share) / len(kept)
        return float(total), slope

    return np.asarray(minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B").x / scale)


def gain(row: Row, weights: np.ndarray) -> float:
    """nDCG@10 of one claim."""
    x, names, grades = row
    ranked = list(dict.fromkeys(names[row_number] for row_number in np.argsort(-(x @ weights), kind="stable")))
    return ndcg(ranked[:10], grades)


def main() -> None:
    """Index, ask, write."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--network", type=Path, default=NETWORK, help="where the index is kept")
    parser.add_argument("--train", action="store_true", help="ask the training claims; writes nothing")
    parser.add_argument("--fit", action="store_true", help="fit the reranker's weights on them; writes nothing")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    corpus, queries, judgements, train, claims = find("scifact_beir")
    indexed = index(corpus, given.network)
    if given.fit:
        print(asyncio.run(fit(given.network, read_queries(train), cited(claims))))
        return
    if given.train:
        asyncio.run(measure(given.network, read_queries(train), cited(claims)))
        return
    record = Record(claim=CLAIM, data={f"scifact_beir/{p.name}": sha256(p) for p in (corpus, queries, judgements)})
    figures = asyncio.run(measure(given.network, read_queries(queries), read_judgements(judgements)))
    record.figures = {"modes": figures, "indexing": indexed}
    best = float(figures["rerank"]["ndcg@10"])  # type: ignore[arg-type]
    record.bars = [
        Bar(what="nDCG@10, reranked, 300 test claims", measured=best, limit=0.70),
        Bar(what="the same, reach", measured=best, limit=0.745),
        Bar(
            what="reranked minus the better of keyword and vector alone",
            measured=best - max(float(figures[mode]["ndcg@10"]) for mode in ("keyword", "vector")),  # type: ignore[arg-type]
            limit=0.0,
        ),
    ]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
