"""Measuring a candidate on held-out rows, through the same door a request takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np

from coterie.evaluation import Evaluation, evaluate
from coterie.protocols import Specialist
from coterie.types import Rung

from ._job import Job

T = TypeVar("T")


class Encoded(NamedTuple):
    """Encodings of the training texts, and how long they took."""

    vectors: np.ndarray  # (N, D)
    seconds: float


def measure(job: Job, rung: Rung, specialist: Specialist) -> Evaluation:
    """The specialist's figures on the job's held-out rows, with progress.

    The texts are encoded all at once, sorted by length, which gives the vectors that one by one would give.
    """
    vectors = truncated = None
    if _encodes_whole(job, rung):
        vectors = encode(job, job.held_out.texts, f"measure {rung}").vectors
        truncated = job.encoder.exceeds(job.held_out.texts)
    job.progress.start(f"{job.name}: measure {rung}", len(job.held_out))
    asked = evaluate(specialist, job.held_out.rows, vectors=vectors, truncated=truncated, progress=job.progress.advance)
    evaluation = finish(asked)
    job.progress.finish("")
    return evaluation


def _encodes_whole(job: Job, rung: Rung) -> bool:
    """Whether a rung looks at the encoding of a whole text; of a document it encodes sentences."""
    return rung == "embedding" and job.section.task != "extract" and not job.pairs


def encode(job: Job, texts: Sequence[str], what: str) -> Encoded:
    """Encodings of many texts, with progress."""
    start = time.perf_counter()
    job.progress.start(f"{job.name}: {what}", len(texts))
    vectors = job.encoder.encode(texts, progress=job.progress.advance)
    job.progress.finish("")
    return Encoded(vectors.reshape(len(texts), job.encoder.dimension), time.perf_counter() - start)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, also where an event loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()
