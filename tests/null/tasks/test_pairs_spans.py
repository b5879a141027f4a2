"""Cutting a document into clauses."""

import random

import pytest

from coterie.tasks.pairs.model import split_clauses


def clauses(text):
    return [text[span.start : span.end] for span in split_clauses(text)]


def test_sentences_lines_and_items():
    """Sentences, lines, and the items of a list are clauses; a short heading stays with what follows it."""
    text = (
        "3. Use. The Recipient shall use the Information only for the Purpose. It shall:\n"
        "(a) keep the Information in strict confidence; and (b) return it to the Discloser, "
        "or (c) destroy every copy of it.\n"
    )
    assert clauses(text) == [
        "3. Use. The Recipient shall use the Information only for the Purpose.",
        "It shall:",
        "(a) keep the Information in strict confidence;",
        "and (b) return it to the Discloser, or",
        "(c) destroy every copy of it.",
    ]


def test_a_short_sentence_is_a_clause():
    """A sentence is not joined to the next one for being short: only a heading of three words or fewer is."""
    assert clauses("It has four rooms. Pets may be kept by us. 5. Term. It ends in May.") == [
        "It has four rooms.",
        "Pets may be kept by us.",
        "5. Term. It ends in May.",
    ]


def test_abbreviations_and_numbers_end_nothing():
    """A full stop behind an abbreviation or a number is no boundary."""
    text = "The Parties (e.g. Acme Inc. of Delaware) refer to section 4.2 of the Act in every case."
    assert clauses(text) == [text]


def test_a_mark_alone_on_its_line_belongs_to_the_next():
    """The number of a paragraph on a line of its own is not a clause."""
    assert clauses("(a)\nThe tenant keeps the garden.\n(b)\nThe owner pays the taxes.") == [
        "(a)\nThe tenant keeps the garden.",
        "(b)\nThe owner pays the taxes.",
    ]


@pytest.mark.parametrize("text", ["", "   \n ", "word", "a" * 2000, "one two three " * 400, "x. " * 500])
def test_nothing_is_lost_and_nothing_too_long(text):
    """Every character that is no space is in exactly one clause, and no clause is longer than the limit."""
    check_whole(text)


def test_on_random_texts():
    """The same holds for texts of anything."""
    draw = random.Random(0)
    for _ in range(300):
        check_whole("".join(draw.choice("ab .,;:!?()\n1i\u201d'") for _ in range(draw.randrange(400))))


def check_whole(text):
    """The clauses cover the text once."""
    spans = split_clauses(text)
    covered = [position for start, end in spans for position in range(start, end)]

    assert covered == sorted(set(covered))
    assert {position for position, char in enumerate(text) if not char.isspace()} <= set(covered)
    assert all(end - start <= 800 and text[start:end].strip() == text[start:end] for start, end in spans)
