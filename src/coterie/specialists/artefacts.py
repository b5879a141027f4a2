"""The adapter of a stored version, its base model, and the prompt of a tuned small model.

The prompt is raw text, without a chat template, and short: an adapter learns the task from its examples, and every
token of the prompt is read again with each request. An answer begins with a space, so that a byte-pair tokenizer cuts
it in the same way whether it sees the answer alone or after the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coterie.config.specialists import SpecialistSection
from coterie.errors import ArtefactRefused, ConfigError
from coterie.protocols import Engine
from coterie.registry.version import Version
from coterie.runtime.codec import parse_json
from coterie.types import SpecialistCard

if TYPE_CHECKING:
    from coterie.engines.onnx import OnnxEncoder, OnnxTagger

ADAPTER_FILE = "adapter.gguf"


def base_of(version: Version) -> str | None:
    """Return the checksum of the model file that a version's adapter was trained on; None if it has no adapter.

    Raises:
        ArtefactRefused: the version has an adapter and does not name its model.
    """
    if ADAPTER_FILE not in version.files:
        return None
    try:
        return str(parse_json(version.files["model.json"])["base"]["sha256"])
    except (LookupError, TypeError, ValueError) as error:
        raise ArtefactRefused(
            f"Version {version.version} of {version.name!r} has an adapter and does not say for which model.",
            hint=f"Train it again: coterie train {version.name}",
        ) from error


def model_of(card: SpecialistCard, section: SpecialistSection, models: Mapping[str, Engine]) -> Engine:
    """Return the engine that a section names. Raises `ConfigError` when there is none."""
    if section.model is None or section.model not in models:
        raise ConfigError(
            f"specialists.{card.name}.model is {section.model!r}; the open models are {sorted(models)}.",
            hint=f"Correct `model` of specialists.{card.name} in coterie.toml.",
        )
    return models[section.model]


# --- A version's own encoder: its files among the others, under a prefix.

_PREFIX = "encoder."


def own_encoder_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return an encoder's files under the names that they have in a version."""
    return {_PREFIX + name: content for name, content in files.items()}


def load_own_encoder(name: str, files: Mapping[str, bytes]) -> OnnxEncoder:
    """Load the encoder from a version's files. Raises `KeyError` if it is incomplete, `ArtefactRefused` if damaged."""
    # Imported here: other specialists need no onnxruntime.
    from coterie.engines.onnx import ENCODER_FILES, OnnxEncoder  # noqa: PLC0415

    own = {file: files[_PREFIX + file] for file in ENCODER_FILES}
    return OnnxEncoder(own, name=f"encoder of {name}", location=f"specialist {name}")


def load_own_tagger(name: str, files: Mapping[str, bytes]) -> OnnxTagger:
    """Load the tagger from a version's files. Raises `KeyError` if it is incomplete, `ArtefactRefused` if damaged."""
    from coterie.engines.onnx import ENCODER_FILES, OnnxTagger  # noqa: PLC0415 - as above

    own = {file: files[_PREFIX + file] for file in ENCODER_FILES}
    return OnnxTagger(own, name=f"encoder of {name}", location=f"specialist {name}")


@dataclass(frozen=True, kw_only=True)
class Prompting:
    """The prompt of a `classify` specialist on the rung `slm`; stored with the version under `prompt`."""

    instruction: str = ""
    """First line of the prompt; empty for none."""
    text: str = "Text:"
    """Words before the text."""
    answer: str = "Label:"
    """Words before the answer, at the end of the prompt."""

    def __post_init__(self) -> None:
        if not self.answer:
            raise ValueError("its prompt ends with nothing")

    def prompt(self, text: str) -> str:
        """Return the prompt for a text, put on one line so that it cannot look like the rest of the prompt."""
        lines = (self.instruction, f"{self.text} {' '.join(text.split())}", self.answer)
        return "\n".join(line for line in lines if line)


def answers(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the model's answer for each label: `card_arrival` as " card arrival", or the label where these clash.

    In training, the end of the turn follows the answer, so that a label that is a prefix of another is told apart
    from it.
    """
    words = [re.sub(r"[\W_]+", " ", label).strip() for label in labels]
    if len(set(words)) < len(words) or not all(words):
        words = list(labels)
    return tuple(f" {word}" for word in words)
