"""Everyday questions about everyday pages, asked of an index that nobody has trained on.

    python benchmarks/everyday/run.py

Eight pages as shops, offices and clubs write them become one index, as a user makes it: `coterie init`, `index`, `add`,
`train`. The questions to them (`../answer/pages.json`; other pages are what the calibration learned from) are asked one
by one. So are those to three documents of other formats (`index/`: HTML with tables, DOCX, Markdown), in an index of
their own. Pages and documents are of this project, so the benchmark needs no data folder.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "answer"))

from _index import SPECIALIST, Question, QuestionedDocuments, make_network, of_pages, read_index
from _pages import FILE, read_pages

from _record import Record, arguments, sha256
from coterie import open_network
from coterie.learning.evaluation import auroc, bootstrap_mean
from coterie.types import Answer, Request

CLAIM = "Asked everyday questions about new pages, an index quotes the sentence that answers, or says there is none."
FORMATS = Path(__file__).with_name("index")


class Said(NamedTuple):
    """What was said to one question."""

    page: str
    question: str
    stated: bool
    answered: bool
    right: bool
    """The sentence that answers is among the quotes."""
    silent: bool
    """It was said that the documents do not say."""
    confidence: float
    """That the quote answers; where nothing is found to, the probability that nothing does, with its sign turned."""


async def ask(network_folder: Path, questions: Sequence[Question]) -> list[Said]:
    """Every question, one after the other."""
    network = await open_network(network_folder)
    try:
        return [
            _judged(question, await network.ask(Request(text=question.text, specialist=SPECIALIST)))
            for question in questions
        ]
    finally:
        await network.close()


def _judged(question: Question, given: Answer) -> Said:
    [finding] = given.trace.findings
    right = any(question.answered_by(cited.document, cited.text) for cited in finding.citations)
    quoted = bool(finding.citations)
    return Said(
        page=question.document,
        question=question.text,
        stated=question.answer is not None,
        answered=finding.accepted and quoted,
        right=right,
        silent=finding.accepted and not quoted,
        confidence=finding.confidence if quoted else -finding.confidence,
    )


def figures(answers: Sequence[Said]) -> dict[str, object]:
    """What became of the questions, with intervals over them."""
    stated, answered, right, silent = (
        np.array([getattr(answer, name) for answer in answers]) for name in ("stated", "answered", "right", "silent")
    )

    def share(values: np.ndarray) -> dict[str, object]:
        if not len(values):
            return {"n": 0}
        interval = bootstrap_mean(values.astype(float), seed=0)
        return {"share": float(values.mean()), "interval": [interval.low, interval.high], "n": len(values)}

    return {
        "questions": len(answers),
        "answered_of_stated": share(answered[stated]),
        "answered_rightly": share(right[answered]),
        "answered_of_not_stated": share(answered[~stated]),
        "said_not_stated_of_not_stated": share(silent[~stated]),
        "said_not_stated_of_stated": share(silent[stated]),
        "said_not_stated_rightly": share(~stated[silent]),
        "auroc_stated": auroc(np.array([answer.confidence for answer in answers]), stated),
    }


def measure(index: QuestionedDocuments) -> dict[str, object]:
    """What a new index with these documents says to their questions."""
    with tempfile.TemporaryDirectory() as name:
        network = make_network(Path(name), index.documents)
        return figures(asyncio.run(ask(network, index.asked))) | {"documents": len(index.documents)}


def main() -> None:
    """Measure and write the result file."""
    given = arguments(__doc__ or "", __file__).parse_args()
    record = Record(claim=CLAIM)
    record.data[FILE.name] = sha256(FILE)
    record.data["index/questions.json"] = sha256(FORMATS / "questions.json")
    record.figures = measure(of_pages(read_pages(held_out=True))) | {"formats": measure(read_index(FORMATS))}
    record.write(given.out)


if __name__ == "__main__":
    main()
