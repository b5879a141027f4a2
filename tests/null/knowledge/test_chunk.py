"""Chunks: where they begin and end, and how long they are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.knowledge.documents import chunk
from coterie.knowledge.parsed import Heading, Parsed
from coterie.text.segmentation import sentences

TEXTS = st.lists(
    st.sampled_from(
        [
            "Fees are due. ",
            "ab ",
            "x" * 70,
            "e.g. this",
            "\n\n",
            "\n- item ",
            "Ends!",
            "Né à Paris? ",
            "日本語。",
            " 3.5 ",
            "\t",
        ]
    ),
    max_size=60,
).map("".join)


def words(texts):
    """A measure without a model: four characters are a token, white space is none."""
    return [-(-len("".join(text.split())) // 4) for text in texts]


@given(text=TEXTS)
@settings(deadline=None)
def test_sentences_hold_every_word(text):
    """Sentences do not overlap and leave out nothing but white space."""
    spans = sentences(text, lines="blocks")

    at = 0
    for start, end in spans:
        assert not text[at:start].strip()
        assert start < end
        assert text[start:end] == text[start:end].strip()
        at = end
    assert not text[at:].strip()


def test_sentences_end_where_readers_end_them():
    """At a full stop before a capital, also where white space was lost, and not within a number."""
    text = "It costs 3.5 euros. Who pays?No one does.The rest is free"

    assert [text[a:b] for a, b in sentences(text, lines="blocks")] == [
        "It costs 3.5 euros.",
        "Who pays?",
        "No one does.",
        "The rest is free",
    ]


@given(text=TEXTS, cuts=st.lists(st.integers(0, 300), max_size=4), tokens=st.integers(4, 40))
@settings(deadline=None)
def test_chunks_hold_every_word_once(text, cuts, tokens):
    """Chunks and headings together hold every word once, each chunk within its size and its section."""
    cuts = sorted({cut for cut in cuts if cut < len(text)})
    headings = tuple(Heading(cut, cut + 1, 1, f"part {cut}") for cut in cuts)
    parsed = Parsed(text=text, headings=headings)

    chunks = chunk(parsed, words, tokens=tokens)

    covered = sorted([(c.start, c.end) for c in chunks] + [(h.start, h.end) for h in headings])
    at = 0
    for start, end in covered:
        assert not text[at:start].strip()
        at = max(at, end)
    assert not text[at:].strip()
    for piece in chunks:
        body = text[piece.start : piece.end]
        assert body == body.strip() != ""
        assert words([body])[0] <= tokens


def test_chunks_know_heading_and_page():
    """A chunk has the path of headings it stands under and the page it begins on."""
    text = "Intro.\n\nLoans\n\nFees\n\nA fee is due.\n\nEnd\n\nNothing more."
    at = text.index
    headings = (
        Heading(at("Loans"), at("Loans") + 5, 1, "Loans"),
        Heading(at("Fees"), at("Fees") + 4, 2, "Fees"),
        Heading(at("End"), at("End") + 3, 1, "End"),
    )
    parsed = Parsed(text=text, headings=headings, pages=(0, at("A fee")))

    pieces = [(text[c.start : c.end], c.heading, c.page) for c in chunk(parsed, words)]

    assert pieces == [("Intro.", "", 1), ("A fee is due.", "Loans > Fees", 2), ("Nothing more.", "End", 2)]


def test_a_heading_with_nothing_under_it_is_text():
    """What is said in headings only is found; a heading above other headings is their path, and no text."""
    text = "# Office\n## Opens at nine\n## Closes at five\n### Fridays at two\n# Rooms\nFive.\n# End\n"
    lines = text.splitlines()
    places = [text.index(line) for line in lines if line.startswith("#")]
    marks = [line for line in lines if line.startswith("#")]
    headings = [
        Heading(start, start + len(line), line.count("#"), line.strip("# "))
        for start, line in zip(places, marks, strict=True)
    ]

    pieces = chunk(Parsed(text=text, headings=tuple(headings)), words)

    assert [(piece.heading, text[piece.start : piece.end]) for piece in pieces] == [
        ("Office", "## Opens at nine"),
        ("Office > Closes at five", "### Fridays at two"),
        ("Rooms", "Five."),
        ("", "# End"),
    ]


def test_chunks_of_a_text_are_about_as_long():
    """A text a little longer than a chunk makes two halves, not a chunk and a rest of three words."""
    text = " ".join(f"Sentence number {n} says it." for n in range(30))

    chunks = chunk(Parsed(text=text), words, tokens=words([text])[0] - 20)

    first, second = (c.end - c.start for c in chunks)
    assert abs(first - second) < len(text) // 6


def test_one_endless_word_is_cut():
    """A text without white space is cut as well, and nothing of it is lost."""
    text = "x" * 9000

    chunks = chunk(Parsed(text=text), words, tokens=50)

    assert "".join(text[c.start : c.end] for c in chunks) == text
    assert max(c.end - c.start for c in chunks) <= 200


def test_what_an_encoder_takes_for_one_word_is_cut():
    """A picture in base64 is one unknown token, however long: its chunks are no longer than others."""
    text = "x" * 90_000

    assert max(c.end - c.start for c in chunk(Parsed(text=text), lambda texts: [1] * len(texts))) <= 12 * 128


def test_what_must_be_cut_is_cut_between_lines():
    """Names and their values stay together where a line fits."""
    text = "\n".join(f"name of column {n}: the value is {n}" for n in range(60))

    pieces = [text[c.start : c.end] for c in chunk(Parsed(text=text), words, tokens=40)]

    assert all(line.startswith("name of") for piece in pieces for line in piece.split("\n"))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Şimdi geldi. Šel domů. Ωραία. Žije.", 4),
        ("\u0627\u0644\u0625\u064a\u062c\u0627\u0631. \u064a\u062c\u0628\u061f \u0644\u0627.", 3),
        ("\u0939\u0948\u0964 \u092f\u0939", 2),
        ("🚀 Go at nine. 🎉 Yes.", 2),
        ("It has approx. five.", 1),
    ],
)
def test_sentences_end_in_every_script(text, count):
    """Capitals with marks begin a sentence, and so do letters of scripts without capitals, and pictures."""
    assert len(sentences(text)) == count


def test_a_table_is_cut_between_its_rows_and_each_piece_knows_its_columns():
    """No row is cut in two; a chunk that begins inside a table has the names of its columns in its heading."""
    rows = [f"| City {number} | {number} euros |" for number in range(40)]
    text = "\n".join(["# Rates", "", "They hold.", "", "| City | Rate |", "|---|:--:|", *rows, "", "Ask us.", ""])

    chunks = chunk(Parsed(text=text, headings=(Heading(0, 7, 1, "Rates"),)), words, tokens=30)

    pieces = [text[cut.start : cut.end].splitlines() for cut in chunks]
    assert [line for piece in pieces for line in piece if line in rows] == rows
    inside = [cut.heading for cut, piece in zip(chunks, pieces, strict=True) if piece[0] in rows]
    assert len(inside) > 3
    assert set(inside) == {"Rates > City | Rate"}
    assert chunks[0].heading == "Rates"
    assert chunk(Parsed(text=text), words, tokens=30)[3].heading == "City | Rate"
