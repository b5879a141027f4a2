"""The reading model: what its head computes, what it keeps, and what it refuses."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save

from coterie.engines.reading import BUNDLED_READER, READER_FILES, ReadingHead, ReadingModel, bundled_reader, has_reader
from coterie.errors import ArtefactRefused

WIDTH, INNER, STATES = 8, 16, 12
here = pytest.mark.skipif(not has_reader(), reason="the reading model's files are not in this checkout")


def arrays(*, seed: int = 0, silent: bool = False) -> dict[str, np.ndarray]:
    """A head's weights, small; `silent` leaves only the line over how alike both texts are."""
    random = np.random.default_rng(seed)
    shapes = {"narrow": (WIDTH, STATES + 2), "answer.0": (WIDTH, 3 * WIDTH), "answer.2": (1, WIDTH), "signs": (1, 3)}
    for name, shape in (
        ("qkv", (3 * WIDTH, WIDTH)),
        ("out", (WIDTH, WIDTH)),
        ("up", (INNER, WIDTH)),
        ("down", (WIDTH, INNER)),
    ):
        shapes[f"layers.0.{name}"] = shape
    found = {}
    for name, shape in shapes.items():
        found[f"{name}.weight"] = random.normal(size=shape, scale=0.3).astype(np.float32)
        found[f"{name}.bias"] = np.zeros(shape[0], dtype=np.float32)
    for name in ("enter", "layers.0.norm", "layers.0.last"):
        found[f"{name}.weight"], found[f"{name}.bias"] = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    found["sides.weight"] = random.normal(size=(2, WIDTH)).astype(np.float32)
    if silent:
        found["answer.2.weight"] *= 0
        found["signs.weight"] = np.array([[1.0, 0.0, 0.0]], np.float32)
    return found


def states(*lengths: int, seed: int = 1) -> list[np.ndarray]:
    """Tokens of texts of these lengths."""
    random = np.random.default_rng(seed)
    return [random.normal(size=(length, STATES)).astype(np.float32) for length in lengths]


def test_a_sentence_scores_the_same_beside_others():
    """Padding to a longer neighbour changes nothing."""
    head = ReadingHead(arrays())
    question, *sentences = states(5, 3, 9, 6)

    together, _ = head.score(question, sentences)
    alone = [head.score(question, [each])[0][0] for each in sentences]

    assert np.allclose(together, alone, atol=1e-4)
    assert len(set(np.round(together, 6))) == 3


def test_without_its_layers_it_is_a_line_over_the_cosine():
    """The sign that counts is how alike the means of both texts are."""
    question, *sentences = states(5, 3, 9)
    sentences[1] = question + 0.01

    found, alike = ReadingHead(arrays(silent=True)).score(question, sentences)
    cosines = [
        float(each.sum(0) @ question.sum(0) / np.linalg.norm(each.sum(0)) / np.linalg.norm(question.sum(0)))
        for each in sentences
    ]

    assert np.allclose(alike, cosines, atol=1e-4)
    assert np.allclose(found, [(each - 0.85) * 20 for each in cosines], atol=1e-3)
    assert found[1] > found[0]


def test_weights_that_are_no_numbers_are_refused():
    """A head is not loaded with them."""
    broken = arrays()
    broken["narrow.bias"][0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        ReadingHead(broken)


def test_missing_files_are_named(tmp_path):
    """The error says which file and what to do."""
    with pytest.raises(ArtefactRefused, match=r"model\.onnx"):
        ReadingModel.read(tmp_path)


@here
def test_a_changed_head_is_refused():
    """Every file is held against its checksum."""
    files = {name: (BUNDLED_READER / name).read_bytes() for name in READER_FILES}
    files["head.safetensors"] = save(arrays())
    with pytest.raises(ArtefactRefused, match="checksum"):
        ReadingModel(files)


@here
def test_a_head_without_its_arrays_is_refused():
    """Also where the provenance names that very file."""
    files = {name: (BUNDLED_READER / name).read_bytes() for name in READER_FILES}
    files["head.safetensors"] = save({"narrow.weight": np.zeros((2, 2), np.float32)})
    about = json.loads(files["provenance.json"])
    about["sha256"]["head.safetensors"] = hashlib.sha256(files["head.safetensors"]).hexdigest()
    files["provenance.json"] = json.dumps(about).encode()
    with pytest.raises(ArtefactRefused, match=r"head\.safetensors"):
        ReadingModel(files)


@here
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (
            "When does the swimming pool open on Sundays?",
            "The pool opens at 9 am on Sundays and at 7 am on other days.",
        ),
        ("Was kostet ein neuer Personalausweis?", "Für einen Personalausweis zahlen Sie 37 Euro."),
        ("¿Cuándo cierra la biblioteca?", "La biblioteca cierra a las ocho de la tarde."),
        ("Qui répare le chauffage ?", "Pour toute panne de chauffage, appelez le concierge."),
    ],
)
def test_it_finds_the_sentence_in_several_languages(question, answer):
    """Among sentences of other topics in the same languages."""
    sentences = [
        "Dogs must be kept on a lead in the park.", answer, "Der Hof ist bis zehn Uhr abends offen für Kinder.",
        "Los perros no pueden entrar.", "Les vélos se garent derrière la maison.",
    ]  # fmt: skip
    assert int(bundled_reader().score(question, sentences)[0].argmax()) == 1


@here
def test_what_is_read_again_gives_the_same():
    """States that are kept are those that were computed; an order or a repetition changes nothing."""
    model = ReadingModel.read(BUNDLED_READER)
    sentences = ["The office is closed in August.", "A copy costs ten cents.", "The office is closed in August."]

    first, _ = model.score("When is the office closed?", sentences)
    second, _ = model.score("When is the office closed?", sentences[::-1])

    assert np.allclose(first, second[::-1], atol=2e-3)
    assert first[0] == pytest.approx(first[2], abs=2e-3)
    assert len(model.score("When is the office closed?", [])[0]) == 0
