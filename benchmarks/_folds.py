"""The embedding rung as training fits it, with what it says of rows it has not seen: before anything is stored.

`abstention` and `scope` look at scores that a stored version does not give out, so they call the trainer's own parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from _training_rows import Rows
from coterie.config.specialists import make_section
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.calibration import fit_temperature, softmax
from coterie.learning.dataset import Dataset, Row
from coterie.learning.fitting import FOLDS, TextExamples, deal_folds, text_examples
from coterie.learning.job import Job, Silent
from coterie.learning.measure import Encoded
from coterie.tasks.classify.heads import TextFit, fit_text
from coterie.tasks.contract import task_of
from coterie.types import Prompt


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One fit of the embedding rung on some rows."""

    labels: tuple[str, ...]
    examples: TextExamples
    vectors: np.ndarray  # (N, D)
    fit: TextFit
    temperature: float

    @property
    def confidence(self) -> np.ndarray:
        """Out of fold (N,)."""
        return np.asarray(softmax(self.fit.logits / self.temperature).max(axis=1))

    @property
    def right(self) -> np.ndarray:
        """Whether each out-of-fold answer is right (N,)."""
        return np.asarray(self.examples.hot[np.arange(len(self.vectors)), self.fit.logits.argmax(axis=1)] > 0)

    def logits(self, texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:  # (M, L)
        """Of new texts, divided by the temperature."""
        prompts = (Prompt(text=text, vector=vector) for text, vector in zip(texts, vectors, strict=True))
        return np.stack([self.fit.head.logits(prompt) for prompt in prompts]) / self.temperature


def dataset(rows: Rows) -> Dataset:
    """Rows as training reads them."""
    return Dataset(name="rows", rows=tuple(Row(text=text, labels=(label,)) for text, label in rows), sha256="")


def fit_embedding(rows: Rows, vectors: np.ndarray, encoder: OnnxEncoder, *, seed: int = 0) -> Fitted:
    """Fit on the rows, with out-of-fold logits."""
    data, section = dataset(rows), make_section(task="classify", data="rows", seed=seed, rungs=("embedding",))
    job = Job(
        name="it", task=task_of(section), section=section, train=data, held_out=data, encoder=encoder, progress=Silent()
    )
    examples = text_examples(data, data.label_names, deal_folds(data, FOLDS, seed, in_order=True), seed=section.seed)
    with threadpool_limits(1):
        fit = fit_text(job, examples, Encoded(vectors, 0.0))[-1]
    return Fitted(
        labels=data.label_names,
        examples=examples,
        vectors=vectors,
        fit=fit,
        temperature=fit_temperature(fit.logits, examples.targets(fit.logits)),
    )
