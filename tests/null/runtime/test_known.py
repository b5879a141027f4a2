"""Known vectors: each tenant's own, bounded, and the same as a new one."""

import numpy as np
import pytest

from coterie.engines.onnx import KnownVector, OnnxEncoder
from coterie.runtime.known import KnownTexts
from coterie.types import CallContext, Principal, Prompt

ONE = KnownVector(np.ones(2), 3, truncated=False)


def call_of(tenant):
    """A call on behalf of a tenant."""
    return CallContext(principal=Principal(tenant=tenant))


def test_each_tenant_has_its_own():
    """What one tenant asked is not known to another: time would tell."""
    known_texts = KnownTexts(8)
    known_texts.put("a", "my parcel", ONE)
    assert known_texts.get("a", "my parcel") is ONE
    assert known_texts.get("a", "My parcel") is None
    assert known_texts.get("b", "my parcel") is None


def test_no_text_is_kept():
    """Only a keyed hash, another one in each process."""
    first, second = KnownTexts(8), KnownTexts(8)
    for known_texts in (first, second):
        known_texts.put("a", "a secret parcel", ONE)
    assert "parcel" not in repr(vars(first))
    assert set(first._tenants["a"]) != set(second._tenants["a"])


def test_room():
    """The tenant that has most gives up what it used longest ago; a small one is not pushed out by a large one."""
    known_texts = KnownTexts(4)
    known_texts.put("small", "x", ONE)
    for text in "abc":
        known_texts.put("large", text, ONE)
    known_texts.get("large", "a")
    known_texts.put("large", "d", ONE)
    assert len(known_texts) == 4
    assert known_texts.get("large", "b") is None
    assert known_texts.get("large", "a") is known_texts.get("small", "x") is ONE
    KnownTexts(0).put("a", "x", ONE)


@pytest.fixture
async def encoder():
    """The bundled one, with its native calls counted."""
    encoder = OnnxEncoder.bundled()
    encoder.texts = []
    vectors = encoder._model.vectors
    encoder._model.vectors = lambda ids: encoder.texts.append(len(ids)) or vectors(ids)
    yield encoder
    await encoder.close()


async def test_a_known_text_is_not_encoded_again(encoder):
    """For the same tenant; it took no CPU time, and counts as many tokens."""
    (first,) = await encoder.run([Prompt(text="Where is my parcel?")], call=call_of("a"))
    again, other = await encoder.run([Prompt(text="Where is my parcel?"), Prompt(text="A card.")], call=call_of("a"))
    await encoder.run([Prompt(text="Where is my parcel?")], call=call_of("b"))

    assert encoder.texts == [1, 1, 1]
    assert np.array_equal(first.vector, again.vector)
    assert not np.array_equal(first.vector, other.vector)
    assert (again.usage.tokens_in, again.usage.cpu_seconds) == (first.usage.tokens_in, 0.0)
    assert first.usage.cpu_seconds > 0
    assert not again.vector.flags.writeable


async def test_states_are_not_kept(encoder):
    """They are large: whoever wants them has the text encoded."""
    prompt = Prompt(text="Where is my parcel?", states=True)
    outputs = [await encoder.run([prompt], call=call_of("a")) for _ in range(2)]
    assert all(output.states is not None for (output,) in outputs)
