import numpy as np
import pytest

from coterie.engines.gguf import read_gguf_header
from coterie.engines.llama_native import check_adapter
from coterie.errors import ArtefactRefused
from coterie.testing import write_random_adapter
from coterie.testing.fakes import gguf_bytes

WEIGHTS = {"blk.0.attn_q.weight": np.zeros((6, 4)), "blk.0.ffn_up.weight": np.zeros((10, 4))}
ABOUT = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 16.0}
GOOD = {"blk.0.attn_q.weight.lora_a": np.zeros((2, 4)), "blk.0.attn_q.weight.lora_b": np.zeros((6, 2))}


@pytest.fixture
def base(tmp_path):
    """A base model's file: two weights."""
    path = tmp_path / "base.gguf"
    path.write_bytes(gguf_bytes({"general.architecture": "llama", "general.type": "model"}, WEIGHTS))
    return path


@pytest.fixture
def check(tmp_path, base):
    """Check a file of this content."""

    def check(content):
        path = tmp_path / "adapter.gguf"
        path.write_bytes(content)
        check_adapter("triage", path, read_gguf_header(base))

    return check


def test_fits(check):
    """Two thin matrices that make up a weight are an adapter."""
    check(gguf_bytes(ABOUT, GOOD))


def test_random(tmp_path, base):
    """The random adapter for tests is one, for every projection of the base."""
    path = write_random_adapter(tmp_path / "random.gguf", base, rank=3, projections=("attn_q", "ffn_up"))
    check_adapter("random", path, read_gguf_header(base))
    shapes = read_gguf_header(path).tensors
    assert shapes["blk.0.ffn_up.weight.lora_a"] == (4, 3)
    assert shapes["blk.0.ffn_up.weight.lora_b"] == (3, 10)
    assert len(shapes) == 4


@pytest.mark.parametrize(
    ("about", "tensors", "found"),
    [
        ({"general.type": "model"}, {}, "is a GGUF of type 'model'"),
        ({"adapter.type": "control"}, {}, r"\('control'\), not a LoRA adapter"),
        ({"general.architecture": "qwen2"}, {}, "architecture 'qwen2', the base model is 'llama'"),
        ({"adapter.lora.alpha": float("nan")}, {}, "alpha is nan"),
        ({}, {"blk.9.attn_q.weight.lora_a": np.zeros((2, 4))}, "'blk.9.attn_q.weight.lora_a', which belongs to no"),
        ({}, {"blk.0.attn_q.weight": np.zeros((6, 4))}, "belongs to no weight"),
        ({}, {"blk.0.ffn_up.weight.lora_a": np.zeros((2, 4))}, "one matrix of two"),
        ({}, {"blk.0.attn_q.weight.lora_a": np.zeros((2, 5))}, r"matrices \(5, 2\) and \(2, 6\) make no \(4, 6\)"),
        ({}, {"blk.0.attn_q.weight.lora_b": np.zeros((6, 3))}, "make no"),
    ],
)
def test_refused(check, about, tensors, found):
    """What is no adapter, or one for another model, is refused with what was found."""
    with pytest.raises(ArtefactRefused, match=found) as refusal:
        check(gguf_bytes({**ABOUT, **about}, {**GOOD, **tensors}))
    assert "train it again" in refusal.value.hint


def test_truncated(check):
    """Cut after any byte, an adapter is refused: its last matrix must end inside the file."""
    whole = gguf_bytes(ABOUT, GOOD)
    size = len(whole) - (-(6 * 2 * 2) % 32)  # without the padding behind the last matrix
    for length in [*range(1, size, 7), size - 1]:
        with pytest.raises(ArtefactRefused):
            check(whole[:length])
    check(whole[:size])
