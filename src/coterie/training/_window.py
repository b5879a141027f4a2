"""Texts that are longer than what a rung reads: counted and named, never cut in silence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from coterie.data import Dataset
from coterie.engines import OnnxEncoder
from coterie.evaluation import Evaluation
from coterie.types import Rung

from ._job import Job, TextEncoder


def window_warnings(
    job: Job, rung: Rung, evaluation: Evaluation, own: OnnxEncoder | None = None, tuned_on: int | None = None
) -> Iterator[str]:
    """What of the texts a rung did not read, a sentence for training rows and one for held-out rows.

    Args:
        job: What was trained.
        rung: `lexical` reads every text to its end.
        evaluation: Its figures on held-out rows.
        own: The rung's own encoder; the network's by default.
        tuned_on: Tokens that its fine-tuning read, if it was fine-tuned on fewer than it reads now.
    """
    if rung == "lexical":
        return
    encoder: TextEncoder | OnnxEncoder = own or job.encoder
    yield from _cut(job.train, encoder.exceeds(job.train.texts), f"the {encoder.max_tokens} tokens that {rung!r} reads")
    if tuned_on is not None and own is not None and tuned_on < own.max_tokens:
        longer = np.array([own.count_tokens(text) > tuned_on for text in job.train.texts])
        yield from _cut(job.train, longer, f"the {tuned_on} tokens that fine-tuning reads")
    yield from held_out_warnings(job, rung, evaluation)


def held_out_warnings(job: Job, rung: Rung, evaluation: Evaluation) -> Iterator[str]:
    """What of the held-out rows a rung did not read, in a sentence."""
    if evaluation.truncated and not job.cross_validated:
        rows = f"{evaluation.truncated:,} of {evaluation.n:,} held-out texts"
        yield f"{rows} are longer than what {rung!r} reads: only their beginning was judged"


def _cut(data: Dataset, longer: np.ndarray, window: str) -> Iterator[str]:
    if not longer.any():
        return
    first = data.rows[int(longer.argmax())].line
    where = f", the first on line {first}" if first else ""
    yield (
        f"{int(longer.sum()):,} of {len(data):,} texts of {data.name} are longer than {window}{where}: "
        "only their beginning counts"
    )
