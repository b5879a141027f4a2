"""A LoRA adapter without training: what loads, switches and takes memory as a trained one does."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from coterie.engines import read_gguf_header

_ALIGNMENT = 32
_U32, _F32, _TEXT = 4, 6, 8
_F16 = 1
_PROJECTIONS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def write_random_adapter(
    path: Path,
    base: Path,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    size: float = 0.01,
    seed: int = 0,
    projections: Sequence[str] = _PROJECTIONS,
) -> Path:
    """Write a GGUF adapter of random f16 matrices for a base model.

    Args:
        path: Where to.
        base: The base model's GGUF file, read for the shapes of its weights.
        rank: Of the matrices.
        alpha: The change of a weight is (alpha / rank) B A.
        size: Standard deviation of the numbers of A and B; 0 makes an adapter that changes nothing.
        seed: Of the numbers.
        projections: Which weights of each block are adapted.

    Returns:
        The path.
    """
    header, draw = read_gguf_header(base), np.random.default_rng(seed)
    tensors = {}
    for name, shape in header.tensors.items():
        if any(f".{each}.weight" in name for each in projections):
            for part, (rows, columns) in (("lora_a", (rank, shape[0])), ("lora_b", (shape[1], rank))):
                tensors[f"{name}.{part}"] = (size * draw.standard_normal((rows, columns))).astype(np.float16)
    metadata: dict[str, str | float] = {
        "general.architecture": header.architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": alpha,
    }
    path.write_bytes(gguf_bytes(metadata, tensors))
    return path


def gguf_bytes(metadata: Mapping[str, str | float], tensors: Mapping[str, np.ndarray]) -> bytes:
    """A GGUF file, version 3, of f16 matrices (rows, columns)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(value) for key, value in metadata.items())
    body = b""
    for name, matrix in tensors.items():
        head += _text(name) + struct.pack("<IQQIQ", 2, matrix.shape[1], matrix.shape[0], _F16, len(body))
        body += _padded(matrix.astype("<f2").tobytes())
    return _padded(head) + body


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: str | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _TEXT) + _text(value)
    return struct.pack("<If", _F32, value) if isinstance(value, float) else struct.pack("<II", _U32, value)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)
