"""Where a request may come apart."""

import pytest

from coterie.routing.splitting import split_parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("my card was stolen", ("my card was stolen",)),
        ("my card was stolen. is clause seven valid?", ("my card was stolen.", "is clause seven valid?")),
        (
            "my card was stolen, and does clause 7 let me end the loan?",
            ("my card was stolen", "does clause 7 let me end the loan?"),
        ),
        ("how much is the fee? (the red card, and the loan)", ("how much is the fee? (the red card, and the loan)",)),
        ("block my card please then also check clause seven", ("block my card please", "check clause seven")),
        ("first line of it\nsecond line of it", ("first line of it", "second line of it")),
        ("bread and butter", ("bread and butter",)),
        ("I lost my card. Help!", ("I lost my card. Help!",)),
        ("Hi. I lost my card. Is clause seven valid?", ("Hi. I lost my card.", "Is clause seven valid?")),
        ("", ("",)),
        ("and", ("and",)),
        ("? ! ; .", ("? ! ; .",)),
        ("android and candy are words", ("android and candy are words",)),
    ],
)
def test_pieces(text, parts):
    """Sentences and joined clauses of three words or more are pieces; shorter ones stay with a neighbour."""
    assert split_parts(text) == parts


def test_documents_and_lists_stay_whole():
    """A long text, or one of very many pieces, is no question of several parts."""
    long = "one two three. " * 50
    many = "one two three. " * 9

    assert split_parts(long) == (long,)
    assert split_parts(many) == (many,)
    assert len(split_parts(many[:-15])) == 8


@pytest.mark.parametrize("text", [" " * 600, "\n" * 600, ",and " * 120, "and " * 150, ";" * 600])
def test_no_text_takes_long(growth, text):
    """No pattern of joining words and blanks makes the splitting slow: it takes about as long as the text is."""
    assert growth(split_parts, text[: len(text) // 4], text) < 12
