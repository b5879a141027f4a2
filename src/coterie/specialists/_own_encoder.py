"""A version's own encoder: its files among the others, under a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coterie.engines import OnnxEncoder, OnnxTagger

_PREFIX = "encoder."


def own_encoder_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """An encoder's files under the names that a version gives them."""
    return {_PREFIX + name: content for name, content in files.items()}


def load_own_encoder(name: str, files: Mapping[str, bytes]) -> OnnxEncoder:
    """The encoder among a version's files. Raises `KeyError` if it is not whole, `ArtefactRefused` if damaged."""
    # Imported here: other specialists need no onnxruntime.
    from coterie.engines import ENCODER_FILES, OnnxEncoder  # noqa: PLC0415

    own = {file: files[_PREFIX + file] for file in ENCODER_FILES}
    return OnnxEncoder(own, name=f"encoder of {name}", place=f"specialist {name}")


def load_own_tagger(name: str, files: Mapping[str, bytes]) -> OnnxTagger:
    """The tagger among a version's files. Raises `KeyError` if it is not whole, `ArtefactRefused` if damaged."""
    from coterie.engines import ENCODER_FILES, OnnxTagger  # noqa: PLC0415 - as above

    own = {file: files[_PREFIX + file] for file in ENCODER_FILES}
    return OnnxTagger(own, name=f"encoder of {name}", place=f"specialist {name}")
