"""Values as JSON and back, driven by the types themselves (a new field of a dataclass needs no line here); and copies.

| type | in JSON |
|---|---|
| dataclass | an object with a key for each field |
| named tuple, tuple, list, `Sequence` | an array |
| `Mapping` with text keys | an object |
| `Enum` | its value |
| `Reason` | its code, values and notes; `readable` writes words, code and values beside each other |
| `Decimal` | text, so that no digit is lost; `readable` writes a number |
| `Literal`, `str`, `int`, `float`, `bool`, `None` | itself |
| a union | its member; of dataclasses, the one whose `Literal` field (its tag) has the value |

Fields without comparison (`field(compare=False)`: vectors, caches) are left out. A field that the JSON lacks
takes its default. `types.shown.stored` gives a field another key, or keys that it had before.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache, cached_property
from operator import attrgetter
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from coterie.types.reason import Reason
from coterie.types.shown import key_of

T = TypeVar("T")
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Unknown = Literal["refuse", "ignore"]
"""Handling of a key that no field has."""
_Decode = Callable[[object], Any]

_UNRESOLVED = {"np": SimpleNamespace(ndarray=object, generic=object)}
"""Names that value types import for type checkers only; the fields that use them are left out."""
_LARGEST_EXPONENT = 100
_LONGEST = 60  # characters of a value that an error shows


class DecodeError(ValueError):
    """JSON that is not a value of the type: the path to the wrong part, and the error."""

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(f"{path.removeprefix('.')}: {problem}" if path else problem)
        self.problem, self.path = problem, path

    def within(self, step: str) -> DecodeError:
        """Return the same error with the path extended by an outer step."""
        return DecodeError(self.problem, step + self.path)


# --- To JSON -------------------------------------------------------------------------------------


def dumps(value: object) -> str:
    """Return a value as one line of JSON in ASCII, which represents any text, lone surrogates included."""
    return _encoder().encode(value)


@cache
def _encoder() -> json.JSONEncoder:
    return json.JSONEncoder(
        default=_opened, separators=(",", ":"), check_circular=False
    )  # frozen values hold no circle


def to_json(value: object) -> Any:  # noqa: ANN401 - JSON, whose shape the caller knows
    """Return a value as parsed JSON, from which `from_json` makes an equal one."""
    return _walk(value, _itself)


def readable(value: object) -> Any:  # noqa: ANN401 - JSON, whose shape the caller knows
    """Return a value as parsed JSON for readers: money is a number, and non-JSON values (NaN, infinity) are null."""
    return _walk(value, _shown)


_THEMSELVES = frozenset({str, int, bool, NoneType})
"""Types that are the same in JSON. A look-up of the type takes a tenth of the time of an `isinstance` test."""


def _walk(value: object, number: Callable[[float | Decimal], object]) -> object:
    kind = type(value)
    if kind in _THEMSELVES:
        return value
    if kind is float:
        return number(value)  # type: ignore[arg-type]
    if kind is tuple or kind is list:
        return [_walk(item, number) for item in value]  # type: ignore[attr-defined]
    if kind is dict:
        return _walk_object(value, number)  # type: ignore[arg-type]
    return _walk_other(value, number)


def _walk_other(value: object, number: Callable[[float | Decimal], object]) -> object:
    if isinstance(value, bool | int | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float | Decimal):
        return number(value)
    if isinstance(value, Mapping):
        return _walk_object(value, number)
    if isinstance(value, list | tuple):
        return [_walk(item, number) for item in value]
    return _walk(_opened(value), number)


def _walk_object(value: Mapping[Any, object], number: Callable[[float | Decimal], object]) -> dict[str, object]:
    """Return the members of an object; for readers the code and values of a reason stand beside its words."""
    walked: dict[str, object] = {}
    for key, item in value.items():
        if type(item) in _THEMSELVES:
            walked[str(key)] = item
        elif isinstance(item, Reason) and number is _shown:
            for name, described in item.described(str(key)).items():
                walked[name] = _walk(described, number)
        else:
            walked[str(key)] = _walk(item, number)
    return walked


def _itself(value: float | Decimal) -> object:
    return str(value) if isinstance(value, Decimal) else value


def _shown(value: float | Decimal) -> object:
    return float(value) if math.isfinite(value) else None


_FORMS: dict[type, Callable[[Any], object]] = {}
"""Converters of values by class, cached."""


def _opened(value: object) -> object:
    """Convert a value without a JSON form into one that has it; its contents may be of any kind."""
    kind = type(value)
    form = _FORMS.get(kind)
    if form is None:
        form = _FORMS[kind] = _form_of(kind)
    return form(value)


def _form_of(kind: type) -> Callable[[Any], object]:
    """Return the converter of a class's values. Raises `TypeError` if JSON has no form for them."""
    if issubclass(kind, Reason):
        return Reason.to_json
    if issubclass(kind, Enum):
        return attrgetter("_value_")
    if is_dataclass(kind):
        keys = _keys(kind)
        return attrgetter("__dict__") if _is_plain(kind) else lambda value: {key: getattr(value, n) for n, key in keys}
    # Numpy's numbers are none of Python's.
    for classes, form in ((Decimal, str), (Mapping, dict), (numbers.Integral, int), (numbers.Real, float)):
        if issubclass(kind, classes):
            return form
    raise TypeError(f"a {kind.__name__!r} has no form in JSON")


