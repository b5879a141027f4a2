"""The reading model on public sets: the sentence that answers in twelve languages, answerable or not, and its time.

    COTERIE_DATA=FOLDER python benchmarks/reading/run.py --each 60 --halves 500

Nothing of these sets was trained on or chosen by. XQuAD asks the same questions in all languages; a sample of them is
asked. The sentences of the question's paragraph are scored, each by itself.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find
from _record import Bar, Record, arguments, sha256
from coterie.engines.reading import bundled_reader
from coterie.learning.metrics import auroc, bootstrap_mean
from coterie.tasks.answer.rereading import MOST_READ
from coterie.text.language import language_of
from coterie.text.segmentation import sentences

CLAIM = (
    "The reading model finds the sentence that answers, in twelve languages, and tells questions with an answer from "
    "others."
)
SEED = 20


def cut(text: str, language: str) -> list[tuple[int, int]]:
    """Where the sentences of a paragraph stand, by the product's own segmentation."""
    return [(s.start, s.end) for s in sentences(text, language=language_of(text, language))]


def rows(path: Path) -> list[dict]:
    """The rows of a packed file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def xquad(path: Path, each: int) -> dict[str, list[tuple[bool, bool]]]:
    """By language whether the best sentence holds the answer: by the model and by its trunk's cosine."""
    by: dict[str, dict[str, tuple[str, dict]]] = defaultdict(dict)
    for paragraph in rows(path):
        for question in paragraph["qas"]:
            by[paragraph["lang"]][question["id"]] = (paragraph["context"], question)
    asked = random.Random(SEED).sample(sorted(by["en"]), each)  # noqa: S311 - a sample, no secret
    found: dict[str, list[tuple[bool, bool]]] = {}
    for language, questions in sorted(by.items()):
        found[language] = []
        for name in asked:
            context, question = questions[name]
            places = cut(context, language)
            scores, alike = bundled_reader().score(question["q"], [context[s:e] for s, e in places])
            right = [any(s <= start < e for _, start in question["a"]) for s, e in places]
            found[language].append((right[int(scores.argmax())], right[int(alike.argmax())]))
        print(language, np.mean(np.array(found[language]), axis=0), flush=True)
    return found


def halves(path: Path, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of questions of the test half the best score, the best cosine, and whether the paragraph answers."""
    asked = [(p["context"], q) for p in rows(path) if p["split"] == "test" for q in p["qas"]]
    asked = random.Random(SEED).sample(  # noqa: S311 - a sample, no secret
        [a for a in asked if a[1].get("answerable_no_span") or a[1].get("impossible")], most
    )
    best, nearest, stated = [], [], []
    for context, question in asked:
        scores, alike = bundled_reader().score(question["q"], [context[s:e] for s, e in cut(context, "en")])
        best.append(scores.max())
        nearest.append(alike.max())
        stated.append(not question.get("impossible"))
    return np.array(best), np.array(nearest), np.array(stated)


def latency(path: Path) -> dict[str, float]:
    """Milliseconds to read a new question with the ten likeliest sentences of eight passages, known and new."""
    contexts = [p["context"] for p in rows(path) if p["lang"] == "en"][:200]
    taken: dict[str, list[float]] = {"new sentences": [], "known sentences": []}
    for number in range(30):
        texts = [c[s:e] for c in contexts[number * 4 : number * 4 + 8] for s, e in cut(c, "en")]
        texts = [f"{number} {text}" for text in texts[:MOST_READ]]
        for name, times in taken.items():
            start = time.process_time()
            bundled_reader().score(f"Which of these was first in year {number}, {name}?", texts)
            times.append((time.process_time() - start) * 1000)
    return {name: float(np.median(each)) for name, each in taken.items()}


def main() -> None:
    """Ask, measure, write."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--each", type=int, default=60, help="questions of each language")
    parser.add_argument("--halves", type=int, default=500, help="questions of the test half")
    given = parser.parse_args()
    (parallel,) = find("reading/qa/xquad")
    (squad,) = find("reading/qa/squad2_dev")
    record = Record(claim=CLAIM, seeds=[SEED])
    record.data = {each.name: sha256(each) for each in (parallel, squad)}
    record.note_load()
    times = latency(parallel)
    found = xquad(parallel, given.each)
    right = {language: float(np.mean([each for each, _ in own])) for language, own in found.items()}
    alike = {language: float(np.mean([each for _, each in own])) for language, own in found.items()}
    best, nearest, stated = halves(squad, given.halves)
    interval = bootstrap_mean(np.array([each for each, _ in found["en"]], dtype=float), seed=0)
    mean = float(np.mean(list(right.values())))
    record.figures = {
        "sentence_right": right, "english_interval": [interval.low, interval.high], "mean_of_languages": mean,
        "by_cosine_alone": alike | {"mean": float(np.mean(list(alike.values())))}, "questions_each": given.each,
        "answerable_auroc": auroc(best, stated), "answerable_auroc_by_cosine_alone": auroc(nearest, stated),
        "answerable_questions": len(stated), "cpu_ms_of_ten_sentences": times, "model": bundled_reader().sha256,
    }  # fmt: skip
    record.bars = [
        Bar(what="XQuAD English, sentence right", measured=right["en"], limit=0.80),
        Bar(what="XQuAD, mean of 12 languages", measured=mean, limit=0.70),
        Bar(what="SQuAD 2.0 test half, AUROC", measured=auroc(best, stated), limit=0.80),
        Bar(what="ms of one core, sentences known", measured=times["known sentences"], limit=60, at_most=True),
        Bar(what="ms of one core, sentences new", measured=times["new sentences"], limit=60, at_most=True),
    ]
    record.write(given.out)


if __name__ == "__main__":
    main()
