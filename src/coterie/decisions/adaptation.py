"""Options fitted to texts without labels: what people write at a site says where its options lie among their texts.

Each option's vector is drawn from its name towards the texts that are likeliest its own, a few times over: soft k-means
with the names as a prior. No label is used, so an answer stays zero-shot and its probability uncalibrated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.decisions.questions import fingerprint, folded, spaced
from coterie.engines.features import stored_array
from coterie.errors import ArtefactRefused, InputError
from coterie.runtime.files import write_bytes
from coterie.types import YES, Option, Question

FOLDER = "state/decisions"
FEWEST = 10
"""Texts an option, on average, below which fitting costs more than it brings."""
_SHARPNESS, _PRIOR, _ROUNDS = 50.0, 0.2, 5
"""Of the cosines in a round; what the names count beside the texts; rounds. Chosen on BANKING77's training texts, and
CLINC150's gain more: benchmarks/decisions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedOptions:
    """Vectors of one question's options."""

    site: str
    encoder: str
    """Checksum of the encoder that made them."""
    options: tuple[str, ...]
    vectors: np.ndarray  # (L, D) float32, unit length
    texts: int
    """How many it was fitted to."""

    def of(self, options: Sequence[str]) -> np.ndarray:  # (L, D)
        """Return the vectors in the order of these options."""
        places = {name: place for place, name in enumerate(self.options)}
        return np.asarray(self.vectors[[places[spaced(name)] for name in options]])


def fit_options(names: np.ndarray, texts: np.ndarray) -> np.ndarray:  # (L, D), (N, D) -> (L, D)
    """Return option vectors that are drawn towards texts. Raises `InputError` for too few texts."""
    if len(texts) < (least := FEWEST * len(names)):
        raise InputError(f"Found {len(texts)} texts; at least {least} are needed to fit {len(names)} options to.")
    vectors = names
    for _ in range(_ROUNDS):
        weights = np.exp(_SHARPNESS * (texts @ vectors.T - 1.0))  # (N, L)
        shares = weights / weights.sum(axis=1, keepdims=True)
        drawn = _PRIOR * len(texts) / len(names) * names + shares.T @ texts
        vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return vectors


class TextsEncoder(Protocol):
    """Encodes many texts at once."""

    @property
    def sha256(self) -> str:
        """Checksum of its weights."""
        ...

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors (N, D)."""
        ...


def fit_question(question: Question, texts: np.ndarray, encoder: TextsEncoder) -> FittedOptions:  # texts (N, D)
    """Return a question's options, fitted to the vectors of texts. Raises `InputError` for a predicate."""
    if question.kind == "predicate":
        raise InputError(f"Question {question.name!r} is a predicate.", hint="Fit the options of a choice or a score.")
    forms = [encoder.encode(forms_of(question, option)).mean(axis=0) for option in question.options]
    names = np.stack([each / np.linalg.norm(each) for each in forms])
    return FittedOptions(
        site=fingerprint(question),
        encoder=encoder.sha256,
        options=tuple(map(spaced, question.names)),
        vectors=fit_options(names, texts),
        texts=len(texts),
    )


def forms_of(question: Question, option: Option) -> tuple[str, ...]:
    """Return what is compared with the state for an option; nothing for a case that nobody describes."""
    if question.kind == "predicate":
        said = option.description or (question.instructions if option.name == YES else "")
        return (said,) if said.strip() else ()
    name = folded(option.name) or option.name
    return (name, f"{name}?", *((option.description,) if option.description.strip() else ()))


def write_fitted(folder: Path, fitted: FittedOptions) -> Path:
    """Write the file of a site below a network's folder."""
    path = folder / FOLDER / f"{fitted.site}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "options": json.dumps(fitted.options, ensure_ascii=False),
        "encoder": fitted.encoder,
        "texts": str(fitted.texts),
    }
    write_bytes(path, save_arrays({"vectors": fitted.vectors.astype(np.float16)}, metadata=about))
    return path


def read_fitted(folder: Path, encoder: str) -> Mapping[str, FittedOptions]:
    """Return what was fitted for a network, by site; of another encoder nothing. Raises `ArtefactRefused`."""
    found: dict[str, FittedOptions] = {}
    for path in sorted((folder / FOLDER).glob("*.safetensors")):
        try:
            content = path.read_bytes()
            about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
            options = tuple(map(str, json.loads(about["options"])))
            vectors = stored_array(load_arrays(content), "vectors", len(options), None).astype(np.float32)
        except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
            raise ArtefactRefused(
                f"{str(path)!r} cannot be read: {type(error).__name__} {error}.",
                hint="Delete it, or fit the options again: coterie adapt",
            ) from error
        if about["encoder"] == encoder:
            found[path.stem] = FittedOptions(
                site=path.stem, encoder=encoder, options=options, vectors=vectors, texts=int(about["texts"])
            )
    return found
