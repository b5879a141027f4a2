"""The language of short and long texts, and tables of words by language."""

import random
from collections import Counter

import numpy as np
import pytest

from coterie.text.language import LONGEST, NgramAutomaton, base, detect, is_english, language_of
from coterie.text.segmentation import count_negations, terms

SENTENCES = {
    "en": "How do I reset my PIN?",
    "de": "Meine Karte wurde gestohlen",
    "fr": "Je n'ai pas reçu ma carte",
    "es": "¿Dónde está mi tarjeta?",
    "pt": "Onde está o meu cartão?",
    "it": "Dov'è la mia carta?",
    "nl": "Waar is mijn kaart?",
    "ja": "カードはどこですか",
    "zh": "我的卡在哪里",
    "ko": "카드는 어디에 있나요",
    "el": "Πού είναι η κάρτα μου;",
}


@pytest.mark.parametrize(("language", "text"), SENTENCES.items())
def test_a_sentence_tells_its_language(language, text):
    """Also one of five words."""
    assert detect(text) == language
    assert language_of(text, "en") == language


@pytest.mark.parametrize("text", ["", "5.000 €", "OK", "hi", "Visa", "https://example.org/karte", "AB-1234", "🙂"])
def test_what_has_no_words_has_no_language(text):
    """Unknown is said, and counts as the network's."""
    assert detect(text) is None
    assert language_of(text, "de") == "de"
    assert language_of(text, "en-GB") == "en-GB"


@pytest.mark.parametrize("text", ["thanks", "card arrival", "exchange rate", "cancle my crd plese", "whats my balance"])
def test_short_english_is_english_in_an_english_network(text):
    """What may be English is, so nothing changes for it."""
    assert is_english(language_of(text, "en"))


def test_a_region_is_kept_for_its_language():
    """A network in `en-GB` reads English as the British write it, and German as German."""
    assert language_of(SENTENCES["en"], "en-GB") == "en-GB"
    assert language_of(SENTENCES["de"], "en-GB") == "de"


def test_n_grams_are_counted_in_one_pass():
    """Of the n-grams that end at a byte the longest counts, as if each were looked up."""
    draw = random.Random(0)
    grams = sorted({bytes(draw.choices(b"abc", k=draw.randint(2, 5))) for _ in range(150)})
    lengths = np.array([len(gram) for gram in grams])
    automaton = NgramAutomaton.of(np.frombuffer(b"".join(grams), dtype=np.uint8).astype(np.int64), lengths)
    for _ in range(200):
        text = bytes(draw.choices(b"abcd", k=draw.randint(0, 60)))
        ends = (text[:end] for end in range(1, len(text) + 1))
        longest = (max((gram for gram in grams if read.endswith(gram)), key=len, default=None) for read in ends)
        assert automaton.read(text) == Counter(grams.index(gram) for gram in longest if gram is not None)


def test_words_that_come_again_count_the_same():
    """What is remembered of a word holds for the state before it alone; blanks may stand anywhere, and in n-grams."""
    grams = [b"a", b"b a", b" a", b"aa", b"b  ", b"  b"]
    lengths = np.array([len(gram) for gram in grams], dtype=np.int64)
    automaton = NgramAutomaton.of(np.frombuffer(b"".join(grams), dtype=np.uint8).astype(np.int64), lengths)
    draw = random.Random(3)
    for _ in range(500):
        text = bytes(draw.choices(b"ab c", k=draw.randint(0, 12)))
        plain = Counter[int]()
        for end in range(1, len(text) + 1):
            longest = max((gram for gram in grams if text[:end].endswith(gram)), key=len, default=None)
            if longest is not None:
                plain[grams.index(longest)] += 1
        assert automaton.read(text) == automaton.read(text) == plain


def test_long_texts_cost_no_more():
    """Only the beginning is read."""
    start = SENTENCES["de"] + ". "

    assert detect((start * LONGEST)[:LONGEST] + SENTENCES["en"] * 10_000) == "de"


@pytest.mark.parametrize(
    ("language", "said", "denied"),
    [
        ("en", "Dogs are allowed.", "Dogs aren't allowed."),
        ("de", "Hunde sind erlaubt.", "Hunde sind nicht erlaubt."),
        ("fr", "Les chiens sont admis.", "Les chiens ne sont pas admis."),
        ("es", "Se admiten perros.", "No se admiten perros."),
        ("pt", "Cães são permitidos.", "Cães não são permitidos."),
        ("it", "I cani sono ammessi.", "I cani non sono ammessi."),
        ("nl", "Honden zijn toegestaan.", "Honden zijn niet toegestaan."),
        ("ja", "犬は入れます。", "犬は入れません。"),
    ],
)
def test_a_denial_is_counted_once(language, said, denied):
    """In French `ne … pas` is one."""
    assert count_negations(said, language) == 0
    assert count_negations(denied, language) == 1


def test_words_are_compared_without_small_ones_and_endings():
    """By language; Japanese by pairs of signs."""
    assert terms("The fees are payable in 1,500 days") == ["fee", "payabl", "1500", "day"]
    assert terms("Die Gebühren sind fällig", "de") == ["gebühr", "fällig"]
    assert terms("東京都", "ja") == ["東京", "京都"]
    assert terms("कमरे की फीस क्या है?", "hi") == ["कमरे", "की", "फीस", "क्या", "है"]
    assert terms("re\u0301union à 9 h", "fr") == ["re\u0301union", "9"]
    assert base("nb-NO") == base("nn") == "no"


@pytest.mark.parametrize(
    ("text", "default", "language"),
    [
        ("Prašau pakeisti mano apsilankymo laiką", "en", "lt"),
        ("Kui palju maksab kohaletoimetamine?", "en", "et"),
        ("Cik maksā piegāde mājās?", "en", "lv"),
        ("Giao hàng mất bao lâu?", "en", "vi"),
        ("Koľko stojí doručenie domov?", "sk", "sk"),
        ("Želim spremeniti datum svojega obiska.", "sl", "sl"),
        ("How much is delivery to my home?", "sk", "en"),
        ("Kolik stojí doručení domů?", "cs", "cs"),
        ("Hvað kostar heimsending?", "is", "is"),  # uncertain, and no language of the model
        ("How much is delivery to my home?", "is", "en"),
    ],
)
def test_more_languages_and_a_default_that_is_not_detected(text, default, language):
    """Close languages are told apart where the network names one; an uncertain text counts as the default."""
    assert language_of(text, default) == language
    assert detect(text) != "sk"
