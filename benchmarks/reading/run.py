"""The reading model on public sets: the sentence that answers in twelve languages, answerable or not, and its time.

    COTERIE_DATA=FOLDER python benchmarks/reading/run.py --each 60 --halves 500

Nothing of these sets was trained on or chosen by. XQuAD asks the same questions in all languages; a sample of them is
asked. A question's paragraph is read whole.
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
from coterie.learning.evaluation import auroc, bootstrap_mean
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


def told(context: str, language: str) -> tuple[list[tuple[int, int]], list[str]]:
    """Where the sentences of a paragraph stand, and the sentences."""
    places = cut(context, language)
    return places, [context[start:end] for start, end in places]


def xquad(path: Path, count: int) -> dict[str, list[bool]]:
    """By language whether the best sentence holds the answer."""
    by: dict[str, dict[str, tuple[str, dict]]] = defaultdict(dict)
    for paragraph in rows(path):
        for question in paragraph["qas"]:
            by[paragraph["lang"]][question["id"]] = (paragraph["context"], question)
    names = random.Random(SEED).sample(sorted(by["en"]), count)  # noqa: S311 - a sample, no secret
    hits: dict[str, list[bool]] = {}
    for language, questions in sorted(by.items()):
        hits[language] = []
        for name in names:
            context, question = questions[name]
            places, sentences = told(context, language)
            start, end = places[int(bundled_reader().read(question["q"], sentences).sentences.argmax())]
            hits[language].append(any(start <= at < end for _, at in question["a"]))
        print(language, np.mean(hits[language]), flush=True)
    return hits


def halves(path: Path, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Of questions of the test half how likely the paragraph answers, and whether it does."""
    questions = [(p["context"], q) for p in rows(path) if p["split"] == "test" for q in p["qas"]]
    questions = [a for a in questions if a[1].get("answerable_no_span") or a[1].get("impossible")]
    questions = random.Random(SEED).sample(questions, min(most, len(questions)))  # noqa: S311 - a sample, no secret
    answers = [bundled_reader().read(q["q"], told(context, "en")[1]).answers for context, q in questions]
    return np.array(answers), np.array([not q.get("impossible") for _, q in questions])


def latency(path: Path) -> dict[str, float]:
    """Milliseconds of one core to read a new question with a paragraph, seen before and new."""
    contexts = [p["context"] for p in rows(path) if p["lang"] == "en"]
    contexts = random.Random(SEED).sample(contexts, 40)  # noqa: S311 - a sample, no secret
    taken: dict[str, list[float]] = {"new passage": [], "known passage": []}
    for context in contexts:
        for name, times in taken.items():
            start = time.process_time()
            bundled_reader().read(f"Which of these was first, {name}?", told(context, "en")[1])
            times.append((time.process_time() - start) * 1000)
    return {name: float(np.median(times)) for name, times in taken.items()}


def main() -> None:
    """Ask, measure, write."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--each", type=int, default=60, help="questions of each language")
    parser.add_argument("--halves", type=int, default=500, help="questions of the test half")
    given = parser.parse_args()
    (parallel,) = find("reading/qa/xquad")
    (squad,) = find("reading/qa/squad2_dev")
    record = Record(claim=CLAIM, seeds=[SEED])
    record.data = {file.name: sha256(file) for file in (parallel, squad)}
    record.note_load()
    times = latency(parallel)
    hits = xquad(parallel, given.each)
    right = {language: float(np.mean(own)) for language, own in hits.items()}
    answers, stated = halves(squad, given.halves)
    interval = bootstrap_mean(np.array(hits["en"], dtype=float), seed=0)
    mean = float(np.mean(list(right.values())))
    record.figures = {
        "sentence_right": right, "english_interval": [interval.low, interval.high], "mean_of_languages": mean,
        "questions_each": given.each, "answerable_auroc": auroc(answers, stated), "answerable_questions": len(stated),
        "cpu_ms_of_a_paragraph": times, "model": bundled_reader().sha256,
    }  # fmt: skip
    record.bars = [
        Bar(what="XQuAD English, sentence right", measured=right["en"], limit=0.80),
        Bar(what="XQuAD, mean of 12 languages", measured=mean, limit=0.70),
        Bar(what="SQuAD 2.0 test half, AUROC", measured=auroc(answers, stated), limit=0.80),
        Bar(what="ms of one core, a known passage", measured=times["known passage"], limit=60, at_most=True),
    ]
    record.write(given.out)


if __name__ == "__main__":
    main()
