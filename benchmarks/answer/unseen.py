"""What the reader that comes with Coterie does on sets that neither it nor its thresholds have seen.

    COTERIE_DATA=FOLDER python benchmarks/answer/unseen.py --out benchmarks/answer/unseen.json [--each 300]

Paragraphs of an encyclopaedia in one index for each language: XQuAD in English and in languages that no training or
threshold had (Greek, Romanian, Russian), and TQuAD in Turkish (for measuring only, by its licence). For a quarter of
the questions every paragraph with the words of the answer is taken away, as nobody knows before that an index has the
answer. A sentence is right that has the words of the answer and stands in the paragraph that was asked about, or says
them with most of the question's words: the Turkish set has many paragraphs twice.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from reread import Asked, Item, Looks, figures, load, passage_at

from _record import Bar, Record, arguments, sha256
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.features import Sentence
from coterie.testing import FakeRetriever
from coterie.types import Label

CLAIM = "Untrained, an answer specialist holds its risk on documents of kinds that nothing was fitted on."
XQUAD = "qa/xquad/xquad.jsonl.gz"
SETS = {
    "english": (XQUAD, "en"), "greek": (XQUAD, "el"), "romanian": (XQUAD, "ro"), "russian": (XQUAD, "ru"),
    "turkish": ("qa/tquad_tr_NO/tquad.jsonl.gz", "tr"),
}  # fmt: skip
"""Of each set its file and language."""
RISK, ANSWERED, HIDDEN, K = 0.1, 0.5, 0.25, 8
MOST = 0.4
"""Of the question's words, from which a sentence of another paragraph with the answer's words says the same."""
Spans = list[tuple[int, int]]


def questions(looks: Looks, name: str, most: int, seed: int) -> Iterator[Item]:
    """The questions of a set as both looks see them."""
    file, lang = SETS[name]
    drawn = random.Random(seed)  # noqa: S311 - a sample
    passages, candidates = [], []
    for number, paragraph in enumerate(row for row in load.read(file) if row["lang"] == lang):
        document, text = f"{name}-{number}", paragraph["context"]
        passages.append(passage_at(document, text, 0, len(text)))
        for q in paragraph["qas"]:
            spans = [(start, start + len(answer)) for answer, start in q["a"] if answer and start >= 0]
            if spans:
                candidates.append((q["q"], document, spans, [text[a:b].casefold() for a, b in spans]))
    index = FakeRetriever(passages)
    for text, document, spans, answers in drawn.sample(candidates, min(most, len(candidates))):
        retrieved = asyncio.run(index.search(text, k=K + 4, clearance=Label.PUBLIC))
        has = [any(answer in passage.text.casefold() for answer in answers) for passage in retrieved]
        hidden = drawn.random() < HIDDEN
        retrieved = [passage for passage, own in zip(retrieved, has, strict=True) if not (hidden and own)][:K]
        words = set(text.casefold().split())

        def right(
            s: Sentence,
            document: str = document,
            spans: Spans = spans,
            words: set[str] = words,
            answers: Sequence[str] = tuple(answers),
        ) -> bool:
            if s.passage.document == document:
                return any(s.start < b and a < s.end for a, b in spans)
            sentence_text = s.text.casefold()
            return any(answer in sentence_text for answer in answers) and len(
                words & set(sentence_text.split())
            ) >= MOST * len(words)

        item = looks.item(Asked(name, document, text, not hidden), retrieved, right)
        if item is not None:
            item.stated = bool(item.answers.any())
            yield item


def main() -> None:
    """Ask, count, write down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--each", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    defaults, looks = load_defaults(), Looks()
    reading = defaults.rereading
    if reading is None:
        sys.exit("This benchmark needs the reading model's files.")
    steps = {
        name: [{"risk": proof.risk, "value": proof.confidence} for proof in both]
        for name, both in defaults.proven.items()
    }
    folder = Path(load.HERE)
    record = Record(claim=CLAIM, seeds=[options.seed], data={file: sha256(folder / file) for file, _ in SETS.values()})
    for name in SETS:
        items = list(questions(looks, name, options.each, options.seed))
        readings = [reading.judge(item.seen, item.first, item.looked) for item in items]
        right = np.array(
            [bool(i.answers[i.seen.sentences.index(r.cited[0])]) for i, r in zip(items, readings, strict=True)]
        )
        record.figures[name] = reached = figures(items, readings, right, steps, RISK)
        wrong, answered = reached["wrong_of_answered"], reached["answered_of_stated"]
        record.bars.append(Bar(what=f"{name}: wrong of those answered", measured=wrong, limit=RISK, at_most=True))
        record.bars.append(Bar(what=f"{name}: answered", measured=answered, limit=ANSWERED))
    record.write(options.out)


if __name__ == "__main__":
    main()
