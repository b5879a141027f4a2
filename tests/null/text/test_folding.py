"""A text as it reads: nothing that is not seen, and every character's way back."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.text.folding import estimate_tokens, fold, is_ignorable, shown, skeleton, valid_text


@pytest.mark.parametrize(
    ("written", "reads"),
    [
        ("an\u200bna@ex\U000e0020ample.org", "anna@example.org"),
        ("4\u03011\u20e3\u064e11", "4111"),
        ("jose\u0301 and x\u0301\u0302y", "jos\u00e9 and xy"),
        ("\u0664\u00b2\u2460\u0968\uff15\u246a", "4212511"),
        ("\uff41\U0001d41b\u00a0\ufb01n", "ab fin"),
        ("%61nna%2540x &#x61;&amp;#98; \\u0061\\ud835\\udfd2\\x62", "anna@x ab a4b"),
        ("%D9%A3%e9", "3\u00e9"),
        ("a\0b\x7fc\u2028d", "abc\nd"),
        ("a\u200b\u0301b", "\u00e1b"),
    ],
)
def test_reads(written, reads):
    """What is not seen is gone; digits, widths and escapes read as what they stand for."""
    assert shown(written) == reads


@pytest.mark.parametrize(
    "text", ["plain\ttext\n", "caf\u00e9 \u4f60\u597d", "\u0939\u093f\u0928\u094d\u0926\u0940 \u05e9\u05b8"]
)
def test_as_it_is(text):
    """Plain text and the marks of scripts that are written with them stay."""
    assert fold(text) is None


def test_second_reading():
    """What may be a blank or nothing, a digit or a footnote, part of a value or its end, can be read in both ways."""
    for written, first, second in (("a\x0bb", "a\x0bb", "ab"), ("1\u00b2", "12", "1 "), ("a%20b", "a%20b", "a b")):
        folded = fold(written)
        assert folded.unclear
        assert (folded.text, fold(written, again=True).text) == (first, second)


def test_ignorable():
    """The property is that of the standard: 4,174 code points, as the package `regex` knows them."""
    codes = [code for code in range(sys.maxunicode + 1) if is_ignorable(chr(code))]
    assert len(codes) == 4174
    assert {0xAD, 0x2065, 0x3164, 0xFE0F, 0xE0020, 0xE0FFF} <= set(codes)
    regex = pytest.importorskip("regex")
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert codes == [match.start() for match in regex.finditer(r"\p{DI}", everything)]


_PIECES = st.sampled_from(
    [
        "a",
        "7",
        " ",
        "\n",
        "\u00e9",
        "\u0301",
        "\u200b",
        "\u0915",
        "\u093f",
        "%41",
        "&#66;",
        "\\u0043",
        "\uff11",
        "\u246a",
        "\0",
    ]
)


@given(st.lists(_PIECES, max_size=40).map("".join))
def test_way_back(text):
    """Places rise, lie within the text, and what stands at one reads as the character that was there."""
    folded = fold(text)
    if folded is None:
        return
    spans = [folded.span(at, at + 1) for at in range(len(folded.text))]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    for at, (start, end) in enumerate(spans):
        if unicodedata.category(folded.text[at]) != "Mn":  # that depends on the letter before it
            assert folded.text[at] in shown(text[start:end])


def test_long_texts_are_read_in_pieces():
    """No escape and no accent is cut where a piece ends."""
    for unit, reads in (
        ("%C3%A9", "\u00e9"),
        ("e\u0301", "\u00e9"),
        ("&#233;", "\u00e9"),
        ("a\u200b", "a"),
        ("\\u00e9", "\u00e9"),
    ):
        for shift in range(7):
            assert shown("x" * shift + unit * (40_000 // len(unit))) == "x" * shift + reads * (40_000 // len(unit))


def test_skeleton():
    """Letters that look like ASCII ones are these beside ASCII; words of other alphabets are left alone."""
    assert skeleton("\u0410\u042261 1904") == "AT61 1904"
    assert skeleton("GB82 \u051c\u0415\u0405\u0422 1234") == "GB82 WEST 1234"
    assert skeleton("D\u00c989") == "DE89"
    assert skeleton("\u0413\u0434\u0435 \u043c\u043e\u044f \u043f\u043e\u0441\u044b\u043b\u043a\u0430 12") is None
    assert skeleton("P\u00e4ckchen 12") is None


@given(st.text(st.characters(exclude_categories=[])))
def test_valid_text(text):
    """Whatever comes in, surrogates included, what goes out can be encoded; valid text stays as it is."""
    valid = valid_text(text)
    valid.encode()
    try:
        text.encode()
    except UnicodeEncodeError:
        assert "\ufffd" in valid or len(valid) < len(text)  # a pair of surrogates is one character
    else:
        assert valid == text


def test_estimate_tokens():
    """Four bytes a token, rounded up."""
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde", "é" * 4)] == [0, 1, 1, 2, 2]
