"""Does a source support a statement? The statement model and the product's check, on sets that neither was made on.

    COTERIE_DATA=FOLDER python benchmarks/faithfulness/run.py --look TEXT --each 400

Asked are the test part of BEGIN (replies of models, with the sentence that they were to rest on), SummEdits (summaries
with small edits, eight domains), the test part of PAWS-X in seven languages (the same words in another order), and
sentences of this project in four languages that are denied or have their roles exchanged (`probes.json`). A text of
several sentences is as well supported as its least supported one. The threshold of each check is the one that has the
highest mean balanced accuracy on the parts of BEGIN, FEVER, Fool Me Twice, PAWS-X, the negated NLI and ConjNLI that
were kept for that.
"""

from __future__ import annotations

import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "reading"))

from corpus import held, load
from statements_corpus import aside

from _data import find
from _record import Bar, Record, add_look, arguments, sha256
from coterie.engines.reading import bundled_checker
from coterie.learning.evaluation import auroc
from coterie.tasks.answer.default import load_defaults
from coterie.text.segmentation import split_sentences

CLAIM = (
    "The statement model tells a statement that its source supports from one that it does not, in several languages."
)
SEED = 20
PROBES = Path(__file__).with_name("probes.json")
CLASSES = 2
KEPT = ("begin", "fever", "fm2", "neg_nli", "conjnli")


class Pair(NamedTuple):
    """A source, a statement, and whether the one supports the other."""

    source: str
    statement: str
    supported: bool
    language: str = "en"


def cut(text: str, language: str) -> list[str]:
    """The sentences of a text."""
    return [sentence.strip() for sentence in split_sentences(text, language) if sentence.strip()]


def by_model(pair: Pair) -> float:
    """Log-odds of the least supported sentence."""
    source = cut(pair.source, pair.language)
    sentences = cut(pair.statement, pair.language)
    return min((bundled_checker().judge(sentence, source).odds for sentence in sentences), default=-12.0)


def by_product(pair: Pair) -> float:
    """Support of the least supported sentence as the product has it: by words in English, else by the model."""
    source, check = cut(pair.source, pair.language), load_defaults().support
    sentences = cut(pair.statement, pair.language)
    return min((check.judge(sentence, source, pair.language).support for sentence in sentences), default=0.0)


def tests(per_set: int) -> dict[str, dict[str, list[Pair]]]:
    """By set and part the pairs that are asked."""
    drawn = random.Random(SEED)  # noqa: S311 - a sample, no secret
    sets: dict[str, dict[str, list[Pair]]] = {}
    rows = [r for r in load.faith() if r["set"] in ("begin", "pawsx") and r["split"] == "test"]
    for name in ("begin", "pawsx"):
        parts = defaultdict(list)
        for r in rows:
            if r["set"] == name:
                pair = Pair(r["premise"], r["claim"], r["y"] == "supported", r["lang"])
                parts[r["lang"]].append(pair)
        sets[name] = {part: drawn.sample(own, min(per_set, len(own))) for part, own in sorted(parts.items())}
    parts = defaultdict(list)
    for r in load.faith():
        if r["set"] == "summedits":
            parts[r["split"]].append(Pair(r["premise"], r["claim"], r["y"] == "supported"))
    sets["summedits"] = {part: drawn.sample(own, min(per_set // 4, len(own))) for part, own in sorted(parts.items())}
    sets["probes"] = probes()
    return sets


def probes() -> dict[str, list[Pair]]:
    """This project's sentences: said in other words, denied, turned round."""
    pairs = {}
    for language, rows in json.loads(PROBES.read_text(encoding="utf-8")).items():
        pairs[language] = [
            Pair(row["source"], row[kind], kind == "same", language)
            for row in rows
            for kind in ("same", "negated", "swapped")
            if kind in row
        ]
    return pairs


def kept(per_set: int) -> dict[str, list[Pair]]:
    """Pairs of sources that neither model was trained on, to choose thresholds by."""
    drawn = random.Random(SEED)  # noqa: S311 - a sample, no secret
    parts = defaultdict(list)
    for r in load.faith():
        own = r["set"] in KEPT and not (r["set"] == "begin" and r["split"] == "test")
        key = r["set"] + r["premise"][:200]
        if own and held(key) and aside(key):
            parts[r["set"]].append(Pair(r["premise"], r["claim"], r["y"] == "supported", r["lang"]))
    for r in load.read("nli/pawsx/pawsx.jsonl.gz"):
        if r["split"] == "dev" and aside(f"pawsx{r['i']}"):
            parts["pawsx"].append(Pair(r["s1"], r["s2"], bool(int(r["label"])), r["lang"]))
    return {name: drawn.sample(own, min(per_set, len(own))) for name, own in sorted(parts.items())}


def balanced(scores: np.ndarray, supported: np.ndarray, threshold: float) -> float:
    """Mean of the shares of both classes that are told rightly."""
    judged = scores >= threshold
    return float((judged[supported].mean() + (~judged[~supported]).mean()) / CLASSES)


def threshold_of(scored: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> float:
    """The one with the highest mean over sets."""
    values = np.quantile(np.concatenate([scores for scores, _ in scored.values()]), np.linspace(0.01, 0.99, 99))
    return float(max(values, key=lambda value: np.mean([balanced(*sample, value) for sample in scored.values()])))


def score(check: Callable[[Pair], float], pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and whether each is supported."""
    return np.array([check(pair) for pair in pairs]), np.array([pair.supported for pair in pairs])


def figures(check: Callable[[Pair], float], parts: Mapping[str, Mapping[str, Sequence[Pair]]], per_set: int) -> dict:
    """Of each set the mean over its parts."""
    threshold = threshold_of({name: score(check, pairs) for name, pairs in kept(per_set).items()})
    measured: dict[str, object] = {"threshold": threshold}
    for name, own in parts.items():
        scored = {part: score(check, pairs) for part, pairs in own.items()}
        right = {part: balanced(*both, threshold) for part, both in scored.items()}
        ranked = {part: float(auroc(*both)) for part, both in scored.items()}
        measured[name] = {
            "balanced_accuracy": right, "mean": float(np.mean(list(right.values()))), "auroc": ranked,
            "auroc_mean": float(np.mean(list(ranked.values()))), "pairs": sum(map(len, own.values())),
        }  # fmt: skip
        print(check.__name__, name, json.dumps(measured[name]), flush=True)
    return measured


def main() -> None:
    """Ask, measure, write."""
    parser = arguments(__doc__ or "", __file__)
    add_look(parser)
    parser.add_argument("--each", type=int, default=400, help="pairs of each part (a quarter of SummEdits')")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[SEED])
    for name in ("reading/nli/begin", "reading/nli/pawsx", "reading/nli/summedits"):
        for file in find(name):
            record.data[file.name] = sha256(file)
    record.data[PROBES.name] = sha256(PROBES)
    parts = tests(given.each)
    record.figures = {
        "model": figures(by_model, parts, given.each), "product": figures(by_product, parts, given.each),
        "sha256": bundled_checker().sha256,
    }  # fmt: skip
    limits = {"summedits": 0.65, "begin": 0.75, "pawsx": 0.80, "probes": 0.90}
    record.bars = [
        Bar(what=f"{name}, balanced accuracy", measured=record.figures["model"][name]["mean"], limit=limit)
        for name, limit in limits.items()
    ]
    record.notes.append(given.look)
    record.write(given.out)


if __name__ == "__main__":
    main()
