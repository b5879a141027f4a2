"""Choice of a network's encoder: the bundled one, one that was pulled, or one in a folder."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from coterie.engines.onnx import BUNDLED_ENCODER, ENCODER_FILES, PROVENANCE_FILE, OnnxEncoder
from coterie.errors import ArtefactRefused, ModelMissing
from coterie.models.catalogue import Origin, models_folder
from coterie.runtime.codec import parse_json

BUNDLED = "minilm"
"""The name of the encoder in the package."""


def open_encoder(
    name: str, network_folder: Path, *, threads: int = 1, max_batch: int = 32, states: bool = False
) -> OnnxEncoder:
    """Open the encoder that `[network] encoder` names.

    Args:
        name: `minilm`; a name or `OWNER/NAME[@REVISION]` that `coterie models pull ... --languages` built; or a folder
            with `model.onnx`, `tokenizer.json` and `provenance.json`.
        network_folder: The folder to which a folder in `name` is relative.
        threads: Concurrent native calls of `encode`.
        max_batch: Texts of one native call.
        states: Whether states of tokens will be requested, as by the router.

    Raises:
        ModelMissing: it is not on this machine; the hint is the command that fetches it.
        ArtefactRefused: its files do not match its provenance.
    """
    return OnnxEncoder.read(encoder_folder(name, network_folder), threads=threads, max_batch=max_batch, states=states)


def encoder_folder(name: str, network_folder: Path) -> Path:
    """Return the folder of the encoder with this name. Raises what `open_encoder` raises."""
    if name == BUNDLED:
        return BUNDLED_ENCODER
    own, pulled = network_folder / Path(name).expanduser(), pulled_encoder(name)
    for folder in (own, pulled):
        if (folder / PROVENANCE_FILE).is_file():
            _check_revision(name, folder)
            return folder
    if own.is_dir():
        raise ModelMissing(
            f"The folder {str(own)!r} holds no encoder: it has no {PROVENANCE_FILE!r}.",
            hint=f"It needs {', '.join(ENCODER_FILES)}: `coterie models pull ... --languages` writes them.",
        )
    raise ModelMissing(
        f"Encoder {name!r} is not on this machine ({str(pulled)!r}), and there is no folder {str(own)!r}.",
        hint=f"Fetch it: coterie models pull {quote(name)} --languages de,fr (those of your texts)",
    )


def pulled_encoder(name: str) -> Path:
    """Return the folder of a pulled encoder; its revision is no part of the folder's name."""
    origin = Origin.read(name)
    return models_folder() / "encoders" / (origin.name if origin else name)


def _check_revision(name: str, folder: Path) -> None:
    """Check the revision of an encoder. Raises `ModelMissing` if another revision is requested than installed."""
    origin = Origin.read(name)
    if origin is None or origin.revision is None:
        return
    try:
        here = str(parse_json((folder / PROVENANCE_FILE).read_text(encoding="utf-8")).get("revision"))
    except (ValueError, AttributeError) as error:
        raise ArtefactRefused(f"{str(folder / PROVENANCE_FILE)!r} is damaged: {error}.") from error
    if not here.startswith(origin.revision):
        raise ModelMissing(
            f"Encoder {origin.name!r} is here at revision {here!r}, not {origin.revision!r}.",
            hint=f"Fetch it: coterie models pull {quote(name)} --languages de,fr (those of your texts)",
        )
