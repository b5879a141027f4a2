"""Keys of fields in JSON, where they are not the fields' names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field
from typing import Any, NamedTuple

_METADATA = "coterie.key"


class StoredKey(NamedTuple):
    """The key of a field in JSON."""

    name: str | None = None
    """The key; None for the field's name."""
    aliases: tuple[str, ...] = ()
    """Former keys, which still load."""


def stored(name: str | None = None, *, aliases: Sequence[str] = ()) -> dict[str, object]:
    """Return metadata of a dataclass field: its key in JSON, and former keys that still load."""
    return {_METADATA: StoredKey(name, tuple(aliases))}


def key_of(field: Field[Any]) -> StoredKey:
    """Return the key of a dataclass field in JSON."""
    key = field.metadata.get(_METADATA)
    return key if isinstance(key, StoredKey) else StoredKey()
