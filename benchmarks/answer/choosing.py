"""Makes `src/coterie/tasks/answer/asked.json`: public questions by which a larger model's choice is weighed.

    COTERIE_DATA=FOLDER python benchmarks/answer/choosing.py --looks FILE

The questions are those of `reread.py` whose texts may be passed on: medicine (MedQuAD), contracts (CUAD's training
contracts) and this project's pages and documents, `--each` of each domain, drawn by seed 0. Each comes with its
likeliest sentences, as a model is shown them, and with what the looks before say by lines that were fitted on the other
domains: a user's documents are of none of them. What has personal data in it by the
patterns of the gate is left out.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reread import fit, gather

from _record import ROOT
from coterie.engines.reading import bundled_reader
from coterie.privacy.patterns import PatternDetector
from coterie.tasks.answer.choosing import offer
from coterie.tasks.answer.fit import QUESTIONS_FILE

DOMAINS = ("medicine", "contracts", "everyday pages", "everyday documents")


def main() -> None:
    """Look, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "src/coterie/tasks/answer" / QUESTIONS_FILE)
    parser.add_argument("--drawn", type=int, default=50, help="questions of a domain")
    parser.add_argument("--each", type=int, default=45)
    parser.add_argument("--medicine", type=int, default=340)
    parser.add_argument("--papers", type=int, default=150)
    parser.add_argument("--contracts", type=int, default=6)
    parser.add_argument("--looks", type=Path, help="file that remembers the first look at all questions")
    given = parser.parse_args()
    drawn, detector, questions = random.Random(0), PatternDetector(), []  # noqa: S311 - a sample
    items = gather(given)
    for domain in DOMAINS:
        own = [item for item in items if item.domain == domain]
        lines = fit([item for item in items if item.domain != domain], bundled_reader().sha256)
        for item in drawn.sample(own, min(given.drawn, len(own))):
            judged = lines.judge(item.seen, item.first, item.looked)
            rows, offered = offer(item.seen, judged.scores)
            if any(detector.find(text) for text in (offered.question, *offered.lines)):
                continue
            questions.append(
                {
                    "domain": domain, "question": offered.question, "lines": offered.lines,
                    "scores": [round(float(score), 4) for score in judged.scores[rows]],
                    "answers": [bool(right) for right in item.answers[rows]], "right": round(judged.right, 4),
                    "is_stated_by_looks": round(judged.stated, 4), "stated": item.stated,
                }
            )  # fmt: skip
    drawn.shuffle(questions)
    stored = {"model": bundled_reader().sha256, "made_by": "benchmarks/answer/choosing.py", "questions": questions}
    given.out.write_text(json.dumps(stored, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(len(questions), "questions,", given.out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
