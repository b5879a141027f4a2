"""The encoder that ships with the package, for real."""

from __future__ import annotations

import asyncio
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from coterie.engines.onnx import _BUNDLED_UNRELATED, _UNRELATED, BUNDLED_ENCODER, OnnxEncoder, OnnxModel, group_rows
from coterie.errors import ArtefactRefused, EngineUnavailable, Overloaded
from coterie.knowledge.documents import Chunk, IndexedDocument
from coterie.knowledge.indexes import Reranker
from coterie.knowledge.local import LocalIndex
from coterie.testing import check_engine
from coterie.types import Label, Prompt

TEXTS = [
    "My card was stolen, what should I do?",
    "someone took my bank card",
    "What is the interest rate on a mortgage?",
    "",
    "日本語 🎉 ça va?",
    "The Borrower shall indemnify the Lender against any loss arising from a breach of this Agreement. " * 3,
]


@pytest.fixture(scope="module")
def encoder():
    """The bundled encoder, loaded once."""
    encoder = OnnxEncoder.bundled()
    yield encoder
    asyncio.run(encoder.close())


def prompts(*texts):
    return [Prompt(text=text) for text in texts]


async def test_contract():
    """It keeps the contract of an engine."""
    await check_engine(OnnxEncoder.bundled())


def test_texts_with_nothing_in_common(encoder):
    """The number that other encoders are held against is this one's; where all texts are alike it is high."""
    vectors = encoder.encode(list(_UNRELATED))
    cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    assert cosines.mean() == pytest.approx(_BUNDLED_UNRELATED, abs=0.005)
    assert encoder.unrelated == 0.0

    class Pressed(OnnxModel):
        origin = {"name": "another"}  # noqa: RUF012
        asked = 0

        def __init__(self):
            """Nothing is loaded."""

        def cut(self, text):
            return SimpleNamespace(ids=text)

        def vectors(self, texts):
            self.asked += 1
            vectors = np.hstack([encoder.encode(texts), np.full((len(texts), 1), 3.0)])
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    pressed = Pressed()
    assert pressed.unrelated == pressed.unrelated == pytest.approx(0.9, abs=0.01)
    assert pressed.asked == 1


async def test_vectors(encoder):
    """Every text, the empty one too, becomes a unit vector of 384 float32; like texts lie close."""
    outputs = await encoder.run(prompts(*TEXTS))
    vectors = np.stack([output.vector for output in outputs])
    assert vectors.shape == (len(TEXTS), encoder.dimension) == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-4)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.6
    assert likeness[0, 2] < 0.4
    assert (encoder.name, encoder.clearance) == ("onnx", Label.RESTRICTED)


async def test_what_is_shared_is_closed_by_itself(encoder):
    """A network that is replaced closes its encoder, and the one that took its place goes on with the same model."""
    before, after = encoder.shared(), encoder.shared()
    await before.run(prompts(TEXTS[0]))
    await before.close()

    with pytest.raises(EngineUnavailable):
        await before.run(prompts("a text that nobody asked before"))
    for engine in (after, encoder):
        (output,) = await engine.run(prompts(f"another text for {id(engine)}"))
        assert output.vector.shape == (encoder.dimension,)
    await after.close()


async def test_states_where_they_are_asked_for(encoder):
    """A prompt that asks for states gets one a token, with its place; the vector is the same and nearly their mean."""
    text = TEXTS[0]
    plain, with_states, other = await encoder.run([Prompt(text=text), Prompt(text=text, states=True), Prompt(text="")])
    mean = with_states.states.mean(axis=0)

    assert (plain.states, plain.offsets, other.states) == (None, None, None)
    assert with_states.states.shape == (len(with_states.offsets), encoder.dimension)
    assert [text[start:end] for start, end in with_states.offsets[:3]] == ["My", "card", "was"]
    np.testing.assert_allclose(with_states.vector, plain.vector, atol=1e-5)
    assert with_states.vector @ mean / np.linalg.norm(mean) > 0.9


