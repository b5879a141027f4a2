"""A causal model with torch: its dequantised weights, its tokens, and a LoRA adapter trained on completions.

A small model's vocabulary is a large part of it: over all positions its logits took a third of the time
(docs/history/log.md). Rows are padded at their end, where no token attends: a causal model sees what comes before.
"""

from __future__ import annotations

import io
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
import torch
from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import cross_entropy, linear
from torch.optim import AdamW
from transformers import AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase, logging

from coterie.errors import ArtefactRefused
from coterie.tuning.base import CausalBase, Checkpoints
from coterie.tuning.finetune import Pace, descend, open_checkpoint
from coterie.types import Message

# --- Precision of the frozen network: bfloat16 where this CPU multiplies it faster than fp32, else fp32.
#
# CPUs without (working) hardware support convert at every product and take twice as long, so products are timed once a
# process; the two differ by a factor, so a busy machine does not change the choice.

_ROWS, _IN, _OUT = 512, 576, 1536  # a batch of short texts through a map of a small model
_TRIES = 5
_WORTH = 1.25
"""Factor by which bfloat16 must be faster: operations other than products gain little or nothing."""


@cache
def quickest_dtype() -> torch.dtype:
    """Return the number type whose products take less CPU time here."""
    slow, quick = (_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if slow > _WORTH * quick else torch.float32


def _seconds(dtype: torch.dtype) -> float:
    """Return the CPU time of one product, the best of a few."""
    rows, weight = torch.ones(_ROWS, _IN, dtype=dtype), torch.ones(_OUT, _IN, dtype=dtype)
    durations = []
    for _ in range(_TRIES + 1):
        start = time.process_time()
        linear(rows, weight)
        durations.append(time.process_time() - start)
    return min(durations[1:])  # the first one makes the code


def describe_precision() -> dict[str, str]:
    """Return the choice and its reason for a report, without times, which would change every version."""
    if quickest_dtype() is torch.bfloat16:
        return {"numbers": "bfloat16", "reason": "this CPU multiplies them in hardware, sooner than float32"}
    return {"numbers": "float32", "reason": "this CPU multiplies bfloat16 no sooner"}


ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
"""The linear maps of a layer, by their names in a Llama."""


class TokenPair(NamedTuple):
    """The tokens of a prompt and of its completion with the end of the turn; both at least one token."""

    prompt: Sequence[int]
    completion: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class CausalTokens:
    """A causal model's tokenizer, used as llama.cpp uses it."""

    tokenizer: Any  # transformers' tokenizers have no useful types

    def raw(self, prompt: str, completion: str) -> TokenPair:
        """Tokenize raw text and its continuation separately."""
        ids = list(self.tokenizer(prompt, add_special_tokens=False).input_ids)
        begin = [self.tokenizer.bos_token_id] if getattr(self.tokenizer, "add_bos_token", False) else []
        return TokenPair(prompt=[*begin, *ids], completion=self._reply_ids(completion))

    def chat(self, messages: Sequence[Message], reply: str) -> TokenPair:
        """Tokenize messages in the model's chat template and the reply to them."""
        turns = [{"role": message.role, "content": message.text} for message in messages]
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return TokenPair(
            prompt=list(self.tokenizer(text, add_special_tokens=False).input_ids), completion=self._reply_ids(reply)
        )

    def shortened(self, text: str, most: int) -> str:
        """Return the text, or its beginning if it has more than `most` tokens."""
        ids = self.tokenizer(text, add_special_tokens=False).input_ids
        return text if len(ids) <= most else str(self.tokenizer.decode(ids[:most]))

    def _reply_ids(self, text: str) -> list[int]:
        return [*self.tokenizer(text, add_special_tokens=False).input_ids, self.tokenizer.eos_token_id]


@lru_cache(maxsize=1)
def load_tokens(base: CausalBase) -> CausalTokens:
    """Return the tokenizer of a base's file, read once for all its tunings. Raises `ArtefactRefused`."""
    with _quiet(), _explained(base), plain_bytes():
        loaded = AutoTokenizer.from_pretrained(str(base.path.parent), gguf_file=base.path.name)
    assert isinstance(loaded, PreTrainedTokenizerBase)  # noqa: S101 - what it is for
    return CausalTokens(tokenizer=loaded)


def load_causal(base: CausalBase, *, dtype: torch.dtype | None = None) -> torch.nn.Module:
    """Load the network with the file's weights in this number type; by default the type that trains faster here.

    Raises:
        ArtefactRefused: the file cannot be read.
    """
    with _quiet(), _explained(base), one_table_of_names(), plain_bytes():
        network: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
            str(base.path.parent), gguf_file=base.path.name, dtype=dtype or quickest_dtype()
        )
    return network


