"""What a quoted sentence says to one who does not see where it stands."""

import pytest

from coterie.tasks.answer.reader import borne_by, cite, spoken
from coterie.tasks.answer.sentences import cut_passages
from coterie.types import Label, Passage


def sentences(text):
    """Those of a passage."""
    return cut_passages([Passage(document="d", start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC)])


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("| Train | Dep. | Note |\n|---|---|---|\n| RB 1 | 6:42 | |", "Train: RB 1; Dep.: 6:42"),
        ("| Train | Dep. | Note |\n|---|---|---|\n| RB 1 | | bus |", "Train: RB 1; Note: bus"),
        ("| | A | B |\n|---|---|---|\n| Weight | 3 kg | 4 kg |", "Weight; A: 3 kg; B: 4 kg"),
        ("| A | B |\n|---|---|\n| 3 kg | 4 kg | 5 kg | 6 kg |", "3 kg | 4 kg | 5 kg | 6 kg"),
    ],
)
def test_a_row_is_told_with_the_names_of_its_columns(table, told):
    """Each value has its column's name; a row of other cells than columns stays as it is. The quote is the row's."""
    [row] = sentences(table)
    [citation] = cite([row])

    assert spoken(citation, [row]) == told
    assert citation.text == row.text
    assert citation.text in table


def test_prose_and_rows_of_names_and_values_are_told_as_they_stand():
    """On one line, a row's values apart."""
    for text, expected in (("It is\nfree.", "It is free."), ("name: A\nfee: 3", "name: A; fee: 3")):
        [row] = sentences(text)
        assert spoken(row.cite(), [row]) == expected


def test_a_wording_is_checked_against_values_beside_their_names():
    """What a row says of each column, and what an item hangs on."""
    assert borne_by(sentences("Weight\nPump 3: 3.9 kg\nPump 5: 4.7 kg")[0]) == "Weight, Pump 3 3.9 kg, Pump 5 4.7 kg"
    assert borne_by(sentences("Not included:\n- lunch")[1]) == "Not included: lunch"
