"""Measuring a candidate on held-out rows, through the same door a request takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from coterie.evaluation import Evaluation, evaluate
from coterie.protocols import Specialist
from coterie.types import Rung

from ._job import Job


def measure(job: Job, rung: Rung, specialist: Specialist) -> Evaluation:
    """The specialist's figures on the job's held-out rows, with progress.

    The texts are encoded all at once, sorted by length, which gives the vectors that one by one would give.
    """
    vectors = encode(job, job.held_out.texts, f"measure {rung}") if rung == "embedding" else None
    job.progress.start(f"{job.name}: measure {rung}", len(job.held_out))
    evaluation = asyncio.run(evaluate(specialist, job.held_out.rows, vectors=vectors, progress=job.progress.advance))
    job.progress.finish("")
    return evaluation


def encode(job: Job, texts: Sequence[str], what: str) -> np.ndarray:  # (N, D)
    """Encodings of many texts, with progress."""
    job.progress.start(f"{job.name}: {what}", len(texts))
    vectors = job.encoder.encode(texts, progress=job.progress.advance)
    job.progress.finish("")
    return vectors
