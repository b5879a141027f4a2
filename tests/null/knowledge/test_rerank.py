"""The reranker: what it keeps of a passage, and what a score is made of."""

import numpy as np
import pytest

from coterie.engines.onnx import TokenStates
from coterie.errors import ArtefactRefused
from coterie.knowledge.indexes import CandidatePassage, Reranker, Weights
from coterie.knowledge.local import LocalIndex
from coterie.types import Label

from .conftest import DIMENSION, WordEncoder


def tokens(*words):
    """States that are the words' own random directions."""
    states = [np.random.default_rng(word).normal(size=DIMENSION) for word in words]
    return TokenStates(list(words), np.array(states, dtype=np.float32).reshape(-1, DIMENSION))


@pytest.fixture
def reranker():
    """One that keeps everything, counts token 9 twice and token 0 not at all, and looks at the interaction alone."""
    rarity = np.ones(20, dtype=np.float32)
    rarity[[0, 9]] = 0, 2
    return Reranker(np.eye(DIMENSION, dtype=np.float32), rarity, Weights(0.0, 0.0, 1.0), "a" * 64)


def score(reranker, query, *passages):
    candidates = [
        CandidatePassage(keyword=0.0, cosine=0.25, tokens=reranker.pack(tokens(*words))) for words in passages
    ]
    return reranker.score(tokens(*query), candidates)


def test_the_mean_best_match_by_rarity(reranker):
    """A query whose every word stands in a passage scores 1 there; a missing word costs by its rarity."""
    whole, rare_only, common_only = score(reranker, (9, 3), (5, 3, 9, 7), (9,), (3,))
    own, other = (np.array(tokens(word).states[0]) for word in (9, 3))
    cosine = float(own @ other / np.linalg.norm(own) / np.linalg.norm(other))

    assert whole == pytest.approx(1.0, abs=1e-3)
    assert rare_only == pytest.approx((2 + cosine) / 3, abs=1e-2)
    assert common_only == pytest.approx((1 + 2 * cosine) / 3, abs=1e-2)


def test_words_that_count_nothing_and_passages_without_tokens(reranker):
    """Without packed tokens, or with a query of empty words, the cosine stands in."""
    assert score(reranker, (9,), ()).tolist() == [0.25]
    assert score(reranker, (0,), (9,)).tolist() == [0.25]
    assert score(reranker, (), (9,)).tolist() == [0.25]  # a query of signs that nobody sees has no tokens
    assert reranker.score(tokens(1), []).tolist() == []


def test_the_three_signs_add_up():
    """Keyword scores are compared with the best of them, and each sign counts by its weight."""
    reranker = Reranker(
        np.eye(DIMENSION, dtype=np.float32), np.ones(20, dtype=np.float32), Weights(1.0, 10.0, 100.0), "a" * 64
    )
    packed = reranker.pack(tokens(4))

    scores = reranker.score(
        tokens(4),
        [
            CandidatePassage(keyword=8.0, cosine=0.5, tokens=packed),
            CandidatePassage(keyword=2.0, cosine=0.0, tokens=packed),
        ],
    )

    assert scores.tolist() == pytest.approx([1 + 5 + 100, 0.25 + 100], abs=0.1)


def test_the_bundled_one_is_for_the_bundled_encoder():
    """What ships belongs together, and is small."""
    import json

    from coterie.engines.onnx import BUNDLED_ENCODER, GRAPH_FILE, PROVENANCE_FILE
    from coterie.knowledge.indexes import BUNDLED_RERANKER

    provenance = json.loads((BUNDLED_ENCODER / PROVENANCE_FILE).read_text())
    assert Reranker.bundled().encoder == provenance["sha256"][GRAPH_FILE]
    assert sum(path.stat().st_size for path in BUNDLED_RERANKER.iterdir()) < 500_000


def test_a_changed_byte_is_refused(tmp_path):
    """The arrays are those that the description names by their checksum, or they are not used."""
    from coterie.knowledge.indexes import BUNDLED_RERANKER

    for path in BUNDLED_RERANKER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "reranker.safetensors").open("rb+") as file:
        file.seek(-1, 2)
        file.write(b"\x01")

    with pytest.raises(ArtefactRefused, match="checksum"):
        Reranker.read(tmp_path)


def test_a_damaged_one_is_refused(tmp_path):
    """A folder without a reranker says what to do."""
    with pytest.raises(ArtefactRefused, match="not usable"):
        Reranker.read(tmp_path)


class TokenWords(WordEncoder):
    """Tokens are words, their states the words' vectors."""

    def encode_tokens(self, texts, reduce):
        reduced = []
        for text in texts:
            words = text.lower().split()
            states = self.encode(words) if words else np.zeros((0, DIMENSION), dtype=np.float32)
            reduced.append(reduce(TokenStates([1] * len(words), states)))
        return self.encode(texts), reduced


async def test_a_index_is_reranked(tmp_path, document, reranker):
    """The passage whose words meet the query's comes first; those that were not looked at follow in their order."""
    encoder = TokenWords()
    index = LocalIndex(tmp_path / "docs", name="docs", encoder=encoder, rerank=(reranker, encoder), mode="rerank")
    texts = ["late late late late", "a late fee", *(f"late word{n}" for n in range(80))]

    def put(name, text):
        made = document(name, text)
        _, packed = encoder.encode_tokens([text], reranker.pack)
        return type(made)(**{**vars(made), "tokens": tuple(packed)})

    try:
        await index.update([put(f"{n}.txt", text) for n, text in enumerate(texts)])
        passages = await index.search("late fee", k=82, clearance=Label.INTERNAL)
    finally:
        await index.close()

    assert passages[0].text == "a late fee"
    assert len(passages) == 82
    assert [p.score for p in passages] == sorted((p.score for p in passages), reverse=True)
