"""Where a network's keys are: a file of its folder, or its database."""

from __future__ import annotations

from pathlib import Path

from coterie.config.file import Config
from coterie.governance.keys import KeyRing
from coterie.store.opening import database_of

_FRESH = 0.05
"""Seconds after which the file is looked at again: a key that another process revoked opens nothing after that."""


def open_keys(config: Config, folder: Path) -> KeyRing:
    """Return the keys of a network: in its folder, or in the database of `[store] url`. Raises `SetupError`."""
    if (address := database_of(config)) is None:
        return KeyRing(folder / config.gateway.keys, fresh=_FRESH)
    from coterie.governance.key_table import TableKeyRing  # noqa: PLC0415 - it needs an extra

    return TableKeyRing(address)
