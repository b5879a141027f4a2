"""The starting point of a tuning: an encoder, or the file of a causal model; and the checkpoints it leaves."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from coterie.config.file import LlamaModel
from coterie.engines.gguf import read_gguf_header
from coterie.engines.onnx import BUNDLED_ENCODER, TOKENIZER_FILE
from coterie.errors import ArtefactRefused, ConfigError, ExtraMissing, ModelMissing
from coterie.models.catalogue import (
    CATALOGUE,
    Origin,
    checksum_of,
    hash_file,
    licence_of_card,
    locate,
    locate_known,
    locate_snapshot,
    snapshot_of,
)
from coterie.runtime.codec import parse_json

# --- Checkpoints.


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The folder of one specialist's checkpoints: what an interrupted `coterie train` leaves for the next one."""

    folder: Path
    every: float = 60.0
    """Seconds of training between two saves."""

    def clear(self) -> None:
        """Remove the checkpoints after the version is stored."""
        shutil.rmtree(self.folder, ignore_errors=True)


# --- The causal model of an adapter.

_CAUSAL_PACKAGES = ("torch", "transformers", "peft", "gguf")
ARCHITECTURES = ("llama",)
"""GGUF architectures whose adapters are verified in llama.cpp: each has its own order of weights."""


@dataclass(frozen=True, kw_only=True)
class CausalBase:
    """A causal model's file, which also serves: an adapter is trained on the weights it will correct."""

    key: str
    """Key of its `[models]` entry."""
    name: str
    """Name of the model in that entry."""
    path: Path
    sha256: str
    licence: str | None
    repository: str
    """Hub repository of the unquantised weights for the adapter's PEFT folder; the name where it is unknown."""


def find_causal_base(key: str, model: LlamaModel, network_folder: Path) -> CausalBase:
    """Return the base of a `[models]` entry.

    Raises:
        ExtraMissing: what fine-tuning needs is not installed.
        ModelMissing, ArtefactRefused: its file is not here, or not as expected.
    """
    if missing := [package for package in _CAUSAL_PACKAGES if find_spec(package) is None]:
        raise ExtraMissing(
            f"Tuning the model {key!r} needs the package {missing[0]!r}, which is not installed.",
            hint="Install it: pip install 'coterie[train]'",
        )
    path = locate(model, network_folder)
    if (architecture := read_gguf_header(path).architecture) not in ARCHITECTURES:
        raise ArtefactRefused(
            f"Model {key!r} is of architecture {architecture!r}; adapters are trained for {', '.join(ARCHITECTURES)}.",
            hint="Name another model, or leave the rung 'slm' out.",
        )
    listed, snapshot = CATALOGUE.get(model.name), snapshot_of(model.name)
    stated, repository = (snapshot.licence, snapshot.origin) if snapshot else (None, model.name)
    return CausalBase(
        key=key,
        name=model.name,
        path=path,
        sha256=listed.sha256 if listed else checksum_of(path),
        licence=listed.licence if listed else model.licence or stated,
        repository=listed.original if listed else repository,
    )


# --- The encoder of a fine-tuning.

# The published config.json of all-MiniLM-L6-v2, whose package holds weights only.
_MINILM: Mapping[str, object] = {
    "model_type": "bert",
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "pad_token_id": 0,
}
_SHIFTED = {"roberta", "xlm-roberta", "camembert", "mpnet"}
MAX_TOKENS = 256
"""Most tokens of a text that a fine-tuned encoder reads."""
WEIGHTS_FILE = "model.safetensors"
_FILES = ("config.json", TOKENIZER_FILE, WEIGHTS_FILE)
_PACKAGES = ("torch", "transformers", "onnx")
_KNOWN: Mapping[str, Mapping[str, object]] = {"minilm": _MINILM}


Pooling = Literal["mean", "first"]
"""How the states of a text's tokens become one vector: their mean, or that of the first special token."""
_POOLINGS: Mapping[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}


