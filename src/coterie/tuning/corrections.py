"""Corrections of published encoders, so that they tell names of options apart: LoRA matrices that are added once.

A text about a job and the name of the job are alike in another way than two texts are. Each file of `options/` has
the thin matrices of one encoder (Hu et al. 2021), trained on texts and names of public sets of intents
(`scripts/options_train.py`). The encoder that is built with them is an encoder like any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from coterie.errors import ArtefactRefused, InputError

if TYPE_CHECKING:
    import torch

CORRECTED = "+options"
"""Behind the name of an encoder: the encoder with its correction."""
FOLDER = Path(__file__).parent / "options"
"""A file an encoder, named as the encoder without its owner."""


def read_correction(name: str, sha256: str, folder: Path = FOLDER) -> Mapping[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return the two matrices by the weight that they correct.

    Args:
        name: The encoder's.
        sha256: Of its weights: a correction of other ones would be noise.
        folder: Where the files are.

    Raises:
        InputError: there is none for this encoder.
        ArtefactRefused: the weights are others than those it was trained on, or the file is damaged.
    """
    import torch  # noqa: PLC0415 - an extra

    path = folder / f"{name.partition('@')[0].rpartition('/')[2]}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in folder.glob("*.safetensors")))
        raise InputError(f"No correction of {name!r} comes with Coterie.", hint=f"There are those of {known}.")
    try:
        content = path.read_bytes()
        about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        base, scale = about["base_sha256"], float(about["scale"])
        arrays = {key: torch.from_numpy(value).float() for key, value in load_arrays(content).items()}
        ends = {key.removesuffix(".lora_a") for key in arrays if key.endswith(".lora_a")}
        pairs = {f"{key}.weight": (arrays[f"{key}.lora_a"], scale * arrays[f"{key}.lora_b"]) for key in ends}
    except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
        raise ArtefactRefused(f"{str(path)!r} cannot be read: {type(error).__name__} {error}.") from error
    if base != sha256:
        raise ArtefactRefused(
            f"The correction of {name!r} belongs to weights {base[:16]}; these are {sha256[:16]}.",
            hint=f"Pull the encoder at the revision that it was made for, or without {CORRECTED!r}.",
        )
    return pairs


def corrected(
    weights: Mapping[str, torch.Tensor], correction: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """Return the weights with a correction added. Raises `ArtefactRefused` if it is of another shape."""
    changed = dict(weights)
    for name, (a, b) in correction.items():  # (R, I), (O, R)
        if name not in weights or tuple(weights[name].shape) != (b.shape[0], a.shape[1]):
            raise ArtefactRefused(f"The correction has {name!r} of {b.shape[0]} x {a.shape[1]}, the encoder has not.")
        changed[name] = weights[name] + b @ a
    return changed
