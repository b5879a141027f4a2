"""Makes an `answer` specialist: calibrated on questions with their answers, or with the defaults, without any.

The reader that ships with Coterie recognises a sentence that answers a question. A user's own questions calibrate its
confidence on the user's documents. Where the same is asked of many documents, experts learn what answers it.

How far a larger model's choice among sentences can be trusted is measured by asking it public questions. The questions
(`asked.json`, made by `benchmarks/answer/choosing.py`) come with their likeliest sentences and with the results of the
earlier looks, so that only the model is asked. A confidence holds its risk as a mean over domains, by lines that did
not see the question's domain.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from coterie.engines.reading import bundled_reader
from coterie.errors import (
    ArtefactRefused,
    EngineError,
    ExtraMissing,
    ModelMissing,
    NotIndexed,
    Overloaded,
    PolicyError,
    TooLong,
)
from coterie.knowledge.documents import DocumentIndex
from coterie.knowledge.open import open_declared
from coterie.learning.calibration import RISKS, Platt, Threshold, accept_threshold, as_met, fit_platt, met_from
from coterie.learning.dataset import Dataset
from coterie.learning.evaluation import Evaluation, Interval, score_interval
from coterie.learning.job import AskedModel, Job, Progress, TextEncoder, reporting_kept_answers
from coterie.learning.measure import Candidate, Figure, RungChoice, choose, evaluate
from coterie.protocols import Retriever
from coterie.routing.profile import PROFILE_FILE, CosineScale, Profile, hint_texts, make_profile
from coterie.runtime.codec import to_json
from coterie.runtime.concurrency import run
from coterie.specialists.parts import Acceptance
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
from coterie.tasks.answer.fit_scoring import (
    AnswerCorpus,
    Columns,
    deal,
    features_of,
    fit_experts,
    fit_line,
    fit_scorer,
    gather_corpus,
    is_sound,
)
from coterie.tasks.answer.model import AnswerSpecialist, Thresholds
from coterie.tasks.answer.reader import MOST_CITED, AnswerReader
from coterie.tasks.answer.rereading import Rereading
from coterie.tasks.answer.rows import judge, look_up_with, with_quotes
from coterie.tasks.answer.scoring import SAME, ExpertGate, LinearScore, cited_rows, outcome_features, probability
from coterie.tasks.answer.section import AnswerSection
from coterie.tasks.contract import HELD_OUT, Trained, Workplace
from coterie.tasks.versions import write_report
from coterie.text.folding import estimate_tokens
from coterie.text.segmentation import plain
from coterie.types import SYSTEM, CallContext, Label, Output, Passage, Prompt, Reason, Rung

if TYPE_CHECKING:
    from coterie.engines.onnx import OnnxEncoder

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


# --- What the router learns of an `answer` specialist: its description, its questions, and what its documents are
# about.
#
# Without questions there is nothing that looks like what will be asked. But a heading stands to the text under it as
# a question to its answer: how near headings are to the nearest passages says how near a question in scope is.

MOST_PASSAGES = 400
"""Most passages of each index that the router knows."""
_DRAWN = 40
"""Passages retrieved with one query."""
_SHOWN = 60  # characters of a passage by which the router names it


def answer_profile(job: Job[AnswerSection], indexes: Mapping[str, Retriever], label: Label) -> Profile:
    """Return the profile of a specialist that reads these indexes.

    Args:
        job: The job of the specialist; the questions of its training data are examples.
        indexes: By `[knowledge]` key.
        label: Passages above this label leave no trace in the profile.
    """
    passages = [passage for name in job.section.knowledge for passage in run(_sample(indexes[name], job, label))]
    headings = list(dict.fromkeys(passage.heading.split(" > ")[-1] for passage in passages if passage.heading))
    questions = list(dict.fromkeys(row.text for row in job.train.rows))
    hints = hint_texts(job.section.description, headings, examples=len(questions))
    texts = [*questions, *hints, *(passage.text for passage in passages)]
    vectors = job.encoder.encode(texts).reshape(len(texts), job.encoder.dimension)
    question_vectors, hinted, read = np.split(vectors, [len(questions), len(questions) + len(hints)])
    names = [*hints, *(_shown_answer_profile(passage) for passage in passages)]
    return make_profile(
        question_vectors,
        questions,
        [None] * len(questions),
        hints=np.vstack([hinted, read]),
        hint_texts=names,
        seed=job.section.seed,
        scale=CosineScale.of(job.encoder),
    )


async def _sample(index: Retriever, job: Job[AnswerSection], label: Label) -> list[Passage]:
    """Return passages from all over an index: found by the description, and then by headings of earlier passages."""
    passages: dict[tuple[str, int], Passage] = {}
    queries, queries_seen = (
        [job.section.description or job.name, *(row.text for row in job.train.rows[:_DRAWN])],
        set[str](),
    )
    while queries and len(passages) < MOST_PASSAGES:
        query = queries.pop(0)
        if query in queries_seen:
            continue
        queries_seen.add(query)
        for passage in await index.search(query, k=_DRAWN, clearance=label, call=SYSTEM):
            if (passage.document, passage.start) not in passages:
                passages[passage.document, passage.start] = passage
                queries += [query for query in (passage.heading, passage.document) if query]
    return list(passages.values())[:MOST_PASSAGES]


def _shown_answer_profile(passage: Passage) -> str:
    """Return the name of a passage in the router's reasons."""
    if passage.heading:
        return f"{passage.document}: {passage.heading}"
    return f"{passage.document}: {' '.join(passage.text.split())[:_SHOWN]}"


