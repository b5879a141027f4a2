"""The reading model: what its heads compute, what it keeps, and what it refuses."""

import numpy as np
import pytest

from coterie.engines.reading import (
    BUNDLED_READER,
    PassageRead,
    ReadingHeads,
    ReadingModel,
    ReadText,
    bundled_reader,
    has_reader,
)

STATES, INNER, WIDE = 12, 8, 6
here = pytest.mark.skipif(not has_reader(), reason="the reading model's files are not in this checkout")


@pytest.fixture
def arrays(comparing_weights):
    """Heads' weights, small."""
    random = np.random.default_rng(0)
    tensors = {"side": np.zeros((2, STATES), np.float32), "joined": np.array(0.5, np.float32)}
    tensors["told.weight"] = np.zeros((STATES, WIDE), np.float32)
    tensors["marked.weight"] = random.normal(size=(STATES, 5)).astype(np.float32)
    for name, inputs in (("sentence", 3 * STATES + 2 * WIDE), ("answer", 5 * STATES + 4 * WIDE)):
        for at, shape in ((0, (INNER, inputs)), (2, (1, INNER))):
            tensors[f"{name}.{at}.weight"] = random.normal(size=shape, scale=0.3).astype(np.float32)
            tensors[f"{name}.{at}.bias"] = random.normal(size=shape[0], scale=0.3).astype(np.float32)
    return tensors | comparing_weights(STATES, wide=WIDE)


def states(*lengths: int, seed: int = 1) -> list[np.ndarray]:
    """Tokens of texts of these lengths."""
    random = np.random.default_rng(seed)
    return [random.normal(size=(length, STATES)).astype(np.float32) for length in lengths]


def read(heads: ReadingHeads, question: np.ndarray, passage: np.ndarray, owners: list[int]) -> PassageRead:
    """What heads read off states of a question and a passage whose tokens are all words."""
    question_text = ReadText(np.arange(10, 10 + len(question)), question)
    compared = heads.compare(question_text, ReadText(np.arange(50, 50 + len(passage)), passage))
    nothing = compared._replace(tokens=tuple(0 * array for array in compared.tokens))
    return heads.read(question, passage, np.array(owners), nothing)


def test_a_sentence_is_scored_by_its_own_tokens(arrays):
    """In any place of the passage; a sentence without tokens never answers."""
    heads = ReadingHeads(arrays)
    question, first, second = states(4, 3, 5)

    together = read(heads, question, np.concatenate([first, second]), [0] * 3 + [1] * 5).sentences
    turned = read(heads, question, np.concatenate([second, first]), [0] * 5 + [2] * 3).sentences

    assert together == pytest.approx(turned[[2, 0]], abs=1e-5)
    assert together[0] != pytest.approx(together[1])
    assert turned[1] == -12.0


def test_the_passage_answers_by_itself_and_by_its_best_sentence(arrays):
    """The best sentence counts by the trained weight."""
    owners = [0, 0, 0, 1, 1, 1]
    without = read(ReadingHeads({**arrays, "joined": np.array(0.0, np.float32)}), *states(4, 6), owners)
    reading = read(ReadingHeads(arrays), *states(4, 6), owners)

    assert reading.answers == pytest.approx(without.answers + 0.5 * reading.sentences.max(), abs=1e-5)


def test_what_stands_in_both_texts_is_marked(arrays):
    """A token that the other text has, and nothing of the marks before it."""
    arrays["marked.weight"] = np.zeros((STATES, 5), np.float32)
    arrays["marked.weight"][:, 1] = 1.0
    question, passage = states(3, 4)
    heads = ReadingHeads(arrays)
    pair = ReadText(np.array([0, 7, 8]), question), ReadText(np.array([0, 9, 8, 8]), passage)

    joined = heads.join(*pair, heads.compare(*pair))

    added = joined - np.concatenate([question, passage])
    assert added[:, 0].round(5).tolist() == [0, 0, 1, 0, 0, 1, 1]


@here
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When does the swimming pool open on Sundays?", "The swimming pool opens at 9 am on Sundays."),
        ("Was kostet ein neuer Personalausweis?", "Ein Personalausweis kostet 37 Euro."),
        ("¿Cuándo cierra la biblioteca?", "La biblioteca cierra a las ocho de la tarde."),
        ("Qui répare le chauffage ?", "Le concierge répare le chauffage."),
    ],
)
def test_it_finds_the_sentence_in_several_languages(question, answer):
    """Among sentences of other topics in the same languages."""
    sentences = [
        "Dogs must be kept on a lead in the park.", answer, "Der Hof ist bis zehn Uhr abends offen für Kinder.",
        "Los perros no pueden entrar.", "Les vélos se garent derrière la maison.",
    ]  # fmt: skip
    assert int(bundled_reader().read(question, sentences).sentences.argmax()) == 1


@here
def test_a_passage_that_answers_is_told_from_one_that_does_not():
    """The second one is of the same topic."""
    question = "How much does a dog licence cost?"
    answers = ["Every dog needs a licence.", "A dog licence costs 84 euros a year."]
    silent = ["Every dog needs a licence.", "Dogs must be kept on a lead in the park."]

    assert bundled_reader().read(question, answers).answers > bundled_reader().read(question, silent).answers


@here
def test_what_is_read_again_gives_the_same():
    """States that are kept are those that were computed; a passage without sentences answers nothing."""
    model = ReadingModel.load(BUNDLED_READER)
    sentences = ["The office is closed in August.", "A copy costs ten cents."]

    first = model.read("When is the office closed?", sentences)
    second = model.read("When is the office closed?", sentences)

    assert first.sentences == pytest.approx(second.sentences, abs=1e-4)
    assert first.answers == pytest.approx(second.answers, abs=1e-4)
    assert model.read("When is the office closed?", []).answers == -12.0


@here
def test_a_long_passage_is_read_in_parts():
    """Every sentence has a score, the last one too."""
    sentences = [f"Rule number {n} says that the holder of card {n} pays {n} pounds a year." for n in range(40)]
    scores = bundled_reader().read("What does the holder of card 39 pay?", sentences).sentences

    assert len(scores) == 40
    assert (scores > -12.0).all()


@here
@pytest.mark.parametrize(("question", "sentence"), [("?", "The office is closed in August."), ("When?", "***")])
def test_texts_without_a_word_answer_nothing(question, sentence):
    """Nothing can be compared in them."""
    reading = bundled_reader().read(question, [sentence])
    assert np.isfinite(reading.answers)
    assert len(reading.sentences) == 1
