"""Which of a text's pieces are asked about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coterie.routing.matching import Fit, Match, choose
from coterie.routing.profile import Profile
from coterie.routing.splitting import Piece, split_parts

PROFILE = Profile(
    vectors=np.eye(2, dtype=np.float32), names=("a", "b"), typical=np.linspace(0, 1, 30), density=np.zeros(2)
)


def match(text: str, *, order: bool = False, **similarities: float) -> Match:
    """A match with these similarities; a piece beside another one from .3 on."""
    fits = {
        name: Fit(
            similarity=value,
            p_value=value,
            standing=float(np.interp(value, [0, 0.2, 0.22, 0.3, 0.4, 0.9], [0, 1 / 8, 0.5, 0.75, 1.5, 12])),
            score=value,
            nearest="a",
            closest=value,
            profile=PROFILE,
        )
        for name, value in similarities.items()
    }
    return Match(text=text, vector=np.zeros(2), fits=fits, start=0, end=len(text), order=order)


def piece(text: str, **fields) -> Piece:
    return Piece(start=0, end=len(text), text=text, source=text, **fields)


def test_the_clearest_end_of_a_long_text_is_asked_about():
    """Also where the whole is nobody's, its nearest is whom the end is for, and another end is barely somebody's."""
    first, last = piece("keep to the office hours"), piece("I lost my card")
    whole = piece("keep to the office hours ... I lost my card", ends=(last, first))
    matches = {
        whole: match("whole", cards=0.25, law=0.1),
        last: match("last", cards=0.7, law=0.1),
        first: match("first", cards=0.1, law=0.31),
    }
    assert [chosen.text for chosen in choose(whole, matches)] == ["last"]


def test_the_whole_of_a_long_text_that_is_somebody_s_stays():
    """Its end has to be clearly more like another one."""
    last = piece("see section 4")
    whole = piece("a clause ... see section 4", ends=(last,))
    matches = {whole: match("whole", cards=0.1, law=0.5), last: match("last", cards=0.52, law=0.3)}
    assert [chosen.text for chosen in choose(whole, matches)] == ["whole"]
    matches[last] = match("last", cards=0.6, law=0.3)
    assert [chosen.text for chosen in choose(whole, matches)] == ["last"]


def test_words_to_the_router_are_not_asked_about():
    """What stands beside them is, alone or in several pieces; without anything beside them the whole is."""
    question, order = piece("I lost my card"), piece("the law desk must answer this")
    whole = piece("I lost my card the law desk must answer this", pieces=(question, order))
    matches = {
        whole: match("whole", cards=0.6, law=0.6),
        question: match("I lost my card", cards=0.7, law=0.1),
        order: match("the law desk must answer this", order=True, cards=0.1, law=0.9),
    }
    assert [chosen.text for chosen in choose(whole, matches)] == ["I lost my card"]
    matches[question] = match("I lost my card", cards=0.1, law=0.1)
    assert [chosen.text for chosen in choose(whole, matches)] == ["whole"]


def letter(*ends: tuple[str, float, float], whole: tuple[float, float] = (0.2, 0.5)) -> list[str]:
    """What is asked of a long text with these sentences, each for cards and for law."""
    pieces = [Piece(start=10 * i, end=10 * i + 9, text=text, source="...") for i, (text, *_) in enumerate(ends)]
    root = piece("a long letter", ends=tuple(pieces))
    matches = {one: match(text, cards=cards, law=law) for one, (text, cards, law) in zip(pieces, ends, strict=True)}
    matches = {one: replace(matched, start=one.start, end=one.end) for one, matched in matches.items()}
    matches[root] = match("a long letter", cards=whole[0], law=whole[1])
    return [chosen.text for chosen in choose(root, matches)]


def test_sentences_of_a_long_text_say_what_is_asked():
    """Those that are clearly somebody's, each in its place; of each specialist the clearest, and no far weaker one."""
    card, court = ("I lost my card today", 0.8, 0.1), ("may I sue my bank", 0.1, 0.78)

    assert letter(("the weather was so fine", 0.3, 0.1), card) == ["I lost my card today"]
    assert letter(card, court) == ["I lost my card today", "may I sue my bank"]
    assert letter(card, ("we met in a court", 0.1, 0.68)) == ["I lost my card today"]
    assert letter(("my card is a gold one", 0.75, 0.1), card) == ["I lost my card today"]
    assert letter(court) == ["a long letter"]  # the whole is for the same one, and says more


