"""What the encoder reads of the corpus, kept on the disk between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np


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
