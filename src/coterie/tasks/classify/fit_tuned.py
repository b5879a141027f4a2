"""The fine-tuned rungs: `encoder`, an encoder with two models on its vectors; `slm`, a LoRA adapter on a causal model.

Of the two models on vectors one is the head the encoder was trained with, the other a kernel model as on frozen
vectors. With many rows of well-separated labels the head is better, with few rows or fine distinctions the kernel
(docs/history/log.md): the pool has both.

A fine-tuned encoder has seen its training texts: their vectors are closer together than those of new ones, and a head's
predictions for them measure nothing. So part of the rows is held back from a first fine-tuning, and calibration uses
that model's predictions for them: a fifth of many rows, of few all of them in turn. The stored model is fine-tuned on
all rows, in the same way.

The adapter names the label. A label's logit is the log-likelihood of its words after the prompt, as computed by the
engine that serves it. An adapter has seen its training rows, so a fifth of them is held back from a first adapter, and
calibration uses that adapter's predictions for them. It is a fifth even of few rows, unlike the rung `encoder` with its
three parts: an adapter takes minutes. The stored adapter is trained on all rows, in the same way.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from coterie.config.specialists import SpecialistSection
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.adapters import FIRST, STORED, opened, tune_parts
from coterie.learning.fitting import (
    PARTS_OF_FEW,
    KernelFit,
    TextExamples,
    fit_kernel,
    fit_neighbours,
    hold_back_in_parts,
)
from coterie.learning.job import Job
from coterie.learning.scope import Neighbours
from coterie.protocols import Engine
from coterie.runtime.codec import to_json
from coterie.runtime.concurrency import run
from coterie.specialists.parts import Prompting, answers
from coterie.tasks.classify.loading import ChoiceHead
from coterie.tasks.classify.model import ClassifySpecialist
from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.versions import describe_causal
from coterie.tuning.base import BaseEncoder
from coterie.tuning.causal import CausalTokens, TokenPair, describe_precision, load_tokens, lora_recipe_for
from coterie.tuning.export import encoder_files, exact_vectors
from coterie.tuning.finetune import LinearHead, TunedNetwork, fine_tune, recipe_for
from coterie.types import SYSTEM, Prompt, Rung

FEW_ROWS = 2_000
"""Number of rows below which every row is held back once; above, one fold is enough for calibration."""


@dataclass(frozen=True, kw_only=True)
class TunedFit:
    """A fine-tuned encoder with the models on it, and the predictions of similar models for unseen rows."""

    files: Mapping[str, bytes]
    """The encoder's files."""
    encoder: OnnxEncoder
    head: LinearHead
    kernel: KernelFit
    compared: Neighbours
    rows: np.ndarray  # (R,) those held back
    head_logits: np.ndarray  # (R, L)
    kernel_logits: np.ndarray  # (R, L)
    nearest: np.ndarray  # (R,) nearness to the texts that were trained on
    longest: int
    """Tokens of a text that fine-tuning reads."""
    int8: Mapping[str, float]
    """Cost of rounding the weights, on the rows held back."""


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A model's predictions for rows held back from it."""

    rows: np.ndarray  # (R,)
    head: np.ndarray  # (R, L) logits
    exact_head: np.ndarray  # (R, L), with the vectors of the network before it was rounded
    kernel: np.ndarray  # (R, L) logits
    nearest: np.ndarray  # (R,)
    cosines: np.ndarray  # (R,) of each vector with that before rounding


