"""A specialist measured on rows it has not seen, by asking it like anyone else would.

It knows the protocol only: no weights, no engine, no training.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from coterie.learning.dataset import Row
from coterie.learning.evaluation import Evaluation
from coterie.learning.judging import judge_labels
from coterie.protocols import Specialist
from coterie.runtime.concurrency import side_by_side
from coterie.types import SYSTEM, ContextView, Finding, Label, Task

LookUp = Callable[[Task], Awaitable[ContextView]]
"""Gives what a specialist is shown for a task."""
Judge = Callable[[Sequence[Row], Sequence[Finding]], Evaluation]
"""From findings, one a row, to figures; that of a specialist's task."""
AT_ONCE = 64
"""Rows asked about side by side: enough to fill an encoder's batches, below its queue."""


async def evaluate(
    specialist: Specialist,
    rows: Sequence[Row],
    *,
    vectors: np.ndarray | None = None,
    truncated: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
    label: Label = Label.INTERNAL,
    judge: Judge = judge_labels,
    look_up: LookUp | None = None,
    at_once: int = AT_ONCE,
) -> Evaluation:
    """Ask a specialist about every row and judge what it finds.

    Args:
        specialist: Asked `at_once` rows side by side.
        rows: A row without labels is one that it should abstain on.
        vectors: (N, D) encodings of the rows' texts, where they are known already.
        truncated: (N,) whether each of these is of a text's beginning only; none of them by default.
        progress: Called with the number of rows just done.
        label: Sensitivity of the rows.
        judge: Makes the figures; by default of labels.
        look_up: What the specialist is shown for a task; nothing by default.
        at_once: More than one is faster where an engine works in batches, whose make-up is chance: a confidence may
            differ in its eighth digit from run to run.

    Raises:
        CoterieError: what the specialist raises; the rows still waiting are not asked about.
    """
    findings = await consult_rows(
        specialist,
        rows,
        vectors=vectors,
        truncated=truncated,
        progress=progress,
        label=label,
        look_up=look_up,
        at_once=at_once,
    )
    return judge(rows, findings)


async def consult_rows(
    specialist: Specialist,
    rows: Sequence[Row],
    *,
    vectors: np.ndarray | None = None,
    truncated: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
    label: Label = Label.INTERNAL,
    look_up: LookUp | None = None,
    at_once: int = AT_ONCE,
) -> list[Finding]:
    """The finding of each row, in order; asked as `evaluate` asks. The first error stops the others and is raised."""
    advance = progress or (lambda _: None)
    findings: dict[int, Finding] = {}
    waiting = iter(enumerate(rows))

    async def work() -> None:
        for i, row in waiting:  # shared by the workers: each row is taken by one of them
            vector = None if vectors is None else vectors[i]
            cut = truncated is not None and bool(truncated[i])
            task = Task(text=row.text, columns=row.columns or None, label=label, vector=vector, truncated=cut)
            findings[i] = await specialist.consult(task, await look_up(task) if look_up else ContextView(), call=SYSTEM)
            advance(1)

    await side_by_side(work() for _ in range(min(at_once, len(rows))))
    return [findings[i] for i in range(len(rows))]
