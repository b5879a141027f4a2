"""The `linear` engine: trained heads as arrays, evaluated with numpy.

A head is either a sum of linear blocks over n-grams and an encoding (`TextHead`) or a sum of tables over
columns (`TableHead`). Both are stored as safetensors and JSON; loading one runs no code from the file. One evaluation
takes well under a millisecond, so small batches run on the event loop; large ones are moved to a thread.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.engines.features import NgramFeatures, TableHead, stored_array
from coterie.errors import ArtefactRefused, EngineRejected
from coterie.runtime.caches import BatchMemo, products
from coterie.runtime.codec import parse_json
from coterie.runtime.concurrency import aside
from coterie.runtime.cpu import ShortSpans
from coterie.types import SYSTEM, CallContext, Label, Output, Prompt

_PROMPT_CHARACTERS = 250
"""Characters that a prompt counts as in addition to its text: the cost of a kernel or a table."""

MODEL_FILE, ARRAYS_FILE = "model.json", "weights.safetensors"


class Storable(Protocol):
    """Arrays with a description, as stored in a version."""

    def store(self) -> tuple[dict[str, object], dict[str, np.ndarray]]:
        """Return the JSON description and the arrays that restore the object."""
        ...


class Head(Storable, Protocol):
    """Arrays that turn a prompt into logits."""

    @property
    def size(self) -> int:
        """The number of logits."""
        ...

    def logits(self, prompt: Prompt) -> np.ndarray:
        """Return the logits, (L,) float32."""
        ...

    def contributions(self, prompt: Prompt) -> Mapping[str, float]:
        """Return each column's contribution to the first logit; empty where a head has no columns."""
        ...


@dataclass(frozen=True, kw_only=True)
class NgramBlock:
    """The n-gram part of a text head."""

    features: NgramFeatures
    weights: np.ndarray  # (F, L) float16 or float32

    def logits(self, text: str) -> np.ndarray:
        """Return (L,): the sum of the weights of the n-grams in the text."""
        indices, values = self.features.encode(text)
        return np.asarray(values @ self.weights[indices].astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class KernelBlock:
    """The encoding part of a text head: a weighted sum of Gaussian kernels around landmarks."""

    landmarks: np.ndarray  # (M, D) float16, unit length
    weights: np.ndarray  # (M, L) float16
    gamma: float

    def logits(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N, L)
        """Return exp(-gamma * squared distance to each landmark) @ weights, for unit vectors."""
        # Kept in single precision: a float16 product would be slow and coarse.
        cosines = products(vectors, self._landmarks)  # (N, M)
        return np.asarray(np.exp(2.0 * self.gamma * (cosines - 1.0)) @ self._weights)

    @classmethod
    def restore(cls, gamma: float, arrays: Mapping[str, np.ndarray], labels: int) -> KernelBlock:
        """Restore the block of a stored head with this number of labels. Raises `ValueError`."""
        if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not 0 < gamma < math.inf:
            raise ValueError(f"gamma is {gamma!r}")
        landmarks = stored_array(arrays, "kernel.landmarks", None, None)
        weights = stored_array(arrays, "kernel.weights", len(landmarks), labels)
        return cls(landmarks=landmarks, weights=weights, gamma=float(gamma))

    @cached_property
    def _landmarks(self) -> np.ndarray:
        return self.landmarks.astype(np.float32)

    @cached_property
    def _weights(self) -> np.ndarray:
        return self.weights.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class TextHead:
    """A text head: logits = sum of n-gram blocks + kernel block + vector @ projection + bias."""

    blocks: tuple[NgramBlock, ...]
    kernel: KernelBlock | None
    bias: np.ndarray  # (L,)
    projection: np.ndarray | None = None  # (D, L) float16, only beside a kernel

    @property
    def size(self) -> int:
        """The number of labels."""
        return len(self.bias)

    def logits(self, prompt: Prompt) -> np.ndarray:
        """Return the logits (L,) of a text and, where the head has a kernel, its vector."""
        total: np.ndarray = self.bias.astype(np.float32)
        for block in self.blocks:
            total = total + block.logits(prompt.text)
        if self.kernel is not None:
            vector = self._vector(prompt)
            of_batch, row = self._kernel_memo.of(vector)
            total = total + of_batch[row]
            if self.projection is not None:
                total = total + vector @ self._projection
        return total

    @property
    def memos(self) -> tuple[BatchMemo[np.ndarray], ...]:
        """The memos that may be prepared for a batch of vectors."""
        return () if self.kernel is None else (self._kernel_memo,)

    @cached_property
    def _kernel_memo(self) -> BatchMemo[np.ndarray]:
        assert self.kernel is not None  # noqa: S101
        return BatchMemo(self.kernel.logits)

    @cached_property
    def _projection(self) -> np.ndarray:
        assert self.projection is not None  # noqa: S101
        return self.projection.astype(np.float32)

    def _vector(self, prompt: Prompt) -> np.ndarray:  # (D,)
        """Return the prompt's vector, if it comes from the encoder of the kernel's landmarks."""
        dimension = self.kernel.landmarks.shape[1] if self.kernel is not None else 0
        if prompt.vector is None or prompt.vector.shape != (dimension,):
            problem = "none" if prompt.vector is None else f"one of shape {prompt.vector.shape}"
            raise EngineRejected(
                f"This head needs the text's vector of {dimension} numbers; got {problem}.", engine="linear"
            )
        return prompt.vector

    def contributions(self, prompt: Prompt) -> Mapping[str, float]:  # noqa: ARG002 - the protocol's argument
        """Return nothing, since thousands of n-grams explain nothing to a person."""
        return {}

    def store(self) -> tuple[dict[str, object], dict[str, np.ndarray]]:
        """Return the JSON description and the arrays that restore the head."""
        arrays = {"bias": self.bias}
        for index, block in enumerate(self.blocks):
            arrays |= {f"idf.{index}": block.features.idf, f"weights.{index}": block.weights}
        description: dict[str, object] = {
            "head": "text",
            "blocks": [block.features.describe() for block in self.blocks],
        }
        if self.kernel is not None:
            arrays |= {"kernel.landmarks": self.kernel.landmarks, "kernel.weights": self.kernel.weights}
            description["gamma"] = self.kernel.gamma
        if self.projection is not None:
            arrays["projection"] = self.projection
        return description, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> TextHead:
        """Restore a head from the output of `store`. Raises `ValueError` when its parts do not fit each other."""
        bias = stored_array(arrays, "bias", None)
        blocks = []
        for index, block in enumerate(description["blocks"]):
            features = NgramFeatures.restore(block, arrays, f"idf.{index}")
            weights = stored_array(arrays, f"weights.{index}", len(features.terms), len(bias))
            blocks.append(NgramBlock(features=features, weights=weights))
        kernel = KernelBlock.restore(description["gamma"], arrays, len(bias)) if "gamma" in description else None
        projection = None
        if kernel is not None and "projection" in arrays:
            projection = stored_array(arrays, "projection", kernel.landmarks.shape[1], len(bias))
        return cls(blocks=tuple(blocks), kernel=kernel, bias=bias, projection=projection)


_HEADS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], Head]] = {
    "text": TextHead.restore,
    "table": TableHead.restore,
}


