"""The statement model: which tokens match, what is told to the layers above, and what is refused."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save

from coterie.engines.reading import ReadText, bundled_reader
from coterie.engines.statements import (
    BUNDLED_CHECKER,
    CHECKER_FILES,
    Matches,
    StatementHead,
    StatementModel,
    bundled_checker,
    has_checker,
    matches,
)
from coterie.errors import ArtefactRefused

STATES, INNER, SMALL, WIDE = 16, 8, 3, 10
NO_JUMP, NEXT, BACK = 15, 8, 6
"""Numbers of a jump that is none, of one to the next token, and of one to the token before."""
here = pytest.mark.skipif(not has_checker(), reason="the statement model's files are not in this checkout")


def text(*ids: int) -> ReadText:
    """A text whose tokens have states of their own; 0 is a mark."""
    states = np.eye(STATES, dtype=np.float32)[np.array(ids)]
    return ReadText(np.array(ids), states)


def arrays() -> dict[str, np.ndarray]:
    """The head's weights, small."""
    random = np.random.default_rng(0)
    shapes = {
        "side": (2, STATES), "told.weight": (STATES, WIDE), "compare.small.weight": (SMALL, STATES),
        "compare.before.weight": (16, 4), "compare.after.weight": (16, 4), "compare.moved.weight": (7, 4),
        "compare.side.weight": (2, 4), "compare.first.weight": (WIDE, 5 + 16 + 4 * SMALL),
        "compare.first.bias": (WIDE,), "verdict.0.weight": (INNER, 6 * STATES + 4 * WIDE), "verdict.0.bias": (INNER,),
        "verdict.2.weight": (3, INNER), "verdict.2.bias": (3,),
    }  # fmt: skip
    for at in range(2):
        shapes |= {f"compare.beside.{at}.weight": (WIDE, 3 * WIDE), f"compare.beside.{at}.bias": (WIDE,)}
        shapes |= {f"compare.across.{at}.weight": (WIDE, 2 * WIDE), f"compare.across.{at}.bias": (WIDE,)}
    for at in range(5):
        shapes |= {f"compare.norms.{at}.weight": (WIDE,), f"compare.norms.{at}.bias": (WIDE,)}
    return {name: random.normal(size=shape, scale=0.3).astype(np.float32) for name, shape in shapes.items()}


def test_the_same_words_match_one_after_the_other():
    """Each token its own, each neighbour's match the neighbour of its match, none moved."""
    found = matches(text(0, 4, 5, 6, 0), text(0, 4, 5, 6, 0))

    assert found.at[1:4].tolist() == [1, 2, 3]
    assert found.before.tolist() == [NO_JUMP, NO_JUMP, NEXT, NEXT, NO_JUMP]
    assert found.after.tolist() == [NO_JUMP, NEXT, NEXT, NO_JUMP, NO_JUMP]
    assert found.moved[1:4].tolist() == [3, 3, 3]
    assert found.marks[1:4, :3].tolist() == [[1, 1, 1]] * 3
    assert found.marks[0].tolist() == [0] * 5


def test_two_words_exchanged_are_seen_in_the_jumps():
    """Of "dog bites man" in "man bites dog" every token is there, and no jump leads to the next one."""
    found = matches(text(0, 6, 5, 4, 0), text(0, 4, 5, 6, 0))

    assert found.at[1:4].tolist() == [3, 2, 1]
    assert found.before[2:4].tolist() == [BACK, BACK]
    assert NEXT not in found.before
    assert found.moved[1] > 3 > found.moved[3]


def test_a_word_said_twice_matches_where_its_neighbours_do():
    """The second 4 of the source stands before a 7, as the one of the statement does."""
    found = matches(text(0, 4, 7, 0), text(0, 4, 5, 6, 4, 7, 0))

    assert found.at[1:3].tolist() == [4, 5]
    assert found.before[2] == NEXT


def test_texts_are_counted_from_their_own_first_word():
    """What leads a text says how it is read, and moves nothing."""
    found = matches(text(0, 0, 4, 5, 0), text(0, 4, 5, 0))

    assert found.moved[2:4].tolist() == [3, 3]


def test_the_layers_above_hear_what_comparing_found():
    """Marks get their side alone; a token with a match hears of it."""
    told, source = text(0, 4, 5, 0), text(0, 5, 4, 0)
    pair = matches(told, source), matches(source, told)
    weights = arrays()
    head = StatementHead(weights)
    joined = head.join(told, source, head.compare(told, source, pair))

    assert joined.shape == (8, STATES)
    assert joined[0] == pytest.approx(told.states[0] + weights["side"][0], abs=1e-6)
    assert joined[4] == pytest.approx(source.states[0] + weights["side"][1], abs=1e-6)
    assert not np.allclose(joined[1], told.states[1] + weights["side"][0])


