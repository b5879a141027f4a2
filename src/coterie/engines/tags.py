"""Taggers: logits for every token of a text, from an encoder fine-tuned for it.

A text is never cut: one that is longer than the window is read window after window.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np

from coterie.engines.batching import Batcher
from coterie.engines.onnx import OnnxModel, group_rows
from coterie.engines.unicode import valid_text
from coterie.runtime.cpu import CpuSpan
from coterie.types import SYSTEM, CallContext, Label, Output, Prompt, Usage

TAGS_OUTPUT = "tags"
"""The graph's output (B, T, L)."""


class TokenTags(NamedTuple):
    """What a tagger says of the tokens of one text."""

    offsets: np.ndarray  # (T, 2) characters
    logits: np.ndarray  # (T, L)


class OnnxTagger:
    """Runs a token classifier in this process; an output has `scores` (T, L) and `offsets` (T, 2)."""

    clearance = Label.RESTRICTED

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        name: str = "onnx",
        place: str = "these files",
        max_batch: int = 32,
        max_waiting: int = 256,
    ) -> None:
        """Load it.

        Args:
            files: Content of `ENCODER_FILES` by name.
            name: Its key in the ledger.
            place: Where the files come from, for errors.
            max_batch: Texts that are worked on together.
            max_waiting: Texts that may wait; one more is `Overloaded`.

        Raises:
            ArtefactRefused: a file is missing or not what the provenance says.
        """
        self.name = name
        self._model = OnnxModel(files, place, None)
        self._batcher: Batcher[str, _Tagged] = Batcher(
            self._tag, engine=name, max_batch=max_batch, max_waiting=max_waiting
        )

    @property
    def size(self) -> int:
        """Logits of a token."""
        return self._model.dimension

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:  # noqa: ARG002 - it runs here
        """Logits of the tokens of each prompt's `text`. Raises `Overloaded` when too many are waiting."""
        start = time.perf_counter()
        tagged = await self._batcher.run([prompt.text for prompt in batch])
        milliseconds = (time.perf_counter() - start) * 1000
        return [
            Output(
                scores=each.tags.logits,
                offsets=each.tags.offsets,
                usage=Usage(tokens_in=each.tokens, milliseconds=milliseconds, cpu_seconds=each.cpu_seconds),
            )
            for each in tagged
        ]

    def tag(self, texts: Sequence[str]) -> list[TokenTags]:
        """What it says of each text, while the caller waits: for training."""
        return [each.tags for each in self._tag(texts)]

    async def close(self) -> None:
        """Finish what is queued and end the worker."""
        await self._batcher.close()

    def _tag(self, texts: Sequence[str]) -> list[_Tagged]:
        """The work of the `Batcher`."""
        with CpuSpan() as took:
            encodings = [self._model.tokenizer.encode(valid_text(text)) for text in texts]
            cut = [windows(each.ids, self._model.max_tokens) for each in encodings]
            every = [ids for each in cut for ids in each]
            logits: list[np.ndarray] = [np.empty(0)] * len(every)
            for rows in group_rows([len(ids) for ids in every], max(len(every), 1)):
                found = self._model.call([every[row] for row in rows], TAGS_OUTPUT)
                for row, each in zip(rows, found, strict=True):
                    logits[row] = each[1 : len(every[row]) - 1]
        spent = took.cpu_seconds / max(sum(map(len, every)), 1)
        ends = np.cumsum([0, *map(len, cut)])
        return [
            _Tagged(
                TokenTags(
                    np.array(encoding.offsets[1:-1], dtype=np.int64).reshape(-1, 2),
                    np.concatenate(logits[first:last]),
                ),
                tokens := sum(map(len, every[first:last])),
                spent * tokens,
            )
            for encoding, first, last in zip(encodings, ends[:-1], ends[1:], strict=True)
        ]


class _Tagged(NamedTuple):
    tags: TokenTags
    tokens: int
    cpu_seconds: float


def windows(ids: Sequence[int], most: int) -> list[list[int]]:
    """A text's tokens in windows of about one length, each with the text's marks at both ends.

    Args:
        ids: With a mark at both ends.
        most: Tokens of a window, marks included: at least 3.
    """
    inner = ids[1:-1]
    size = ceil(len(inner) / max(ceil(len(inner) / (most - 2)), 1)) or 1
    return [[ids[0], *inner[at : at + size], ids[-1]] for at in range(0, max(len(inner), 1), size)]
