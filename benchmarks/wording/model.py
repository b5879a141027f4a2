"""How much of what a real model words stands: the pages of `../answer`, asked with the rung `slm` on a GGUF file.

    python benchmarks/wording/model.py --model FILE.gguf

The questions that a page answers are asked, at most `--most` drawn by seed 0. Counted is what became of each answer: no
quotation that stands, the model's words, or why these were kept back.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "answer"))

from _index import SPECIALIST, Question, make_network, of_pages
from _pages import FILE, read_pages

from _record import Bar, Record, arguments, sha256
from coterie import open_network
from coterie.types import Finding, Request

CLAIM = "Most of what a model of a billion weights words is what the documents say, and is said."
STANDS = 0.6
MODEL = """

[models.wording]
engine = "llama"
name = "{file}"
sha256 = "{sha256}"
threads = {threads}
parallel = 1
"""
_KEPT_BACK = "answer."


async def asked(folder: Path, questions: Sequence[Question]) -> list[tuple[Question, Finding]]:
    """What is said to each question."""
    pairs = []
    network = await open_network(folder)
    try:
        for question in questions:
            answer = await network.ask(Request(text=question.text, specialist=SPECIALIST))
            pairs += [(question, finding) for finding in answer.trace.findings]
            print(f"{question.text} -> {pairs[-1][1].text} ({pairs[-1][1].reason})", file=sys.stderr, flush=True)
    finally:
        await network.close()
    return pairs


def codes(finding: Finding) -> list[str]:
    """The codes of a finding's reason and of what is noted with it."""
    return [finding.reason.code, *(note.code for note in finding.reason.notes)]


def measure(given: Any, checksum: str, *, held_out: bool) -> dict[str, Any]:  # noqa: ANN401 - parsed arguments
    """What became of the questions to one half of the pages."""
    pages = of_pages(read_pages(held_out=held_out))
    stated = [question for question in pages.asked if question.answer is not None]
    drawn = random.Random(0).sample(stated, min(given.most, len(stated)))  # noqa: S311 - a sample
    with tempfile.TemporaryDirectory() as name:
        network = make_network(Path(name), pages.documents, train=False)
        (network / given.model.name).symlink_to(given.model.resolve())
        file, section = network / "coterie.toml", f"[specialists.{SPECIALIST}]\n"
        keys = f'model = "wording"\nrungs = ["embedding", "slm"]\ncalibration_calls = {given.calls}\n'
        model = MODEL.format(file=given.model.name, sha256=checksum, threads=given.threads)
        file.write_text(file.read_text(encoding="utf-8").replace(section, section + keys) + model, encoding="utf-8")
        train = [sys.executable, "-m", "coterie", "-C", str(network), "train"]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - this very interpreter
        answered = asyncio.run(asked(network, drawn))
    worded = [pair for pair in answered if "answer.worded" in codes(pair[1])]
    kept = Counter(
        code
        for _, finding in answered
        if finding.accepted
        for code in codes(finding)
        if code.startswith(_KEPT_BACK) and code not in {"answer.worded", "answer.quoted", "answer.not_stated"}
    )
    right = [question.answered_by(c.document, c.text) for question, finding in worded for c in finding.citations[:1]]
    tries = len(worded) + sum(kept.values())
    return {
        "questions": len(drawn), "worded": len(worded), "kept_back": dict(kept), "tries": tries,
        "stands": len(worded) / tries if tries else None, "worded_and_right": sum(right),
    }  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--most", type=int, default=60, help="questions to each half of the pages")
    parser.add_argument("--calls", type=int, default=0, help="`calibration_calls`: 0 lets the model only word")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    checksum = hashlib.sha256(given.model.read_bytes()).hexdigest()
    record = Record(claim=CLAIM, seeds=[0], data={FILE.name: sha256(FILE), given.model.name: checksum})
    for part, held_out in (("pages", False), ("held_out", True)):
        record.figures[part] = figures = measure(given, checksum, held_out=held_out)
        record.bars.append(Bar(what=f"{part}: wordings that stand", measured=figures["stands"], limit=STANDS))
    record.write(given.out)


if __name__ == "__main__":
    main()
