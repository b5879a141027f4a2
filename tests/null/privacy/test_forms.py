"""Values in every form: found, replaced whole, and nothing found where there is nothing."""

import base64
import random
import sys
import unicodedata
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.privacy.detection import redact
from coterie.privacy.patterns import PatternDetector, find_between
from coterie.text.folding import is_ignorable, untagged

VALUES = {
    "EMAIL": "anna.smith@example.org",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "CARD": "4111 1111 1111 1111",
    "PHONE": "+49 30 9018201",
    "NATIONAL_ID": "123-45-6789",
    "IP": "10.218.6.131",
    "SECRET": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
}
UNSEEN = [
    sign
    for sign in map(chr, range(sys.maxunicode + 1))
    if is_ignorable(sign)
    or unicodedata.category(sign) in {"Cf", "Me", "Mn"}
    or (unicodedata.category(sign) == "Cc" and sign not in "\t\n\r")
]
IGNORABLE = [sign for sign in UNSEEN if is_ignorable(sign)]
find = PatternDetector().find


def kinds_and_words(text):
    """What is found, as kinds and words."""
    return [(str(span.kind), text[span.start : span.end]) for span in find(text)]


def test_no_unseen_character_hides_a_value():
    """Every character that is not seen, between all characters of an IBAN: found, and replaced whole."""
    missed = [
        sign
        for sign in UNSEEN
        if redact(text := f"It is {sign.join(VALUES['IBAN'])}.", find(text)) != "It is <IBAN_1>."
    ]
    assert [f"{ord(sign):04X}" for sign in missed] == []
    assert len(IGNORABLE) == 4174


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_anywhere_in_every_kind(kind, data):
    """A few of them anywhere in a value of any kind leave nothing of it in the redacted text."""
    value = VALUES[kind]
    for sign in data.draw(st.lists(st.sampled_from(IGNORABLE), min_size=1, max_size=6)):
        at = data.draw(st.integers(1, len(value) - 1))
        value = value[:at] + sign + value[at:]
    text = f"It is {value} now."
    assert redact(text, find(text)) == f"It is <{kind}_1> now."


def test_ten_thousand_of_them():
    """However many stand between two characters, and however long the text before it is."""
    text = "word " * 10_000 + ("\u200b" * 10_000).join(VALUES["IBAN"]) + " end"
    assert redact(text, find(text)).endswith("word <IBAN_1> end")


@pytest.mark.parametrize(
    ("text", "kind", "written"),
    [
        ("\u8d26\u53f7DE89370400440532013000\u8c22\u8c22", "IBAN", "DE89370400440532013000"),
        ("\u7535\u8bdd13812345678\u8c22\u8c22", "PHONE", "13812345678"),
        ("\u96fb\u8a71\u306f090-1234-5678\u3067\u3059", "PHONE", "090-1234-5678"),
        ("\uc804\ud654\ub294 010-1234-5678\ub85c", "PHONE", "010-1234-5678"),
        ("\u90ae\u7bb1anna@example.org\u8bf7\u8054\u7cfb", "EMAIL", "anna@example.org"),
        ("anna@example.org" + "\u8bf7" * 40, "EMAIL", "anna@example.org"),
        ("\u8bf7" * 80 + "anna@example.org", "EMAIL", "anna@example.org"),
        ("\u0441\u0447\u0451\u0442 \u0410\u042261 1904 3002 3457 3201", "IBAN", "\u0410\u042261 1904 3002 3457 3201"),
        ("tel 555-123-4567\u00b9 and", "PHONE", "555-123-4567"),
        ("DE89 3704\r\n> 0044 0532\r\n> 0130 00", "IBAN", "DE89 3704\r\n> 0044 0532\r\n> 0130 00"),
    ],
)  # fmt: skip
def test_beside_other_scripts(text, kind, written):
    """A value that touches letters of a script without blanks, is in look-alike letters or on several lines."""
    assert kinds_and_words(text) == [(kind, written)]


@pytest.mark.parametrize("kind", VALUES)
def test_encoded(kind):
    """Percent, base64 and hexadecimal, once and twice: the whole run is replaced."""
    value = VALUES[kind]
    inner = base64.b64encode(f"note: {value}".encode()).decode()
    for written in (
        quote(value),
        quote(quote(value)),
        inner,
        base64.b64encode(inner.encode()).decode(),
        value.encode().hex(),
    ):
        text = f"see {written} now"
        assert redact(text, find(text)) == f"see <{kind}_1> now", written


