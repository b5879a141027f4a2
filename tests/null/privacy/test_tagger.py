"""Names by a token classifier: from logits to spans, and beside the patterns."""

import asyncio
import base64
import itertools
import threading
import time
from urllib.parse import quote

import numpy as np
import pytest

from coterie.engines.onnx import TokenTags
from coterie.errors import ArtefactRefused
from coterie.privacy.detection import Kind, redact
from coterie.privacy.tagger import NAME_KINDS, PIECE, TAGS, NameTagger, best_tags, load_tagger, named_spans, pieces_of
from coterie.runtime.concurrency import aside
from coterie.testing.contracts import check_detector

BEGIN = {kind: 1 + 2 * number for number, kind in enumerate(NAME_KINDS)}
PERSON, PLACE = BEGIN[Kind.PERSON], BEGIN[Kind.LOCATION]


def tags(text, tagged):
    """The logits of tokens: text, tag, and how sure."""
    offsets, logits, at = [], [], 0
    for piece, tag, sure in tagged:
        at = text.index(piece, at)
        offsets.append((at, at + len(piece)))
        at += len(piece)
        row = np.zeros(TAGS)
        row[tag] = sure
        logits.append(row)
    return TokenTags(np.array(offsets), np.array(logits))


def found(text, tagged):
    return [(text[span.start : span.end], span.kind) for span in named_spans(text, tags(text, tagged))]


def test_pieces_become_names():
    """Pieces of a name are one, two names beside each other are two, and a sign at the end is no part of it."""
    text = "Ask Maria Novak, Prague."
    pieces = [("Ask", 0, 9), ("Mar", PERSON, 9), ("ia", PERSON + 1, 9), ("Nov", PERSON + 1, 9), ("ak,", PERSON + 1, 9)]
    assert found(text, [*pieces, ("Prague.", PLACE, 9)]) == [("Maria Novak", Kind.PERSON), ("Prague", Kind.LOCATION)]


def test_a_name_ends_with_its_paragraph():
    """What is signed and the paragraph below are two names; a name that a line cuts is one, and an address goes on."""
    address = 1 + 2 * NAME_KINDS.index(Kind.ADDRESS)
    signed = [("Tom", PERSON, 9), ("Best", PERSON + 1, 9), ("wishes", 0, 9)]
    assert found("Tom\n\nBest wishes", signed) == [("Tom", Kind.PERSON), ("Best", Kind.PERSON)]
    assert found("12 Elm Road\n\nLeeds", [("12", address, 9), ("Road", address + 1, 9), ("Leeds", address + 1, 9)]) == [
        ("12 Elm Road\n\nLeeds", Kind.ADDRESS)
    ]
    assert found("Ann\nLee", [("Ann", PERSON, 9), ("Lee", PERSON + 1, 9)]) == [("Ann\nLee", Kind.PERSON)]


def test_whole_words():
    """A name that begins or ends within a word has the word; Chinese has no blanks, and stays as it is."""
    assert found("seit Novaks Brief", [("seit", 0, 9), ("Nov", PERSON, 9), ("aks", 0, 9), ("Brief", 0, 9)]) == [
        ("Novaks", Kind.PERSON)
    ]
    assert found("我在北京工作", [("我在", 0, 9), ("北京", PLACE, 9), ("工作", 0, 9)]) == [("北京", Kind.LOCATION)]


def test_nothing_goes_on_that_has_not_begun():
    """The likeliest tags are those of a possible order, whatever each token says by itself."""
    logs = np.full((3, TAGS), -9.0)
    logs[0, PERSON + 1], logs[0, PERSON] = -0.1, -3.0
    logs[1, PLACE + 1], logs[1, 0] = -0.1, -2.0
    logs[2, 0] = -0.1
    assert best_tags(logs) == [PERSON, 0, 0]


