"""Sentences in eight languages and more: where they end, that nothing is lost, and what long texts cost."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.text.segmentation import SentenceStream, asks, sentences, split_sentences

TEXTS = {
    "en": [
        "Mr. Smith came at 5 p.m. and left.",
        "It costs 3.5 euros.",
        '"Who pays?"',
        "See No. 7, e.g. here, etc.",
        "A.M. Best rates it.",
        "It closes at 5 p.m.",
        "Bye.",
    ],
    "de": [
        "Der Vertrag endet am Montag.",
        "Änderungen gelten z. B. ab dem 5. März 2024.",
        "Über Nr. 3 usw.",
        "Öffnen!",
    ],
    "fr": ["L'été arrive.", "Été comme hiver, M. Dupont habite av. Foch.", "À demain !", "Œuvre d'art."],
    "es": ["¿Dónde está el Sr. García?", "¡Aquí!", "Él vive en la c. 5.", "Últimamente sí."],
    "pt": ["O Sr. Silva mora na Av. Paulista.", "É verdade.", "Às cinco.", "Ótimo!"],
    "it": ["Il sig. Rossi e il dott. Bianchi.", "È vero.", "Così sia."],
    "nl": ["Dhr. de Vries woont o.a. in Utrecht.", "Één ding.", "Hoe laat?"],
    "ru": ["Привет.", "Как дела?", "Ёлка стоит.", "Я жду."],
    "ja": ["今日は雨です。", "明日は晴れ！", "「はい。」と言った。", "終わり？"],
    "zh": ["我的卡在哪里？", "我不知道。", "谢谢！"],
}
SPACED = {language: "" if language in {"ja", "zh"} else " " for language in TEXTS}


@pytest.mark.parametrize("language", TEXTS)
def test_sentences_of_a_language(language):
    """They end at their own signs and begin with their own letters; abbreviations end none."""
    text = SPACED[language].join(TEXTS[language])

    assert [text[a:b] for a, b in sentences(text, language=language)] == TEXTS[language]


@pytest.mark.parametrize("language", ["de", "es", "ru", "ja"])
def test_a_stream_gives_the_same_sentences(language):
    """Piece by piece, where nothing but an abbreviation is unclear without what follows."""
    plain = {"de": TEXTS["de"][:2], "es": TEXTS["es"], "ru": TEXTS["ru"], "ja": TEXTS["ja"]}[language]
    stream = SentenceStream(language)
    split = [sentence for sign in SPACED[language].join(plain) for sentence in stream.feed(sign)] + stream.close()

    assert split == plain


PIECES = st.sampled_from(
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
        "5. ",
    ]
)


@given(
    text=st.lists(PIECES | st.text(max_size=8), max_size=40).map("".join),
    language=st.sampled_from([None, *TEXTS]),
    lines=st.sampled_from(["paragraphs", "blocks", "all"]),
    clauses=st.booleans(),
    longest=st.sampled_from([None, 20, 600]),
)
@settings(deadline=None, max_examples=300)
def test_sentences_cover_the_text(text, language, lines, clauses, longest):
    """In order, not overlapping, none blank, and nothing between them but white space."""
    spans = sentences(text, language=language, lines=lines, clauses=clauses, longest=longest)

    assert all(text[a:b].strip() == text[a:b] != "" for a, b in spans)
    assert all(longest is None or b - a <= longest for a, b in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    assert sum(len("".join(text[a:b].split())) for a, b in spans) == len("".join(text.split()))


@pytest.mark.parametrize("piece", ["a. ", ". ", "\n", " ", "'\"", "。」", "1. ", "z. B. ", "x", ".\n"])
def test_the_cost_is_linear(piece):
    """Long runs of anything are no trap."""
    text = piece * 100_000

    assert len(sentences(text, language="de", clauses=True, longest=600)) <= len(text)
    assert split_sentences(piece * 20_000, "de") is not None


@pytest.mark.parametrize("text", ["Why?", "なぜですか？", "لماذا؟", "He asked: “Why?”", "**Can I pay by card?**"])
def test_a_sentence_that_ends_with_a_question_mark_asks(text):
    """Of any script, closing marks aside."""
    assert asks(text)


@pytest.mark.parametrize("text", ["", "Yes.", "What is asked is known.", "¿", "Why? Because."])
def test_another_does_not(text):
    """An opening mark is none, nor is one in the middle."""
    assert not asks(text)