FEWEST_ROWS = 20
"""Number of questions from which the reader is recalibrated."""
_MARGIN = 0.5
"""Share of the target that questions in new words must meet where it cannot be proven.

What holds on a few kinds of questions usually does not hold on the next kinds.
"""
_EXTRACTIVE: tuple[Rung, ...] = ("lexical", "embedding")
_WORDED: tuple[Rung, ...] = ("slm", "llm")


def train_answer(job: Job[AnswerSection], workplace: Workplace) -> Trained:
    """Train a version and return its files and its report.

    Args:
        job: What to make. Without `data` its data sets are empty.
        workplace: The network: the questions of the data may see what its default label may see.

    Raises:
        SetupError: an index has no index.
    """
    encoder = _Remembering(job.encoder)
    indexes = _open(job, workplace) if workplace.indexes is None else workplace.indexes
    try:
        return _made(job, indexes, encoder, workplace.config.network.default_label)
    finally:
        if workplace.indexes is None:
            for index in indexes.values():
                run(index.close())


def _open(job: Job[AnswerSection], workplace: Workplace) -> Mapping[str, DocumentIndex]:
    """Open the indexes that the specialist reads."""
    encoder = cast("OnnxEncoder", job.encoder)  # in a folder's network it is; others are given with their indexes
    return {
        name: open_declared(name, workplace.config, workplace.folder, encoder=encoder) for name in job.section.knowledge
    }


def _made(job: Job[AnswerSection], indexes: Mapping[str, Retriever], encoder: _Remembering, label: Label) -> Trained:
    corpus = _corpus(job, indexes, encoder, label) if len(job.train) else None
    sources = _Sources(indexes=indexes, encoder=encoder, label=label)
    wanted: list[Rung] = [rung for rung in _EXTRACTIVE if rung in _rungs(job)] or ["embedding"]
    if corpus is None:
        wanted = wanted[-1:]  # nothing tells them apart
    candidates = [_candidate(job, rung, corpus, sources) for rung in wanted]
    if corpus is None:
        choice = RungChoice(candidate=candidates[0], reason=Reason("rung.no_questions"))
    else:
        choice = choose(candidates, job.bar)
    choice = _with_model(job, choice)
    profile = answer_profile(job, indexes, label)
    report = write_report(job, choice, candidates) | {"knowledge": list(job.section.knowledge)}
    if not len(job.held_out):
        report["rungs"] = []  # nothing was measured
    return Trained(
        files={**choice.candidate.files, PROFILE_FILE: profile.to_bytes()},
        report=report,
        seconds={candidate.rung: candidate.seconds for candidate in candidates},
    )


