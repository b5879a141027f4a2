"""Heads as files: the same to the bit when read back, refused when they are not what was written."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from coterie.engines.linear import (
    ARRAYS_FILE,
    MODEL_FILE,
    ColumnBins,
    KernelBlock,
    LinearEngine,
    NgramBlock,
    TableHead,
    TextHead,
    dump_head,
    fit_ngrams,
    words_in,
)
from coterie.errors import ArtefactRefused, EngineRejected
from coterie.testing import check_engine
from coterie.types import Prompt

TEXTS = ["my card is lost", "where is my parcel", "the parcel and the card"]


def text_head(
    *, kernel: bool = True, projection: bool = False, labels: int = 3, lexical_bias: bool = False
) -> TextHead:
    """A head over both kinds of n-grams and, perhaps, vectors, by distances and by a linear map."""
    random = np.random.default_rng(0)
    blocks = []
    for unit in ("word", "char"):
        features = fit_ngrams(TEXTS, unit=unit, shortest=1, longest=2, at_least=1, at_most=1000)
        weights = random.normal(size=(len(features.terms), labels)).astype(np.float16)
        blocks.append(NgramBlock(features=features, weights=weights))
    landmarks = random.normal(size=(5, 8))
    landmarks = (landmarks / np.linalg.norm(landmarks, axis=1, keepdims=True)).astype(np.float16)
    bumps = KernelBlock(landmarks=landmarks, weights=random.normal(size=(5, labels)).astype(np.float16), gamma=0.5)
    bias = random.normal(size=labels).astype(np.float32)
    linear = random.normal(size=(8, labels)).astype(np.float16) if projection else None
    own = random.normal(size=labels).astype(np.float32) if lexical_bias else None
    return TextHead(
        blocks=tuple(blocks), kernel=bumps if kernel else None, bias=bias, projection=linear, lexical_bias=own
    )


def table_head() -> TableHead:
    """A scorecard of three columns and a pair."""
    random = np.random.default_rng(1)
    columns = (
        ColumnBins(name="age", kind="number", edges=(18.0, 65.0)),
        ColumnBins(name="home", kind="category", values=("own", "rent")),
        ColumnBins(name="flag", kind="category", values=("false", "true")),
    )
    main = tuple(random.normal(size=column.size) for column in columns)
    return TableHead(columns=columns, base=-0.7, main=main, pairs={(0, 2): random.normal(size=(4, 3))})


def prompts() -> list[Prompt]:
    """Usual and unusual inputs."""
    vector = np.full(8, 8**-0.5, dtype=np.float32)
    texts = [*TEXTS, "", "something else", "\ud800 ☕"]
    rows = [{"age": 40, "home": "rent", "flag": True}, {}, {"age": None, "home": "?"}, {"age": 1e300}, None, {"x": 1}]
    return [Prompt(text=text, vector=vector, columns=row) for text, row in zip(texts, rows, strict=True)]


HEADS = {
    "lexical": text_head(kernel=False),
    "embedding": text_head(),
    "encoder": text_head(projection=True),
    "known words": text_head(lexical_bias=True),
    "usual share": replace(text_head(lexical_bias=True), usual_share=0.375),
    "table": table_head(),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
async def test_head_survives_its_files_bit_by_bit(head):
    """A head written and read back gives the same logits and contributions, not nearly the same."""
    files = dump_head(head, {"task": "classify"})
    before, after = LinearEngine(head), LinearEngine.load(files)

    for a, b in zip(await before.run(prompts()), await after.run(prompts()), strict=True):
        np.testing.assert_array_equal(a.scores, b.scores)
        assert a.contributions == b.contributions
    assert dump_head(after._head, {"task": "classify"}) == files


def test_a_projection_is_added_to_the_kernel():
    """What a head with a projection says is what it says without, and the projected vector."""
    prompt, head = prompts()[0], HEADS["encoder"]

    added = prompt.vector @ head.projection.astype(np.float32)
    np.testing.assert_allclose(head.logits(prompt), HEADS["embedding"].logits(prompt) + added, rtol=1e-5)


def test_ngrams_count_as_far_as_words_are_known():
    """Of unknown words the n-grams say nothing of any label; of half of them, half of what they say of the rest."""
    head = text_head(kernel=False, lexical_bias=True)
    whole = sum(block.logits("my card is lost") for block in head.blocks) + head.lexical_bias
    mixed = sum(block.logits("card lost zzz qqq") for block in head.blocks) + head.lexical_bias
    mean = head.lexical_bias.mean()

    for text, expected in (("my card is lost", whole), ("card lost zzz qqq", (mixed + mean) / 2), ("der ist", mean)):
        np.testing.assert_allclose(head.logits(Prompt(text=text)) - head.bias, np.full(3, expected), rtol=1e-5)


def test_ngrams_count_whole_from_the_usual_share_of_known_words_on():
    """Of a text with as many known words as held-out texts had n-grams count whole, below that in proportion."""
    whole, usual = text_head(kernel=False, lexical_bias=True), 0.5
    head = replace(whole, usual_share=usual)
    mean = whole.lexical_bias.mean()

    for text, counts in (("card lost zzz qqq", 1.0), ("card zzz qqq xxx", 0.5), ("zzz qqq xxx", 0.0)):
        lexical = sum(block.logits(text) for block in head.blocks) + head.lexical_bias
        expected = head.bias + counts * lexical + (1 - counts) * mean
        np.testing.assert_allclose(head.logits(Prompt(text=text)), expected, rtol=1e-5)


def test_words_of_scripts_without_spaces_are_pairs_of_characters():
    """A word of Chinese is hardly met twice in one piece; its pairs of characters are."""
    words = words_in("我想取消 My order 1")

    assert words.pairs == ["我想", "想取", "取消"]
    assert words.spaced == ["my", "order", "1"]
    assert words.share({"my", "order"}, {"想取"}) == pytest.approx(3 / 6)


@pytest.mark.parametrize("projection", [np.zeros((7, 3)), np.zeros((8, 2)), np.full((8, 3), np.nan)])
def test_a_projection_that_does_not_fit_is_refused(projection):
    """It must map the landmarks' kind of vector to the labels, in finite numbers."""
    _, arrays = HEADS["encoder"].store()
    files = dump_head(HEADS["encoder"], {}) | {ARRAYS_FILE: save(arrays | {"projection": projection})}

    with pytest.raises(ArtefactRefused, match="projection"):
        LinearEngine.load(files)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
