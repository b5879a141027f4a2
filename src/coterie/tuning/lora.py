"""Training a LoRA adapter: the loss is that of the completions alone, and only there are logits worked out.

A small model's vocabulary is a large part of it: over all positions its logits took a third of the time
(docs/history/log.md).
Rows are padded at their end, where nothing looks: a causal model sees what comes before.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from transformers import PretrainedConfig

from coterie.tuning.base import Checkpoints
from coterie.tuning.causal import FEED_FORWARD, TokenPair, add_adapter
from coterie.tuning.loop import Pace, descend, open_checkpoint


@dataclass(frozen=True, kw_only=True)
class LoraRecipe(Pace):
    """How large the adapter is, how long and how fast it learns."""

    batch: int = 16
    rate: float = 1e-3
    decay: float = 0.0
    rank: int = 16
    alpha: int = 32
    """The adapter's change is scaled by alpha / rank."""
    modules: tuple[str, ...] = FEED_FORWARD
    """The linear maps of each layer that it is put beside."""


def lora_recipe_for(rows: int) -> LoraRecipe:
    """Few rows are seen more often and in smaller batches, so that there are steps enough."""
    if rows < _FEW:
        return LoraRecipe(
            epochs=max(3, min(12, round(_FEWEST_STEPS * _SMALL_BATCH / max(rows, 1)))), batch=_SMALL_BATCH
        )
    return LoraRecipe(epochs=2 if rows >= _MANY else 3)


_FEW, _FEWEST_STEPS, _SMALL_BATCH, _MANY = 500, 150, 8, 5_000


def tune_adapter(
    network: torch.nn.Module,
    pairs: Sequence[TokenPair],
    *,
    base_sha256: str,
    recipe: LoraRecipe,
    seed: int,
    progress: Callable[[int], None],
    checkpoints: Checkpoints | None = None,
) -> PeftModel:
    """The network with an adapter that makes the completions likely.

    Args:
        network: A causal model, which is frozen. It holds the adapter until `unload` of the result gives it back.
        pairs: N prompts and completions.
        base_sha256: Checksum of the network's weights, for the name of the checkpoint.
        recipe: How long and how fast.
        seed: First weights and order of the rows. The same seed gives the same weights on the same machine.
        progress: Told the rows done, `recipe.epochs` times N in all.
        checkpoints: Where the state is kept, for a run that is interrupted to go on.

    Raises:
        TrainingDiverged: the loss is no number.
        SetupError: a checkpoint cannot be written.
    """
    torch.manual_seed(seed)
    model = add_adapter(network, rank=recipe.rank, alpha=recipe.alpha, modules=recipe.modules)
    decided = {
        "what": "lora",
        "base": base_sha256,
        "precision": str(next(network.parameters()).dtype),
        "pairs": pairs,
        "seed": seed,
        **asdict(recipe),
    }
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.train()
    descend(
        lambda rows: completion_loss(model, [pairs[row] for row in rows]),
        AdamW(parameters, lr=recipe.rate, weight_decay=recipe.decay),
        lengths=[len(pair.prompt) + len(pair.completion) for pair in pairs],
        pace=recipe,
        order=np.random.default_rng(seed),
        progress=progress,
        checkpoint=open_checkpoint(checkpoints, decided),
    )
    return model.eval()


def completion_loss(model: PeftModel, pairs: Sequence[TokenPair]) -> Tensor:  # ... -> ()
    """Mean negative log-likelihood of the completions' tokens."""
    causal: Any = model.get_base_model()
    tokens, rows, places = _pad(pairs)
    hidden = causal.model(input_ids=tokens).last_hidden_state  # (B, T, D)
    logits = causal.lm_head(hidden[rows, places - 1])  # (P, V): each from the position before
    return cross_entropy(logits.float(), tokens[rows, places])


def _pad(pairs: Sequence[TokenPair]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (B, T), and row and place (P,) of each token that is to be said."""
    width = max(len(pair.prompt) + len(pair.completion) for pair in pairs)
    tokens = torch.zeros(len(pairs), width, dtype=torch.long)
    rows: list[int] = []
    places: list[int] = []
    for row, pair in enumerate(pairs):
        ids = [*pair.prompt, *pair.completion]
        tokens[row, : len(ids)] = torch.tensor(ids)
        places += range(len(pair.prompt), len(ids))
        rows += [row] * len(pair.completion)
    return tokens, torch.tensor(rows), torch.tensor(places)


# --- Export: a PEFT folder for vLLM and transformers, and a GGUF adapter for llama.cpp, rounded to half precision.
#
# llama.cpp rotates queries and keys in pairs, transformers in halves (Su et al. 2021), so for a Llama the rows of B are
# reordered, as `convert_lora_to_gguf.py` does.

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
