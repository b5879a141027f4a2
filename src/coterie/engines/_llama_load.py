"""Loading a GGUF model and its adapters into llama.cpp.

The native library starts an HTTP listener that nothing here uses. It is put on a Unix socket in a private
folder, asks for a random key, and the socket is unlinked as soon as the model is loaded: nobody reaches it.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from coterie.errors import ArtefactRefused, ConfigError

from ._adapters import check_adapter
from ._gguf import GGUFHeader
from ._heap import keep_large_blocks_apart
from ._openmp import import_with_short_spin

_PROMPT_BATCH = 128
"""Prompt tokens between two chances to stop a request and to let the other slots go on."""
_MATCHED, _GUESSED = 3, 8
"""Tokens that must have occurred before for the next ones there to be guessed, and how many are."""


@dataclass(frozen=True, kw_only=True)
class LlamaSpec:
    """What is to be loaded."""

    name: str
    path: Path
    threads: int
    parallel: int
    window: int
    """Tokens of one slot."""
    adapters: Mapping[str, Path] = field(default_factory=dict)
    """In the order of the numbers that llama.cpp gives them."""


class NativeServer(Protocol):
    """The part of `xllamacpp.Server` that is used."""

    def handle_chat_completions(self, body: Mapping[str, Any], on_chunk: Callable[[Mapping[str, Any]], bool]) -> None:
        """Generate, calling back in this thread with each chunk until it returns True."""

    def handle_completions(
        self, body: Mapping[str, Any], on_chunk: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> Mapping[str, Any]:
        """Generate from a text without a chat template: in chunks, or the whole answer or `error` at once."""


def load_server(spec: LlamaSpec, header: GGUFHeader) -> NativeServer:
    """Load a model and its adapters.

    Raises:
        ConfigError: the window is larger than the model was made for.
        ArtefactRefused: an adapter is not one for this model, or llama.cpp cannot generate with the file.
    """
    if header.context_length is not None and spec.window > header.context_length:
        raise ConfigError(
            f"Model {spec.name!r} was made for {header.context_length} tokens; its window is to be {spec.window}.",
            hint=f"Set `window` of the model to at most {header.context_length}.",
        )
    for name, path in spec.adapters.items():
        check_adapter(name, path, header)
    if spec.adapters:
        keep_large_blocks_apart()
    native = import_with_short_spin("xllamacpp")
    with tempfile.TemporaryDirectory(prefix="coterie-") as folder:  # mode 0700, removed with the socket
        try:
            server: NativeServer = native.Server(_params(spec, native, folder))
            # Its thread must be at work before anything can end it: ended too early, it would wait forever.
            works = "error" not in server.handle_completions({"prompt": "a", "max_tokens": 1})
        except RuntimeError:
            works = False
    if not works:
        raise ArtefactRefused(
            f"llama.cpp cannot generate with {str(spec.path)!r}, a GGUF of architecture {header.architecture!r}.",
            hint="The file is damaged, its architecture is unknown to this version, or memory is short.",
        )
    return server


def _params(spec: LlamaSpec, native: ModuleType, folder: str) -> object:
    params = native.CommonParams()
    params.model.path = str(spec.path)
    for cores in (params.cpuparams, params.cpuparams_batch):  # those of a single token, those of many
        cores.n_threads, cores.poll = spec.threads, 0
    # Prompt lookup decoding: where the text repeats what was said before, as grounded replies do, several tokens
    # are checked at once. Those sampled are the same; copying takes two thirds of the time (`docs/log.md`).
    guess = params.speculative.ngram_simple
    guess.size_n, guess.size_m = _MATCHED, _GUESSED
    params.speculative.types = [native.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    params.lora_adapters = [_adapter(native, path) for path in spec.adapters.values()]
    for name, value in _settings(spec, folder).items():
        setattr(params, name, value)
    return params


def _adapter(native: ModuleType, path: Path) -> object:
    adapter = native.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = str(path), 0.0  # loaded, and used by those requests only that name it
    return adapter


def _settings(spec: LlamaSpec, folder: str) -> dict[str, object]:
    listener = {} if sys.platform == "win32" else {"hostnames": [f"{folder}/unused.sock"]}
    return listener | {
        "n_parallel": spec.parallel,
        "n_ctx": spec.window * spec.parallel,
        "n_batch": _PROMPT_BATCH,
        "n_ubatch": _PROMPT_BATCH,
        "n_gpu_layers": 0,
        "cache_ram_mib": 0,  # no copies of old prompts beside the slots: by default up to 8 GiB
        "cache_idle_slots": False,
        "fit_params": False,
        "warmup": False,
        "verbosity": -1,
        "sse_ping_interval": -1,
        "n_threads_http": 1,
        "ui": False,
        "endpoint_slots": False,
        "endpoint_props": False,
        "api_keys": [secrets.token_urlsafe(32)],
    }
