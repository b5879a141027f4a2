"""The rung `llm`: chooses examples from the training rows, and measures how often a prompted model is right.

No weights are trained. The training texts become candidates for a prompt (`Demonstrations`). The model is asked about a
sample of training rows, each with the examples of other folds only, so that neither the row nor a near-copy of it is
shown. Its answers fit the confidence and the threshold; a sample of the held-out rows measures it. Every answer is
saved at once: an interrupted run does not pay twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from coterie.errors import EngineRejected
from coterie.learning.calibration import Threshold, accept_threshold, scope_threshold
from coterie.learning.evaluation import Evaluation
from coterie.learning.fitting import FALSE_REJECTION, TextExamples
from coterie.learning.job import AskedModel, Job, RememberingEngine, reporting_kept_answers
from coterie.learning.measure import Candidate, Encoded, encode, evaluate, rated
from coterie.runtime.concurrency import run
from coterie.specialists.parts import Acceptance
from coterie.tasks.classify.prompted import (
    DEFAULT_INSTRUCTION,
    NEIGHBOURS,
    SIGNS,
    Agreement,
    Demonstrations,
    FewShot,
    Neighbour,
    PromptedAnswer,
    PromptedSpecialist,
    read_reply,
    tokens_of,
)
from coterie.tasks.classify.section import ClassifySection
from coterie.types import SYSTEM, Output, Prompt, total_usage

# --- Fitting how far a prompted model's answers are to be believed, on answers whose rightness is known.

_PARTS = 5
"""Number of parts: each answer's own confidence comes from a fit on the others."""
_STRENGTH = 1.0  # inverse of the penalty, on signs in standard deviations

Signs = Mapping[str, float]


def fit_agreement(signs: Sequence[Signs], right: np.ndarray) -> Agreement:
    """Fit a logistic regression from the signs that every answer has to whether the answer is right.

    Args:
        signs: Signs of each answer that names a label.
        right: (N,) whether the label is right. Where all or none are, the confidence is the same for all answers, with
            one more row of each kind added (Laplace's rule of succession).
    """
    shared = [name for name in SIGNS if signs and all(name in sign for sign in signs)]
    table = np.array([[sign[name] for name in shared] for sign in signs]).reshape(len(signs), len(shared))  # (N, S)
    usual = table.mean(axis=0) if len(signs) else np.zeros(len(shared))
    means = {name: float(value) for name, value in zip(shared, usual, strict=True)}
    if not shared or len(np.unique(right)) < 2:
        share = (right.sum() + 1) / (len(right) + 2)
        return Agreement(weights=dict.fromkeys(shared, 0.0), usual=means, bias=float(np.log(share / (1 - share))))
    spread = np.maximum(table.std(axis=0), 1e-6)
    model = LogisticRegression(C=_STRENGTH).fit((table - usual) / spread, right)
    weights = model.coef_[0] / spread
    bias = float(model.intercept_[0] - weights @ usual)
    return Agreement(weights=dict(zip(shared, map(float, weights), strict=True)), usual=means, bias=bias)


def confidences(signs: Sequence[Signs], right: np.ndarray, seed: int) -> np.ndarray:  # (N,)
    """Return the confidence of each answer, from a regression that was not fitted on it."""
    dealt = np.random.default_rng(seed).permutation(len(signs)) % _PARTS
    confidences_ = np.zeros(len(signs))
    for part in np.unique(dealt):
        rest = np.flatnonzero(dealt != part).tolist()
        fitted = fit_agreement([signs[i] for i in rest], right[rest])
        for i in np.flatnonzero(dealt == part).tolist():
            confidences_[i] = fitted.confidence(signs[i])
    return confidences_


# --- Which rows stand for all of them, where each one costs.


