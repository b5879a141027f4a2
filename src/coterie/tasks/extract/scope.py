"""Whether a text is of the kind that an extractor was trained on, without a single example of another kind.

Two signs as in `learning.scope`: how much its likeliest sentences look like those that state the fields, and how
near its encoding is to the training texts'. Both are judged by texts that training had not seen. The line rejects few
of the training texts, so it tells what is far from all of them: another language, another subject, no sentence at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coterie.learning.scope import ScopeScore
from coterie.protocols import Engine
from coterie.types import CallContext, Prompt, Step, Task


@dataclass(frozen=True, kw_only=True)
class ExtractScope:
    """Scores texts by what the extractor's first look and the network's encoder say of them."""

    score: ScopeScore
    encoder: Engine
    """The network's."""

    async def of(
        self, scores: np.ndarray, task: Task, producer: str, *, call: CallContext
    ) -> tuple[float | None, tuple[Step, ...]]:
        """How much a text is like the training texts, and what that took; None for one without a sentence.

        Args:
            scores: (S, F) of its sentences, by the first look.
            task: With the text's encoding, where the router made it.
            producer: On whose behalf.
            call: What is charged.
        """
        if not len(scores):
            return None, ()
        largest = np.array([likeliest(scores)])
        if task.vector is not None:
            return self.score.score(largest, task.vector), ()
        (output,) = await self.encoder.run([Prompt(text=task.text, label=task.label)], call=call)
        step = Step(producer=producer, engine=self.encoder.name, usage=output.usage)
        return self.score.score(largest, np.asarray(output.vector)), (step,)


def likeliest(scores: np.ndarray) -> float:  # (S, F)
    """The log-odds of a text's likeliest sentence for a field, the mean over the fields."""
    return float(scores.max(axis=0).mean())
