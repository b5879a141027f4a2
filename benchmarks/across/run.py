"""Questions in another language than the documents, asked of an index that nobody has trained on.

    coterie models pull multilingual-e5-small --languages de,fr,en,es
    python benchmarks/across/run.py

Six pages in four languages become one index with that encoder; 40 questions in another language than their page's and
20 that no page answers are asked one by one. Pages and questions are in `pages.json`, written for this.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Record, arguments, sha256
from coterie import open_network
from coterie.types import Finding, Request

CLAIM = "A question in another language than the documents is answered by the sentence that answers it."
FILE = Path(__file__).with_name("pages.json")
ENCODER = "multilingual-e5-small"


class Said(NamedTuple):
    """What was said to one question."""

    question: str
    answer: str | None
    """Words of the sentence that answers; None where no page does."""
    quote: str
    accepted: bool
    confidence: float
    reason: str

    @property
    def right(self) -> bool:
        """The sentence that answers was quoted."""
        return self.answer is not None and self.answer in self.quote


def coterie(*words: str) -> None:
    """A command of the user."""
    command = [sys.executable, "-m", "coterie", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def make(folder: Path, documents: dict[str, dict[str, str]]) -> None:
    """A network with the pages as an index and a specialist that answers from it."""
    pages = folder.parent / "pages"
    pages.mkdir()
    for name, document in documents.items():
        (pages / name).write_text(document["text"], encoding="utf-8")
    coterie("init", str(folder))
    file = folder / "coterie.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("[network]\n", f'[network]\nencoder = "{ENCODER}"\n', 1), encoding="utf-8")
    at = ("-C", str(folder))
    coterie(*at, "index", "pages", str(pages))
    about = "Questions about opening hours, prices and rules."
    coterie(*at, "add", "ask", "--task", "answer", "--knowledge", "pages", "--description", about)
    coterie(*at, "train", "ask")


async def ask(folder: Path, asked: list[tuple[str, str | None]]) -> list[Said]:
    """Every question, one after the other."""
    network, found = await open_network(folder), []
    try:
        for question, answer in asked:
            given = await network.ask(Request(text=question, specialist="ask"))
            [finding] = given.trace.findings
            found.append(said(question, answer, finding))
    finally:
        await network.close()
    return found


def said(question: str, answer: str | None, finding: Finding) -> Said:
    """What became of a question."""
    quote = " ".join(each.text for each in finding.citations)
    return Said(question, answer, quote, finding.accepted, round(finding.confidence, 3), finding.reason.code)


def main() -> None:
    """Make, ask, write."""
    given = arguments(__doc__ or "", __file__).parse_args()
    record = Record(claim=CLAIM, seeds=[])
    record.data[FILE.name] = sha256(FILE)
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    asked = [(question, answer) for _, _, question, answer in stored["answerable"]]
    asked += [(question, None) for _, question in stored["unanswerable"]]
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "network", stored["documents"])
        found = asyncio.run(ask(Path(folder) / "network", asked))
    for each in found:
        print(json.dumps(each, ensure_ascii=False))
    stated, beside = ([each for each in found if (each.answer is None) is none] for none in (False, True))
    record.figures = {
        "answerable": len(stated),
        "right": sum(each.accepted and each.right for each in stated),
        "wrong": sum(each.accepted and not each.right and bool(each.quote) for each in stated),
        "said_not_stated": sum(each.accepted and not each.quote for each in stated),
        "refused": sum(not each.accepted for each in stated),
        "refused_with_the_right_sentence": sum(not each.accepted and each.right for each in stated),
        "unanswerable": len(beside),
        "unanswerable_answered": sum(each.accepted and bool(each.quote) for each in beside),
    }
    print(json.dumps(record.figures, indent=1))
    record.write(given.out)


if __name__ == "__main__":
    main()