def add_adapter(network: torch.nn.Module, *, rank: int, alpha: int, modules: Sequence[str]) -> PeftModel:
    """Freeze the network and add LoRA (Hu et al. 2021, equation 3) to these maps of every layer.

    Its first change is zero. Its own numbers are fp32, whatever those of the network are.
    """
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(modules), task_type="CAUSAL_LM")
    network.config.use_cache = False  # type: ignore[union-attr]
    with _quiet():  # PEFT asks transformers for what it is about to rename
        adapted = get_peft_model(network, config)
    assert isinstance(adapted, PeftModel)  # noqa: S101 - there is no other kind without a prompt learner
    return adapted


@contextmanager
def one_table_of_names() -> Iterator[None]:
    """Let gguf build its table of tensor names once: transformers rebuilds it for each part of a network."""
    make = gguf.get_tensor_name_map
    gguf.get_tensor_name_map = cache(make)
    try:
        yield
    finally:
        gguf.get_tensor_name_map = make


class _PlainReader(gguf.GGUFReader):
    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, np.asarray(value) if name == "data" else value)


@contextmanager
def plain_bytes() -> Iterator[None]:
    """Let gguf cut its quarter of a million fields from a plain array: slices of a memory map are far slower."""
    reader = gguf.GGUFReader
    gguf.GGUFReader = _PlainReader  # type: ignore[misc]
    try:
        yield
    finally:
        gguf.GGUFReader = reader  # type: ignore[misc]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress transformers' progress bars and advice on standard error."""
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # The bar over a file's tensors is tqdm's own, and goes wherever standard error does.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before[0])
        if before[1]:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def _explained(base: CausalBase) -> Iterator[None]:
    """Turn errors of the libraries on an unreadable file into ours."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        raise ArtefactRefused(
            f"Model {base.key!r} cannot be loaded for tuning from {str(base.path)!r}: {error}.",
            hint="Name another model, or leave the rung 'slm' out.",
        ) from error


# --- Training a LoRA adapter: the loss is that of the completions alone, and only there are logits worked out.


@dataclass(frozen=True, kw_only=True)
class LoraRecipe(Pace):
    """Size of the adapter, and duration and speed of its training."""

    batch: int = 16
    rate: float = 1e-3
    decay: float = 0.0
    rank: int = 16
    alpha: int = 32
    """The adapter's change is scaled by alpha / rank."""
    modules: tuple[str, ...] = FEED_FORWARD
    """The linear maps of each layer that it is added to."""


def lora_recipe_for(rows: int) -> LoraRecipe:
    """Return the recipe for so many rows: few rows are seen more often, in smaller batches, for enough steps."""
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
    """Train an adapter on the network that makes the completions likely.

    Args:
        network: A causal model, which is frozen. It holds the adapter until `unload` of the result returns it.
        pairs: N prompts and completions.
        base_sha256: Checksum of the network's weights, for the name of the checkpoint.
        recipe: Duration and speed.
        seed: First weights and order of the rows. The same seed gives the same weights on the same machine.
        progress: Called with the rows done, `recipe.epochs` times N in all.
        checkpoints: Where the state is kept, for an interrupted run to resume.

    Raises:
        TrainingDiverged: the loss is not a number.
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
    """Return the mean negative log-likelihood of the completions' tokens."""
    causal: Any = model.get_base_model()
    tokens, rows, places = _pad(pairs)
    hidden = causal.model(input_ids=tokens).last_hidden_state  # (B, T, D)
    logits = causal.lm_head(hidden[rows, places - 1])  # (P, V): each from the position before
    return cross_entropy(logits.float(), tokens[rows, places])


def _pad(pairs: Sequence[TokenPair]) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens (B, T), and row and place (P,) of each token to predict."""
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
    """Return the adapter's files by name; the PEFT folder names this repository of the hub as its base."""
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
    """Return PEFT's configuration, with sets in a fixed order, so that the same adapter gives the same bytes."""
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
    """Split PEFT's `base_model.model.MODULE.lora_A.weight` into module and half."""
    module, half, _ = name.removeprefix(_PREFIX).rsplit(".", 2)
    return module, _HALVES[half]


def _rotated(module: str, config: PretrainedConfig) -> int | None:
    """Return the heads of a map whose results are rotated by position; None for the others."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    return heads.get(module.rpartition(".")[2])


def _in_pairs(weight: np.ndarray, heads: int) -> np.ndarray:  # (H * 2 * D, r)
    """Reorder rows of each head from halves, as transformers rotates them, to pairs, as llama.cpp does."""
    rows, rank = weight.shape
    return np.ascontiguousarray(weight.reshape(heads, 2, rows // heads // 2, rank).swapaxes(1, 2).reshape(rows, rank))
