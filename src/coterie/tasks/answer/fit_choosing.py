"""Measures how far a larger model's choice among sentences can be trusted, by asking it public questions.

The questions (`asked.json`, made by `benchmarks/answer/choosing.py`) come with their likeliest sentences and with the
results of the earlier looks, so that only the model is asked. A confidence holds its risk as a mean over domains, by
lines that did not see the question's domain.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from coterie.errors import (
    ArtefactRefused,
    EngineError,
    ExtraMissing,
    ModelMissing,
    Overloaded,
    PolicyError,
    TooLong,
)
from coterie.learning.asked import AskedModel, reporting_kept_answers
from coterie.learning.job import Job
from coterie.learning.progress import Progress
from coterie.runtime.concurrency import run
from coterie.tasks.answer.choosing import (
    UNREAD,
    WEIGHED,
    Choosing,
    Offered,
    Pick,
    prompt_of,
    read_pick,
    weighed_features,
    with_bonus,
)
from coterie.tasks.answer.default import load_defaults, proven_at
from coterie.tasks.answer.fit_scoring import fit_line
from coterie.tasks.answer.scoring import probability
from coterie.tasks.answer.section import AnswerSection
from coterie.text.folding import estimate_tokens
from coterie.types import SYSTEM, Label, Prompt, Reason

QUESTIONS_FILE = "asked.json"
_STRENGTH = 0.1
"""Regularisation of the lines (scikit-learn's `C`): few questions are asked."""
_BONUSES = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0)
_FEWEST, _DOMAINS = 8, 2
"""Fewest answers for a domain to count, and fewest domains that must count."""
_WORTH = 0.05
"""Share of answerable questions that the model must add to be worth a call for each uncertain question."""
_READ = 0.8
"""Share of the model's replies that must name a sentence or none: below it, the model is not good enough."""

Floats = np.ndarray


@dataclass(frozen=True, kw_only=True)
class AskedQuestion:
    """A public question with its likeliest sentences, by the looks before."""

    domain: str
    offered: Offered
    scores: Floats  # (K,) log-odds
    right: float
    stated: float
    answers: np.ndarray  # (K,) bool
    is_stated: bool


@dataclass(frozen=True, kw_only=True)
class FittedChoosing:
    """The result of asking a model."""

    choosing: Choosing
    answering: float
    """Confidence from which an answer is given."""
    silence: float | None
    """Confidence from which the specialist says that there is no answer; None where none can be proven."""
    asked: int
    """Number of questions whose answer is stated."""
    before: int
    """Number of these that are answered without the model, at the same risk."""
    answered: int
    """Number of these that are answered with the model, by lines that did not see the question's domain."""


@cache
def asked_questions() -> tuple[str, tuple[AskedQuestion, ...]]:
    """Return the checksum of the reading model of the earlier looks, and the questions, shuffled across domains."""
    stored = json.loads(files(__package__).joinpath(QUESTIONS_FILE).read_text(encoding="utf-8"))
    return stored["model"], tuple(_restored(question) for question in stored["questions"])


def _restored(stored: Mapping[str, Any]) -> AskedQuestion:
    return AskedQuestion(
        domain=stored["domain"],
        offered=Offered(stored["question"], tuple(stored["lines"])),
        scores=np.array(stored["scores"]),
        right=stored["right"],
        stated=stored["is_stated_by_looks"],
        answers=np.array(stored["answers"], dtype=bool),
        is_stated=stored["stated"],
    )


