"""The header of a GGUF file, read without loading the model.

It is used to refuse incomplete models and adapters before native code reads them, and to know the control tokens that
a message must not inject into the prompt. Format: ggml's `docs/gguf.md`, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coterie.errors import ArtefactRefused

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""`struct` codes of the metadata types."""
_CONTROL_TOKEN = 3
_PLAIN_TYPES = {0: 4, 1: 2, 30: 2}
"""Bytes per number of the unquantised tensor types: f32, f16, bf16. llama.cpp itself checks the others."""
_LONGEST = 1 << 28
"""Bytes of a string or items of an array above which a header counts as damaged."""


@dataclass(frozen=True, kw_only=True)
class GGUFHeader:
    """The metadata that Coterie uses."""

    architecture: str
    context_length: int | None
    """Context length in tokens that the model was trained for; None when the file does not state it."""
    control_tokens: tuple[str, ...]
    """Texts that the tokenizer turns into control tokens, such as `<|im_end|>`; longest first."""
    end_of_turn: int | None = None
    """The token that ends an answer; None when the file does not state it."""
    metadata: Mapping[str, object]
    """All metadata of the file."""
    tensors: Mapping[str, tuple[int, ...]]
    """Shapes by name, innermost dimension first, as in ggml."""


def read_gguf_header(path: Path) -> GGUFHeader:
    """Read and check a header. Raises `ArtefactRefused` for an incomplete or other file."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(_Reader(data))
    except (OSError, ValueError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise ArtefactRefused(
            f"{str(path)!r} is not a complete GGUF file: {error}.",
            hint="Fetch it again: `coterie models pull NAME` for a model of `coterie models list`.",
        ) from error


class _Reader:
    """Reads values from the beginning of a file, one after the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.at = 0

    @property
    def size(self) -> int:
        return len(self._data)

    def take(self, count: int) -> bytes:
        if count > _LONGEST or self.at + count > self.size:
            raise ValueError(f"the header wants {count} bytes at {self.at}, the file has {self.size}")
        self.at += count
        return self._data[self.at - count : self.at]

    def number(self, code: str) -> int:
        (value,) = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))
        return int(value)

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8", "replace")

    def value(self, kind: int) -> object:
        """Return a metadata value of the type with this number."""
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise ValueError(f"the header has a value of unknown type {kind}")
        (value,) = struct.unpack(f"<{_SCALARS[kind]}", self.take(struct.calcsize(f"<{_SCALARS[kind]}")))
        return value

    def _array(self) -> list[object] | tuple[object, ...]:
        kind, count = self.number("I"), self.number("Q")
        if count > _LONGEST:
            raise ValueError(f"the header has an array of {count} items")
        if kind in _SCALARS:
            code = f"<{count}{_SCALARS[kind]}"
            return struct.unpack(code, self.take(struct.calcsize(code)))
        if kind != _STRING:
            raise ValueError(f"the header has an array of unknown type {kind}")
        return [self.text() for _ in range(count)]


def _parse(reader: _Reader) -> GGUFHeader:
    if (magic := reader.take(4)) != _MAGIC:
        raise ValueError(f"it begins with {magic!r}, not {_MAGIC!r}")
    if (version := reader.number("I")) not in _VERSIONS:
        raise ValueError(f"its format version is {version}; known are {_VERSIONS}")
    tensors, pairs = reader.number("Q"), reader.number("Q")
    metadata: dict[str, object] = {}
    for _ in range(pairs):
        key = reader.text()
        metadata[key] = reader.value(reader.number("I"))
    alignment = metadata.get("general.alignment", 32)
    shapes = _read_tensors(reader, tensors, alignment if isinstance(alignment, int) and alignment > 0 else 32)
    architecture = str(metadata.get("general.architecture", "unknown"))
    length = metadata.get(f"{architecture}.context_length")
    end = metadata.get("tokenizer.ggml.eos_token_id")
    return GGUFHeader(
        architecture=architecture,
        context_length=length if isinstance(length, int) else None,
        control_tokens=_control_tokens(metadata),
        end_of_turn=end if isinstance(end, int) else None,
        metadata=metadata,
        tensors=shapes,
    )


def _read_tensors(reader: _Reader, tensors: int, alignment: int) -> dict[str, tuple[int, ...]]:
    """Read shapes by name. Every tensor must begin inside the file, and end there if its type has a known size."""
    shapes, last = {}, 0
    for _ in range(tensors):
        name = reader.text()
        shapes[name] = tuple(reader.number("Q") for _ in range(reader.number("I")))
        size = _PLAIN_TYPES.get(reader.number("I"), 0) * math.prod(shapes[name])
        last = max(last, reader.number("Q") + max(size - 1, 0))
    begin = -(-reader.at // alignment) * alignment
    if tensors == 0 or begin + last >= reader.size:
        raise ValueError(f"its last of {tensors} tensors lies at {begin + last}, the file has {reader.size} bytes")
    return shapes


def _control_tokens(metadata: dict[str, object]) -> tuple[str, ...]:
    tokens = metadata.get("tokenizer.ggml.tokens")
    kinds = metadata.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list) or not isinstance(kinds, tuple):
        return ()
    control = {str(token) for token, kind in zip(tokens, kinds, strict=False) if kind == _CONTROL_TOKEN}
    return tuple(sorted(control - {""}, key=lambda token: (-len(token), token)))