async def test_keeps_the_contract(head):
    """The engine keeps the contract of engines."""
    await check_engine(LinearEngine(head), prompts=prompts()[:2])


def test_description_cannot_replace_the_head_s_own_keys():
    """What a specialist says beside its head never hides what the head needs to be read."""
    files = dump_head(HEADS["table"], {"head": "text", "bins": []})

    assert json.loads(files[MODEL_FILE])["head"] == "table"


def changed(files: dict[str, bytes], **changes: object) -> dict[str, bytes]:
    """The files with other values in their description."""
    description = json.loads(files[MODEL_FILE]) | changes
    return files | {MODEL_FILE: json.dumps(description).encode()}


@pytest.mark.parametrize("file", [MODEL_FILE, ARRAYS_FILE])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_cut_files_are_refused(head, file):
    """A file that ends early, is empty or is missing is refused, wherever it ends."""
    files = dump_head(head, {})
    content = files[file]

    for cut in {0, 1, 7, 8, 9, len(content) // 2, len(content) - 1}:
        with pytest.raises(ArtefactRefused, match="cannot be read"):
            LinearEngine.load(files | {file: content[:cut]})
    with pytest.raises(ArtefactRefused, match=file):
        LinearEngine.load({name: content for name, content in files.items() if name != file})


ODD_JSON = [b"[]", b"null", b'"text"', b"1", b"{}", b'{"head": []}', b'{"head": "pickle"}', b"\xff", b"[" * 100_000]


@pytest.mark.parametrize("odd", ODD_JSON, ids=range(len(ODD_JSON)))
def test_odd_descriptions_are_refused(odd):
    """JSON that describes no head is refused, not followed into a crash."""
    with pytest.raises(ArtefactRefused):
        LinearEngine.load(dump_head(HEADS["embedding"], {}) | {MODEL_FILE: odd})


ODD_TEXT = [
    {"blocks": None},
    {"blocks": [{}]},
    {"blocks": ["x", "y"]},
    {"gamma": 0},
    {"gamma": float("nan")},
    {"gamma": "0.5"},
    {"gamma": True},
]


@pytest.mark.parametrize("changes", ODD_TEXT, ids=str)
def test_odd_text_heads_are_refused(changes):
    """A text head whose description does not fit its arrays is refused."""
    with pytest.raises(ArtefactRefused):
        LinearEngine.load(changed(dump_head(HEADS["embedding"], {}), **changes))


AGE = {"name": "age", "kind": "number", "gaps": False, "edges": [18.0, 65.0]}
HOME = {"name": "home", "kind": "category", "gaps": False, "values": ["own", "rent"]}
FLAG = {"name": "flag", "kind": "category", "gaps": True, "values": ["false", "true"]}
ODD_BINS = [
    [AGE, HOME],
    [AGE, HOME, HOME],
    [AGE | {"edges": [65.0, 18.0]}, HOME, FLAG],
    [AGE | {"edges": [18.0, float("inf")]}, HOME, FLAG],
    [AGE | {"edges": ["a", "b"]}, HOME, FLAG],
    [AGE | {"kind": "text"}, HOME, FLAG],
    [AGE, HOME | {"values": ["own", "own"]}, FLAG],
    [AGE, HOME | {"values": "or"}, FLAG],
    [AGE | {"name": 3}, HOME, FLAG],
    [AGE | {"gaps": 1}, HOME, FLAG],
    {"age": 1},
]


@pytest.mark.parametrize("bins", ODD_BINS, ids=range(len(ODD_BINS)))
def test_odd_bins_are_refused(bins):
    """A scorecard whose bins contradict each other or its tables is refused."""
    with pytest.raises(ArtefactRefused):
        LinearEngine.load(changed(dump_head(HEADS["table"], {}), bins=bins))


ODD_TABLES = [
    {"base": np.array([np.nan])},
    {"base": np.array([])},
    {"main": np.zeros(3)},
    {"main": np.zeros((10, 1))},
    {"pairs": np.zeros(11)},
    {"pair_columns": np.array([[0, 7]], dtype=np.int32)},
    {"pair_columns": np.array([[-1, 2]], dtype=np.int32)},
    {"pair_columns": np.array([[2, 0]], dtype=np.int32)},
    {"pair_columns": np.array([[0, 2], [0, 2]], dtype=np.int32), "pairs": np.zeros(24)},
    {"pair_columns": np.array([0, 2], dtype=np.int32)},
]


@pytest.mark.parametrize("arrays", ODD_TABLES, ids=range(len(ODD_TABLES)))
def test_odd_tables_are_refused(arrays):
    """Tables of another size, of columns that are not there, or with values that are no numbers are refused."""
    _, whole = HEADS["table"].store()
    files = dump_head(HEADS["table"], {}) | {ARRAYS_FILE: save(whole | arrays)}

    with pytest.raises(ArtefactRefused):
        LinearEngine.load(files)


async def test_a_head_with_a_kernel_needs_the_vector():
    """Without the text's vector, or with one of another encoder, the error says what is needed and what came."""
    engine = LinearEngine(HEADS["embedding"])

    with pytest.raises(EngineRejected, match="of 8 numbers; got none"):
        await engine.run([Prompt(text="card")])
    with pytest.raises(EngineRejected, match=r"got one of shape \(384,\)"):
        await engine.run([Prompt(text="card", vector=np.zeros(384, dtype=np.float32))])


async def test_large_batches_leave_the_event_loop(monkeypatch):
    """Long texts and many rows are evaluated in a thread, short ones where they are."""
    moved, run = [], LinearEngine._run

    def noted(engine, batch):
        if threading.current_thread() is not threading.main_thread():
            moved.append(batch)
        return run(engine, batch)

    monkeypatch.setattr(LinearEngine, "_run", noted)
    engine = LinearEngine(HEADS["lexical"])

    await engine.run([Prompt(text="short")])
    assert not moved
    await engine.run([Prompt(text="long " * 2000)])
    await engine.run([Prompt(columns={})] * 100)
    assert len(moved) == 2
