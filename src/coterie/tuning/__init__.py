"""Fine-tuning encoders and small causal models.

What needs the extra `train` (torch, transformers, peft, onnx, gguf) is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face
from coterie.engines import import_with_short_spin

from ._base import BaseEncoder, find_base
from ._causal_base import CausalBase, find_causal_base
from ._checkpoints import Checkpoints

if TYPE_CHECKING:
    from ._adapter_files import GGUF_ADAPTER, adapter_files
    from ._causal import CausalTokens, TokenPair, load_causal, load_tokens
    from ._export import encoder_files, exact_tags, exact_vectors, export_graph, tagger_files
    from ._finetune import Recipe, TunedNetwork, fine_tune, recipe_for
    from ._int8 import QUANTISATION, quantise
    from ._lora import LoraRecipe, lora_recipe_for, tune_adapter
    from ._network import LinearHead, SentenceNetwork
    from ._precision import describe_precision
    from ._tagging import TaggedTokens, TagRecipe, TokenNetwork, fine_tune_tags, tag_recipe_for, token_logits

__all__ = [
    "GGUF_ADAPTER",
    "QUANTISATION",
    "BaseEncoder",
    "CausalBase",
    "CausalTokens",
    "Checkpoints",
    "LinearHead",
    "LoraRecipe",
    "Recipe",
    "SentenceNetwork",
    "TagRecipe",
    "TaggedTokens",
    "TokenNetwork",
    "TokenPair",
    "TunedNetwork",
    "adapter_files",
    "describe_precision",
    "encoder_files",
    "exact_tags",
    "exact_vectors",
    "export_graph",
    "find_base",
    "find_causal_base",
    "fine_tune",
    "fine_tune_tags",
    "load_causal",
    "load_tokens",
    "lora_recipe_for",
    "quantise",
    "recipe_for",
    "tag_recipe_for",
    "tagger_files",
    "token_logits",
    "tune_adapter",
]

_HOMES = {
    "GGUF_ADAPTER": "_adapter_files",
    "LinearHead": "_network",
    "QUANTISATION": "_int8",
    "CausalTokens": "_causal",
    "LoraRecipe": "_lora",
    "Recipe": "_finetune",
    "SentenceNetwork": "_network",
    "TokenPair": "_causal",
    "adapter_files": "_adapter_files",
    "TunedNetwork": "_finetune",
    "describe_precision": "_precision",
    "encoder_files": "_export",
    "exact_tags": "_export",
    "exact_vectors": "_export",
    "export_graph": "_export",
    "fine_tune": "_finetune",
    "load_causal": "_causal",
    "load_tokens": "_causal",
    "lora_recipe_for": "_lora",
    "quantise": "_int8",
    "TagRecipe": "_tagging",
    "TaggedTokens": "_tagging",
    "TokenNetwork": "_tagging",
    "fine_tune_tags": "_tagging",
    "recipe_for": "_finetune",
    "tag_recipe_for": "_tagging",
    "tagger_files": "_export",
    "token_logits": "_tagging",
    "tune_adapter": "_lora",
}

_load = lazy_face(__name__, _HOMES)


def __getattr__(name: str) -> object:
    """Import what needs torch when it is first asked for."""
    if name in _HOMES:
        import_with_short_spin("torch")
    return _load(name)
