import struct

import pytest

from coterie.engines.gguf import read_gguf_header
from coterie.errors import ArtefactRefused


def text(value):
    """A string as GGUF writes it."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, kind, packed):
    """One line of metadata."""
    return text(key) + struct.pack("<I", kind) + packed


def array(kind, items):
    """An array of packed items."""
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


PAIRS = [
    pair("general.architecture", 8, text("llama")),
    pair("llama.context_length", 4, struct.pack("<I", 8192)),
    pair("some.flag", 7, b"\x01"),
    pair("some.floats", 9, array(6, [struct.pack("<f", 1.5)] * 3)),
    pair("tokenizer.ggml.tokens", 9, array(8, [text("<s>"), text("the"), text("<|im_end|>"), text("")])),
    pair("tokenizer.ggml.token_type", 9, array(5, [struct.pack("<i", kind) for kind in (3, 1, 3, 3)])),
]


def gguf(*, pairs=PAIRS, magic=b"GGUF", version=3, offset=0, tensors=1, data=64):
    """A GGUF file of one tensor."""
    tensor = text("weight") + struct.pack("<I", 1) + struct.pack("<Q", 16) + struct.pack("<IQ", 0, offset)
    head = magic + struct.pack("<IQQ", version, tensors, len(pairs)) + b"".join(pairs) + tensor * tensors
    return head + b"\0" * (-len(head) % 32 + data)


def read(tmp_path, content):
    """The header of a file with this content."""
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    return read_gguf_header(path)


def test_header(tmp_path):
    """Architecture, trained window and control tokens (longest first, the empty one left out) are read."""
    header = read(tmp_path, gguf())
    assert header.architecture == "llama"
    assert header.context_length == 8192
    assert header.control_tokens == ("<|im_end|>", "<s>")


def test_bare_header(tmp_path):
    """A file that says nothing of itself is read all the same."""
    header = read(tmp_path, gguf(pairs=[]))
    assert (header.architecture, header.context_length, header.control_tokens) == ("unknown", None, ())


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty file"),
        (b"<html>404</html>", "begins with b'<htm'"),
        (gguf(magic=b"FUGG"), "begins with b'FUGG'"),
        (gguf(version=99), "version is 99"),
        (gguf(tensors=0), "last of 0 tensors"),
        (gguf(offset=1 << 20), "last of 1 tensors lies at"),
        (gguf(data=0), "last of 1 tensors lies at"),
        (gguf(pairs=[pair("x", 77, b"")]), "unknown type 77"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 1 << 60), "wants 1152921504606846976 bytes"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60), "wants 8 bytes"),
        (gguf(pairs=[pair("x", 9, struct.pack("<IQ", 6, 1 << 60))]), "array of"),
    ],
)
def test_refused(tmp_path, content, found):
    """What is no complete GGUF is refused, with what was found and what to do."""
    with pytest.raises(ArtefactRefused, match="not a complete GGUF") as refusal:
        read(tmp_path, content)
    assert found in refusal.value.message
    assert "models pull" in refusal.value.hint


def test_truncated_anywhere(tmp_path):
    """Cut after any byte of its header, it is refused; nothing else is raised."""
    whole = gguf()
    for length in range(1, len(whole) - 64):
        with pytest.raises(ArtefactRefused):
            read(tmp_path, whole[:length])


def test_nested_arrays(tmp_path):
    """Arrays nested without end are refused, not followed into a crash."""
    nested = pair("x", 9, struct.pack("<IQ", 9, 1) * 5000)
    with pytest.raises(ArtefactRefused):
        read(tmp_path, gguf(pairs=[nested]))


def test_no_file(tmp_path):
    """A path without a file is refused too."""
    with pytest.raises(ArtefactRefused, match="No such file"):
        read_gguf_header(tmp_path / "none.gguf")
