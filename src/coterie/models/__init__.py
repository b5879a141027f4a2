"""Model files: which are known, where they lie, and how they get onto this machine.

Only `pull` uses the network; it is imported, with the HTTP client it needs, when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._catalogue import CATALOGUE, KnownModel
from ._locate import hash_file, installed, locate, locate_known, models_folder

if TYPE_CHECKING:
    from ._pull import pull

__all__ = ["CATALOGUE", "KnownModel", "hash_file", "installed", "locate", "locate_known", "models_folder", "pull"]


def __getattr__(name: str) -> object:
    """Import `pull` when it is first asked for."""
    if name != "pull":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._pull import pull  # noqa: PLC0415 - see above

    return pull