def told(sentences: int, other: float) -> list[str]:
    """What is asked of a text of so many sentences, one for cards and one that may be for law."""
    question, rest = piece("I lost my card"), piece("we met in the park")
    both = piece("I lost my card. We met in the park.", mark="sentence", pieces=(question, rest))
    matches = {
        both: match(" ".join(["This is a sentence."] * sentences), cards=0.35, law=0.05),
        question: match("I lost my card", cards=0.9, law=0.1),
        rest: match("we met in the park", cards=0.05, law=other),
    }
    return [chosen.text for chosen in choose(both, matches)]


def test_the_more_a_text_says_the_clearer_a_piece_must_be():
    """To add its specialist: among many sentences one is like somebody's by chance."""
    assert told(2, 0.32) == ["I lost my card", "we met in the park"]
    assert told(6, 0.32) == [told(6, 0.05)[0]]
    assert told(6, 0.6) == ["I lost my card", "we met in the park"]


def foreign(*, joined: bool, other: float, whole: float = 0.35):
    """A question for cards beside a piece that is hardly for law, and what was made of the two."""
    question, rest = piece("I lost my card"), piece("the moon is made of cheese")
    both = piece("I lost my card the moon is made of cheese", mark="sentence", joined=joined, pieces=(question, rest))
    matches = {
        both: match("both", cards=whole, law=0.05),
        question: match("I lost my card", cards=0.7, law=0.1),
        rest: match("the moon is made of cheese", cards=0.05, law=other),
    }
    return [chosen.text for chosen in choose(both, matches)]


def test_what_is_hardly_anybody_s_adds_nobody():
    """A piece beside a clear one must be clear itself; where words say that something else is asked, a little less."""
    question, cheese = "I lost my card", "the moon is made of cheese"

    assert foreign(joined=False, other=0.3) == [question, cheese]
    assert foreign(joined=False, other=0.23) == ["both"]
    assert foreign(joined=True, other=0.23) == [question, cheese]
    assert foreign(joined=True, other=0.21) == ["both"]


def test_what_is_nobody_s_takes_nobody_away():
    """Where it makes the whole nobody's, the piece that is clearly somebody's is what is asked."""
    assert foreign(joined=False, other=0.1, whole=0.1) == ["I lost my card"]
    assert foreign(joined=False, other=0.23, whole=0.1) == ["I lost my card"]


def test_a_whole_that_is_hardly_somebody_s_gives_way():
    """To a piece that is far more clearly somebody else's, and to no other."""
    inside, whole = piece("I lost my card"), piece("the moon I lost my card")
    matches = {whole: match("the moon I lost my card", cards=0.1, law=0.35)}
    matches[inside] = match("I lost my card", cards=0.7, law=0.1)
    assert [chosen.text for chosen in choose(whole, matches)] == ["I lost my card"]

    matches[inside] = match("I lost my card", cards=0.5, law=0.1)
    assert [chosen.text for chosen in choose(whole, matches)] == ["the moon I lost my card"]

    matches[inside] = match("I lost my card", cards=0.9, law=0.1)
    matches[whole] = match("the moon I lost my card", cards=0.1, law=0.6)
    assert [chosen.text for chosen in choose(whole, matches)] == ["the moon I lost my card"]


def test_three_words_do_not_decide_for_the_rest():
    """Three words of nobody's text are like somebody's examples by chance: "what does it"; four may be the question."""
    inside, whole = piece("who stole it"), piece("the moon who stole it")
    matches = {whole: match("the moon who stole it", cards=0.1), inside: match("who stole it", cards=0.8)}
    assert [chosen.text for chosen in choose(whole, matches)] == ["the moon who stole it"]

    matches[inside] = match("who stole my card", cards=0.8)
    assert [chosen.text for chosen in choose(whole, matches)] == ["who stole my card"]


def test_one_piece_that_is_hardly_anybody_s_gives_way():
    """Where one piece alone is left, and is nobody's either, a clear piece that was looked at later is asked."""
    moon, card = piece("the moon is made of cheese"), piece("and where do I find my card")
    inside = piece("where do I find my card")
    both = piece(
        "the moon is made of cheese and where do I find my card", mark="joiner", joined=True, pieces=(moon, card)
    )
    matches = {
        both: match("both", cards=0.1, law=0.08),
        moon: match("the moon is made of cheese", cards=0.05, law=0.2),
        card: match("and where do I find my card", cards=0.25, law=0.1),
    }
    assert [chosen.text for chosen in choose(both, matches)] == ["and where do I find my card"]
    matches[inside] = match("where do I find my card", cards=0.8, law=0.1)
    assert [chosen.text for chosen in choose(both, matches)] == ["where do I find my card"]


# --- Where a request may come apart.


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