class LinearEngine:
    """Runs one head. It holds no thread and no file; `close` frees nothing."""

    name = "linear"
    clearance = Label.RESTRICTED

    def __init__(self, head: Head) -> None:
        self._head = head
        self._took = ShortSpans()

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> LinearEngine:
        """Load the engine of a stored version.

        Raises:
            ArtefactRefused: a file is missing or does not describe a head.
        """
        try:
            description = parse_json(files[MODEL_FILE])
            arrays = load_arrays(files[ARRAYS_FILE])
            return cls(_HEADS[description["head"]](description, arrays))
        except (LookupError, TypeError, ValueError, ArithmeticError, SafetensorError) as error:
            raise ArtefactRefused(
                f"A stored head cannot be read: {type(error).__name__} {error}.",
                hint="Train it again: coterie train NAME",
            ) from error

    @property
    def memos(self) -> tuple[BatchMemo[np.ndarray], ...]:
        """The memos that may be prepared for a batch of vectors."""
        return self._head.memos if isinstance(self._head, TextHead) else ()

    @property
    def size(self) -> int:
        """The number of the head's logits."""
        return self._head.size

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:  # noqa: ARG002 - it runs here
        """Return the logits of each prompt."""
        return await aside(sum(_PROMPT_CHARACTERS + len(prompt.text) for prompt in batch), partial(self._run, batch))

    async def close(self) -> None:
        """Do nothing, since there is nothing to free."""

    def _run(self, batch: Sequence[Prompt]) -> list[Output]:
        return [self._one(prompt) for prompt in batch]

    def _one(self, prompt: Prompt) -> Output:
        with self._took.span(_PROMPT_CHARACTERS + len(prompt.text)) as took:
            scores = self._head.logits(prompt)
            contributions = self._head.contributions(prompt)
        return Output(scores=scores, contributions=contributions, usage=took.usage)


def dump_head(head: Storable, description: Mapping[str, object]) -> dict[str, bytes]:
    """Return a head and its specialist's description as the files of a version."""
    own, arrays = head.store()
    text = json.dumps({**description, **own}, ensure_ascii=False, sort_keys=True, indent=1)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return {MODEL_FILE: text.encode(), ARRAYS_FILE: save_arrays(contiguous)}