@dataclass(frozen=True, kw_only=True)
class BaseEncoder:
    """An encoder's files before fine-tuning, without loading them."""

    name: str
    config: Mapping[str, object]
    """The hub's `config.json`."""
    weights: Path
    """The safetensors file."""
    tokenizer: str
    """The content of `tokenizer.json`."""
    sha256: str
    """Checksum of the weights."""
    licence: str | None
    pooling: Pooling = "mean"
    """The pooling that it was trained with."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that a model made from it reads: `MAX_TOKENS`, or the number of its positions."""
        positions = self.config.get("max_position_embeddings")
        padding = self.config.get("pad_token_id")
        # RoBERTa and its kin count positions from behind that of the padding token.
        taken = padding + 1 if self.config.get("model_type") in _SHIFTED and isinstance(padding, int) else 0
        return min(MAX_TOKENS, positions - taken) if isinstance(positions, int) else MAX_TOKENS

    def token_ids(self, texts: Sequence[str], *, longest: int) -> list[list[int]]:
        """Return the ids of each text, truncated to `longest` with its end mark kept, as `OnnxEncoder` does."""
        most = min(longest, self.max_tokens)
        every = (encoding.ids for encoding in self.load_tokenizer().encode_batch(list(texts)))
        return [ids if len(ids) <= most else [*ids[: most - 1], ids[-1]] for ids in every]

    def load_tokenizer(self) -> Tokenizer:
        """Return its tokenizer, which neither pads nor truncates."""
        tokenizer = Tokenizer.from_str(self.tokenizer)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer


def find_base(name: str, network_folder: Path, *, licence: str | None = None) -> BaseEncoder:
    """Return the base encoder of this name.

    Args:
        name: One that `coterie models list` knows, a folder relative to the network's, or a pulled model:
            `OWNER/NAME[@REVISION]` of the hub or `package:NAME[==VERSION]`.
        network_folder: The folder that a relative name starts from.
        licence: Its licence as given by the user; else that of its `config.json` or the head of its `README.md`.

    Raises:
        ConfigError: its licence is unknown: a model made from it could not be passed on.
        ExtraMissing: what fine-tuning needs is not installed.
        ModelMissing: it is not on this machine; the hint is the command that fetches it.
        ArtefactRefused: its files are not as expected.
    """
    if missing := [package for package in _PACKAGES if find_spec(package) is None]:
        raise ExtraMissing(
            f"Rung 'encoder' needs the package {missing[0]!r}, which is not installed.",
            hint="Install it: pip install 'coterie[train]'",
        )
    if name in _KNOWN:
        listed = CATALOGUE[name]
        tokenizer = (BUNDLED_ENCODER / TOKENIZER_FILE).read_text(encoding="utf-8")
        return BaseEncoder(
            name=name,
            config=_KNOWN[name],
            weights=locate_known(listed),
            tokenizer=tokenizer,
            sha256=listed.sha256,
            licence=listed.licence,
        )
    folder = network_folder / Path(name).expanduser()
    origin = None if folder.exists() else Origin.read(name)
    if origin is not None:
        snapshot = locate_snapshot(origin, _FILES)
        folder, licence = snapshot.folder, licence or snapshot.licence
    return _read_base(name, folder, licence)


def _read_base(name: str, folder: Path, licence: str | None) -> BaseEncoder:
    try:
        config = parse_json((folder / "config.json").read_text(encoding="utf-8"))
        weights = folder / WEIGHTS_FILE
        base = BaseEncoder(
            name=name,
            config=config,
            weights=weights,
            tokenizer=(folder / TOKENIZER_FILE).read_text(encoding="utf-8"),
            sha256=hash_file(weights),
            licence=licence or config.get("license") or licence_of_card(folder / "README.md"),
            pooling=_pooling_of(folder),
        )
    except FileNotFoundError as error:
        raise ModelMissing(
            f"Base encoder {name!r} is no known name ({', '.join(_KNOWN)}), and {str(error.filename)!r} is not there.",
            hint=f"Name a known one, a folder with {', '.join(_FILES)}, or what was pulled as OWNER/NAME.",
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise ArtefactRefused(f"The base encoder in {str(folder)!r} cannot be read: {error}.") from error
    if not base.licence:
        raise ConfigError(
            f"Base encoder {name!r} states no licence, neither in its config.json nor at the head of its README.md.",
            hint='Find out what it is and say so beside `base` in coterie.toml, such as: base_licence = "Apache-2.0"',
        )
    return base


def _pooling_of(folder: Path) -> Pooling:
    """Return the pooling in the sentence-transformers configuration; the mean where there is none."""
    try:
        pooling = parse_json((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "mean"
    modes = [mode for mode, used in pooling.items() if mode.startswith("pooling_mode_") and used]
    if not modes:
        return "mean"
    if len(modes) > 1 or modes[0] not in _POOLINGS:
        raise ArtefactRefused(
            f"The base encoder in {str(folder)!r} is pooled by {', '.join(modes)}; known are {', '.join(_POOLINGS)}."
        )
    return _POOLINGS[modes[0]]
