"""A value that is cut over what is sent together counts for the label, and leaves nothing at the gate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.governance.disguise import LONGEST_HELD, Restorer, Undisguisable, disguise, sight, texts_of_prompt
from coterie.governance.pseudonyms import SessionPseudonyms
from coterie.network.admission import label_request
from coterie.privacy.patterns import PatternDetector
from coterie.types import Label, Message, Prompt, PseudonymValue, Request

FIRST, SECOND = "DE89 3704 0044", "0532 0130 00"
TOKEN = ("ghp_16C7e42F292c69", "12E7710c838347Ae178B4a")


def prompt(*texts, **more):
    return Prompt(messages=tuple(Message(role="user", text=text) for text in texts), label=Label.PUBLIC, **more)


@pytest.mark.parametrize(
    "asked",
    [
        prompt(f"It is {FIRST}", "go on", f"and {SECOND}."),
        prompt("both", columns={"first": FIRST, "second": SECOND}),
        prompt(f'{{"a": "{FIRST}", "b": "{SECOND}"}}'),
        prompt("It is " + "\u200b".join(FIRST), "and " + "\U000e0020".join(SECOND)),
        prompt(f"It is {FIRST}\n\n{SECOND}.", instruction=f"It is {FIRST}\n\n"),
    ],
)
def test_hidden(asked):
    """Every piece is replaced, in turns, columns and JSON."""
    pseudonyms = SessionPseudonyms()
    hidden = disguise(asked, PatternDetector(), pseudonyms, label=Label.PUBLIC)
    sent = "\n".join(texts_of_prompt(hidden.prompt))
    assert not any(group in sent for group in (FIRST, SECOND, "3704", "0532"))
    assert sent.count("<IBAN_") >= 2


def test_a_token_is_refused():
    """A token in two pieces has no pseudonym, as a whole one has none."""
    with pytest.raises(Undisguisable):
        disguise(prompt(*TOKEN), PatternDetector(), SessionPseudonyms(), label=Label.PUBLIC)


def test_seen():
    """It counts once, with its kind; a release that knows all pieces does not count it, unless it is a secret."""
    assert sight(PatternDetector(), [FIRST, SECOND]).counts["IBAN"] == 1
    assert sight(PatternDetector(), [FIRST, SECOND], ignore=lambda _: True).counts == {}
    assert sight(PatternDetector(), TOKEN, ignore=lambda _: True).counts == {"SECRET": 1}


@pytest.mark.parametrize(
    "request_",
    [
        Request(text=f"and the rest is {SECOND}", history=(Message(role="user", text=f"It is {FIRST}"),)),
        Request(text="both", columns={"first": FIRST, "second": SECOND}),
    ],
)
async def test_label(request_):
    """A request with the pieces is as confidential as one with the whole."""
    labelled, _ = await label_request(request_, Label.PUBLIC, PatternDetector())
    assert labelled.label == Label.CONFIDENTIAL


def test_known_values_in_other_forms():
    """A value that is known from elsewhere is replaced however it is written."""
    texts = ("Mail anna@example.org", "She is an\u200bna@exam\u00adple.org, ANNA@EXAMPLE.ORG, \uff41nna@example.org.")
    hidden = disguise(prompt(*texts), PatternDetector(), SessionPseudonyms(), label=Label.PUBLIC)
    assert hidden.prompt.messages[-1].text == "She is <EMAIL_1>, <EMAIL_1>, <EMAIL_1>."


# --- Values come back in place of their pseudonyms, however a model words them and wherever a stream is cut.


VALUES = {
    ("PERSON", 1, 0): "Anna",
    ("PERSON", 12, 0): 'Bob "B"',
    ("PERSON", 1, 2): "Ann",
    ("DATE_OF_BIRTH", 3, 0): "1.1.1970",
}


def restorer(**options):
    """Knows three values, one of them in two forms."""

    def find(kind, number, form):
        text = VALUES.get((kind, number, form))
        return text and PseudonymValue(kind=kind, number=number, text=text, label=Label.PUBLIC, form=form)

    return Restorer(find, {"PERSON", "DATE_OF_BIRTH"}, **options)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("<PERSON_1>", "Anna"),
        ("<person_1>, <Person_1>", "Anna, Anna"),
        ("<PERSON_1>s and <PERSON_1s>", "Annas and Annas"),
        ("<PERSON_1>'s or <PERSON_1's>", "Anna's or Anna's"),
        ("<PERSON 1> <PERSON-1> <PERSON1> < PERSON_1>", "Anna Anna Anna Anna"),
        ("&lt;PERSON_1&gt; &#60;PERSON_1&#62;", "Anna Anna"),
        (r"**\<PERSON\_1\>** `PERSON_1`", "**Anna** `Anna`"),
        (r"\u003cPERSON_1\u003e", "Anna"),
        ("<PERSON_1en>, <PERSON_1'in> <PERSON_1\u2019nin> <PERSON_1ego>", "Annaen, Anna'in Anna\u2019nin Annaego"),
        ("?to=%3CPERSON_1%3E &#x3C;PERSON_1&#x3E;", "?to=Anna Anna"),
        ("PERSON_1.", "Anna."),
        ("PERSON_12", 'Bob "B"'),
        ("<DATE_OF_BIRTH_3> <date of birth 3> DATE_OF_BIRTH_3", "1.1.1970 1.1.1970 1.1.1970"),
        (
            "<PER\u017fON_1> PER\u017fON_1 <DATE_OF_B\u0131RTH_3>",
            "<PER\u017fON_1> PER\u017fON_1 <DATE_OF_B\u0131RTH_3>",
        ),
        (r"<PERSON_1_2>'s <PERSON_1_2s> person_1_2, \<PERSON\_1\_2\> <PERSON_1>", "Ann's Anns Ann, Ann Anna"),
        ("<PERSON_1_3> PERSON_1_2024 PERSON_12_2", "<PERSON_1_3> Anna_2024 PERSON_12_2"),
        ("<PERSON_2> PERSON_123 xPERSON_1 person 1 <b>", "<PERSON_2> PERSON_123 xPERSON_1 person 1 <b>"),
    ],
)
def test_wording(said, shown):
    """Case, plural, possessive, escapes and other brackets are the same pseudonym; a stranger's number is none."""
    assert restorer().whole(said) == shown