def sample(count: int, most: int, seed: int) -> np.ndarray:  # (M,)
    """Return at most `most` of the first `count` numbers, drawn by the seed, in order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, size=most, replace=False))


def balanced(labels: np.ndarray, most: int, seed: int) -> np.ndarray:  # (N,) -> (K,)
    """Return positions of at most `most` rows, in order, balanced over the labels.

    No row of a label is left out while another label has more rows.

    Args:
        labels: (N,) each row's label.
        most: How many are kept.
        seed: Seed of the choice.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    turn = np.zeros(len(labels), dtype=np.int64)  # the how-many-eth of its label each row is
    seen: dict[int, int] = {}
    for index in shuffled:
        turn[index] = seen.get(int(labels[index]), 0)
        seen[int(labels[index])] = int(turn[index]) + 1
    order = shuffled[np.argsort(turn[shuffled], kind="stable")]
    return np.sort(order[:most])


MOST_DEMONSTRATIONS = 5_000
"""Most training texts that a version keeps; if there are more, the rarest labels keep all of theirs."""
_ROOM = 2_000  # tokens of examples, where half the window has them
_ANSWER = 10  # tokens of an answer, for the estimate


def train_prompted(job: Job[ClassifySection], examples: TextExamples, encoded: Encoded) -> Candidate:
    """Return the candidate of the rung `llm`.

    Args:
        job: What to train; its `asked` is the model.
        examples: Targets and folds.
        encoded: The training texts' encodings.

    Raises:
        EngineError, Overloaded, StoreError: the model could not be asked about all rows; its answers are saved.
    """
    assert job.asked is not None, "checked before anything is trained"  # noqa: S101
    return run(_Prompter(job=job, asked=job.asked, examples=examples, encoded=encoded).candidate())


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A training row with its prompt and the model's answer."""

    row: int
    neighbours: Sequence[Neighbour]
    prompt: Prompt


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    agreement: Agreement
    acceptance: Acceptance
    threshold: Threshold
    right: np.ndarray  # (C,)
    predicted: np.ndarray  # (C,) -1 where no label was named
    targets: np.ndarray  # (C,) of several right labels the one that was named