def check_indexed(job: Job[AnswerSection], workplace: Workplace) -> None:
    """Refuse to train while an index is empty. Raises `NotIndexed`, or the error of opening an index."""
    if workplace.indexes is not None:
        return
    for name, index in _open(job, workplace).items():
        try:
            documents = run(index.documents())
        finally:
            run(index.close())
        if not documents:
            raise NotIndexed(
                f"specialists.{job.name} reads index {name!r}, and nothing has been indexed for it.",
                hint=f"Index its documents: coterie index {name}",
            )


def divide_questions(data: Dataset, *, seed: int) -> tuple[Dataset, Dataset]:
    """Split questions into training and held-out ones; those about one document or in the same words stay together."""
    groups = [row.group or plain(row.text) for row in data.rows]
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    held = {names[index] for index in order[: round(HELD_OUT * len(names))]}
    apart = [index for index, group in enumerate(groups) if group in held]
    rest = [index for index, group in enumerate(groups) if group not in held]
    return data.take(rest), data.take(apart)


def _rungs(job: Job[AnswerSection]) -> Sequence[Rung]:
    return _EXTRACTIVE if job.section.rungs is None else job.section.rungs


def _corpus(
    job: Job[AnswerSection], indexes: Mapping[str, Retriever], encoder: _Remembering, label: Label
) -> AnswerCorpus:
    """Return every training question with what its indexes have."""
    look_up = look_up_with(indexes, job.card("lexical"))
    job.progress.start(f"{job.name}: look up", len(job.train))
    corpus = run(gather_corpus(job.train.rows, look_up, label=label, advance=job.progress.advance))
    job.progress.finish("")
    if "embedding" in _rungs(job) or set(_rungs(job)).isdisjoint(_EXTRACTIVE):
        job.progress.start(f"{job.name}: encode sentences", len(corpus.texts))
        corpus.encode(lambda texts: encoder.encode(texts, advance=job.progress.advance))
        job.progress.finish("")
    return corpus


def _candidate(job: Job[AnswerSection], rung: Rung, corpus: AnswerCorpus | None, sources: _Sources) -> Candidate:
    """Return one rung: its reader, its thresholds for answers and silence, and its figures on held-out rows."""
    start, defaults = time.perf_counter(), load_defaults()
    given = defaults.thresholds[rung]
    made = _Made(
        reader=defaults.readers[rung],
        answering=_accepting(*given["answering"]),
        silence=_accepting(*given["silence"]),
        notes={"calibrated_on": dict(defaults.provenance["data"])},
    )
    few = corpus is None or len(corpus.asked) < FEWEST_ROWS
    if few and rung == "embedding" and defaults.rereading is not None:
        steps = {name: proven_at(steps, job.section.target_risk) for name, steps in defaults.proven.items()}
        made = replace(
            made,
            answering=_accepting(*steps["answering"]),
            silence=_accepting(*steps["silence"]),
            rereading=defaults.rereading,
        )
    if corpus is not None and not few:
        made = _fitted(job, _Fit.of(job, corpus, made.reader), made)
    elif len(job.train):
        made = replace(
            made, warnings=(f"{len(job.train)} questions are too few to calibrate on: {FEWEST_ROWS} will do",)
        )
    specialist = AnswerSpecialist(
        card=job.card(rung),
        reader=made.reader,
        answering=made.answering,
        silence=made.silence,
        again=made.again,
        encoder=sources.encoder if made.reader.encodes else None,
        rereading=made.rereading,
        model=None if made.rereading is None else bundled_reader(),
    )
    return Candidate(
        rung=rung,
        files=specialist.to_files(),
        validation=dict.fromkeys(job.measures, made.figure),
        evaluation=_measured(job, specialist, sources),
        seconds=time.perf_counter() - start,
        notes=dict(made.notes) | {"threshold": made.thresholds()},
        warnings=made.warnings,
    )


