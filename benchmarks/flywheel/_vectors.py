"""The bundled encoder with a memory: each text is encoded once, also over several runs of a benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from coterie.engines.onnx import BUNDLED_ENCODER, ENCODER_FILES, GRAPH_FILE, OnnxEncoder
from coterie.types import SYSTEM, CallContext, Output, Prompt, Usage


class RememberingEncoder(OnnxEncoder):
    """Gives the vectors of the bundled encoder, from memory where it has them.

    Args:
        store: A file that is read at the start and written by `save`; None keeps nothing.
    """

    def __init__(self, store: Path | None = None) -> None:
        files = {name: (BUNDLED_ENCODER / name).read_bytes() for name in ENCODER_FILES}
        super().__init__(files, location="the package", graph=BUNDLED_ENCODER / GRAPH_FILE)
        self._store = store
        self._vectors: dict[bytes, np.ndarray] = {}
        self._added = 0
        if store is not None and store.is_file():
            with np.load(store) as held:
                self._vectors = dict(zip(map(bytes, held["keys"]), held["vectors"], strict=True))

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> np.ndarray:  # (N, D)
        """The vectors of texts."""
        keys = [hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        if missing:
            self._vectors.update(zip(missing, super().encode(list(missing.values())), strict=True))
            self._added += len(missing)
        if progress is not None:
            progress(len(texts))
        return np.stack([self._vectors[key] for key in keys]) if keys else np.empty((0, self.dimension), np.float32)

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:
        """The vectors of prompts; nothing here is measured in time."""
        if any(prompt.states for prompt in batch):
            return await super().run(batch, call=call)
        vectors = self.encode([prompt.text for prompt in batch])
        return [Output(vector=vector, finish="stop", usage=Usage()) for vector in vectors]

    def save(self) -> None:
        """Write the memory to its file."""
        if self._store is None or not self._added:
            return
        keys = np.frombuffer(b"".join(self._vectors), dtype=np.uint8).reshape(-1, 16)
        self._store.parent.mkdir(parents=True, exist_ok=True)
        np.savez(self._store, keys=keys, vectors=np.stack(list(self._vectors.values())))
        self._added = 0