def test_words(encoder):
    """Its words are whole, the most frequent first."""
    words = encoder.words()

    assert words.index("the") < words.index("parcel")
    assert not any(word.startswith("##") for word in words)


async def test_company_changes_nothing(encoder):
    """A text's vector is the same alone, in a batch, and when it was encoded for training."""
    together = [output.vector for output in await encoder.run(prompts(*TEXTS, *TEXTS[::-1]))]
    for text, vector in zip([*TEXTS, *TEXTS[::-1]], together, strict=True):
        (alone,) = await encoder.run(prompts(text))
        assert np.abs(alone.vector - vector).max() < 1e-3
    assert np.abs(encoder.encode(TEXTS) - np.stack(together[: len(TEXTS)])).max() < 1e-3


def test_encode(encoder):
    """Encoding for training keeps the order, counts every text once, and takes no texts too."""
    counts = []
    vectors = encoder.encode(TEXTS * 20, progress=counts.append)
    assert vectors.shape == (120, 384)
    assert sum(counts) == 120
    assert np.allclose(vectors[:6], vectors[6:12], atol=1e-3)
    assert encoder.encode([]).shape == (0, 384)


async def test_usage(encoder):
    """Tokens, milliseconds and CPU-seconds are those of the work; a longer text takes more."""
    short, long = (output.usage for output in await encoder.run(prompts("hello", "the quick brown fox " * 50)))
    assert short.tokens_in == encoder.count_tokens("hello") == 3
    assert long.tokens_in > 150
    assert 0 < short.cpu_seconds < long.cpu_seconds
    assert long.milliseconds > 0


async def test_cut_is_visible(encoder):
    """A text beyond the window is cut to it, which `finish` says; one that just fits is whole."""
    fits = "word " * (encoder.max_tokens - 2)
    cut = "word " * (encoder.max_tokens - 1)
    whole, short, long = await encoder.run(prompts(fits, cut, cut * 100))
    assert [output.finish for output in (whole, short, long)] == ["stop", "length", "length"]
    assert [output.usage.tokens_in for output in (whole, short, long)] == [encoder.max_tokens] * 3
    assert np.abs(short.vector - long.vector).max() < 1e-3, "what is beyond the window is not read"
    assert encoder.count_tokens(cut) == encoder.max_tokens + 1


@pytest.mark.parametrize(
    "text",
    [
        "word " * 200_000,
        " " * 1_000_000,
        "a" * 1_000_000,
        "🎉" * 100_000,
        "\ud800",
        "\x00",
        "a\u0301" * 10_000,
        "." * 50_000,
    ],
)
async def test_odd_texts(encoder, text):
    """Huge, blank, broken and odd texts have vectors too."""
    (output,) = await encoder.run(prompts(text))
    assert np.isfinite(output.vector).all()


def test_prefix_is_enough(encoder):
    """Reading only the beginning of a long text gives the tokens of the whole, wherever the beginning ends."""
    model = encoder._model
    limit = model.max_tokens * 64
    for text in ("word " * 5000, "indemnification " * 2000, " " * limit + "word " * 300, "x" * limit + " word" * 300):
        for shift in range(3):
            shifted = "y" * shift + text
            ids = model.tokenise(shifted)
            cut = ids if len(ids) <= model.max_tokens else [*ids[: model.max_tokens - 1], ids[-1]]
            assert model.cut(shifted).ids == cut