def _measured(job: Job[AnswerSection], specialist: AnswerSpecialist, sources: _Sources) -> Evaluation:
    job.progress.start(f"{job.name}: measure {specialist.card.rung}", len(job.held_out))
    look_up = look_up_with(sources.indexes, specialist.card)
    rows = run(with_quotes(job.held_out.rows, sources.indexes, clearance=sources.label))
    advance, label = job.progress.advance, sources.label
    evaluating = evaluate(specialist, rows, judge=judge, look_up=look_up, progress=advance, label=label, at_once=1)
    evaluation = run(evaluating)
    job.progress.finish("")
    return evaluation


def _fitted(job: Job[AnswerSection], fit: _Fit, shipped: _Made) -> _Made:
    """Return what was fitted; a threshold that the rows cannot prove safe is replaced by the shipped one."""
    target = job.section.target_risk
    own = {
        name: _accepting(threshold.value, fit.risks[name])
        for name, threshold in fit.thresholds.items()
        if threshold.value is not None
    }
    answering, silence = own.get("answering", shipped.answering), own.get("silence", shipped.silence)
    again = Thresholds(own.get("answering, asked before", answering), own.get("silence, asked before", silence))
    lax = [name for name in own if fit.risks[name] > target]
    unproven = [name for name in fit.thresholds if name not in own]
    return _Made(
        reader=fit.reader,
        answering=answering,
        silence=silence,
        again=None if again == (answering, silence) else again,
        figure=fit.figure,
        notes=fit.notes,
        warnings=(
            *(f"{name}: the questions cannot show an error of {target:g}, only of {fit.risks[name]:g}" for name in lax),
            *(f"{name}: the questions show nothing; the one that comes with Coterie is used" for name in unproven),
        ),
    )


def _shown(
    confidence: np.ndarray, right: np.ndarray, groups: Sequence[object], target: float, *, met: float
) -> tuple[Threshold, float]:
    """Return the threshold of the target risk or, if it cannot be proven, of the smallest risk that can.

    The threshold of a larger risk is raised to where at most `met` were wrong. With few groups, a smaller risk may be
    provable for a few of the most confident answers only, far beyond that point; then the smallest risk that is
    provable for all answers from that point on is used.
    """
    strictest: tuple[Threshold, float] | None = None
    least = met_from(confidence, right, met)
    for risk in (target, *(laxer for laxer in RISKS if laxer > target)):
        threshold = accept_threshold(confidence, right, target_risk=risk, groups=groups)
        if threshold.value is None:
            continue
        if risk == target:
            return threshold, risk
        if least is None or threshold.value <= least:
            return as_met(threshold, confidence, right, met), risk
        strictest = strictest or (threshold, risk)
    return strictest or (threshold, risk)


def _accepting(threshold: float | None, risk: float) -> Acceptance:
    return Acceptance(temperature=1.0, threshold=threshold, target_risk=risk, scope_threshold=None)


_UNKNOWN = Figure(0.0, Interval(0.0, 0.0))
"""The figure of anything that was not measured."""


@dataclass(frozen=True, kw_only=True)
class _Sources:
    """The documents and encodings that a specialist sees."""

    indexes: Mapping[str, Retriever]
    encoder: _Remembering
    label: Label


@dataclass(frozen=True, kw_only=True)
class _Made:
    """The parts of a specialist under construction."""

    reader: AnswerReader
    answering: Acceptance
    silence: Acceptance
    again: Thresholds | None = None
    rereading: Rereading | None = None
    figure: Figure = _UNKNOWN
    notes: Mapping[str, object]
    warnings: tuple[str, ...] = ()

    def thresholds(self) -> dict[str, float | None]:
        """Return the thresholds for the report."""
        thresholds_ = {"answering": self.answering.threshold, "silence": self.silence.threshold}
        if self.again is not None:
            thresholds_ |= {f"{name}_again": threshold.threshold for name, threshold in self.again._asdict().items()}
        return thresholds_


