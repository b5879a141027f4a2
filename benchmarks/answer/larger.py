"""What a larger model that chooses among the likeliest sentences adds: on domains left out, and on unseen ones.

    COTERIE_DATA=FOLDER python benchmarks/answer/larger.py --model FILE.gguf --kept FILE --looks FILE

The model is asked the questions that come with Coterie (`asked.json`, four domains) and `--each` of two domains that
do not: papers and encyclopaedias in nine languages. For each of the four, everything is fitted and chosen on the other
three; for the two, on all four. What the model says is kept in `--kept`: a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reread import Item, fit, gather

from _record import Bar, Record, arguments
from coterie.engines.llama import LlamaEngine
from coterie.engines.reading import bundled_reader
from coterie.learning.job import KeptAnswers, RememberingEngine
from coterie.tasks.answer.choosing import Pick, offer, prompt_of, read_pick
from coterie.tasks.answer.default import load_defaults, proven_at
from coterie.tasks.answer.fit import AskedQuestion, asked_questions, fit_choosing, outcome
from coterie.types import SYSTEM, Label

CLAIM = "A larger model that chooses among the likeliest sentences lets an index answer more at the same risk."
MORE = 0.15
UNSEEN = ("papers", "encyclopaedia")
RISKS = (0.05, 0.1, 0.2)


def questions_of(items: Sequence[Item], per_domain: int) -> list[AskedQuestion]:
    """Questions of the domains that do not come with Coterie, drawn by seed 0, looked at by lines of the others."""
    drawn, questions = random.Random(0), []  # noqa: S311 - a sample
    for domain in UNSEEN:
        own = [item for item in items if item.domain == domain]
        rereading = fit([item for item in items if item.domain != domain], bundled_reader().sha256)
        for item in drawn.sample(own, min(per_domain, len(own))):
            seen = rereading.judge(item.seen, item.first, item.looked)
            rows, offered = offer(item.seen, seen.scores)
            questions.append(
                AskedQuestion(
                    domain=domain, offered=offered, scores=seen.scores[rows], right=seen.right,
                    stated=seen.stated, answers=item.answers[rows], is_stated=item.stated,
                )
            )  # fmt: skip
    return questions


async def ask(engine: RememberingEngine, questions: Sequence[AskedQuestion]) -> list[Pick]:
    """The model's picks, one after the other."""
    picks = []
    for number, question in enumerate(questions, start=1):
        (output,) = await engine.run([prompt_of(question.offered, Label.PUBLIC)], call=SYSTEM)
        picks.append(read_pick(output.text, output.logprob, len(question.offered.lines)))
        if number % 20 == 0:
            print(f"{number} of {len(questions)} asked", file=sys.stderr, flush=True)
    return picks


def figures(
    fitted_on: Sequence[tuple[AskedQuestion, Pick]], tested: Sequence[tuple[AskedQuestion, Pick]], risk: float
) -> dict[str, Any]:
    """What becomes of questions without the model and with it, at a risk."""
    sure = proven_at(load_defaults().proven["answering"], risk).confidence
    fitted = fit_choosing([q for q, _ in fitted_on], [pick for _, pick in fitted_on], sure=sure, risk=risk)
    rows = []
    for question, pick in tested:
        alone = question.right >= max(sure, 1 - question.stated)
        given, right = alone, bool(question.answers[0])
        if not alone and fitted is not None:
            result = outcome(fitted.choosing, question, pick)
            given, right = result.sure >= max(fitted.answering, 1 - result.stated), result.right
        rows.append((question.is_stated, alone, alone and not question.answers[0], given, given and not right))
    stated, alone, alone_wrong, given, wrong = np.array(rows, dtype=bool).T
    return {
        "questions": len(rows), "stated": int(stated.sum()),
        "answered_alone": int((alone & stated).sum()), "wrong_alone": int(alone_wrong.sum()),
        "given_alone": int(alone.sum()), "answered": int((given & stated).sum()), "wrong": int(wrong.sum()),
        "given": int(given.sum()), "fitted": fitted is not None,
    }  # fmt: skip


def ranked(pairs: Sequence[tuple[AskedQuestion, Pick]], share: float) -> dict[str, float]:
    """Of what is stated the share that can be answered while so many are right, by each one's confidence.

    Confidences with the model are of lines fitted on the other domains.
    """
    alone = [(q.right, bool(q.answers[0]), q.is_stated) for q, _ in pairs]
    both = []
    for domain in sorted({q.domain for q, _ in pairs}):
        rest = [(q, pick) for q, pick in pairs if q.domain != domain]
        fitted = fit_choosing([q for q, _ in rest], [pick for _, pick in rest], sure=2.0, risk=0.5)
        for q, pick in pairs:
            if q.domain == domain and fitted is not None:
                result = outcome(fitted.choosing, q, pick)
                both.append((result.sure, result.right, q.is_stated))
    return {"alone": covered(alone, share), "with_the_model": covered(both, share)}


def covered(rows: Sequence[tuple[float, bool, bool]], share: float) -> float:
    """The largest share of what is stated among the surest rows of which so many are right."""
    ordered = sorted(rows, key=lambda row: -row[0])
    right = np.array([row[1] for row in ordered])
    stated = np.array([row[2] for row in ordered])
    fine = np.flatnonzero(np.cumsum(right) / np.arange(1, len(right) + 1) >= share)
    return round(float(stated[: fine[-1] + 1].sum() / stated.sum()), 3) if len(fine) else 0.0


def main() -> None:
    """Ask, fit, write."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--kept", type=Path, required=True, help="file that keeps what the model said")
    parser.add_argument("--looks", type=Path, help="see reread.py")
    parser.add_argument("--each", type=int, default=30, help="questions of a domain that does not come with Coterie")
    parser.add_argument("--threads", type=int, default=2)
    for name, value in (("medicine", 340), ("papers", 150), ("contracts", 6), ("encyclopaedia", 45)):
        parser.add_argument(f"--{name}", type=int, default=value, help="see reread.py")
    given = parser.parse_args()
    items = gather(argparse.Namespace(**{**vars(given), "each": given.encyclopaedia}))
    questions = [*asked_questions()[1], *questions_of(items, given.each)]
    checksum = hashlib.sha256(given.model.read_bytes()).hexdigest()

    async def asked() -> list[Pick]:
        engine = LlamaEngine("larger", given.model, threads=given.threads, parallel=1, window=2048)
        remembering = RememberingEngine(engine, KeptAnswers(given.kept), identity=checksum, at_once=1)
        try:
            return await ask(remembering, questions)
        finally:
            await remembering.close()

    pairs = list(zip(questions, asyncio.run(asked()), strict=True))
    own = [pair for pair in pairs if pair[0].domain not in UNSEEN]
    left: dict[str, Any] = {}
    for risk in RISKS:
        for domain in sorted({q.domain for q, _ in pairs}):
            rest = [pair for pair in own if pair[0].domain != domain]
            left.setdefault(str(risk), {})[domain] = figures(rest, [p for p in pairs if p[0].domain == domain], risk)
    record = Record(claim=CLAIM, seeds=[0], data={given.model.name: checksum})
    at = {share: ranked(pairs, share) for share in (0.95, 0.9)}
    record.figures |= {"asked": len(pairs), "left_out": left} | {f"answered_at_{s:g}_right": f for s, f in at.items()}
    more = at[0.95]["with_the_model"] - at[0.95]["alone"]
    record.bars.append(Bar(what="answered at 95% right, more than without the model", measured=more, limit=MORE))
    record.write(given.out)


if __name__ == "__main__":
    main()
