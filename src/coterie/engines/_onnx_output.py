"""One more output for a stored graph, without the library that edits graphs.

A file of ONNX is a Protocol Buffers message, and such messages are merged by writing one after the other: lists grow.
So the bytes of a model, followed by those of a model with nothing but one output, are the model with that output more.
https://protobuf.dev/programming-guides/encoding/#last-one-wins
"""

from __future__ import annotations

_GRAPH, _OUTPUT, _NAME, _TYPE, _TENSOR = 7, 12, 1, 2, 1
"""Field numbers of ModelProto.graph, GraphProto.output, ValueInfoProto.name and .type, TypeProto.tensor_type."""
_FLOAT = bytes([1 << 3, 1])
"""TypeProto.Tensor.elem_type = FLOAT."""


def with_output(model: bytes, name: str) -> bytes:
    """The model with the value of this name, a float tensor, among its outputs."""
    kind = _field(_TENSOR, _FLOAT)
    output = _field(_NAME, name.encode()) + _field(_TYPE, kind)
    return model + _field(_GRAPH, _field(_OUTPUT, output))


def _field(number: int, content: bytes) -> bytes:
    """A field whose content is as long as it says."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last byte have their high bit set."""
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)