@dataclass(frozen=True, kw_only=True)
class _Prompter:
    """Makes one job's candidate."""

    job: Job[ClassifySection]
    asked: AskedModel
    examples: TextExamples
    encoded: Encoded

    async def candidate(self) -> Candidate:
        """Ask about training rows, fit, ask about held-out rows."""
        start = time.perf_counter()
        kept = self._kept_rows()
        shown = self._demonstrations(kept)
        engine = self.asked.open()
        try:
            async with reporting_kept_answers(engine):
                questions, prompting = await self._questions(engine, shown, kept)
                outputs = await self._ask(engine, questions)
                fitted = self._fit(questions, outputs, prompting)
                seconds = time.perf_counter() - start + self.encoded.seconds
                specialist = self._specialist(engine, shown, prompting, fitted)
                return await self._measured(specialist, engine, fitted, seconds)
        finally:
            await engine.close()

    # --- What is shown ---------------------------------------------------------------------------

    def _kept_rows(self) -> np.ndarray:  # (K,)
        usable = [i for i, row in enumerate(self.job.train.rows) if row.labels and row.text.strip()]
        first = np.array([self.job.train.label_names.index(self.job.train.rows[i].labels[0]) for i in usable])
        return np.asarray(np.array(usable)[balanced(first, MOST_DEMONSTRATIONS, self.job.section.seed)])

    def _demonstrations(self, kept: np.ndarray) -> Demonstrations:
        rows = [self.job.train.rows[i] for i in kept]
        return Demonstrations(
            texts=tuple(row.text for row in rows),
            labels=tuple(row.labels[0] for row in rows),
            vectors=self.encoded.vectors[kept].astype(np.float16).astype(np.float32),  # as they are stored
        )

    async def _questions(
        self, engine: RememberingEngine, shown: Demonstrations, kept: np.ndarray
    ) -> tuple[list[_Asked], FewShot]:
        """Return the questions about the calibration rows, and their form: a server may accept no JSON Schema."""
        rows = kept[sample(len(kept), self.job.section.calibration_calls, self.job.section.seed)]
        section = self.job.section
        prompting = FewShot(
            instruction=section.instruction or " ".join(filter(None, (section.description, DEFAULT_INSTRUCTION))),
            labels=self.job.train.label_names,
            form="schema" if self.asked.is_remote else "grammar",
            room=min(_ROOM, self.asked.model.window // 2),
        )
        questions = [self._question(row, shown, kept, prompting) for row in rows]
        self._estimate(engine, questions)
        try:
            await engine.run([questions[0].prompt], call=SYSTEM)
        except EngineRejected:
            if not self.asked.is_remote:
                raise
            prompting = replace(prompting, form="free")
            questions = [self._question(row, shown, kept, prompting) for row in rows]
            await engine.run([questions[0].prompt], call=SYSTEM)  # refused as well: then it was not the schema
        return questions, prompting

    def _question(self, row: int, shown: Demonstrations, kept: np.ndarray, prompting: FewShot) -> _Asked:
        """Return the question about a training row as if it were new: the rows of its fold are not shown."""
        folds = self.examples.folds
        neighbours = shown.nearest(self.encoded.vectors[row], NEIGHBOURS, leave_out=folds[kept] == folds[row])
        prompt = prompting.prompt(self.job.train.rows[row].text, neighbours, self.asked.label)
        return _Asked(row=row, neighbours=neighbours, prompt=prompt)

    def _estimate(self, engine: RememberingEngine, questions: Sequence[_Asked]) -> None:
        """Report the number of questions and their estimated cost, before they are asked."""
        held_out = min(len(self.job.held_out), self.job.section.test_calls)
        known_answers = sum(engine.knows(question.prompt) for question in questions)
        mean = np.mean([tokens_of(question.prompt) for question in questions])
        new = len(questions) - known_answers + held_out
        tokens_in, tokens_out = round(mean * new), _ANSWER * new
        kept = f" beside {known_answers:,} answers that are kept" if known_answers else ""
        cost = self.asked.in_words(tokens_in, tokens_out)
        self.job.progress.start(f"{self.job.name}: {self.asked.key}", None)
        self.job.progress.finish(f"at most {new:,} questions{kept}, about {tokens_in + tokens_out:,} tokens, {cost}")

    # --- What it says ----------------------------------------------------------------------------

    async def _ask(self, engine: RememberingEngine, questions: Sequence[_Asked]) -> list[Output]:
        """Return the answers, requested in parallel; the first error ends the others."""

        async def one(question: _Asked) -> Output:
            (output,) = await engine.run([question.prompt], call=SYSTEM)
            self.job.progress.advance(1)
            return output

        self.job.progress.start(f"{self.job.name}: ask {self.asked.key} about training rows", len(questions))
        work = [asyncio.ensure_future(one(question)) for question in questions]
        try:
            outputs = await asyncio.gather(*work)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        self.job.progress.finish("")
        return list(outputs)

    def _fit(self, questions: Sequence[_Asked], outputs: Sequence[Output], prompting: FewShot) -> _Fitted:
        """Fit confidence and threshold. An answer that names no label is wrong, and never accepted."""
        section, names = self.job.section, self.job.train.label_names
        pairs = list(zip(questions, outputs, strict=True))
        replies = [read_reply(prompting, question.neighbours, output) for question, output in pairs]
        right = np.array(
            [self._is_right(question.row, reply) for question, reply in zip(questions, replies, strict=True)]
        )
        named = np.array([reply.label is not None for reply in replies])
        signs = [reply.signs for reply in replies if reply.label is not None]
        confidence = np.zeros(len(questions))
        confidence[named] = confidences(signs, right[named], section.seed)
        groups = [self.job.train.rows[question.row].group for question in questions]
        threshold = accept_threshold(confidence, right, target_risk=section.target_risk, groups=groups)
        scores = [question.neighbours[0].cosine if question.neighbours else 0.0 for question in questions]
        acceptance = Acceptance(
            temperature=1.0,
            threshold=threshold.value,
            target_risk=section.target_risk,
            scope_threshold=scope_threshold(scores, false_rejection=FALSE_REJECTION),
        )
        predicted = np.array([-1 if reply.label is None else names.index(reply.label) for reply in replies])
        first = np.array([names.index(self.job.train.rows[question.row].labels[0]) for question in questions])
        return _Fitted(
            agreement=fit_agreement(signs, right[named]),
            acceptance=acceptance,
            threshold=threshold,
            right=right,
            predicted=predicted,
            targets=np.where(right, predicted, first),
        )

    def _is_right(self, row: int, reply: PromptedAnswer) -> bool:
        return reply.label in self.job.train.rows[row].labels

    # --- The candidate ---------------------------------------------------------------------------

    def _specialist(
        self, engine: RememberingEngine, shown: Demonstrations, prompting: FewShot, fitted: _Fitted
    ) -> PromptedSpecialist:
        return PromptedSpecialist(
            card=self.job.card("llm"),
            model=engine,
            encoder=self.job.encoder,
            demonstrations=shown,
            prompting=prompting,
            agreement=fitted.agreement,
            acceptance=fitted.acceptance,
            label=self.asked.label,
            made_for=self.asked.describe(),
        )

    async def _measured(
        self,
        specialist: PromptedSpecialist,
        engine: RememberingEngine,
        fitted: _Fitted,
        seconds: float,
    ) -> Candidate:
        """Return the specialist with its figures on a sample of the held-out rows."""
        job, section = self.job, self.job.section
        held_out = job.held_out.take(sample(len(job.held_out), section.test_calls, section.seed).tolist())
        vectors = encode(job, held_out.texts, "measure llm").vectors
        truncated = job.encoder.exceeds(held_out.texts)
        job.progress.start(f"{job.name}: ask {self.asked.key} about held-out rows", len(held_out))
        evaluation = await evaluate(
            specialist,
            held_out.rows,
            vectors=vectors,
            truncated=truncated,
            progress=job.progress.advance,
            label=self.asked.label,
        )
        job.progress.finish("")
        figures = (fitted.right, fitted.predicted, fitted.targets)
        return Candidate(
            rung="llm",
            files=specialist.to_files(),
            validation={name: rated(name, *figures) for name in job.measures},
            evaluation=evaluation,
            seconds=seconds,
            measured=held_out,
            notes=self._notes(specialist, engine, fitted, len(held_out)),
            warnings=tuple(self._warnings(specialist, evaluation)),
        )

    def _notes(
        self, specialist: PromptedSpecialist, engine: RememberingEngine, fitted: _Fitted, measured: int
    ) -> dict[str, object]:
        """Return the report's notes. They count new and cached answers alike, so that the report stays the same."""
        threshold, used = fitted.threshold, total_usage(output.usage for output in engine.given.values())
        money = self.asked.money(used.tokens_in, used.tokens_out)
        return {
            "model": self.asked.describe(),
            "form": specialist.prompting.form,
            "questions": {"training": len(fitted.right), "held_out": measured, "held_out_rows": len(self.job.held_out)},
            "usage": {
                "tokens_in": used.tokens_in,
                "tokens_out": used.tokens_out,
                "money": None if money is None else float(money),
                "currency": self.asked.currency,
            },
            "demonstrations": len(specialist.demonstrations.texts),
            "data_label": self.asked.label.value,
            "agreement": dict(specialist.agreement.weights),
            "threshold": {"value": threshold.value, "coverage": threshold.coverage, **threshold.reason.described()},
        }

    def _warnings(self, specialist: PromptedSpecialist, evaluation: Evaluation) -> Iterator[str]:
        """Yield warnings for the operator of the specialist, and for anyone who passes it on."""
        texts = len(specialist.demonstrations.texts)
        yield (
            f"rung llm keeps {texts:,} training texts ({self.asked.label.value}) in its version, and shows up to "
            f"{specialist.prompting.shots} of them to {self.asked.key!r} with each request"
        )
        if evaluation.n < len(self.job.held_out):
            yield (
                f"rung llm was measured on {evaluation.n:,} of {len(self.job.held_out):,} held-out rows, drawn by the "
                "seed: `test_calls` says how many"
            )
        if evaluation.truncated:
            yield (
                f"{evaluation.truncated:,} of {evaluation.n:,} held-out texts are longer than the encoder's "
                f"{self.job.encoder.max_tokens} tokens: their neighbours were looked for by their beginning only"
            )
