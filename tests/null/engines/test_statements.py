"""The statement model: what is told to the layers above, what it finds, and what is refused."""

import json

import numpy as np
import pytest

from coterie.engines.reading import (
    BUNDLED_CHECKER,
    UPPER_FILES,
    ReadText,
    StatementHead,
    StatementModel,
    bundled_checker,
    bundled_reader,
    has_checker,
)
from coterie.errors import ArtefactRefused

STATES, INNER, WIDE = 16, 8, 10
here = pytest.mark.skipif(not has_checker(), reason="the statement model's files are not in this checkout")


def text(*ids: int) -> ReadText:
    """A text whose tokens have states of their own; 0 is a mark."""
    states = np.eye(STATES, dtype=np.float32)[np.array(ids)]
    return ReadText(np.array(ids), states)


@pytest.fixture
def arrays(comparing_weights):
    """The head's weights, small."""
    random = np.random.default_rng(1)
    shapes = {
        "side": (2, STATES), "told.weight": (STATES, WIDE), "verdict.0.weight": (INNER, 6 * STATES + 4 * WIDE),
        "verdict.0.bias": (INNER,), "verdict.2.weight": (3, INNER), "verdict.2.bias": (3,),
    }  # fmt: skip
    own = {name: random.normal(size=shape, scale=0.3).astype(np.float32) for name, shape in shapes.items()}
    return own | comparing_weights(STATES, wide=WIDE)


def test_the_layers_above_hear_what_comparing_found(arrays):
    """Marks get their side alone; a token with a match hears of it."""
    statement, source = text(0, 4, 5, 0), text(0, 5, 4, 0)
    head = StatementHead(arrays)
    joined = head.join(statement, source, head.compare(statement, source))

    assert joined.shape == (8, STATES)
    assert joined[0] == pytest.approx(statement.states[0] + arrays["side"][0], abs=1e-6)
    assert joined[4] == pytest.approx(source.states[0] + arrays["side"][1], abs=1e-6)
    assert not np.allclose(joined[1], statement.states[1] + arrays["side"][0])


@here
def test_other_lower_layers_are_refused():
    """The upper layers were trained on those of one reading model."""
    files = {name: (BUNDLED_CHECKER / name).read_bytes() for name in UPPER_FILES}
    files["provenance.json"] = json.dumps(json.loads(files["provenance.json"]) | {"lower_sha256": "0" * 64}).encode()
    with pytest.raises(ArtefactRefused, match="lower layers"):
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
    judgement = bundled_checker().judge("The garden is open until ten.", [*sentences, "The garden is open until ten."])
    other = bundled_checker().judge("The garden is open until ten.", sentences)

    assert judgement.odds > other.odds + 1