def test_the_same_words_in_another_order_are_compared_otherwise():
    """Each token of both statements is in the source; only their neighbours differ."""
    source, head = text(0, 4, 5, 6, 0), StatementHead(arrays())
    first, _ = head.compare(text(0, 4, 5, 6, 0), source, pair_of(text(0, 4, 5, 6, 0), source))
    turned, _ = head.compare(text(0, 6, 5, 4, 0), source, pair_of(text(0, 6, 5, 4, 0), source))

    assert not np.allclose(first[2], turned[2], atol=1e-3)


def pair_of(told: ReadText, source: ReadText) -> tuple[Matches, Matches]:
    """The matches of both."""
    return matches(told, source), matches(source, told)


def test_weights_that_are_no_numbers_are_refused():
    """A head is not loaded with them."""
    broken = arrays()
    broken["told.weight"][0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        StatementHead(broken)


@here
def test_missing_files_are_named(tmp_path):
    """The error says which file and what to do."""
    with pytest.raises(ArtefactRefused, match=r"upper\.onnx"):
        StatementModel.load(tmp_path, bundled_reader().lower)


@here
@pytest.mark.parametrize("name", ["upper.onnx", "heads.safetensors"])
def test_a_changed_file_is_refused(name):
    """Every file is held against its checksum."""
    files = {each: (BUNDLED_CHECKER / each).read_bytes() for each in CHECKER_FILES}
    files[name] = save(arrays())
    with pytest.raises(ArtefactRefused, match="checksum"):
        StatementModel(files, bundled_reader().lower)


@here
def test_other_lower_layers_are_refused():
    """The upper layers were trained on those of one reading model."""
    files = {each: (BUNDLED_CHECKER / each).read_bytes() for each in CHECKER_FILES}
    files["provenance.json"] = json.dumps(json.loads(files["provenance.json"]) | {"lower_sha256": "0" * 64}).encode()
    with pytest.raises(ArtefactRefused, match="lower layers"):
        StatementModel(files, bundled_reader().lower)


@here
def test_a_head_without_its_arrays_is_refused():
    """Also where the provenance names that very file."""
    files = {name: (BUNDLED_CHECKER / name).read_bytes() for name in CHECKER_FILES}
    files["heads.safetensors"] = save({"side": np.zeros((2, 2), np.float32)})
    about = json.loads(files["provenance.json"])
    about["sha256"]["heads.safetensors"] = hashlib.sha256(files["heads.safetensors"]).hexdigest()
    files["provenance.json"] = json.dumps(about).encode()
    with pytest.raises(ArtefactRefused, match=r"heads\.safetensors"):
        StatementModel(files, bundled_reader().lower)


@here
@pytest.mark.parametrize(
    ("source", "denied"),
    [
        ("The library opens at nine on Saturdays.", "The library does not open at nine on Saturdays."),
        ("Die Sauna ist am Montag offen.", "Die Sauna ist am Montag nicht offen."),
        ("La piscina abre los domingos.", "La piscina no abre los domingos."),
        ("Le musée ouvre le lundi.", "Le musée n'ouvre pas le lundi."),
    ],
)
def test_what_a_source_says_is_supported_and_its_denial_is_not(source, denied):
    """The same words with a "not", among sentences of other topics."""
    sentences = ["Dogs must be kept on a lead in the park.", source, "A copy costs ten cents."]
    model = bundled_checker()

    assert model.judge(source, sentences).odds > model.judge(denied, sentences).odds + 1


@here
def test_nothing_supports_a_statement_where_there_is_nothing():
    """No sentence, or a statement without a word."""
    assert bundled_checker().judge("The office is closed.", []).unknown == 1.0
    assert bundled_checker().judge("", ["The office is closed."]).unknown == 1.0


@here
def test_of_a_long_source_the_nearest_sentences_are_read():
    """The one that says it stands last of forty."""
    sentences = [f"Rule number {n} says that the holder of card {n} pays {n} pounds a year." for n in range(40)]
    said = bundled_checker().judge("The garden is open until ten.", [*sentences, "The garden is open until ten."])
    other = bundled_checker().judge("The garden is open until ten.", sentences)

    assert said.odds > other.odds + 1
