"""The weights of the statement model that ships, as training began or ended with them, but in its four bits.

    python scripts/reading/statements_shipped.py CHECKER OUT.pt

CHECKER is the folder of upper.onnx and heads.safetensors. Written back by `statements_export.py` it is the same file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from network import APART, BLOCK, LAYERS
from onnx import numpy_helper
from safetensors.numpy import load_file

PARTS = ("qkv", "out", "norm", "up", "down", "last")
"""Of a layer, in the order of the graph; those that normalise are not rounded."""
NORMS = ("norm", "last")


def arrays_of(graph: onnx.GraphProto) -> Iterator[np.ndarray]:
    """Weights and biases in the order in which `export.layer` writes them: matrices as floats (out, in)."""
    packed: np.ndarray | None = None
    for constant in graph.initializer:
        value = numpy_helper.to_array(constant)
        if value.dtype == np.uint8 and value.ndim == 3:
            packed = np.stack([value & 15, value >> 4], -1).reshape(*value.shape[:2], BLOCK).astype(np.float32) - 8
        elif value.dtype == np.float16 and packed is not None:
            yield (packed * value.astype(np.float32)).reshape(len(packed), -1)
            packed = None
        elif value.dtype == np.float32 and value.ndim == 1 and len(value) > 1:
            yield value


def main() -> None:
    """Write what was trained."""
    folder = Path(sys.argv[1])
    arrays = arrays_of(onnx.load(folder / "upper.onnx").graph)
    state = {}
    for at in range(APART, LAYERS):
        for part in PARTS:
            for kind in ("weight", "bias"):
                state[f"layers.{at}.{part}.{kind}"] = torch.from_numpy(next(arrays).copy())
    if any(True for _ in arrays):
        raise SystemExit("The graph has more constants than the layers have.")
    heads = load_file(folder / "heads.safetensors")
    state |= {name: torch.from_numpy(value.astype(np.float32)) for name, value in heads.items()}
    torch.save(state, sys.argv[2])


if __name__ == "__main__":
    main()
