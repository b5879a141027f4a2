"""The chain of names: what it finds, in which cases, how it is stored, and how long it takes."""

import itertools
import time

import numpy as np
import pytest

from coterie.errors import ArtefactRefused
from coterie.privacy.detection import Detector, redact
from coterie.privacy.names import NameDetector, load_model, marginals, read_words, store_model, text_features
from coterie.privacy.patterns import PatternDetector


@pytest.fixture(scope="module")
def names():
    """The bundled detector."""
    return NameDetector.bundled()


def found(detector, text):
    """What is found, as kinds and words."""
    return [(span.kind, text[span.start : span.end]) for span in detector.find(text)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("My name is Maria Schneider.", "PERSON", "Maria Schneider"),
        ("i am olga petrova and my card is locked", "PERSON", "olga petrova"),
        ("I live in Berlin.", "LOCATION", "Berlin"),
        ("She works for Zwiebelwerk GmbH.", "ORGANIZATION", "Zwiebelwerk GmbH"),
        ("My new address is 12 Baker Street, London.", "ADDRESS", "12 Baker Street"),
        ("Please call Tom at +49 30 901820.", "PHONE", "+49 30 901820"),
    ],
)
def test_found(names, text, kind, value):
    """Names, places, organisations and addresses are found, also in lower case, and what patterns find as well."""
    assert (kind, value) in found(names, text)


@pytest.mark.parametrize(
    "text",
    [
        "Will you mark this as done? May I ask why my card was declined?",
        "How do I reset my PIN?",
        "please cancel my subscription",
        "The Supplier shall indemnify the Customer.",
        "",
        "\n\n  \n",
        "?!",
    ],
)
def test_nobody(names, text):
    """Ordinary words in capitals, questions and empty texts name nobody."""
    assert found(names, text) == []


@pytest.mark.parametrize(
    "name",
    ["Jose\u0301 Garci\u0301a", "An\u200bna Schm\u00adidt", "\uff21\uff4e\uff4e\uff41 Schmidt"],
)
def test_names_that_hide(names, name):
    """Accents as signs of their own, signs without width and double width hide no name, and belong to it."""
    text = f"Please tell {name} that the parcel is here."
    assert [text[span.start : span.end] for span in names.find(text)] == [name]


def test_spans_are_apart_and_in_order(names):
    """Whatever is joined, nothing overlaps, also in a text of many kinds."""
    text = "Dr. Anna Kowalska (born 3 May 1970), 14 High Street, Leeds, anna@example.org, works at Acme Ltd. " * 5
    spans = names.find(text)

    assert len(spans) > 10
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    assert isinstance(names, Detector)