def _spelled(value, base):
    """Letters in a Unicode block of pictures that begins with A there; the rest as it is."""
    return "".join(chr(base + ord(sign) - 65) if sign.isascii() and sign.isupper() else sign for sign in value)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("filled squares", lambda value: _spelled(value, 0x1F170)),
        ("filled circles", lambda value: _spelled(value, 0x1F150)),
        ("flags", lambda value: _spelled(value, 0x1F1E6)),
        ("script escapes", lambda value: "".join(f"%u{ord(sign):04x}" for sign in value)),
        ("bytes of a program", lambda value: ", ".join(f"0x{octet:02X}" for octet in value.encode())),
        ("bytes with blanks", lambda value: " ".join(f"0x{octet:02x}" for octet in value.encode())),
        ("bytes with dashes", lambda value: value.encode().hex("-")),
    ],
)
@pytest.mark.parametrize("kind", ["IBAN", "SECRET", "EMAIL"])
def test_more_ways_to_write_a_character(kind, name, write):
    """Letters that Unicode takes for pictures, `escape()` of a browser, and octets as programs print them."""
    text = f"see {write(VALUES[kind])} now"
    assert redact(text, find(text)).replace("0x<", "<") == f"see <{kind}_1> now", name


@pytest.mark.parametrize("sign", ["\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "/", "."])
def test_any_dash_between_the_groups_of_an_iban(sign):
    """What a word processor makes of a hyphen, and strokes."""
    text = f"It is {VALUES['IBAN'].replace(' ', sign)}."
    assert redact(text, find(text)) == "It is <IBAN_1>."


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("marks", ["_", "__", "***", "`", "~~"])
def test_emphasised(kind, marks):
    """A value in italics, bold, code or struck out, as Markdown has it."""
    ((detected, words),) = kinds_and_words(f"It is {marks}{VALUES[kind]}{marks} now.")
    assert (detected, words.strip("_")) == (kind, VALUES[kind])


def test_no_name_of_a_program_is_emphasised():
    """An underscore within a word makes no value of a part of it."""
    for text in (
        "see file_4930901820_x",
        "anna_ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "UUID 6d617269-6f20-4120",
    ):
        assert find(text) == ()


def test_wrapped_base64():
    """Base64 in lines of 76 signs, as mail has it, in one run."""
    run = (
        base64.encodebytes(b"Dear Sir or Madam, thank you for your letter. " * 3 + VALUES["IBAN"].encode())
        .decode()
        .strip()
    )
    assert kinds_and_words(f"body:\n{run}\nend") == [("IBAN", run)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ('{"a": "DE89 3704 0044", "b": "0532 0130 00"}', ["DE89 3704 0044", "0532 0130 00"]),
        ("1,DE89 3704 0044,0532 0130 00,7", ["DE89 3704 0044", "0532 0130 00"]),
        ("iban1: NL91 ABNA\niban2: 0417 1643 00", ["NL91 ABNA", "0417 1643 00"]),
        ("card 4111 1111\nand 1111 1111", ["4111 1111", "1111 1111"]),
        ('["ghp_16C7e42F292c69", "12E7710c838347Ae178B4a"]', ["ghp_16C7e42F292c69", "12E7710c838347Ae178B4a"]),
        ("DE89 3704 0044, 0532 0130 01", []),  # the check number is wrong
        ("row 4111 1111\nand 1111 1111", []),  # nothing says that it is a card
        ("sk-learn and 550e8400-e29b-41d4", []),
    ],
)
def test_cut(text, pieces):
    """Pieces of one value in one text are found where the whole is exact, and nowhere else."""
    assert [words for kind, words in kinds_and_words(text) if kind != "PHONE"] == pieces


def test_cut_over_texts():
    """Pieces in several texts are found with their places, behind invisible characters too."""
    texts = ["It is DE89 37\u200b04 0044", "go on", "and 0532 0130 00."]
    (value,) = find_between(texts, [find(text) for text in texts])
    assert [texts[piece.text][piece.start : piece.end] for piece in value.pieces] == [
        "DE89 37\u200b04 0044",
        "0532 0130 00",
    ]
    whole = ["DE89 3704 0044 0532 0130 00", "0532 0130 00"]
    assert find_between(whole, [find(text) for text in whole]) == []


@given(st.text(max_size=200))
def test_never_raises(text):
    """On any text: places within it, in order, apart; and a text without finds is unchanged."""
    spans = find(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    if not spans:
        assert redact(text, spans) == text


def test_noise_is_nothing():
    """Random bytes in base64 and hexadecimal, and checksums, are no personal data."""
    draw = random.Random(1)
    noise = [draw.randbytes(200) for _ in range(200)]
    texts = [*(base64.b64encode(block).decode() for block in noise), *(block.hex() for block in noise)]
    assert [text for text in texts if find(text)] == []


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("sign", ["\ud800", "\ue000", "\U0010fffd", "\uffff", "\ufdd0", "\u0378"])
def test_what_no_text_is_written_in_hides_nothing(kind, sign):
    """Halves of characters, characters for private use and unassigned ones, within a value and beside it."""
    for written in (sign.join(VALUES[kind]), f"{sign}{VALUES[kind]}{sign}"):
        text = f"It is {written} now."
        assert redact(text, find(text)).strip().replace(sign, "") == f"It is <{kind}_1> now."


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("<b>DE89</b> <b>3704 0044</b> 0532 0130 00", "<b><IBAN_1>"),
        ("<td>DE89</td><td>3704</td><td>0044</td><td>0532</td><td>0130</td><td>00</td>", "<td><IBAN_1></td>"),
        ("4111<!-- --> 1111 <i class='x'>1111</i> 1111", "<CARD_1>"),
        ("anna<wbr>.smith<wbr>@example<wbr>.org", "<EMAIL_1>"),
        ("<b>Anna</b>anna@example.org<br>Tel", "<b>Anna</b><EMAIL_1><br>Tel"),
        ("if a < b and c > d: pass", "if a < b and c > d: pass"),
        ("DE89<br>3704<br/>0044<br>0532<br>0130<br>00", "<IBAN_1>"),
        (r'{"note": "DE89\n3704\r\n0044\t0532\n0130\n00"}', '{"note": "<IBAN_1>"}'),
        ("DE89\r3704\r0044\r0532\r0130\r00", "<IBAN_1>"),
        ("IBANDE89370400440532013000", "IBAN<IBAN_1>"),
        ("KontoDE89 3704 0044 0532 0130 00", "Konto<IBAN_1>"),
        ("XDE89370400440532013000", "XDE89370400440532013000"),
        ("old-ghp_16C7e42F292c6912E7710c838347Ae178B4a_2", "old-<SECRET_1>_2"),
        ("+49 3\U0001f10b 9\U0001f10b1\u2781\U0001f10b\u2780", "<PHONE_1>"),  # 30 901201 in circled figures
    ],
)
def test_between_tags_lines_and_letters(text, redacted):
    """Tags of HTML, escaped ends of lines, letters that touch, and figures of which only the value is known."""
    assert redact(text, find(text)) == redacted


