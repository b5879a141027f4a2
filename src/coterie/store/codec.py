"""Values as JSON and back, driven by the dataclasses themselves: a new field needs no line here.

Fields left out of comparison (vectors) are left out of the JSON too. A field that a stored value lacks takes
its default, one that no longer exists is passed over, so old rows stay readable.
"""

from __future__ import annotations

import json
import numbers
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache, partial
from types import SimpleNamespace, UnionType
from typing import TypeVar, Union, cast, get_args, get_origin, get_type_hints

from coterie.types import Reason

T = TypeVar("T")
Revive = Callable[[object], object]

_UNRESOLVED = {"np": SimpleNamespace(ndarray=object)}
"""Names that the value types import for type checkers only; the fields that use them are never stored."""


def to_json(value: object) -> str:
    """A dataclass as JSON in ASCII, which any text survives, lone surrogates included."""
    return json.dumps(value, default=_plain, separators=(",", ":"))


def from_json(kind: type[T], text: str) -> T:
    """The dataclass `kind` from its JSON. Raises `ValueError` or `TypeError` if it is not one."""
    return from_plain(kind, json.loads(text))


def from_plain(kind: type[T], data: object) -> T:
    """The dataclass `kind` from its JSON as it was parsed. Raises `ValueError` or `TypeError` if it is not one."""
    value = _reviver(cast("Hashable", kind))(data)
    if not isinstance(value, kind):
        raise TypeError(f"expected the JSON of a {kind.__name__}")
    return value


def _plain(value: object) -> object:
    """One value that JSON has no form for, as one that it has."""
    if isinstance(value, Reason):
        return value.to_json()
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


@cache
def _reviver(kind: object) -> Revive:
    """What makes a value of type `kind` of JSON data; found once a type, as a long session has many of each."""
    if get_origin(kind) in (Union, UnionType):
        return _member_reviver([member for member in get_args(kind) if member is not type(None)])
    if get_origin(kind) is tuple:
        each = _reviver(get_args(kind)[0])
        return lambda data: tuple(map(each, data)) if isinstance(data, list) else data
    if kind is Reason:
        return lambda data: Reason.from_json(data) if data else None
    if isinstance(kind, type) and is_dataclass(kind):
        return partial(_revive_dataclass, kind)
    if isinstance(kind, type) and issubclass(kind, Decimal | Enum):
        return lambda data: kind(data) if isinstance(data, str) else data
    return _as_it_is


def _member_reviver(members: Sequence[object]) -> Revive:
    """For a union: a tuple is a list in JSON, and plain values stand for themselves."""
    listed = next((_reviver(member) for member in members if get_origin(member) is tuple), _as_it_is)
    other = _reviver(members[0]) if len(members) == 1 else _as_it_is
    return lambda data: listed(data) if isinstance(data, list) else other(data)


def _revive_dataclass(kind: Callable[..., object], data: object) -> object:
    if not isinstance(data, dict):
        return data
    return kind(**{name: revive(data[name]) for name, revive in _revivers(kind) if name in data})


@cache
def _revivers(kind: type) -> Sequence[tuple[str, Revive]]:
    return [(name, _reviver(hint)) for name, hint in _stored(kind).items()]


def _as_it_is(data: object) -> object:
    return data


@cache
def _stored(kind: type) -> dict[str, object]:
    """The fields of a dataclass that are stored, with their types."""
    hints = get_type_hints(kind, localns=_UNRESOLVED)
    return {field.name: hints[field.name] for field in fields(kind) if field.compare}
