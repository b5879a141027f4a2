"""What the encoder reads of the corpus, kept on the disk between runs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from coterie.engines.onnx import OnnxEncoder
from coterie.types import SYSTEM, Label, Output, Prompt

T = TypeVar("T")
_AT_ONCE = 192


def read_states(encoder: OnnxEncoder, texts: Sequence[str], reduce: Callable[[int, Output], T]) -> list[T]:
    """What `reduce` makes of each text's vector, states and offsets, in order."""

    async def run() -> list[T]:
        reduced: list[T] = []
        for start in range(0, len(texts), _AT_ONCE):
            prompts = [Prompt(text=text, label=Label.PUBLIC, states=True) for text in texts[start : start + _AT_ONCE]]
            outputs = await encoder.run(prompts, call=SYSTEM)
            reduced += [reduce(start + at, output) for at, output in enumerate(outputs)]
        return reduced

    return asyncio.run(run())


def cached(
    folder: Path | None, name: str, key: Sequence[str], make: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Arrays that were made before of the same texts, or made now."""
    if folder is None:
        return make()
    digest = hashlib.sha256("\x00".join(key).encode()).hexdigest()[:16]
    path = folder / f"{name}-{digest}.npz"
    if path.exists():
        with np.load(path) as stored:
            return dict(stored)
    arrays = make()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return arrays