async def test_overloaded():
    """A queue that is full refuses, and the texts that were admitted are served."""
    encoder = OnnxEncoder.read(BUNDLED_ENCODER, max_batch=1, max_waiting=4)
    calls = [asyncio.create_task(encoder.run(prompts("the quick brown fox " * 60))) for _ in range(30)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert refused
    assert len(refused) + sum(isinstance(result, list) for result in results) == 30
    await encoder.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await encoder.run(prompts("x"))


def test_groups():
    """Texts of a native call are alike in length and few enough; every text is in exactly one."""
    lengths = [3, 250, 4, 5, 240, 30, 256, 8, 256] * 20
    groups = list(group_rows(lengths, 32))
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        longest, shortest = max(lengths[row] for row in group), min(lengths[row] for row in group)
        assert longest <= 2 * shortest + 8
        assert len(group) <= 32
        assert len(group) * longest <= 4096


@pytest.fixture
def copy(tmp_path):
    """A copy of the encoder's folder, to be spoilt."""
    return shutil.copytree(BUNDLED_ENCODER, tmp_path / "encoder")


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
def test_tampered(copy, file):
    """One byte changed, and the file is refused by its name with both checksums."""
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(ArtefactRefused, match=file) as refusal:
        OnnxEncoder.read(copy)
    assert "its checksum is" in refusal.value.message


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json", "provenance.json"])
def test_missing(copy, file):
    """A file that is not there is refused by its name."""
    (copy / file).unlink()
    with pytest.raises(ArtefactRefused, match=file):
        OnnxEncoder.read(copy)


@pytest.mark.parametrize(
    "provenance", ["", "[]", "{}", '{"sha256": 7}', '{"sha256": {}, "dimension": 1, "max_tokens": 1}']
)
def test_senseless_provenance(copy, provenance):
    """A provenance that does not pin the files does not let them in."""
    (copy / "provenance.json").write_text(provenance)
    with pytest.raises(ArtefactRefused):
        OnnxEncoder.read(copy)


def test_checksum(encoder):
    """The encoder says which model it is."""
    assert encoder.sha256 == json.loads((BUNDLED_ENCODER / "provenance.json").read_text())["sha256"]["model.onnx"]


def test_tokens_beside_the_vector(encoder):
    """A text has the same vector with its tokens and without; the mean of the tokens points about the same way."""
    reader = OnnxEncoder.bundled()
    try:
        texts = [text for text in TEXTS if text]
        vectors, tokens = reader.encode_tokens(texts, lambda tokens: tokens)

        assert np.abs(vectors - encoder.encode(texts)).max() < 1e-5
        for text, vector, text_tokens in zip(texts, vectors, tokens, strict=True):
            assert text_tokens.ids == reader.tokenise(text)[1:-1][: len(text_tokens.ids)]
            assert text_tokens.states.shape == (len(text_tokens.ids), reader.dimension)
            mean = text_tokens.states.mean(axis=0)
            assert float(mean @ vector / np.linalg.norm(mean)) > 0.8
        assert np.abs(reader.encode(texts) - encoder.encode(texts)).max() < 1e-5
    finally:
        asyncio.run(reader.close())


async def test_a_real_index(tmp_path):
    """With the real encoder and reranker, a question finds the passage that answers it without its words."""
    encoder = OnnxEncoder.bundled()
    reranker = Reranker.bundled()
    texts = ["The borrower may end the loan early.", "Wires are free of charge.", "Our branch closes at five."]
    vectors, tokens = encoder.encode_tokens(texts, reranker.pack)
    index = LocalIndex(tmp_path / "docs", name="docs", encoder=encoder, rerank=(reranker, encoder), mode="rerank")
    try:
        await index.update(
            [
                IndexedDocument(
                    name=f"{n}.txt",
                    sha256=str(n),
                    text=text,
                    label=Label.PUBLIC,
                    tenant=None,
                    chunks=(Chunk(start=0, end=len(text)),),
                    vectors=vectors[n : n + 1],
                    tokens=(tokens[n],),
                )
                for n, text in enumerate(texts)
            ]
        )
        for n, query in enumerate(("can I repay my debt before it is due", "cost of a transfer", "opening hours")):
            best, *_ = await index.search(query, k=3, clearance=Label.PUBLIC)
            assert best.document == f"{n}.txt"
    finally:
        await index.close()
        await encoder.close()
