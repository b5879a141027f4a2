"""The task `tag`: the words of a text that say what it is about.

A logistic regression over four features of a word says how likely the word is a tag. The network accepts the tags of
a text from a confidence that was fitted on texts the weights had not seen.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from sklearn.linear_model import LogisticRegression

from coterie.config.specialists import DataSection
from coterie.learning.calibration import accept_threshold
from coterie.learning.dataset import Dataset, Row, empty_texts, repeated, too_few
from coterie.learning.evaluation import Case, Evaluation, evaluation_of, score_interval, share
from coterie.learning.fitting import deal_folds
from coterie.learning.job import Job
from coterie.learning.measure import Candidate, Encoded, Figure, measure
from coterie.learning.reading import TEXT, RowReader
from coterie.specialists.parts import Acceptance, abstention
from coterie.tasks.contract import CardText, Parts, Stored, TaskType
from coterie.types import CallContext, ContextView, Finding, Reason, SpecialistCard, Task

RIGHT = 0.6
"""F1 of the tags from which they count as right."""
_WORD = re.compile(r"[^\W\d_]{3,}")


class TagSection(DataSection):
    """A specialist that names the words of a text that say what it is about."""

    measures = ("tag_f1", "accuracy")

    task: Literal["tag"]
    """`tag`."""
    most: int = Field(default=4, ge=1, le=20)
    """Tags that a text gets, at most."""


class TagReader(RowReader):
    """A text and its tags a row, separated by `|`."""

    problems = (too_few, empty_texts)
    warnings = (repeated,)


@dataclass(frozen=True, kw_only=True)
class TagModel:
    """What was learnt of words."""

    weights: tuple[float, ...]
    intercept: float
    tagged: Mapping[str, int]
    """How often each word was a tag in the training texts."""
    seen: Mapping[str, int]
    """In how many of them it occurred."""
    most: int

    def probabilities(self, text: str) -> dict[str, float]:
        """How likely each word of a text is one of its tags."""
        words = Counter(word.casefold() for word in _WORD.findall(text))
        rows = [_features(word, words, self.tagged, self.seen) for word in words]
        logits = np.array(rows).reshape(-1, len(self.weights)) @ np.array(self.weights) + self.intercept
        return {word: 1 / (1 + math.exp(-logit)) for word, logit in zip(words, logits.tolist(), strict=True)}

    def tags(self, text: str) -> tuple[list[str], float]:
        """The tags of a text, the likeliest first, and how sure it is of them: the mean of their probabilities."""
        ranked = sorted(self.probabilities(text).items(), key=lambda item: (-item[1], item[0]))[: self.most]
        likely = [(word, probability) for word, probability in ranked if probability >= 0.5]
        return [word for word, _ in likely], float(np.mean([p for _, p in likely])) if likely else 0.0


def _features(word: str, words: Counter[str], tagged: Mapping[str, int], seen: Mapping[str, int]) -> list[float]:
    """How often it was a tag where it occurred, how rare it is, how often it is said, how long it is."""
    often, occurred = tagged.get(word, 0), seen.get(word, 0)
    odds = math.log((often + 0.5) / (occurred - often + 0.5))
    return [odds, 1 / (1 + occurred), words[word] / max(sum(words.values()), 1), len(word) / 10]


def fit_tags(rows: Sequence[Row], most: int) -> TagModel:
    """Learn from rows; a row is no evidence for its own features."""
    counted = [(Counter(w.casefold() for w in _WORD.findall(row.text)), _tags_of(row)) for row in rows]
    seen = Counter(word for words, _ in counted for word in words)
    tagged = Counter(word for words, tags in counted for word in tags if word in words)
    examples, targets = [], []
    for words, tags in counted:
        for word in words:
            mine = word in tags
            others = {word: tagged[word] - mine}, {word: seen[word] - 1}
            examples.append(_features(word, words, *others))
            targets.append(mine)
    model = LogisticRegression(max_iter=1000).fit(np.array(examples), np.array(targets))
    weights = tuple(model.coef_[0].tolist())
    return TagModel(
        weights=weights, intercept=float(model.intercept_[0]), tagged=dict(tagged), seen=dict(seen), most=most
    )


@dataclass(frozen=True, kw_only=True)
class TagSpecialist:
    """Tags texts with a model of words."""

    card: SpecialistCard
    model: TagModel
    acceptance: Acceptance

    async def consult(self, task: Task, view: ContextView, *, call: CallContext) -> Finding:
        """The tags of the task's text."""
        tags, confidence = self.model.tags(task.text)
        if not tags:
            return abstention(self.card.name, task, Reason("desk.no_tag", text="no word of the text looks like a tag"))
        accepted, reason = self.acceptance.judge(confidence, None)
        return Finding(
            specialist=self.card.name,
            value=tuple(tags),
            text=", ".join(tags),
            confidence=confidence,
            accepted=accepted,
            reason=reason,
            label=task.label,
            label_without_pii=task.label_without_pii,
        )


