"""Eight and ten rows a label: what is answered and right at a target risk of 5%, before and after, over many splits.

    COTERIE_DATA=FOLDER python benchmarks/few_rows/run.py [--splits 200] [--sets banking12 ...]

Before: a fifth of the rows is held out, and the rest alone show the target (learn then test). After: all rows train
and calibrate, out of fold, and a prior on the shape of confidence may show it; the prior is fitted on the other
corpora, never on the one measured. Encodings and what each split's models said lie in `--cache`, so that a second run
takes seconds.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache as cache_once
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from scipy.special import logit
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

from _data import find
from _record import Bar, Record, arguments
from coterie.engines.linear import TextHead
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.calibration import ConfidencePrior, fit_confidence, fit_temperature, one_thread, provable, softmax
from coterie.learning.dataset import Dataset, Row
from coterie.learning.fitting import FOLDS, cut_folds, deal_folds, text_examples
from coterie.learning.job import Job, Silent
from coterie.learning.measure import Encoded
from coterie.learning.splits import split_dataset
from coterie.tasks.classify.heads import fit_text, ngram_matrix
from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.contract import task_of

CLAIM = "With 8 or 10 rows a label, far more is answered and right at the same target risk, held in 95% of the splits."
TARGET, GAIN, HELD = 0.05, 0.10, 0.95
SHOTS = (8, 10)
_TEST = 2_000  # held-out rows a split, at most
_ENOUGH = 80  # rows of a kind of small talk
_LEFT = 5  # rows a label that a set without a test split must leave to test on


class Corpus(NamedTuple):
    """Rows of one origin, encoded."""

    rows: Sequence[tuple[str, str, str]]
    """Part (`train`, `test` or `all`), text, label."""
    vectors: np.ndarray  # (N, D)


def banking() -> Iterator[tuple[str, str, str]]:
    """BANKING77."""
    for part, path in zip(("train", "test"), find("banking77"), strict=True):
        with path.open(encoding="utf-8", newline="") as file:
            yield from ((part, row["text"], row["category"]) for row in csv.DictReader(file))


def clinc() -> Iterator[tuple[str, str, str]]:
    """CLINC150, in scope."""
    parts = json.loads(find("clinc150")[0].read_text(encoding="utf-8"))
    yield from ((part, text, label) for part in ("train", "test") for text, label in parts[part])


def small_talk() -> Iterator[tuple[str, str, str]]:
    """84 intents of small talk, which have no test split."""
    with gzip.open(next((find("clinc150")[0].parents[1] / "reading/smalltalk/smalltalk_intents").glob("*.gz"))) as file:
        yield from (("all", row["text"], row["intent"]) for row in map(json.loads, file))


def chitchat() -> Iterator[tuple[str, str, str]]:
    """90 kinds of small talk, each of the questions that get one reply; they have no test split."""
    with gzip.open(next((find("clinc150")[0].parents[1] / "reading/smalltalk/qna_chitchat_en").glob("*.gz"))) as file:
        rows = [("all", row["text"], row["reply"]) for row in map(json.loads, file)]
    kinds = Counter(kind for _, _, kind in rows)
    yield from (row for row in rows if kinds[row[2]] >= _ENOUGH)


CORPORA: dict[str, Callable[[], Iterator[tuple[str, str, str]]]] = {
    "banking77": banking,
    "clinc150": clinc,
    "smalltalk": small_talk,
    "chitchat": chitchat,
}
SETS = {
    "banking77": ("banking77", None),
    "clinc150": ("clinc150", None),
    "smalltalk": ("smalltalk", None),
    "banking12": ("banking77", 12),
    "clinc15": ("clinc150", 15),
    "chitchat20": ("chitchat", 20),
}
"""Corpus of each set, and how many of its labels a split draws: all, or so many at random."""


def read_corpus(name: str, cache: Path) -> Corpus:
    """A corpus with its encodings, from the cache where they are there."""
    rows, kept = list(CORPORA[name]()), cache / f"{name}.npy"
    if not kept.exists():
        np.save(kept, OnnxEncoder.bundled(threads=2).encode([text for _, text, _ in rows]).astype(np.float32))
    return Corpus(rows, np.load(kept))


class Known:
    """An encoder that has the corpus by heart and encodes the labels' names."""

    name, sha256, dimension, max_tokens = "cached", "0", 384, 256
    about: dict[str, str] = {}  # noqa: RUF012 - of the protocol

    def __init__(self, corpus: Corpus) -> None:
        self._known = {text: vector for (_, text, _), vector in zip(corpus.rows, corpus.vectors, strict=True)}
        self._real = OnnxEncoder.bundled(threads=1)

    def exceeds(self, texts: Sequence[str]) -> np.ndarray:
        """None is longer than what is read."""
        return np.zeros(len(texts), dtype=bool)

    def encode(self, texts: Sequence[str], *, progress: object = None) -> np.ndarray:
        """(N, D)."""
        missing = [text for text in texts if text not in self._known]
        self._known |= dict(zip(missing, self._real.encode(missing), strict=True)) if missing else {}
        return np.array([self._known[text] for text in texts])


