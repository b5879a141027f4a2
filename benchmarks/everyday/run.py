"""Everyday questions about everyday pages, asked of a shelf that nobody has trained on.

    python benchmarks/everyday/run.py

Eight pages as shops, offices and clubs write them become one shelf, as a user makes it: `coterie init`, `index`, `add`,
`train`. The questions to them (`../answer/pages.json`; other pages are what the calibration learned from) are asked one
by one. The pages are of this project, so the benchmark needs no data folder.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "answer"))

from _pages import FILE, Page, read_pages

from _record import Record, arguments, sha256
from coterie import open_network
from coterie.evaluation import auroc, bootstrap_mean
from coterie.types import Answer, Request

CLAIM = "Asked everyday questions about new pages, a shelf quotes the sentence that answers, or says there is none."
SHELF, SPECIALIST = "pages", "ask"


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


def make_network(folder: Path, pages: Sequence[Page]) -> None:
    """A network with one shelf, by the commands of the README."""
    shelf = folder / "pages"
    shelf.mkdir(parents=True)
    for page in pages:
        (shelf / page.name).write_text(page.text, encoding="utf-8")
    about = "Questions about opening hours, prices, rules and terms."
    for words in (
        ["init", str(folder / "network")],
        ["-C", str(folder / "network"), "index", SHELF, str(shelf)],
        [
            "-C",
            str(folder / "network"),
            "add",
            SPECIALIST,
            "--task",
            "answer",
            "--knowledge",
            SHELF,
            "--description",
            about,
        ],
        ["-C", str(folder / "network"), "train"],
    ):
        subprocess.run([sys.executable, "-m", "coterie", *words], check=True, stdout=subprocess.DEVNULL)  # noqa: S603


async def ask(folder: Path, pages: Sequence[Page]) -> list[Said]:
    """Every question, one after the other."""
    network = await open_network(folder / "network")
    try:
        return [
            _judged(page, question, answer, await network.ask(Request(text=question, specialist=SPECIALIST)))
            for page in pages
            for question, answer in page.asked
        ]
    finally:
        await network.close()


def _judged(page: Page, question: str, answer: str | None, given: Answer) -> Said:
    [finding] = given.trace.findings
    start, end = page.span(answer) if answer is not None else (0, 0)
    quoted = [
        cited.start < end and start < cited.end and cited.document.endswith(page.name) for cited in finding.citations
    ]
    return Said(
        page=page.name,
        question=question,
        stated=answer is not None,
        answered=finding.accepted and bool(quoted),
        right=any(quoted),
        silent=finding.accepted and not quoted,
        confidence=finding.confidence if quoted else -finding.confidence,
    )


def figures(said: Sequence[Said]) -> dict[str, object]:
    """What became of the questions, with intervals over them."""
    stated, answered, right, silent = (
        np.array([getattr(each, name) for each in said]) for name in ("stated", "answered", "right", "silent")
    )

    def share(values: np.ndarray) -> dict[str, object]:
        if not len(values):
            return {"n": 0}
        interval = bootstrap_mean(values.astype(float), seed=0)
        return {"share": float(values.mean()), "interval": [interval.low, interval.high], "n": len(values)}

    return {
        "questions": len(said),
        "answered_of_stated": share(answered[stated]),
        "answered_rightly": share(right[answered]),
        "answered_of_not_stated": share(answered[~stated]),
        "said_not_stated_of_not_stated": share(silent[~stated]),
        "said_not_stated_of_stated": share(silent[stated]),
        "auroc_stated": auroc(np.array([each.confidence for each in said]), stated),
    }


def main() -> None:
    """Measure and write the result file."""
    given = arguments(__doc__ or "", __file__).parse_args()
    pages = read_pages(held_out=True)
    record = Record(claim=CLAIM)
    record.data[FILE.name] = sha256(FILE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_network(folder, pages)
        said = asyncio.run(ask(folder, pages))
    record.figures = figures(said) | {"pages": len(pages)}
    record.write(given.out)


if __name__ == "__main__":
    main()