def _tags_of(row: Row) -> set[str]:
    return {label.casefold() for label in row.labels}


def _likeness(row: Row, tags: Sequence[str]) -> float:
    """F1 of the tags found."""
    wanted = _tags_of(row)
    return 2 * len(wanted.intersection(tags)) / max(len(wanted) + len(tags), 1)


class TagTask(TaskType[TagSection]):
    """The task, as it registers."""

    kind = "tag"
    section = TagSection
    about = CardText(job="names the words of a text that say what it is about", pipeline_tag="token-classification")

    def read_rows(self, section: TagSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """A text and its tags a row."""
        reader = TagReader(text=section.text_column or TEXT, label=section.label_column, multi_label=True)
        return reader.read(path, for_evaluation=for_evaluation)

    def fit(self, job: Job[TagSection], encoded: Encoded | None) -> Sequence[Candidate]:
        """One rung: its confidence is fitted on rows that its weights had not seen."""
        start, rows, most = time.perf_counter(), job.train.rows, job.section.most
        folds = deal_folds(job.train, 5, job.section.seed)
        models = {
            fold: fit_tags([row for row, of in zip(rows, folds, strict=True) if of != fold], most)
            for fold in set(folds)
        }
        predicted = [models[fold].tags(row.text) for row, fold in zip(rows, folds, strict=True)]
        likeness = np.array([_likeness(row, tags) for row, (tags, _) in zip(rows, predicted, strict=True)])
        right, confidence = likeness >= RIGHT, np.array([sure for _, sure in predicted])
        threshold = accept_threshold(confidence, right, target_risk=job.section.target_risk, groups=[None] * len(rows))
        acceptance = Acceptance(
            temperature=1.0, threshold=threshold.value, target_risk=job.section.target_risk, scope_threshold=None
        )
        specialist = TagSpecialist(card=job.card("lexical"), model=fit_tags(rows, most), acceptance=acceptance)
        described = {"task": self.kind, "rung": "lexical", **asdict(specialist.model), "acceptance": asdict(acceptance)}
        values = {"tag_f1": likeness, "accuracy": right}
        candidate = Candidate(
            rung="lexical",
            files={"model.json": json.dumps(described, sort_keys=True).encode()},
            validation={
                name: Figure(float(values[name].mean()), score_interval(values[name], seed=0)) for name in job.measures
            },
            evaluation=measure(job, "lexical", specialist),
            seconds=time.perf_counter() - start,
            notes={"threshold": {"value": threshold.value, **threshold.reason.described()}},
        )
        return [candidate]

    def judge(
        self, rows: Sequence[Row], findings: Sequence[Finding], *, section: TagSection | None = None, seed: int = 0
    ) -> Evaluation:
        """The mean F1 of the tags, and how often it is high enough."""
        del section
        tagged = self.cases(rows, findings)
        likeness = np.array([_likeness(case.row, case.value or ()) for case in tagged])
        right = np.array([case.correct for case in tagged], dtype=bool)
        accepted = np.array([case.accepted for case in tagged], dtype=bool)
        figures = {
            "tag_f1": share(likeness, seed),
            "accuracy": share(right, seed),
            "coverage": share(accepted, seed),
            "accepted_accuracy": share(right[accepted], seed),
        }
        return evaluation_of(figures, n=len(rows), labelled=len(tagged))

    def cases(self, rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
        """Every row that has tags."""
        rows_and_findings = [
            (row, finding, finding.value if isinstance(finding.value, tuple) else ())
            for row, finding in zip(rows, findings, strict=True)
        ]
        return [
            Case(row, tags, finding.confidence, finding.accepted, _likeness(row, tags) >= RIGHT)
            for row, finding, tags in rows_and_findings
            if row.labels
        ]

    def load(self, card: SpecialistCard, section: TagSection, stored: Stored, parts: Parts) -> TagSpecialist:
        """The specialist of a stored version."""
        described: Mapping[str, Any] = stored.described
        model = TagModel(
            weights=tuple(map(float, described["weights"])),
            intercept=float(described["intercept"]),
            tagged=described["tagged"],
            seen=described["seen"],
            most=int(described["most"]),
        )
        return TagSpecialist(card=card, model=model, acceptance=Acceptance(**described["acceptance"]))


TASK = TagTask()
