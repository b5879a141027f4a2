"""A trained adapter as files: a PEFT folder for vLLM and transformers, and a GGUF adapter for llama.cpp.

Both hold the same numbers, rounded to half precision. llama.cpp turns the rows of a head's queries and keys in pairs,
transformers in halves, so for a Llama the rows of B are put in the other order, as `convert_lora_to_gguf.py` of
llama.cpp does (Su et al. 2021 for the rotation itself).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save
from transformers import PretrainedConfig

PEFT_CONFIG, PEFT_WEIGHTS, GGUF_ADAPTER = "adapter_config.json", "adapter_model.safetensors", "adapter.gguf"
_PREFIX, _HALVES = "base_model.model.", {"lora_A": "lora_a", "lora_B": "lora_b"}


def adapter_files(model: PeftModel, repository: str) -> dict[str, bytes]:
    """The adapter's files by name; the PEFT folder says that it belongs to this repository of the hub."""
    weights = {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in sorted(_state(model).items())}
    return {
        PEFT_CONFIG: _peft_config(model, repository),
        PEFT_WEIGHTS: save(weights, metadata={"format": "pt"}),
        GGUF_ADAPTER: _gguf(model, {name: tensor.numpy() for name, tensor in weights.items()}),
    }


def _state(model: PeftModel) -> Mapping[str, torch.Tensor]:
    state: Mapping[str, torch.Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return state


def _peft_config(model: PeftModel, repository: str) -> bytes:
    """As PEFT writes it; sets in a fixed order, so that the same adapter gives the same bytes."""
    stated = {"inference_mode": True, "base_model_name_or_path": repository}
    described = model.active_peft_config.to_dict() | stated
    ordered = {name: sorted(value) if isinstance(value, set) else value for name, value in described.items()}
    return json.dumps(ordered, indent=2, sort_keys=True, default=str).encode()


def _gguf(model: PeftModel, weights: Mapping[str, np.ndarray]) -> bytes:
    config: Any = model.get_base_model().config
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    with tempfile.TemporaryDirectory(prefix="coterie-") as folder:
        path = Path(folder) / GGUF_ADAPTER
        writer = GGUFWriter(path, "llama")
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", model.active_peft_config.lora_alpha)
        for name, weight in weights.items():
            module, half = _parts(name)
            heads = _rotated(module, config) if half == "lora_b" else None
            writer.add_tensor(f"{names.get_name(module)}.weight.{half}", _in_pairs(weight, heads) if heads else weight)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _parts(name: str) -> tuple[str, str]:
    """PEFT's `base_model.model.MODULE.lora_A.weight` as module and half."""
    module, half, _ = name.removeprefix(_PREFIX).rsplit(".", 2)
    return module, _HALVES[half]


def _rotated(module: str, config: PretrainedConfig) -> int | None:
    """Heads of a map whose results are rotated by their position; None for the others."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    return heads.get(module.rpartition(".")[2])


def _in_pairs(weight: np.ndarray, heads: int) -> np.ndarray:  # (H * 2 * D, r)
    """Rows of each head from halves, as transformers rotates them, to pairs, as llama.cpp does."""
    rows, rank = weight.shape
    return np.ascontiguousarray(weight.reshape(heads, 2, rows // heads // 2, rank).swapaxes(1, 2).reshape(rows, rank))