class Scripted:
    """Says that words with a capital are persons."""

    size = TAGS

    def tag(self, texts):
        tagged = []
        for text in texts:
            words = [(word, PERSON if word[:1].isupper() else 0, 9.0) for word in text.split()]
            tagged.append(tags(text, words) if words else TokenTags(np.empty((0, 2)), np.empty((0, TAGS))))
        return tagged


@pytest.fixture(scope="module")
def detector():
    return NameTagger(Scripted())


def test_beside_the_patterns(detector):
    """What has a form is the patterns'; two persons with a blank between are one."""
    text = "write to Maria Novak at maria@novak.example"
    kinds = {(span.kind, text[span.start : span.end]) for span in detector.find(text)}
    assert kinds == {(Kind.PERSON, "Maria Novak"), (Kind.EMAIL, "maria@novak.example")}


async def test_contract(detector):
    """It keeps what every detector promises."""
    await check_detector(detector)


SENTENCE = "Yesterday the clerk met Maria Novak at noon. "


@pytest.mark.parametrize("between", ["", "\n", "\n\n"])
def test_long_texts_are_read_in_pieces(detector, between):
    """Every name of a long text is found where it stands, and no piece is longer than one may be."""
    text = (SENTENCE + between) * (5 * PIECE // len(SENTENCE))
    persons = [span for span in detector.find(text) if span.kind == Kind.PERSON and span.end - span.start > 10]

    assert [text[span.start : span.end] for span in persons] == ["Maria Novak"] * text.count("Maria")
    assert max(end - start for start, end in pieces_of(text)) <= PIECE


@pytest.mark.parametrize("text", ["a" * 5000, "\n" * 5000, "\u6771" * 5000, "\u3002" * 5000, "ab " * 3000, ""])
def test_pieces_have_everything(text):
    """Nothing but white space is left out, whatever the text is, and pieces do not overlap."""
    pieces = pieces_of(text)

    assert all(0 < end - start <= PIECE for start, end in pieces if text)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(pieces))
    assert "".join("".join(text[start:end] for start, end in pieces).split()) == "".join(text.split())


async def test_a_long_text_is_given_up():
    """Who leaves ends the search between pieces."""
    begun, go, ended, read = threading.Event(), threading.Event(), threading.Event(), []

    class Waiting(Scripted):
        def tag(self, texts):
            read.append(texts)
            begun.set()
            go.wait(5)
            return super().tag(texts)

    def find():
        try:
            NameTagger(Waiting()).find(text)
        finally:
            ended.set()

    text = SENTENCE * (30 * PIECE // len(SENTENCE))
    task = asyncio.create_task(aside(len(text), find))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await asyncio.to_thread(ended.wait, 5)
    assert len(read) == 1


def test_least():
    """A name that is not sure enough is left out."""
    text = "Will comes"
    one = TokenTags(np.array([[0, 4], [5, 10]]), np.zeros((2, TAGS)))
    one.logits[0, PERSON], one.logits[1, 0] = 2.0, 9.0
    (name,) = named_spans(text, one)
    assert 0.3 < name.score < 0.5

    class Unsure(Scripted):
        def tag(self, texts):
            return [one for _ in texts]

    assert not NameTagger(Unsure()).find(text)
    assert NameTagger(Unsure(), least=0.2).find(text)


def test_files_that_are_not_there(tmp_path):
    """A folder without a classifier is refused."""
    with pytest.raises(ArtefactRefused):
        load_tagger(tmp_path)


def test_another_classifier():
    """One with other tags is refused."""

    class Other(Scripted):
        size = 3

    with pytest.raises(ArtefactRefused):
        NameTagger(Other())


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("My name is Maria Schneider and I live in Bristol.", "Maria Schneider", Kind.PERSON),
        ("Gestern hat Katharina Vogel in Hannover angerufen.", "Katharina Vogel", Kind.PERSON),
        ("Ontem a Mariana Azevedo foi a Coimbra.", "Mariana Azevedo", Kind.PERSON),
        ("Igår ringde Astrid Lundqvist från Göteborg.", "Göteborg", Kind.LOCATION),
        ("Jučer je Ivana Horvat stigla u Split.", "Ivana Horvat", Kind.PERSON),
        ("Вчера Ольга Смирнова приехала в Казань.", "Ольга Смирнова", Kind.PERSON),
        ("Hier, Camille Durand est partie pour Lyon.", "Lyon", Kind.LOCATION),
        ("Ayer llamó Lucía Fernández desde Sevilla.", "Lucía Fernández", Kind.PERSON),
        ("Ieri Chiara Rinaldi è arrivata a Torino.", "Chiara Rinaldi", Kind.PERSON),
        ("Wczoraj zadzwoniła Agnieszka Zielińska z Gdańska.", "Agnieszka Zielińska", Kind.PERSON),
        ("Gisteren belde Femke de Vries uit Utrecht.", "Utrecht", Kind.LOCATION),
        ("Ieri Andreea Popescu a plecat la Cluj.", "Andreea Popescu", Kind.PERSON),
    ],
)
def test_bundled(text, name, kind):
    """The one in the package finds names in a dozen languages."""
    assert (name, kind) in {(text[span.start : span.end], span.kind) for span in NameTagger.bundled().find(text)}