class _Fit:
    """A reader fitted on the user's own questions, with its cross-fitted results for each of them."""

    def __init__(
        self, reader: AnswerReader, right: np.ndarray, stated: np.ndarray, best: np.ndarray, sound: np.ndarray
    ) -> None:
        self.reader, self.right, self.stated, self.best, self.sound = reader, right, stated, best, sound
        self.thresholds: dict[str, Threshold] = {}
        self.risks: dict[str, float] = {}
        """What each threshold holds: the target, or the smallest that the questions can show."""
        self.figure = _UNKNOWN
        self.notes: dict[str, object] = {}

    @classmethod
    def of(cls, job: Job[AnswerSection], corpus: AnswerCorpus, shipped: AnswerReader) -> _Fit:
        """Fit experts where the same is asked often, else the shipped reader with a calibrated confidence."""
        folds = deal(corpus, job.section.seed)
        risk = job.section.target_risk
        expert_fit = None
        if shipped.encodes:
            job.progress.start(f"{job.name}: experts", None)
            expert_fit = fit_experts(corpus, folds, seed=job.section.seed, advance=job.progress.advance)
            job.progress.finish("")
        if expert_fit is not None:
            corpus = expert_fit.corpus
            fitted = fit_scorer(corpus, expert_fit.columns, expert_fit.folds, precision=1 - risk, familiar=expert_fit)
            experts = expert_fit.experts if fitted.usual is None else replace(expert_fit.experts, usual=fitted.usual)
            reader = replace(shipped, familiar=fitted.scorer, experts=experts)
            fit = cls(reader, fitted.right, fitted.stated, fitted.best, fitted.sound)
        else:
            corpus = corpus.narrowed()
            fit = _recalibrated(corpus, features_of(corpus, encoded=shipped.encodes), shipped)
        fit.decide(job, corpus, expert_fit.gates if expert_fit else ())
        fit.notes["experts"] = 0 if expert_fit is None else int(expert_fit.experts.kinds.max()) + 1
        return fit

    def decide(self, job: Job[AnswerSection], corpus: AnswerCorpus, gates: Sequence[ExpertGate]) -> None:
        """Set the thresholds for answers and for silence, separately for questions that were asked before.

        Questions that were asked before come with new documents, so documents are the groups there. For questions in
        new words the topics are the groups: a hundred documents with one misunderstood wording are one mistake, made a
        hundred times. Where there are too few topics to prove anything, documents are used.
        """
        answers = self.right >= 1 - self.stated
        silent = np.array([not question.stated for question in corpus.asked])
        right = np.where(answers, self.sound, silent)
        documents = np.array([str(group) for group in corpus.groups()])
        topics = np.array(corpus.topics)
        before = np.array([gate.nearest >= SAME for gate in gates] or [False] * len(right))
        target = job.section.target_risk
        for name, rows, confidence, anew in (
            ("answering", answers & ~before, self.right, bool(gates)),
            ("silence", ~answers & ~before, 1 - self.stated, bool(gates)),
            ("answering, asked before", answers & before, self.right, False),
            ("silence, asked before", ~answers & before, 1 - self.stated, False),
        ):
            if rows.any():
                by, share = (topics, _MARGIN) if anew else (documents, 1.0)
                threshold, risk = _shown(confidence[rows], right[rows], by[rows], target, met=share * target)
                if threshold.value is None and anew:
                    threshold, risk = _shown(confidence[rows], right[rows], documents[rows], target, met=share * target)
                self.risks[name] = risk
                self.thresholds[name] = threshold
                self.notes |= threshold.reason.described(f"{name} reason")
        decided = np.where(answers, self.best, silent)
        self.figure = Figure(float(decided.mean()), score_interval(decided, seed=0))