def test_json():
    """In a JSON answer a value is written as JSON writes it."""
    assert restorer(as_json=True).whole('{"who": "<PERSON_12>"}') == r'{"who": "Bob \"B\""}'


SHARDS = st.sampled_from(
    [
        *("<", ">", "PERSON", "person", "_", "1", "2", "3", " ", "-", "x", "s", "'", "&lt;", "&", "l", "&gt;", "\\"),
        *(
            "DATE",
            "OF",
            "BIRTH",
            "[",
            "]",
            "P",
            "PE",
            "\n",
            "\t",
            "\u00a0",
            "&amp;lt;",
            "é",
            "\U0001f600",
            "\u017f",
            "\u0131",
            "B",
            "RTH",
        ),
    ]
)


@pytest.mark.parametrize("blank", [" ", "\n", "\t", "\u00a0"])
@pytest.mark.parametrize("bracket", ["<", "&lt;", "["])
def test_a_blank_in_the_brackets(bracket, blank):
    """A stream that is cut behind the bracket, or behind a blank in it, loses the brackets all the same."""
    for cut in range(1, len(bracket) + 2):
        pieces, text = restorer(), f"{bracket}{blank}PERSON_1>"
        assert pieces.feed(text[:cut]) + pieces.feed(text[cut:]) + pieces.end() == "Anna"


@given(st.lists(SHARDS, max_size=20).map("".join), st.data())
def test_wherever_it_is_cut(text, data):
    """Pieces give what the whole gives, wherever they are cut, and nothing given out is ever taken back."""
    whole, pieces, position, given_out = restorer().whole(text), restorer(), 0, ""
    while position < len(text):
        end = data.draw(st.integers(position + 1, len(text)))
        given_out += pieces.feed(text[position:end])
        assert whole.startswith(given_out)
        position = end
    assert given_out + pieces.end() == whole


@pytest.mark.parametrize(
    "beginning",
    ["<", "PER", "PERSON_1", "<PER", "<PERSON_", "<PERSON_1", "&lt", "\\<PERSON\\", "a PERSON_1", "<date of"],
)
def test_nothing_unfinished_is_shown(beginning):
    """What may still become a pseudonym is held back from its first character on."""
    assert restorer().feed(beginning) in {"", "a "}


def test_holding_back_is_bounded():
    """However long something looks like a pseudonym, only so much is held."""
    pieces, fed, shown = restorer(), 0, 0
    for piece in ["<", *["PERSON" for _ in range(100)], *["1" for _ in range(1000)]]:
        fed += len(piece)
        shown += len(pieces.feed(piece))
        assert fed - shown <= LONGEST_HELD + len(piece)


def test_plain_words_are_not_held():
    """Text without anything like a pseudonym passes as it comes."""
    pieces = restorer()
    assert [pieces.feed(word) for word in ["The ", "fee ", "is ", "12 "]] == ["The ", "fee ", "is ", "12 "]