@pytest.mark.parametrize(
    "text",
    [
        "Tommaso Brambilla, nato il 12/03/1979",
        "Geboortedatum 4 juli 1961",
        "Fecha de nacimiento: 23 de abril de 1990",
        "Urodzony 15.08.2014",
        "geb. 03.11.1985 in Passau",
        "Born 14 June 1988",
    ],
)
def test_a_birth_is_no_mere_date(text):
    """The model is sure of the date; the words before it say whose it is, and that asks for a label."""
    assert Kind.DATE_OF_BIRTH in {span.kind for span in NameTagger.bundled().find(text)}


@pytest.fixture(scope="module")
def bundled():
    return NameTagger.bundled()


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
def test_nobody(bundled, text):
    """Ordinary words in capitals, questions and empty texts name nobody."""
    assert bundled.find(text) == ()


@pytest.mark.parametrize(
    "name", ["Jose\u0301 Garci\u0301a", "An\u200bna Schm\u00adidt", "\uff21\uff4e\uff4e\uff41 Schmidt"]
)
def test_names_that_hide(bundled, name):
    """Accents as signs of their own, signs without width and double width hide no name, and belong to it."""
    text = f"Please tell {name} that the parcel is here."
    assert [text[span.start : span.end] for span in bundled.find(text)] == [name]


@pytest.mark.parametrize(
    "encode", [quote, lambda name: base64.b64encode(f"Dear {name}, hello".encode()).decode(), "\u200b".join]
)
def test_names_in_other_forms(bundled, encode):
    """Encoded names are found like values with a form."""
    written = encode("Anna Schmidt")
    text = f"Dear {written}, thank you."
    assert [text[span.start : span.end] for span in bundled.find(text) if span.kind == "PERSON"] == [written]


def test_redact(bundled):
    """The same name has the same placeholder, whatever its capitals; the rest of the text is untouched."""
    text = "I am Maria Schneider. MARIA SCHNEIDER, maria@example.org!"

    assert redact(text, bundled.find(text)) == "I am <PERSON_1>. <PERSON_1>, <EMAIL_1>!"
    assert redact("nothing", ()) == "nothing"


@pytest.mark.parametrize("piece", ["a", "Ab ", "\u0661", "\ud800x", "A.", "\n"])
def test_long_and_hostile_texts(bundled, piece):
    """A text without a space, or of single letters, takes four times as long when it is four times as long."""

    def taken(length):
        begun = time.thread_time()
        bundled.find((piece * length)[:length])
        return time.thread_time() - begun

    taken(100)  # what is loaded once
    assert taken(16_000) <= 10 * max(taken(4_000), 0.01)  # squares would take 16 times as long
