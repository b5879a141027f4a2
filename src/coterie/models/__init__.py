"""Model files: which are known, where they lie, and how they get onto this machine.

Only `pull` uses the network; it is imported, with the HTTP client it needs, when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face

from ._card import licence_of_card
from ._catalogue import CATALOGUE, KnownModel
from ._files import checksum_of, hash_file, models_folder
from ._locate import describe_model, installed, locate, locate_known, snapshot_of
from ._snapshot import Origin, Snapshot, locate_snapshot, snapshots

if TYPE_CHECKING:
    from ._pull import pull

__all__ = [
    "CATALOGUE",
    "KnownModel",
    "Origin",
    "Snapshot",
    "checksum_of",
    "describe_model",
    "hash_file",
    "installed",
    "licence_of_card",
    "locate",
    "locate_known",
    "locate_snapshot",
    "models_folder",
    "pull",
    "snapshot_of",
    "snapshots",
]

__getattr__ = lazy_face(__name__, {"pull": "_pull"})
