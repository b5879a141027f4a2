"""A value that is cut over what is sent together counts for the label, and leaves nothing at the gate."""

import pytest

from coterie.governance.disguise import Undisguisable, disguise, sight, texts_of_prompt
from coterie.governance.pseudonyms import SessionPseudonyms
from coterie.network.admission import label_request
from coterie.privacy.patterns import PatternDetector
from coterie.types import Label, Message, Prompt, Request

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