def draw(corpus: Corpus, labels: int | None, shots: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train and to test on: so many of each label, and equally many of each to test."""
    random = np.random.default_rng(seed)
    parts, names = (np.array([row[at] for row in corpus.rows]) for at in (0, 2))
    fit = [name for name in np.unique(names) if (names == name).sum() >= shots + _LEFT]
    chosen = fit if labels is None else random.choice(fit, labels, replace=False).tolist()
    train, test = [], []
    for name in chosen:
        rows = random.permutation(np.flatnonzero((names == name) & np.isin(parts, ("train", "all"))))
        train += rows[:shots].tolist()
        own = np.concatenate([rows[shots:], np.flatnonzero((names == name) & (parts == "test"))])
        test.append(random.permutation(own)[: max(_LEFT, _TEST // len(chosen))])
    even = min(map(len, test))
    return np.array(train), np.concatenate([rows[:even] for rows in test])


def said(
    corpus: Corpus, encoder: Known, rows: np.ndarray, test: np.ndarray, *, whole: bool, seed: int
) -> dict[str, Any]:
    """What the rung `embedding` says out of fold and of the test rows, each with whether it is right."""
    section = ClassifySection.model_validate({"task": "classify", "data": "rows.csv", "seed": seed})
    given = tuple(Row(text=corpus.rows[i][1], labels=(corpus.rows[i][2],), line=n + 2) for n, i in enumerate(rows))
    data = Dataset(name="rows.csv", rows=given, sha256="0")
    train = data if whole else split_dataset(data, held_out=0.2, seed=seed)[0]
    job = Job(
        name="x",
        task=task_of(section),
        section=section,
        train=train,
        held_out=train,
        encoder=encoder,
        progress=Silent(),
    )
    folds = deal_folds(train, FOLDS, seed, in_order=True)
    examples = text_examples(train, train.label_names, folds, seed=seed)
    examples = replace(examples, pieces=cut_folds(train, folds, seed))
    fit = fit_text(job, examples, Encoded(encoder.encode(train.texts), 0.0))[-1]
    logits = fit.logits if fit.apart is None else fit.apart.logits
    targets = examples.targets(logits)
    temperature = fit_temperature(logits, targets)
    texts = [corpus.rows[i][1] for i in test]
    test_logits = head_logits(fit.head, texts, corpus.vectors[test])
    names = np.array(train.label_names)
    return {
        "said": softmax(logits / temperature).max(axis=1),
        "right": logits.argmax(axis=1) == targets,
        "test_said": softmax(test_logits / temperature).max(axis=1),
        "test_right": names[test_logits.argmax(axis=1)] == np.array([corpus.rows[i][2] for i in test]),
        # What other rules may look at.
        "logits": logits.astype(np.float16),
        "targets": targets,
        "test_logits": test_logits.astype(np.float16),
        "test_targets": np.searchsorted(names, [corpus.rows[i][2] for i in test]),
        "apart": np.array(fit.apart is not None),
    }


def head_logits(head: TextHead, texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:  # (N, L)
    """What a head says of many texts at once."""
    total = np.tile(head.bias.astype(np.float32), (len(texts), 1))
    for block in head.blocks:
        total += ngram_matrix([block.features], texts) @ block.weights.astype(np.float64)
    return total if head.kernel is None else total + head.kernel.logits(vectors)


def shape(outcomes: Sequence[dict[str, Any]]) -> ConfidencePrior:
    """Mean and deviation of the lines through the confidences of test rows, over splits."""
    lines = []
    for outcome in outcomes:
        odds = logit(np.clip(outcome["test_said"], 1e-6, 1 - 1e-6))[:, None]
        if (~outcome["test_right"]).sum() >= 10:
            line = LogisticRegression(C=1e3).fit(odds, outcome["test_right"])
            lines.append([line.coef_[0, 0], line.intercept_[0]])
    if len(lines) < 2:
        return ConfidencePrior()
    mean, spread = np.mean(lines, axis=0), np.maximum(np.std(lines, axis=0), 0.15)
    return ConfidencePrior(slope=(mean[0], spread[0]), intercept=(mean[1], spread[1]))


def answered(outcome: dict[str, Any], prior: ConfidencePrior | None) -> tuple[float, float]:
    """Share of the test rows that is answered and right, and the share of wrong ones among those answered."""
    section = ClassifySection.model_validate({"task": "classify", "data": "rows.csv", "target_risk": TARGET})
    line = fit_confidence(outcome["said"], outcome["right"])
    believed, confidences = outcome["said"], outcome["test_said"]
    if line:
        believed, confidences = (
            line.probability(logit(np.clip(confidence, 1e-6, 1 - 1e-6)))
            for confidence in (outcome["said"], outcome["test_said"])
        )
    helped = {} if prior is None else {"said": outcome["said"], "prior": prior}
    least = provable(section, believed, outcome["right"], [None] * len(believed), **helped).threshold.value
    kept = confidences >= (np.inf if least is None else least)
    right = outcome["test_right"]
    return float((kept & right).mean()), float((kept & ~right).sum() / max(1, kept.sum()))


def most_answered(outcome: dict[str, Any]) -> float:
    """Share of the test rows that the best of all thresholds answers right, chosen on these rows: no rule has more."""
    right = outcome["test_right"][np.argsort(-outcome["test_said"])]
    wrong = np.cumsum(~right) / np.arange(1, len(right) + 1)
    return float(np.where(wrong <= TARGET, np.cumsum(right), 0).max() / len(right))


def interval(values: Sequence[float]) -> list[float]:
    """The mean over splits with its 95% interval, by 1,000 bootstraps."""
    drawn = np.random.default_rng(0).choice(values, (1000, len(values))).mean(axis=1)
    return [float(np.mean(values)), *np.quantile(drawn, (0.025, 0.975)).tolist()]


Pair = tuple[dict[str, Any] | None, dict[str, Any]]
"""What the models of one split said before, where that was asked, and after."""


Split = tuple[str, int, int]
"""Set, rows a label, seed."""


def outcome_of(
    split: Split, corpus: Corpus, encoder: Callable[[], Known], cache: Path, *, whole: bool
) -> dict[str, Any]:
    """What the models of one split say, from the cache where it is there."""
    name, shots, seed = split
    kept = cache / f"{name}-{shots}-{seed}-{whole:d}.npz"
    if not kept.exists():
        train, test = draw(corpus, SETS[name][1], shots, seed)
        with one_thread():
            half_arrays = said(corpus, encoder(), train, test, whole=whole, seed=seed)
        half = kept.with_suffix(".half.npz")
        np.savez(half, **half_arrays)
        half.rename(kept)  # whole, or not there
    with np.load(kept) as arrays:
        return dict(arrays)


def outcomes_of(given: Any, corpora: dict[str, Corpus]) -> dict[tuple[str, int], list[Pair]]:  # noqa: ANN401 - of argparse
    """Before and after of each split by set and rows a label: one split of all sets after the other."""
    encoders = {home: cache_once(partial(Known, corpus)) for home, corpus in corpora.items()}
    pairs: dict[tuple[str, int], list[Pair]] = {(name, shots): [] for name in given.sets for shots in SHOTS}
    for seed in range(given.splits):
        for (name, shots), compared in pairs.items():
            home = SETS[name][0]
            about = ((name, shots, seed), corpora[home], encoders[home], given.cache)
            before = outcome_of(*about, whole=False) if seed < given.before else None
            compared.append((before, outcome_of(*about, whole=True)))
        if seed % 10 == 9:
            print(f"{seed + 1} of {given.splits} splits", flush=True)
    return pairs


def main(words: Sequence[str] | None = None) -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--before", type=int, default=1_000, help="splits of which the way before is measured, too")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "coterie-few-rows")
    given = parser.parse_args(words)
    given.cache.mkdir(parents=True, exist_ok=True)
    corpora = {home: read_corpus(home, given.cache) for home in {SETS[name][0]: None for name in given.sets}}
    record = Record(claim=CLAIM, seeds=range(given.splits))
    pairs = outcomes_of(given, corpora)
    for (name, shots), outcomes in pairs.items():
        home = SETS[name][0]
        others = [pair[1] for (other, _), compared in pairs.items() if SETS[other][0] != home for pair in compared]
        prior = shape(others) if others else ConfidencePrior()
        ways = {
            "before": [answered(before, None) for before, _ in outcomes if before is not None],
            "all rows": [answered(after, None) for _, after in outcomes],
            "all rows and prior": [answered(after, prior) for _, after in outcomes],
            "all rows and the prior that is shipped": [answered(after, ConfidencePrior()) for _, after in outcomes],
        }
        figures: dict[str, Any] = {"rows": len(outcomes[0][1]["said"]), "splits": len(outcomes)}
        figures["prior"] = {"slope": list(prior.slope), "intercept": list(prior.intercept)}
        for way, values in ((way, values) for way, values in ways.items() if values):
            held = sum(risk <= TARGET for _, risk in values)
            sure = [beta.ppf(0.025, held, len(values) - held + 1) if held else 0.0]
            sure.append(beta.ppf(0.975, held + 1, len(values) - held) if held < len(values) else 1.0)
            figures[way] = {
                "answered and right": interval([right for right, _ in values]),
                "realised risk": interval([risk for _, risk in values]),
                "held": [held / len(values), *sure],
            }
        figures["accuracy"] = [
            float(np.mean([outcome["test_right"].mean() for outcome in aligned if outcome is not None]))
            for aligned in zip(*outcomes, strict=True)
        ]
        figures["most"] = interval([most_answered(after) for _, after in outcomes])
        if before := [outcome for outcome, _ in ways["before"]]:
            figures["most gain"] = interval(np.subtract([most_answered(o[1]) for o in outcomes[: len(before)]], before))
        record.bars.append(
            Bar(
                what=f"{name}, {shots}: splits within the target risk",
                measured=figures["all rows and prior"]["held"][0],
                limit=HELD,
            )
        )
        both = zip(ways["before"], ways["all rows and prior"], strict=False)  # of the first splits, see `--before`
        if gains := [after[0] - before[0] for before, after in both]:
            figures["gain"] = interval(gains)
            record.bars.append(
                Bar(what=f"{name}, {shots}: answered and right, gain", measured=figures["gain"][0], limit=GAIN)
            )
        record.figures[f"{name}, {shots} a label"] = figures
        print(name, shots, json.dumps(figures, indent=1))
    record.write(given.out)


if __name__ == "__main__":
    main()