def _is_plain(kind: type) -> bool:
    """Return whether a value's own `__dict__` is its JSON form; receivers do not write into it."""
    members = [item for base in kind.__mro__ for item in vars(base).items()]
    more = any(name == "__slots__" or isinstance(member, cached_property) for name, member in members)
    own = fields(kind)
    return not more and all(field.compare and (key_of(field).name or field.name) == field.name for field in own)


@cache
def _keys(kind: type) -> Sequence[tuple[str, str]]:
    return [(field.name, key_of(field).name or field.name) for field in fields(kind) if field.compare]


# --- From JSON -----------------------------------------------------------------------------------


def loads(kind: type[T], text: str | bytes, *, unknown: Unknown = "refuse") -> T:
    """Return a value of type `kind` from its JSON. Raises `ValueError` if the text is not JSON, or no such value."""
    return from_json(kind, parse_json(text), unknown=unknown)


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - JSON, whose shape the caller knows
    """Parse JSON. Raises `ValueError`, also if it is nested too deeply for Python's parser."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


_MOST_DIGITS = 400
"""Most digits of a whole number; no 64-bit number has as many."""


def strict_json(text: bytes) -> Any:  # noqa: ANN401 - JSON, whose shape the caller knows
    """Parse JSON that every reader interprets in the same way.

    Raises `ValueError` for invalid JSON, NaN, half a surrogate pair, a whole number of more than 400 digits, and
    a name that occurs twice in one object.
    """
    try:
        document = json.loads(text.decode(), object_pairs_hook=each_once, parse_constant=_refuse, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if b"\\u" in text:  # only an escape can make one: bytes that hold one are no UTF-8
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half a surrogate pair is no text") from None
    return document


def each_once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """An object of pairs. Raises `ValueError` for a name that is given twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:100]!r} is given twice in one object")
    return members


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits; at most {_MOST_DIGITS} are read")
    return int(digits)


def from_json(kind: type[T], data: object, *, unknown: Unknown = "refuse") -> T:
    """Return a value of type `kind` from parsed JSON.

    Args:
        kind: A dataclass, or any type of the table above.
        data: The JSON.
        unknown: Whether a key that no field has is an error, or is ignored.

    Raises:
        DecodeError: the JSON is no such value, or the class refuses it; the error names the path.
        TypeError: `kind` is, or has a field of, a type that has no form in JSON.
    """
    return cast("T", _decoder(cast("Hashable", kind), unknown)(data))