def fit_by_asking(job: Job[AnswerSection], asked_model: AskedModel, model: str) -> FittedChoosing | Reason:
    """Ask a model public questions and fit the weight of its choice, or return the reason not to use it.

    Args:
        job: The job that uses the model. Earlier replies are cached and not requested again.
        asked_model: The model.
        model: Checksum of the reading model whose look comes before.

    Raises:
        StoreError: the replies could not be saved.
    """
    seen_by, questions = asked_questions()
    if seen_by != model:
        return Reason("choosing.other_reader")
    drawn, asked_model = questions[: job.section.calibration_calls], replace(asked_model, label=Label.PUBLIC)
    title = f"{job.name}: ask {asked_model.key} about public questions"
    try:
        asked_model.check()
        picks_made = run(_ask(asked_model, drawn, job.progress, title))
    except (EngineError, Overloaded, TooLong, PolicyError, ModelMissing, ArtefactRefused, ExtraMissing) as error:
        return Reason("choosing.not_asked", model=asked_model.key, why=str(error))
    picks = [pick for pick in picks_made if pick is not None]
    given = [question for question, pick in zip(drawn, picks_made, strict=True) if pick is not None]
    named = sum(pick.place != UNREAD for pick in picks)
    if named < _READ * len(picks_made):
        return Reason("choosing.no_numbers", model=asked_model.key, named=named, asked=len(picks_made))
    sure = proven_at(load_defaults().proven["answering"], job.section.target_risk).confidence
    certain = 1.0 if sure is None else sure  # where no confidence is proven, nothing less answers by itself
    fitted = fit_choosing(given, picks, sure=certain, risk=job.section.target_risk)
    if fitted is None or fitted.answered - fitted.before < _WORTH * fitted.asked:
        return Reason("choosing.no_gain", model=asked_model.key, asked=len(given), risk=job.section.target_risk)
    return fitted


async def _ask(
    asked_model: AskedModel, questions: Sequence[AskedQuestion], progress: Progress, title: str
) -> list[Pick | None]:
    """Return the model's picks, requested in parallel; None where the gate withholds a question.

    The first error ends the other requests.
    """
    engine = asked_model.open()

    prompts = [prompt_of(question.offered, Label.PUBLIC) for question in questions]

    async def one(question: AskedQuestion, prompt: Prompt) -> Pick | None:
        try:
            (output,) = await engine.run([prompt], call=SYSTEM)
        except PolicyError:
            return None
        finally:
            progress.advance(1)
        return read_pick(output.text, output.logprob, len(question.offered.lines))

    new = [prompt for prompt in prompts if not engine.knows(prompt)]
    tokens = sum(estimate_tokens(message.text) for prompt in new for message in prompt.messages)
    progress.start(title, None)
    progress.finish(f"{len(new):,} questions, about {tokens:,} tokens, {asked_model.in_words(tokens, 2 * len(new))}")
    progress.start(title, len(questions))
    work = [asyncio.ensure_future(one(*pair)) for pair in zip(questions, prompts, strict=True)]
    try:
        async with reporting_kept_answers(engine):
            picks = list(await asyncio.gather(*work))
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await engine.close()
    progress.finish("")
    return picks


def fit_choosing(
    questions: Sequence[AskedQuestion], picks: Sequence[Pick], *, sure: float, risk: float
) -> FittedChoosing | None:
    """Return lines and thresholds from a model's picks among public questions; None if none holds the risk.

    Args:
        questions: The questions.
        picks: The model's picks.
        sure: Confidence from which the earlier looks answer by themselves: the model is not asked then.
        risk: Share of wrong answers among all that are given, with and without the model.
    """
    domains = np.array([question.domain for question in questions])
    if len(set(domains.tolist())) < _DOMAINS:
        return None
    judged = [ChoiceOutcome(right=False, sure=0.0, stated=0.0)] * len(questions)
    for domain in np.unique(domains):
        rest, own = (np.flatnonzero(which).tolist() for which in (domains != domain, domains == domain))
        lines = fit_lines([questions[row] for row in rest], [picks[row] for row in rest])
        for row in own:
            judged[row] = outcome(lines, questions[row], picks[row])
    stated = np.array([question.is_stated for question in questions])
    alone = np.array([question.right >= max(sure, 1 - question.stated) for question in questions])
    right = np.where(
        alone, [bool(question.answers[0]) for question in questions], [judgement.right for judgement in judged]
    )
    odds = np.array([(judgement.sure, 1 - judgement.stated) for judgement in judged])
    answers = odds[:, 0] >= odds[:, 1]
    answering = met(np.where(alone, np.inf, np.where(answers, odds[:, 0], -np.inf)), right, domains, risk)
    if answering is None:
        return None
    silence = met(np.where(alone | answers, -np.inf, odds[:, 1]), ~stated, domains, risk)
    given = alone | (answers & (odds[:, 0] >= answering))
    return FittedChoosing(
        choosing=fit_lines(questions, picks),
        answering=answering,
        silence=silence,
        asked=int(stated.sum()),
        before=int((alone & stated).sum()),
        answered=int((given & stated).sum()),
    )