def _recalibrated(corpus: AnswerCorpus, columns: Columns, shipped: AnswerReader) -> _Fit:
    """Return the shipped reader with its probabilities calibrated on this corpus."""
    scorer, outcomes, best, sound = shipped.plain, [], [], []
    for question, own in zip(corpus.asked, columns, strict=True):
        scores = scorer.sentence.of(np.column_stack([own[name] for name in scorer.sentence.names]))
        outcomes.append(outcome_features(scores, own, cited_rows(scores, scorer.also, MOST_CITED)))
        best.append(bool(question.answers[scores.argmax()]))
        sound.append(is_sound(question, scores, scorer.also))
    seen = np.vstack(outcomes)
    stated = np.array([question.stated for question in corpus.asked])
    right, stated_scores = scorer.right.of(seen), scorer.stated.of(seen)
    right_line, stated_line = fit_platt(right, np.array(best)), fit_platt(stated_scores, stated)
    scaled = replace(scorer, right=_scaled(scorer.right, right_line), stated=_scaled(scorer.stated, stated_line))
    return _Fit(
        replace(shipped, plain=scaled),
        right_line.probability(right),
        stated_line.probability(stated_scores),
        np.array(best),
        np.array(sound),
    )


def _scaled(line: LinearScore, platt: Platt) -> LinearScore:
    return LinearScore(
        names=line.names, weights=platt.slope * line.weights, bias=platt.slope * line.bias + platt.intercept
    )


def _with_model(job: Job[AnswerSection], choice: RungChoice) -> RungChoice:
    """Return the choice as a version with answers that a model chooses and words, where the section has such a rung."""
    worded: list[Rung] = [rung for rung in _WORDED if rung in _rungs(job)]
    if not worded:
        return choice
    described = json.loads(choice.candidate.files["model.json"]) | {"rung": worded[-1]}
    reason = choice.reason.noting(Reason("note.worded_by", model=job.section.model))
    candidate = replace(choice.candidate, rung=worded[-1])
    if (
        (rereading := described.get("rereading")) is not None
        and job.asked is not None
        and job.section.calibration_calls
    ):
        fitted = fit_by_asking(job, job.asked, rereading["model"])
        if isinstance(fitted, Reason):
            candidate = replace(candidate, warnings=(*candidate.warnings, str(fitted)))
        else:
            risk = job.section.target_risk
            described["choosing"] = {
                "lines": fitted.choosing.describe(),
                "model": job.section.model,
                "answering": to_json(_accepting(fitted.answering, risk)),
                "silence": to_json(_accepting(fitted.silence, risk)),
            }
            figures = {"asked": fitted.asked, "before": fitted.before, "answered": fitted.answered}
            reason = reason.noting(Reason("note.chooses", model=job.section.model, **figures))
    files = {**candidate.files, "model.json": json.dumps(described, ensure_ascii=False, sort_keys=True).encode()}
    return RungChoice(candidate=replace(candidate, files=files), reason=reason)


class _Remembering:
    """An encoder with a cache, which encodes each text once: the same sentences occur for many questions."""

    clearance = Label.RESTRICTED

    def __init__(self, encoder: TextEncoder) -> None:
        self.name = encoder.name
        self._encoder = encoder
        self._known: dict[str, np.ndarray] = {}

    def encode(self, texts: Sequence[str], *, advance: object = None) -> np.ndarray:  # (N, D)
        """Encode all texts at once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            progress = advance if callable(advance) else None
            self._known |= dict(zip(new, self._encoder.encode(new, progress=progress), strict=True))
        return np.stack([self._known[text] for text in texts])

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:  # noqa: ARG002 - it runs here
        """Return one output per prompt."""
        vectors = self.encode([prompt.text for prompt in batch])
        return [Output(vector=vector) for vector in vectors]

    async def close(self) -> None:
        """Do nothing, since it owns nothing."""
