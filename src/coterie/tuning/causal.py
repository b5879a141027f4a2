"""A causal model with torch: its dequantised weights, its tokens, a LoRA adapter on it."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

import gguf
import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.functional import linear
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, logging

from coterie.errors import ArtefactRefused
from coterie.tuning.base import CausalBase
from coterie.types import Message

# --- Precision of the frozen network: bfloat16 where this CPU multiplies it faster than fp32, else fp32.
#
# CPUs without (working) hardware support convert at every product and take twice as long, so products are timed once a
# process; the two differ by a factor, so a busy machine does not change the choice.

_ROWS, _IN, _OUT = 512, 576, 1536  # a batch of short texts through a map of a small model
_TRIES = 5
_WORTH = 1.25
"""Times sooner that bfloat16 must be: what is not a product gains little or nothing."""


@cache
def quickest_dtype() -> torch.dtype:
    """The kind of numbers whose products take less CPU time here."""
    slow, quick = (_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if slow > _WORTH * quick else torch.float32


def _seconds(dtype: torch.dtype) -> float:
    """CPU time of one product, the best of a few."""
    rows, weight = torch.ones(_ROWS, _IN, dtype=dtype), torch.ones(_OUT, _IN, dtype=dtype)
    found = []
    for _ in range(_TRIES + 1):
        start = time.process_time()
        linear(rows, weight)
        found.append(time.process_time() - start)
    return min(found[1:])  # the first one makes the code


def describe_precision() -> dict[str, str]:
    """The choice and its reason, for a report; no times, which would make every version another one."""
    if quickest_dtype() is torch.bfloat16:
        return {"numbers": "bfloat16", "reason": "this CPU multiplies them in hardware, sooner than float32"}
    return {"numbers": "float32", "reason": "this CPU multiplies bfloat16 no sooner"}


ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
"""The linear maps of a layer, as a Llama has them."""


class TokenPair(NamedTuple):
    """What the model reads and what it should say then, the end of the turn included; both at least one token."""

    prompt: Sequence[int]
    completion: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class CausalTokens:
    """A causal model's tokenizer, used as llama.cpp uses it."""

    tokenizer: Any  # transformers' tokenizers have no useful types

    def raw(self, prompt: str, completion: str) -> TokenPair:
        """Raw text and its continuation, cut into tokens apart from each other."""
        ids = list(self.tokenizer(prompt, add_special_tokens=False).input_ids)
        begin = [self.tokenizer.bos_token_id] if getattr(self.tokenizer, "add_bos_token", False) else []
        return TokenPair(prompt=[*begin, *ids], completion=self._said(completion))

    def chat(self, messages: Sequence[Message], reply: str) -> TokenPair:
        """Messages in the model's chat template and the reply to them."""
        said = [{"role": message.role, "content": message.text} for message in messages]
        text = self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        return TokenPair(
            prompt=list(self.tokenizer(text, add_special_tokens=False).input_ids), completion=self._said(reply)
        )

    def shortened(self, text: str, most: int) -> str:
        """The text, or its beginning if it has more tokens."""
        ids = self.tokenizer(text, add_special_tokens=False).input_ids
        return text if len(ids) <= most else str(self.tokenizer.decode(ids[:most]))

    def _said(self, text: str) -> list[int]:
        return [*self.tokenizer(text, add_special_tokens=False).input_ids, self.tokenizer.eos_token_id]


@lru_cache(maxsize=1)
def load_tokens(base: CausalBase) -> CausalTokens:
    """The tokenizer in a base's file, read once for all that is tuned from it. Raises `ArtefactRefused`."""
    with _quiet(), _explained(base), plain_bytes():
        loaded = AutoTokenizer.from_pretrained(str(base.path.parent), gguf_file=base.path.name)
    assert isinstance(loaded, PreTrainedTokenizerBase)  # noqa: S101 - what it is for
    return CausalTokens(tokenizer=loaded)


def load_causal(base: CausalBase, *, dtype: torch.dtype | None = None) -> torch.nn.Module:
    """The network with the file's weights, as numbers of this kind; by default the kind that trains sooner here.

    Raises:
        ArtefactRefused: the file cannot be read.
    """
    with _quiet(), _explained(base), one_table_of_names(), plain_bytes():
        network: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
            str(base.path.parent), gguf_file=base.path.name, dtype=dtype or quickest_dtype()
        )
    return network


def add_adapter(network: torch.nn.Module, *, rank: int, alpha: int, modules: Sequence[str]) -> PeftModel:
    """Freeze the network and put LoRA (Hu et al. 2021, equation 3) beside these maps of every layer.

    It begins as no change. Its own numbers are fp32, whatever those of the network are.
    """
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(modules), task_type="CAUSAL_LM")
    network.config.use_cache = False  # type: ignore[union-attr]
    with _quiet():  # PEFT asks transformers for what it is about to rename
        adapted = get_peft_model(network, config)
    assert isinstance(adapted, PeftModel)  # noqa: S101 - there is no other kind without a prompt learner
    return adapted


@contextmanager
def one_table_of_names() -> Iterator[None]:
    """Let gguf make its table of tensors' names once: transformers has it made for each part of a network."""
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
    """Let gguf cut its quarter of a million fields out of a plain array: slices of a memory map take far longer."""
    reader = gguf.GGUFReader
    gguf.GGUFReader = _PlainReader  # type: ignore[misc]
    try:
        yield
    finally:
        gguf.GGUFReader = reader  # type: ignore[misc]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and advice on standard error."""
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
    """What the libraries raise on a file they cannot read, as ours."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        raise ArtefactRefused(
            f"Model {base.key!r} cannot be loaded for tuning from {str(base.path)!r}: {error}.",
            hint="Name another model, or leave the rung 'slm' out.",
        ) from error
