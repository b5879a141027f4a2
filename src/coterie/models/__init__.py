"""Model files: which are known, where they lie, and how they get onto this machine.

Only `pull` uses the network; it is imported, with the HTTP client it needs, when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face

from ._catalogue import CATALOGUE, KnownModel
from ._locate import checksum_of, describe_model, hash_file, installed, locate, locate_known, models_folder

if TYPE_CHECKING:
    from ._pull import pull

__all__ = [
    "CATALOGUE",
    "KnownModel",
    "checksum_of",
    "describe_model",
    "hash_file",
    "installed",
    "locate",
    "locate_known",
    "models_folder",
    "pull",
]

__getattr__ = lazy_face(__name__, {"pull": "_pull"})
