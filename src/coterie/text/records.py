"""Records as text: the same form of fields in training and in use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from coterie.errors import InputError
from coterie.runtime.codec import parse_json
from coterie.types import Message, Scalar

_DEEPEST = 32


def render_record(value: object) -> str:
    """Return plain JSON as text: a line per field, `name: value`, in the order of the names.

    Fields of objects within objects have dotted names, items of a list numbers from 1, and a list of plain values is
    one line. Fields that are null or empty are left out, and `43.0` is written `43`: a record of a CSV file has the
    same text as the same record in JSON. A text is left unchanged. Raises `InputError` for anything but plain JSON.
    """
    return "\n".join(f"{name}: {text}" if name else text for name, text in _lines("", value, 0) if text)


def read_record(text: str) -> Mapping[str, object] | None:
    """Return the JSON object that the whole text is, as in a column of an export; None for any other text."""
    try:
        record = parse_json(text) if text.lstrip().startswith("{") else None
    except ValueError:
        return None
    return record if isinstance(record, dict) and record else None


def cells_of(value: Mapping[str, object]) -> dict[str, Scalar]:
    """Return the values of an object by the names that `render_record` gives them, in its order: columns of input.

    The values of a list are given as text.
    """
    cells: dict[str, Scalar] = {}
    for name in sorted(value, key=str):
        match value[name]:
            case Mapping() as inner:
                cells |= {f"{name}.{key}": cell for key, cell in cells_of(inner).items()}
            case list() | tuple() as items:
                cells |= {key: text for key, text in _lines(str(name), items, 0) if text}
            case None | str() | int() | float() as cell:
                cells[str(name)] = cell
    return cells


def render_columns(columns: Mapping[str, Scalar]) -> str:
    """Return columns with dotted names in the form that `render_record` gives their record."""
    names = sorted(columns, key=lambda name: [(len(part) * part.isdigit(), part) for part in name.split(".")])
    return "\n".join(f"{name}: {text}" for name in names if (text := _scalar(columns[name])))


def part_of(columns: Mapping[str, Scalar], names: Sequence[str]) -> dict[str, Scalar]:
    """Return the columns of these fields of a record, and of fields within them."""
    within = tuple(f"{name}." for name in names)
    return {column: cell for column, cell in columns.items() if f"{column}.".startswith(within)}


def render_messages(turns: Sequence[Message]) -> str:
    """Return a conversation as text, a turn per line with its role; only the text of a single turn of the user."""
    if len(turns) == 1 and turns[0].role == "user":
        return turns[0].text
    return "\n".join(f"{turn.role}: {turn.text}" for turn in turns)


def _lines(name: str, value: object, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _DEEPEST:
        raise InputError(f"A record is nested more than {_DEEPEST} levels deep.", hint="Send a flatter object.")
    match value:
        case Mapping():
            for key in sorted(value, key=str):
                yield from _lines(f"{name}.{key}" if name else str(key), value[key], depth + 1)
        case list() | tuple() if name and not any(isinstance(item, Mapping | list | tuple) for item in value):
            yield name, ", ".join(filter(None, map(_scalar, value)))
        case list() | tuple():
            for number, item in enumerate(value, start=1):
                plain = not name and not isinstance(item, Mapping | list | tuple)
                yield from _lines("" if plain else f"{name}.{number}".lstrip("."), item, depth + 1)
        case _:
            yield name, _scalar(value)


def _scalar(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e16:
            return str(int(value))
        case int() | float():
            return str(value)
        case str():
            return value.strip() if value.isascii() or _is_unicode(value) else _refuse("half a surrogate pair")
    return _refuse(f"a {type(value).__name__}")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _refuse(value: str) -> str:
    raise InputError(f"A record holds {value}.", hint="It holds objects, lists, texts, numbers, true, false or null.")
