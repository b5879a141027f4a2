"""Values as JSON and back, driven by the dataclasses themselves: a new field needs no line here.

Fields left out of comparison (vectors) are left out of the JSON too. A field that a stored value lacks takes
its default, one that no longer exists is passed over, so old rows stay readable.
"""

from __future__ import annotations

import json
import numbers
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from types import SimpleNamespace, UnionType
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_UNRESOLVED = {"np": SimpleNamespace(ndarray=object)}
"""Names that the value types import for type checkers only; the fields that use them are never stored."""


def to_json(value: object) -> str:
    """A dataclass as JSON in ASCII, which any text survives, lone surrogates included."""
    return json.dumps(value, default=_plain, separators=(",", ":"))


def from_json(kind: type[T], text: str) -> T:
    """The dataclass `kind` from its JSON. Raises `ValueError` or `TypeError` if it is not one."""
    value = _revive(kind, json.loads(text))
    if not isinstance(value, kind):
        raise TypeError(f"expected the JSON of a {kind.__name__}")
    return value


def _plain(value: object) -> object:
    """One value that JSON has no form for, as one that it has."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in _stored(type(value))}
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, numbers.Integral):  # numpy's numbers are none of Python's
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"a {type(value).__name__} cannot be stored")


def _revive(kind: object, data: object) -> object:
    """The value of type `kind` that JSON `data` stands for."""
    if get_origin(kind) in (Union, UnionType):
        kind = _member(kind, data)
    if isinstance(data, list) and get_origin(kind) is tuple:
        return tuple(_revive(get_args(kind)[0], item) for item in data)
    if isinstance(data, dict) and isinstance(kind, type) and is_dataclass(kind):
        make: Callable[..., object] = kind
        return make(**{name: _revive(hint, data[name]) for name, hint in _stored(kind).items() if name in data})
    if isinstance(data, str) and isinstance(kind, type) and issubclass(kind, Decimal | Enum):
        return kind(data)
    return data


def _member(union: object, data: object) -> object:
    """Which member of a union holds `data`: a tuple is a list in JSON, and plain values stand for themselves."""
    members = [m for m in get_args(union) if m is not type(None)]
    if isinstance(data, list):
        return next((m for m in members if get_origin(m) is tuple), object)
    return members[0] if len(members) == 1 else object


@cache
def _stored(kind: type) -> dict[str, object]:
    """The fields of a dataclass that are stored, with their types."""
    hints = get_type_hints(kind, localns=_UNRESOLVED)
    return {field.name: hints[field.name] for field in fields(kind) if field.compare}
