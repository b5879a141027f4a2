"""What a large model adds to its sources is seen."""

import pytest

from coterie.generalist.reading import hallucinated

SOURCES = ["The late fee is 12 pounds, or 1,200 pence.", 'It is due "within thirty days" of 2024-05-31.', "p = 0.23"]


@pytest.mark.parametrize(
    "text",
    [
        "The fee is 12 pounds [1].",
        "That makes 1200 pence, which one pays within thirty days.",
        "You have 30 days: \u201cwithin  thirty days\u201d.",
        "By 2024-05-31. The probability is 23%.",
        "No figure at all.",
        "These things:\n1. It is 12 pounds.\n2) Pay by 2024-05-31.",
        "",
    ],
)
def test_what_stands_in_the_sources(text):
    """Figures in another form and quotes with other white space are no additions."""
    assert hallucinated(text, SOURCES, marks=1) == ()


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("The fee is 13 pounds.", ("13",)),
        ("It is due by 2024-06-30.", ("2024-06-30",)),
        ("Pay within sixty days.", ("sixty",)),
        ("The probability is 24%.", ("24%",)),
        ("It says \u201cwithin a month\u201d.", ("within a month",)),
        ("See [2].", ("[2]",)),
        ("12.5 pounds and 12.5 again", ("12.5",)),
    ],
)
def test_what_does_not(text, added):
    """A changed figure, an invented quote and a reference to nothing are named."""
    assert hallucinated(text, SOURCES, marks=1) == added


@pytest.mark.parametrize(
    ("text", "source", "added"),
    [
        ("Es dauert zwölf Tage.", "Die Lieferung dauert drei Tage.", ("zwölf",)),
        ("Es dauert zwölf Tage.", "Die Lieferung dauert 12 Tage.", ()),
        ("Die Gebühr beträgt 1.500 €.", "Die Gebühr beträgt 1500 Euro.", ()),
        ("Die Gebühr beträgt 1.500 €.", "Die Gebühr beträgt 1,5 Euro im Monat.", ("1.500",)),
        ("Cela dure douze jours.", "La livraison dure trois jours.", ("douze",)),
        ("Tarda ciento ochenta días.", "El plazo de entrega es de 180 días.", ()),
    ],
)
def test_numbers_are_read_by_language(text, source, added):
    """In words and in figures."""
    assert hallucinated(text, [source]) == added