@given(text=st.text(alphabet="<>/ab@.-! 1", max_size=60))
def test_tags_lead_back(text):
    """A text without its tags gives each of its characters back where it stood."""
    bare = untagged(text)
    for at in range(len(bare.text) if bare else 0):
        start, end = bare.span(at, at + 1)
        assert text[start:end] == bare.text[at]


@pytest.mark.parametrize("before", range(31_960, 32_003, 3))
def test_a_tag_at_the_end_of_a_piece(before):
    """Long texts are read in pieces, and no tag is cut by one."""
    text = "x" * before + " DE89<span class='a'></span>370400440532013000"
    assert redact(text, find(text)).endswith("x <IBAN_1>")


@pytest.mark.parametrize(
    "written",
    [
        "+43/1/58858",
        "+44/7700/900123",
        "+49/(0)30/901820",
        "+43 / 660 / 1234567",
        "8 (912) 345-67-89",
        "7(495)123-45-67",
    ],
)
def test_a_stroke_behind_the_country_and_the_digit_dialled_before_an_area(written):
    """Telephones as they are written in Austria and in Russia, with nothing beside them that says so."""
    text = f"Das ist {written}, mehr nicht."
    assert redact(text, find(text)) == "Das ist <PHONE_1>, mehr nicht."


@pytest.mark.parametrize("text", ["Stand 1/2/2024", "3 (12) Nm", "5 (100) 20 30 40", "Teil 8 (912) 345", "1/200/3000"])
def test_no_stroke_and_no_bracket_makes_a_telephone(text):
    """What is written so and is none."""
    assert find(text) == ()
