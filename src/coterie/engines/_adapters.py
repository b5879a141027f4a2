"""Whether a file is a LoRA adapter for a base model, found out before native code sees it.

An adapter holds, for a weight W of the base, two thin matrices: W x becomes W x + (alpha / rank) B A x (Hu et al. 2021,
"LoRA: Low-Rank Adaptation of Large Language Models"). In a GGUF they are named after the weight, `.lora_a` and
`.lora_b`; llama.cpp's `convert_lora_to_gguf.py` writes the same.
"""

from __future__ import annotations

import math
from pathlib import Path

from coterie.errors import ArtefactRefused

from ._gguf import GGUFHeader, read_gguf_header

_HINT = "An adapter belongs to the base model that it was trained on: train it again for this one."


def check_adapter(name: str, path: Path, base: GGUFHeader) -> None:
    """Refuse what is not a complete LoRA adapter for this base model.

    Args:
        name: The adapter's, for messages.
        path: Its GGUF file.
        base: The header of the base model's file.

    Raises:
        ArtefactRefused: the file is cut or no adapter, or was made for a model of another architecture or shape.
    """
    adapter = read_gguf_header(path)
    kind, way = adapter.metadata.get("general.type"), adapter.metadata.get("adapter.type")
    if (kind, way) != ("adapter", "lora"):
        raise ArtefactRefused(
            f"Adapter {name!r} in {str(path)!r} is a GGUF of type {kind!r} ({way!r}), not a LoRA adapter.", hint=_HINT
        )
    if fault := _misfit(adapter, base):
        raise ArtefactRefused(f"Adapter {name!r} in {str(path)!r} does not fit the base model: {fault}.", hint=_HINT)


def _misfit(adapter: GGUFHeader, base: GGUFHeader) -> str:
    """What does not fit, in words; empty when all does."""
    if adapter.architecture != base.architecture:
        return f"it is for the architecture {adapter.architecture!r}, the base model is {base.architecture!r}"
    alpha = adapter.metadata.get("adapter.lora.alpha")
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        return f"its alpha is {alpha!r}, not a number"
    for name in adapter.tensors:
        weight, dot, part = name.rpartition(".")
        if not dot or part not in {"lora_a", "lora_b"} or weight not in base.tensors:
            return f"it has a tensor {name!r}, which belongs to no weight of the base model"
        if fault := _misshape(weight, adapter, base):
            return fault
    return ""


def _misshape(weight: str, adapter: GGUFHeader, base: GGUFHeader) -> str:
    """What is wrong with the two matrices of a weight; empty when nothing is."""
    a, b = (adapter.tensors.get(f"{weight}.{part}") for part in ("lora_a", "lora_b"))
    if a is None or b is None:
        return f"{weight!r} has one matrix of two"
    wanted = base.tensors[weight]
    if not len(a) == len(b) == len(wanted) == 2 or (a[0], b[1]) != wanted or a[1] != b[0]:
        return f"its matrices {a} and {b} make no {wanted}, the shape of {weight!r}"
    return ""