@cache
def _decoder(kind: Any, unknown: Unknown) -> _Decode:  # noqa: ANN401, PLR0911 - any type, each with its own decoder
    """Return the function that makes a value of type `kind` from JSON; cached for each type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin in (Union, UnionType):
        return _union(arguments, unknown)
    if origin is Literal:
        return _one_of(arguments)
    if origin is tuple and arguments[1:] != (...,):
        return _fixed([_decoder(argument, unknown) for argument in arguments], tuple)
    if origin in (tuple, list, Sequence):
        return _array(_decoder(arguments[0], unknown), list if origin is list else tuple)
    if origin in (Mapping, dict):
        return _object(_decoder(arguments[1], unknown))
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass(kind, unknown)
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        hints = get_type_hints(kind, localns=_UNRESOLVED)
        return _fixed([_decoder(hints[name], unknown) for name in kind._fields], lambda values: kind(*values))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _converted(kind, str)
    raise TypeError(f"{kind!r} has no form in JSON")


def _shortened(data: object) -> str:
    text = repr(data)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _reason(data: object) -> Reason:
    try:
        return Reason.from_json(data)
    except TypeError as error:
        raise DecodeError(f"expected a reason, found {_shortened(data)}") from error


def _plain(kind: type, expected: str) -> _Decode:
    def decode_plain(data: object) -> object:
        if type(data) is not kind:
            raise DecodeError(f"expected {expected}, found {_shortened(data)}")
        return data

    return decode_plain


def _number(data: object) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise DecodeError(f"expected a number, found {_shortened(data)}")
    return data


def _converted(kind: Callable[[Any], object], source: type) -> _Decode:
    def decode_converted(data: object) -> object:
        if not isinstance(data, source):
            raise DecodeError(f"expected {getattr(kind, '__name__', kind)} as text, found {_shortened(data)}")
        try:
            return kind(data)
        except (ValueError, ArithmeticError) as error:
            raise DecodeError(f"{_shortened(data)} is no {getattr(kind, '__name__', kind)}") from error

    return decode_converted


def _decimal(text: str) -> Decimal:
    """Return an amount whose sums and products fit; those of `1e999999999` do not."""
    amount = Decimal(text)
    if amount.is_finite() and abs(amount.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError
    return amount


_PLAIN: dict[object, _Decode] = {
    object: lambda data: data,
    Any: lambda data: data,
    str: _plain(str, "a text"),
    int: _plain(int, "a whole number"),
    bool: _plain(bool, "true or false"),
    float: _number,
    NoneType: _plain(NoneType, "null"),
    Decimal: _converted(_decimal, str),
    Reason: _reason,
}


def _one_of(choices: Sequence[object]) -> _Decode:
    def decode_choice(data: object) -> object:
        if not any(data == choice and type(data) is type(choice) for choice in choices):
            raise DecodeError(f"expected one of {list(choices)}, found {_shortened(data)}")
        return data

    return decode_choice


def _array(item: _Decode, build: Callable[[list[Any]], object]) -> _Decode:
    def decode_array(data: object) -> object:
        if not isinstance(data, list):
            raise DecodeError(f"expected an array, found {_shortened(data)}")
        values: list[object] = []
        try:
            for element in data:
                values.append(item(element))  # noqa: PERF401 - its length is the place of an error
        except DecodeError as error:
            raise error.within(f"[{len(values)}]") from error
        return build(values)

    return decode_array


def _fixed(items: Sequence[_Decode], build: Callable[[list[Any]], object]) -> _Decode:
    """Return a decoder of a tuple of a fixed length, whose members have a type each."""

    def decode_fixed(data: object) -> object:
        if not isinstance(data, list) or len(data) != len(items):
            raise DecodeError(f"expected an array of {len(items)}, found {_shortened(data)}")
        values: list[object] = []
        try:
            for item, element in zip(items, data, strict=True):
                values.append(item(element))
        except DecodeError as error:
            raise error.within(f"[{len(values)}]") from error
        return build(values)

    return decode_fixed


def _object(item: _Decode) -> _Decode:
    def decode_object(data: object) -> object:
        if not isinstance(data, dict):
            raise DecodeError(f"expected an object, found {_shortened(data)}")
        values: dict[str, object] = {}
        for key, value in data.items():
            try:
                values[key] = item(value)
            except DecodeError as error:
                raise error.within(f"[{key!r}]") from error
        return values

    return decode_object


class _Member(NamedTuple):
    """A field of a dataclass: its keys in JSON, and its decoder."""

    name: str
    keys: tuple[str, ...]
    decode: _Decode
    required: bool


@cache
def _members(kind: type, unknown: Unknown) -> Sequence[_Member]:
    hints = get_type_hints(kind, localns=_UNRESOLVED)
    return [
        _Member(
            name=field.name,
            keys=(key_of(field).name or field.name, *key_of(field).aliases),
            decode=_decoder(hints[field.name], unknown),
            required=field.default is MISSING and field.default_factory is MISSING,
        )
        for field in fields(kind)
        if field.compare and field.init
    ]


def _dataclass(kind: type, unknown: Unknown) -> _Decode:
    def decode_dataclass(data: object) -> object:
        if not isinstance(data, dict):
            raise DecodeError(f"expected the object of a {kind.__name__}, found {_shortened(data)}")
        members = _members(kind, unknown)  # not before it is used: a type may have a field of its own type
        values, read = dict[str, object](), 0
        for name, keys, decode_member, required in members:
            key = keys[0] if keys[0] in data else next((key for key in keys[1:] if key in data), None)
            if key is None:
                if required:
                    raise DecodeError(f"a {kind.__name__} needs {keys[0]!r}, which is missing")
                continue
            read += 1
            try:
                values[name] = decode_member(data[key])
            except DecodeError as error:
                raise error.within(f".{key}") from error
        if read < len(data) and unknown == "refuse":
            known_keys = {key for member in members for key in member.keys}
            raise DecodeError(f"a {kind.__name__} has no {sorted(data.keys() - known_keys)}")
        try:
            return kind(**values)
        except ValueError as error:  # the class refuses its values
            raise DecodeError(str(error)) from error

    return decode_dataclass


def _union(kinds: Sequence[Any], unknown: Unknown) -> _Decode:
    """Return a decoder of the matching member: plain types by the data's own type, dataclasses by their tag."""
    classes = [kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)]
    plain = [_decoder(kind, unknown) for kind in kinds if kind not in classes and kind is not NoneType]
    tagged = _tagged(classes, unknown) if classes else None
    optional = NoneType in kinds

    def decode_union(data: object) -> object:
        if optional and (data is None or (data == "" and classes == [Reason])):  # as it was before there were codes
            return None
        if tagged is not None and (isinstance(data, dict) or not plain):
            return tagged(data)
        if len(plain) == 1:
            return plain[0](data)  # its own error has the path
        for decoder in plain:
            try:
                return decoder(data)
            except DecodeError:
                continue
        names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
        raise DecodeError(f"expected {names}, found {_shortened(data)}")

    return decode_union


