"""Train the model of courtesies of the package (`src/coterie/tasks/generate/courtesy.safetensors`).

    COTERIE_DATA=FOLDER python scripts/courtesy_build.py

A small head on the frozen lower layers of the reading model: does a sentence of a reply claim anything, or does it
greet, thank, apologise or close? Courtesies and claims near them are in `courtesy/sentences.json`, written for it in
seven languages; further claims are sentences of public sets. The threshold is the one through which 5% of the claims
of a language pass that was left out of the training, in the mean of the seven. It takes half a minute of one core.
Needs torch.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

sys.path.insert(0, str(Path(__file__).parent / "turns"))

from train import train_head

from coterie.engines.reading import bundled_reader
from coterie.tasks.generate.grounding import PROVENANCE, WEIGHTS, courtesy_features
from coterie.text.segmentation import split_sentences
from coterie.turns.reader import Perceptron

SEED = 7
MOST_CLAIMS = 0.05
SEEDS = (1, 2, 3)
"""Heads that are put together as one."""
SENTENCES = json.loads((Path(__file__).parent / "courtesy" / "sentences.json").read_text(encoding="utf-8"))
PARAGRAPHS = (
    "reading/qa/mlqa_dev/mlqa_dev.jsonl.gz",
    "reading/qa/squad_it_test/squad_it_test.jsonl.gz",
    "reading/qa/piaf_fr/piaf_fr.jsonl.gz",
    "reading/qa/faquad_pt/faquad.jsonl.gz",
)
DIALOGUES = "reading/chat/sgd_slice/sgd.jsonl.gz"
LANGUAGES = (*SENTENCES, "zh", "ar")
Row = tuple[str, bool, str, bool]
"""A sentence, whether it is a courtesy, its language, and whether it was written for this."""


def own_rows() -> Iterator[Row]:
    """The sentences written for this, with several signs at their ends."""
    for language, kinds in SENTENCES.items():
        for kind, sentences in kinds.items():
            for sentence in sentences:
                bare = sentence.rstrip(",.!:")
                for each in dict.fromkeys([sentence, f"{bare}!", f"{bare}.", f"{bare},"]):
                    yield each, kind == "courtesy", language, True


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()]


def public_rows(folder: Path) -> Iterator[Row]:
    """Sentences of paragraphs, and what the system says in dialogues."""
    drawn = random.Random(SEED)  # noqa: S311 - rows are drawn
    paragraphs: dict[str, list[str]] = {language: [] for language in LANGUAGES}
    for name in PARAGRAPHS:
        for row in read(folder / name):
            if row["lang"] in paragraphs:
                paragraphs[row["lang"]].append(row["context"])
    for language, texts in paragraphs.items():
        drawn.shuffle(texts)
        found = [each for text in texts[:150] for each in split_sentences(text, language) if 15 < len(each) < 140]
        yield from ((each, False, language, False) for each in drawn.sample(found, min(150, len(found))))
    turns = [turn for row in read(folder / DIALOGUES) for turn in row["turns"]]
    said = [(turn[1], set(turn[2])) for turn in turns if turn[0] == "S"]
    ends = sorted({text for text, acts in said if acts <= {"GOODBYE"}})[:40]
    others = sorted({text for text, acts in said if not acts & {"GOODBYE", "REQ_MORE"}})
    yield from ((text, True, "en", False) for text in ends)
    yield from ((text, False, "en", False) for text in drawn.sample(others, 200))


def train(features: np.ndarray, courtesies: np.ndarray, own: np.ndarray) -> Mapping[str, np.ndarray]:
    """Heads of several seeds, side by side in one hidden layer, so that their mean is one head."""
    heads = [
        train_head(
            features, courtesies, np.where(own, 1.0, 0.5), classes=2, hidden=64, epochs=30, seed=seed, batch=128,
            decay=0.05, dropout=0.4,
        )
        for seed in SEEDS
    ]  # fmt: skip
    return {
        "first": np.concatenate([head["first"] for head in heads], axis=1),
        "bias": np.concatenate([head["bias"] for head in heads]),
        "second": np.concatenate([head["second"] / len(heads) for head in heads]).astype(np.float16),
        "last": np.mean([head["last"] for head in heads], axis=0).astype(np.float16),
    }


def odds(arrays: Mapping[str, np.ndarray], features: np.ndarray) -> np.ndarray:  # (N, F) -> (N,)
    """Log-odds of a courtesy."""
    logits = Perceptron.of({f"head.{name}": each for name, each in arrays.items()}, "head").logits(features)
    return np.asarray(logits[:, 1] - logits[:, 0])


def left_out(rows: Sequence[Row], features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds of the sentences written for this by heads without their language, what they are, their language."""
    courtesies, languages, own = (np.array([row[at] for row in rows]) for at in (1, 2, 3))
    scores = np.zeros(len(rows))
    for language in SENTENCES:
        others = languages != language
        head = train(features[others], courtesies[others], own[others])
        scores[~others] = odds(head, features[~others])
    return scores[own], courtesies[own], languages[own]


def main() -> None:
    """Train, and write weights and provenance."""
    folder, lower = Path(os.environ["COTERIE_DATA"]), bundled_reader().lower
    rows = [*own_rows(), *public_rows(folder)]
    features = np.stack([courtesy_features(lower, row[0]) for row in rows])
    scores, courtesies, languages = left_out(rows, features)
    threshold = float(np.quantile(scores[~courtesies], 1 - MOST_CLAIMS))
    head = train(features, *(np.array([row[at] for row in rows]) for at in (1, 3)))
    content = save({f"courtesy.{name}": np.ascontiguousarray(each) for name, each in sorted(head.items())})
    WEIGHTS.write_bytes(content)
    about = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "lower_sha256": lower.sha256,
        "threshold": round(threshold, 3),
        "script": "scripts/courtesy_build.py",
        "languages": list(SENTENCES),
        "rows": len(rows),
        "language_left_out": {
            language: {
                "courtesies_found": round(float((scores[courtesies & (languages == language)] > threshold).mean()), 3),
                "claims_passed": round(float((scores[~courtesies & (languages == language)] > threshold).mean()), 3),
            }
            for language in SENTENCES
        },
        "data": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (*PARAGRAPHS, DIALOGUES)},
    }
    PROVENANCE.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: about[name] for name in ("threshold", "rows", "language_left_out")}, indent=1))


if __name__ == "__main__":
    main()