class ChoiceOutcome(NamedTuple):
    """The outcome of a question."""

    right: bool
    """Whether the best sentence answers."""
    sure: float
    """Probability that the best sentence answers."""
    stated: float
    """Probability that any sentence answers."""


def outcome(choosing: Choosing, question: AskedQuestion, pick: Pick) -> ChoiceOutcome:
    """Return the outcome of a question by some lines."""
    best = int(with_bonus(question.scores, pick, choosing.bonus).argmax())
    weighed = weighed_features(best, question.right, question.stated, pick)
    right, stated = (probability(float(line.of(weighed))) for line in (choosing.right, choosing.stated))
    return ChoiceOutcome(right=bool(question.answers[best]), sure=right, stated=stated)


def fit_lines(questions: Sequence[AskedQuestion], picks: Sequence[Pick]) -> Choosing:
    """Return the lines, with the bonus that makes most best sentences right.

    Each domain has the weight of the square root of its number of questions.
    """
    pairs = list(zip(questions, picks, strict=True))
    counts = dict(zip(*np.unique([question.domain for question in questions], return_counts=True), strict=True))
    weights = np.array([counts[question.domain] ** -0.5 for question in questions])
    places = np.array([[int(with_bonus(q.scores, pick, bonus).argmax()) for q, pick in pairs] for bonus in _BONUSES])
    good = np.array([[bool(q.answers[at]) for q, at in zip(questions, row, strict=True)] for row in places])
    chosen = int((good @ weights).argmax())
    rows = np.array(
        [weighed_features(at, q.right, q.stated, pick) for at, (q, pick) in zip(places[chosen], pairs, strict=True)]
    )
    stated = np.array([question.is_stated for question in questions])
    return Choosing(
        bonus=_BONUSES[chosen],
        right=fit_line(WEIGHED, rows, good[chosen], strength=_STRENGTH, weights=weights),
        stated=fit_line(WEIGHED, rows, stated, strength=_STRENGTH, weights=weights),
    )


def met(
    confidence: Floats,
    right: np.ndarray,
    domains: np.ndarray,
    risk: float,
    *,
    fewest: int = _FEWEST,
    again: bool = False,
) -> float | None:
    """Return the lowest confidence from which the risk holds, with one more wrong answer added; None if there is none.

    The share of wrong answers is the mean of the domains with at least `fewest` answers there; with fewer than two such
    domains no risk holds. Answers without a finite confidence are always given (infinity) or never. Instead of one more
    wrong answer, the worst domain may be counted twice (`again`): a new domain may be like it.
    """
    best = None
    for value in np.unique(np.round(confidence[np.isfinite(confidence)], 3))[::-1]:
        kept = confidence >= value
        every = (right[(domains == domain) & kept] for domain in np.unique(domains))
        shares = [float((~own).mean()) for own in every if len(own) >= fewest]
        if len(shares) < _DOMAINS:
            continue
        share = np.mean([*shares, max(shares)]) if again else np.mean(shares) + 1 / kept.sum()
        if share <= risk:
            best = float(value)
    return best