def _tagged(classes: Sequence[type], unknown: Unknown) -> _Decode:
    """Return a decoder of one of several dataclasses, by the `Literal` field that they share."""
    if len(classes) == 1:
        return _decoder(classes[0], unknown)
    choices = [
        {
            name: get_args(hint)
            for name, hint in get_type_hints(kind, localns=_UNRESOLVED).items()
            if get_origin(hint) is Literal
        }
        for kind in classes
    ]
    tag = next((name for name in choices[0] if all(name in choice for choice in choices)), None)
    if tag is None:
        raise TypeError(f"{[kind.__name__ for kind in classes]} share no Literal field that tells them apart")
    by_value = {
        value: _decoder(kind, unknown) for kind, choice in zip(classes, choices, strict=True) for value in choice[tag]
    }

    def decode_tagged(data: object) -> object:
        value = data.get(tag) if isinstance(data, dict) else None
        if not isinstance(value, Hashable) or value not in by_value:
            raise DecodeError(f"expected an object whose {tag!r} is one of {list(by_value)}, found {_shortened(data)}")
        return by_value[value](data)

    return decode_tagged


_FIELDS: dict[type, frozenset[str] | None] = {}
"""The names of a class's fields; None for a class that must be built by its `__init__`."""


def replace(value: T, /, **changes: Any) -> T:  # noqa: ANN401 - whatever the fields hold
    """Return a copy with other values in some fields, as `dataclasses.replace` does, in a quarter of its time.

    A request makes some thirty such copies. `__init__` is skipped where it would only set the fields: in classes
    without `__post_init__`, slots, fields beside those of `__init__`, and cached properties, whose values would be
    copied too. Any other class is left to `dataclasses.replace`.

    Raises:
        TypeError: there is no such field.
    """
    kind = type(value)
    if kind not in _FIELDS:
        _FIELDS[kind] = _plain_fields(kind)
    known_fields = _FIELDS[kind]
    if known_fields is None:
        return dataclasses.replace(value, **changes)  # type: ignore[type-var]
    copy = object.__new__(kind)
    own = copy.__dict__
    own.update(value.__dict__, **changes)
    if len(own) > len(known_fields):
        raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(changes.keys() - known_fields))}")
    return copy


def _plain_fields(kind: type) -> frozenset[str] | None:
    members = [item for base in kind.__mro__ for item in vars(base).items()]
    if any(name in {"__post_init__", "__slots__"} or isinstance(member, cached_property) for name, member in members):
        return None
    fields = dataclasses.fields(kind)
    return frozenset(field.name for field in fields) if all(field.init for field in fields) else None