def fit_tuned(job: Job[SpecialistSection], base: BaseEncoder, examples: TextExamples, words: Sequence[str]) -> TunedFit:
    """Fine-tune without the rows that are held back, then on all rows.

    Args:
        job: What to train.
        base: The encoder to start from.
        examples: Targets and folds.
        words: The labels' names, as one more example of each; empty where they are not used.

    Raises:
        TrainingDiverged: the loss is not a number.
        ArtefactRefused: the base encoder's files are not as expected.
    """
    tuner = _Tuner(job=job, base=base, words=words)
    everything = np.arange(len(examples.texts))
    parts = _parts(examples)
    rest = [np.setdiff1d(everything, part) for part in parts]
    sizes = [len(rows) + len(words) for rows in (*rest, everything)]
    job.progress.start(f"{job.name}: fine-tune {base.name}", sum(size * recipe_for(size).epochs for size in sizes))
    held = [tuner.hold_back(examples, rows, part) for rows, part in zip(rest, parts, strict=True)]
    tuned = tuner.tune(examples)
    job.progress.finish("")
    return TunedFit(
        files=tuned.files,
        encoder=tuned.encoder,
        head=tuned.network.head.unscaled(),
        kernel=tuned.kernel,
        compared=tuned.compared,
        rows=np.concatenate([fold.rows for fold in held]),
        head_logits=np.concatenate([fold.head for fold in held]),
        kernel_logits=np.concatenate([fold.kernel for fold in held]),
        nearest=np.concatenate([fold.nearest for fold in held]),
        longest=min(recipe_for(sizes[-1]).longest, base.max_tokens),
        int8=_cost_of_rounding(held, examples),
    )


def _parts(examples: TextExamples) -> list[np.ndarray]:
    """Return groups of row numbers to hold back together."""
    if len(examples.texts) >= FEW_ROWS:
        return [np.flatnonzero(examples.folds == examples.folds.min())]
    dealt = hold_back_in_parts(examples.folds, PARTS_OF_FEW)
    return [np.flatnonzero(dealt == part) for part in np.unique(dealt)]


class _Tuned(NamedTuple):
    """One fine-tuned model: the network, its exported form, and the models on its vectors."""

    network: TunedNetwork
    files: Mapping[str, bytes]
    encoder: OnnxEncoder
    kernel: KernelFit
    compared: Neighbours


@dataclass(frozen=True, kw_only=True)
class _Tuner:
    """Fine-tunes one job's base on some of its rows."""

    job: Job[SpecialistSection]
    base: BaseEncoder
    words: Sequence[str]

    def tune(self, examples: TextExamples) -> _Tuned:
        """Return the model of some rows, with the vectors that will be served."""
        shown = examples.extended(np.eye(examples.labels), self.words) if self.words else examples
        network = fine_tune(
            self.base,
            shown.texts,
            shown.hot,
            several=shown.several,
            recipe=recipe_for(len(shown.texts)),
            seed=shown.seed,
            progress=self.job.progress.advance,
            checkpoints=self.job.checkpoints,
        )
        files = encoder_files(network.network, self.base)
        encoder = OnnxEncoder(files, name=self.job.name, threads=2)
        vectors = encoder.encode(examples.texts)
        kernel = fit_kernel(vectors, examples, names=encoder.encode(self.words) if self.words else None)
        return _Tuned(network, files, encoder, kernel, fit_neighbours(vectors, examples))

    def hold_back(self, examples: TextExamples, rows: np.ndarray, part: np.ndarray) -> _Held:
        """Train on some rows and predict the others."""
        tuned = self.tune(examples.take(rows))
        texts = [examples.texts[row] for row in part]
        new, exact = tuned.encoder.encode(texts), exact_vectors(tuned.network.network, self.base, texts)
        head = tuned.network.head.unscaled()
        return _Held(
            rows=part,
            head=head.logits(new),
            exact_head=head.logits(exact),
            kernel=tuned.kernel.logits(new),
            nearest=tuned.compared.of(new),
            cosines=(new * exact).sum(axis=1),
        )


def _cost_of_rounding(held: Sequence[_Held], examples: TextExamples) -> dict[str, float]:
    hot = examples.hot[np.concatenate([fold.rows for fold in held])]
    exact = np.concatenate([fold.exact_head for fold in held])
    rounded = np.concatenate([fold.head for fold in held])
    return {
        "mean_cosine": float(np.concatenate([fold.cosines for fold in held]).mean()),
        "accuracy_fp32": _right(exact, hot, several=examples.several),
        "accuracy_int8": _right(rounded, hot, several=examples.several),
    }


def _right(logits: np.ndarray, hot: np.ndarray, *, several: bool) -> float:
    if several:
        return float(((logits > 0) == (hot > 0)).all(axis=1).mean())
    return float(hot[np.arange(len(hot)), logits.argmax(axis=1)].mean())


# --- The rung `slm`: a LoRA adapter on a small causal model, which names the label.

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
