"""The rung `slm`: a LoRA adapter on a small causal model, which names the label.

A label's logit is the log-likelihood of its words after the prompt, as computed by the engine that serves it. An
adapter has seen its training rows, so a fifth of them is held back from a first adapter, and calibration uses that
adapter's predictions for them. It is a fifth even of few rows, unlike the rung `encoder` with its three parts: an
adapter takes minutes. The stored adapter is trained on all rows, in the same way.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np

from coterie.learning.adapters import FIRST, STORED, opened, tune_parts
from coterie.learning.examples import TextExamples
from coterie.learning.job import Job
from coterie.protocols import Engine
from coterie.runtime.codec import to_json
from coterie.runtime.concurrency import run
from coterie.specialists.artefacts import Prompting, answers
from coterie.tasks.classify.loading import ChoiceHead
from coterie.tasks.classify.model import ClassifySpecialist
from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.report import describe_causal
from coterie.tuning.causal import CausalTokens, TokenPair, describe_precision, load_tokens, lora_recipe_for
from coterie.types import SYSTEM, Prompt, Rung

LONGEST = 384
"""Tokens of a text that are read in training."""
_AT_ONCE = 16  # texts handed to the engine together, well below its queue


@dataclass(frozen=True, kw_only=True)
class SlmFit:
    """A tuned model that is ready to use, and the predictions of a similar one for unseen rows."""

    rung: Rung = "slm"
    head: Engine
    logits: np.ndarray  # (R, L)
    rows: np.ndarray  # (R,) those held back
    seconds: float
    files: Mapping[str, bytes]
    """The adapter's files."""
    described: Mapping[str, object]
    """The description that restores its head."""
    notes: Mapping[str, object]

    def files_of(self, specialist: ClassifySpecialist) -> dict[str, bytes]:
        """Return a version's files."""
        model = json.dumps({**specialist.describe(), **self.described}, indent=1, ensure_ascii=False)
        return {"model.json": model.encode(), **self.files}


@contextmanager
def fit_slm(job: Job[ClassifySection], examples: TextExamples) -> Iterator[SlmFit]:
    """Tune without the rows that are held back, then on all; the model is open as long as the context.

    Args:
        job: What to train.
        examples: Targets and folds.

    Raises:
        TrainingDiverged: the loss is not a number.
        ArtefactRefused: the base's file cannot be read.
    """
    base, model = job.causal, job.model
    assert base is not None and model is not None, "found before anything is trained"  # noqa: S101, PT018
    start, labels, prompting = time.perf_counter(), job.train.label_names, Prompting()
    everything = np.arange(len(examples.texts))
    held_back = np.flatnonzero(examples.folds == examples.folds.min())
    tokens = load_tokens(base)
    parts = {
        name: _pairs(tokens, prompting, labels, examples.take(rows))
        for name, rows in ((FIRST, np.setdiff1d(everything, held_back)), (STORED, everything))
    }
    files = tune_parts(job, base, parts)
    with opened(base, model, files) as engine:
        heads = {name: ChoiceHead(engine=engine, adapter=name, prompting=prompting, labels=labels) for name in files}
        logits = _ask(job, heads[FIRST], examples.take(held_back).texts)
        yield SlmFit(
            head=heads[STORED],
            logits=logits,
            rows=held_back,
            seconds=time.perf_counter() - start,
            files=files[STORED],
            described={"prompt": to_json(prompting), "base": {"name": base.name, "sha256": base.sha256}},
            notes={
                "base": describe_causal(base),
                "recipe": asdict(lora_recipe_for(len(parts[STORED]))),
                "precision": describe_precision(),
                "held_back": len(held_back),
                "cut": sum(tokens.shortened(text, LONGEST) != text for text in examples.texts),
            },
        )


def _pairs(
    tokens: CausalTokens, prompting: Prompting, labels: Sequence[str], examples: TextExamples
) -> list[TokenPair]:
    words = answers(labels)
    return [
        tokens.raw(prompting.prompt(tokens.shortened(text, LONGEST)), words[label])
        for text, hot in zip(examples.texts, examples.hot, strict=True)
        for label in np.flatnonzero(hot)
    ]


def _ask(job: Job[ClassifySection], head: Engine, texts: Sequence[str]) -> np.ndarray:  # (N, L)
    job.progress.start(f"{job.name}: ask about rows held back", len(texts))
    logits = []
    for start in range(0, len(texts), _AT_ONCE):
        batch = [Prompt(text=text) for text in texts[start : start + _AT_ONCE]]
        logits += [output.scores for output in run(head.run(batch, call=SYSTEM))]
        job.progress.advance(len(batch))
    job.progress.finish("")
    return np.array(logits)
