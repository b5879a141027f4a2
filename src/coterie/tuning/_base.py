"""The encoder that fine-tuning starts from: a known one by name, or a folder in the hub's layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer

from coterie.engines import BUNDLED_ENCODER, TOKENIZER_FILE
from coterie.errors import ArtefactRefused, ExtraMissing, ModelMissing
from coterie.models import CATALOGUE, hash_file, locate_known

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
_PACKAGES = ("torch", "transformers", "onnx")
_KNOWN: Mapping[str, Mapping[str, object]] = {"minilm": _MINILM}


@dataclass(frozen=True, kw_only=True)
class BaseEncoder:
    """An encoder's files before fine-tuning, none of them loaded."""

    name: str
    config: Mapping[str, object]
    """As in the hub's `config.json`."""
    weights: Path
    """safetensors."""
    tokenizer: str
    """The content of `tokenizer.json`."""
    sha256: str
    """Of the weights."""
    licence: str | None

    def load_tokenizer(self) -> Tokenizer:
        """Its tokenizer, which neither pads nor cuts."""
        tokenizer = Tokenizer.from_str(self.tokenizer)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer


def find_base(name: str, network_folder: Path) -> BaseEncoder:
    """The base encoder of a name that `coterie models list` knows, or of a folder relative to the network's.

    Raises:
        ExtraMissing: what fine-tuning needs is not installed.
        ModelMissing: it is not on this machine; the hint is the command that fetches it.
        ArtefactRefused: its files are not what they should be.
    """
    if missing := [package for package in _PACKAGES if find_spec(package) is None]:
        raise ExtraMissing(
            f"Rung 'encoder' needs the package {missing[0]!r}, which is not installed.",
            hint="Install it: pip install 'coterie[train]'",
        )
    if name in _KNOWN:
        known = CATALOGUE[name]
        tokenizer = (BUNDLED_ENCODER / TOKENIZER_FILE).read_text(encoding="utf-8")
        return BaseEncoder(
            name=name,
            config=_KNOWN[name],
            weights=locate_known(known),
            tokenizer=tokenizer,
            sha256=known.sha256,
            licence=known.licence,
        )
    folder = network_folder / Path(name).expanduser()
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = folder / "model.safetensors"
        return BaseEncoder(
            name=name,
            config=config,
            weights=weights,
            tokenizer=(folder / TOKENIZER_FILE).read_text(encoding="utf-8"),
            sha256=hash_file(weights),
            licence=config.get("license"),
        )
    except FileNotFoundError as error:
        raise ModelMissing(
            f"Base encoder {name!r} is no known name ({', '.join(_KNOWN)}), and {str(error.filename)!r} is not there.",
            hint="Name a known one, or a folder with config.json, model.safetensors and tokenizer.json.",
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise ArtefactRefused(f"The base encoder in {str(folder)!r} cannot be read: {error}.") from error