def test_marginals_sum_over_taggings():
    """Messages give what a sum over all taggings gives."""
    random = np.random.default_rng(0)
    emissions, scores = random.normal(size=(4, 5)), random.normal(size=(5, 5))
    for goes_on in (2, 4):
        scores[[tag for tag in range(5) if tag not in {goes_on - 1, goes_on}], goes_on] = -1e4
    wanted = np.zeros((4, 5))
    for tags in itertools.product(range(5), repeat=4):
        if tags[0] not in {2, 4}:
            moves = sum(scores[a, b] for a, b in itertools.pairwise(tags))
            wanted[range(4), tags] += np.exp(emissions[range(4), tags].sum() + moves)

    np.testing.assert_allclose(marginals(emissions, np.exp(scores)), wanted / wanted.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("piece", ["a", "Ab ", "\u0661", "\ud800x", "A.", "\n"])
def test_long_and_hostile_texts(names, piece):
    """A text without a space, or of single letters, takes eight times as long when it is eight times as long."""

    def taken(length):
        times = []
        for _ in range(4):
            begun = time.thread_time()
            names.find((piece * length)[:length])
            times.append(time.thread_time() - begun)
        return min(times)

    taken(100)  # what is loaded once
    assert taken(16_000) <= 32 * max(taken(2_000), 0.01)  # squares would take 64 times as long


@pytest.mark.parametrize("file", ["names.safetensors", "names.json"])
def test_a_changed_byte_is_refused(names, tmp_path, file):
    """Wherever it stands: in an array, in a word of the lexicon, in the checksum itself."""
    store_model(names._model, tmp_path, {"licence": "Apache-2.0"})
    whole = (tmp_path / file).read_bytes()
    stated = whole.find(b'"sha256":"') + 12  # in the arrays it is some place at their beginning
    for offset in (stated, whole.find(b'"words":') + 12, len(whole) // 2, len(whole) - 4):
        (tmp_path / file).write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        with pytest.raises(ArtefactRefused):
            load_model(tmp_path)
    (tmp_path / file).write_bytes(whole)
    load_model(tmp_path)


def test_stored_and_refused(names, tmp_path):
    """A stored chain is the same chain; a changed file is refused."""
    model = names._model
    store_model(model, tmp_path, {"licence": "Apache-2.0"})
    again = load_model(tmp_path)

    assert found(NameDetector(again), "My name is Maria Schneider.") == found(names, "My name is Maria Schneider.")
    with (tmp_path / "names.safetensors").open("rb+") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(ArtefactRefused, match="checksum"):
        load_model(tmp_path)
    with pytest.raises(ArtefactRefused):
        load_model(tmp_path / "nowhere")


def test_redact(names):
    """The same name has the same placeholder, whatever its capitals; the rest of the text is untouched."""
    text = "I am Maria Schneider. MARIA SCHNEIDER, maria@example.org!"

    assert redact(text, names.find(text)) == "I am <PERSON_1>. <PERSON_1>, <EMAIL_1>!"
    assert redact("nothing", ()) == "nothing"


def test_sums_are_those_of_the_features(names):
    """What the detector adds up for a word is the weights of the features that training gives it."""
    model = names._model
    text = "On 3 May 2020 Ms. O'Neil of Smith & Sons (a@b.example) met\nTOM.\n\n> In new york, 10115 Berlin \u00df"
    words = read_words(text, PatternDetector().find(text))
    rows = [
        [model.terms[name] for name in features if name in model.terms]
        for features in text_features(words, model.lexicon)
    ]
    wanted = np.stack([model.weights[row].sum(axis=0) for row in rows])
    plain = [i for i, word in enumerate(words) if not word.found or word.form == "<DATE>"]

    np.testing.assert_allclose(names._emissions(words)[plain], wanted[plain], atol=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        '{"first": "Helena", "surname": "Vasquez", "town": "Lisbon"}',
        "Helena;Vasquez;Lisbon",
        "Helena\tVasquez\tLisbon",
        "<b>Helena</b><b>Vasquez</b><b>Lisbon</b>",
        "Helena|Vasquez|Lisbon",
    ],
)
def test_no_name_goes_over_a_sign_of_records(names, text):
    """What JSON, tables and tags part is never one name."""
    assert not [span for span in names.find(text) if set(text[span.start : span.end]) & set('":;\t<>|{}')]


def test_no_name_goes_over_a_paragraph(names):
    """Quoted lines and paragraphs keep names apart."""
    text = "Acme Ltd.\n\n12 Baker Street\nLondon\n> Maria Schneider\n> Paris"

    assert not [
        span for span in names.find(text) if "\n\n" in text[span.start : span.end] or ">" in text[span.start : span.end]
    ]


def test_hidden_words(names):
    """Of a word that is hidden no feature says the whole, of its own place or a neighbour's; the others stay."""
    words = read_words("Ask Katarzyna about rivers, please.", ())
    lexicon = names._model.lexicon
    whole, hidden = (text_features(words, lexicon, out) for out in ((), {1}))

    assert any("katarzyna" in name for features in whole for name in features)
    assert not any("katarzyna" in name for features in hidden for name in features)
    assert any(name.startswith("p4=kata") for name in hidden[1])
    assert {name for name in whole[4] if "rivers" in name} <= set(hidden[4]) | {"-1w=rivers"}


def test_demonyms(names):
    """A word for the people of a place is told in sentences of many kinds, in the plural too."""
    for text, value in (
        ("The Uruguayan captain scored twice.", "Uruguayan"),
        ("most of the guests were Estonians", "Estonians"),
        ("Is the cook Peruvian?", "Peruvian"),
    ):
        assert ("NATIONALITY", value) in found(names, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("My neighbour is Monegasque and teaches maths.", "Monegasque"),
        ("They hired a young Kazakhstani nurse.", "Kazakhstani"),
        ("My neighbour is Sri Lankan and teaches maths.", "Sri Lankan"),
        ("I flew there with Sierra Leonean friends.", "Sierra Leonean"),
        ("Is she a New Zealander?", "New Zealander"),
        ("The Belarussian delegation arrived.", "Belarussian"),
        ("The Tasmanian team won.", "Tasmanian"),
        ("My aunt is a Presbyterian.", "Presbyterian"),
    ],
)
def test_nationalities_of_everywhere(names, text, value):
    """Those of small countries, and those of several words as one."""
    assert [text[span.start : span.end] for span in names.find(text)] == [value]
    assert names.find(text)[0].kind == "NATIONALITY"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The Swedish Coast Guard towed them in.", "Swedish"),
        ("Read the French, the Greek and the Arabic version.", "Arabic"),
        ("He wrote to the Danish Interior Ministry.", "Danish"),
        ("Please reply in Spanish.", "Spanish"),
        ("English subtitles are missing.", "English"),
    ],
)
def test_whose_a_body_of_a_state_is(names, text, value):
    """A state's body is called by what it does, so its people is a nationality; and so is a language by itself."""
    assert ("NATIONALITY", value) in found(names, text)


@pytest.mark.parametrize("text", ["The spindle poles moved apart.", "Please polish the windows."])
def test_what_a_nationality_is_not(names, text):
    """A word that is a people's among other things is none by the list alone."""
    assert not names.find(text)


@pytest.mark.parametrize(
    "text",
    ["My favourite track is Velvet Rain.", "Checkmate. Game over."],
)
def test_titles_and_calls_are_nobody(names, text):
    """Titles of works, and single words that are called out, are no persons."""
    assert all(span.kind != "PERSON" for span in names.find(text))


def test_a_country_is_no_nationality(names):
    """A place that begins like a nationality of several words stays a place."""
    text = "We sold it in the Central African Republic."
    assert [str(span.kind) for span in names.find(text)] == ["LOCATION"]
