"""Fine-tuning encoders. What needs the extra `train` (torch, transformers, onnx) is imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face
from coterie.engines import import_with_short_spin

from ._base import BaseEncoder, find_base

if TYPE_CHECKING:
    from ._export import encoder_files, exact_vectors, export_graph
    from ._finetune import Recipe, TunedNetwork, fine_tune, recipe_for
    from ._int8 import QUANTISATION, quantise
    from ._network import LinearHead, SentenceNetwork

__all__ = [
    "QUANTISATION",
    "BaseEncoder",
    "LinearHead",
    "Recipe",
    "SentenceNetwork",
    "TunedNetwork",
    "encoder_files",
    "exact_vectors",
    "export_graph",
    "find_base",
    "fine_tune",
    "quantise",
    "recipe_for",
]

_HOMES = {
    "LinearHead": "_network",
    "QUANTISATION": "_int8",
    "Recipe": "_finetune",
    "SentenceNetwork": "_network",
    "TunedNetwork": "_finetune",
    "encoder_files": "_export",
    "exact_vectors": "_export",
    "export_graph": "_export",
    "fine_tune": "_finetune",
    "quantise": "_int8",
    "recipe_for": "_finetune",
}

_load = lazy_face(__name__, _HOMES)


def __getattr__(name: str) -> object:
    """Import what needs torch when it is first asked for."""
    if name in _HOMES:
        import_with_short_spin("torch")
    return _load(name)
