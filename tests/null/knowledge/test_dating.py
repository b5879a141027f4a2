"""When a document is from, as far as it says so."""

import pytest

from coterie.knowledge.parsed import Heading, Parsed, document_date, newest


@pytest.mark.parametrize(
    ("name", "text", "dated"),
    [
        ("fees/prices-2024.md", "Day tickets cost 5 euro.", "2024"),
        ("prices_20240301.csv", "", "2024-03-01"),
        ("prices 2024-03.csv", "", "2024-03"),
        ("prices-2024-03-01.pdf", "Last year, in 2019, it was cheaper.", "2024-03-01"),
        ("tarife-01.02.2024.html", "Die Tageskarte kostet fünf Euro und die Abendkarte drei Euro.", "2024-02-01"),
        ("a.md", "Preisliste 2023\n\nDie Tageskarte kostet fünf Euro.", "2023"),
        ("a.md", "Gebühren\n\nStand: 1. März 2024. Die Gebühr ist bei der Beantragung zu zahlen.", "2024-03-01"),
        ("a.md", "Tarifs\n\nValable à partir du 2 avril 2024 pour la collection permanente.", "2024-04-02"),
        ("a.md", "The house was built in 1904.", "2020-01-05"),  # a year in the text is no date of the document
        ("between-2022-and-2024.md", "x", "2020-01-05"),  # nothing says which one counts
        ("report.md", "Valid from 03/04/2024.", None),  # March or April
        ("03-04-2024.md", "x", None),
        ("room-555-2024001.md", "x", "2020-01-05"),
    ],
)
def test_dates_of_documents(name, text, dated):
    """The file's name, then the title and the beginning, then the metadata; what can be read in two ways is unknown."""
    assert document_date(name, Parsed(text=text, dated="2020-01-05")) == dated


def test_the_title_counts_before_the_text():
    """A year in the first heading is the document's."""
    text = "# Fees 2024\n\nIn 2019 they were lower."

    assert document_date("a.md", Parsed(text=text, headings=(Heading(0, 11, 1, "Fees 2024"),))) == "2024"


@pytest.mark.parametrize(
    ("dates", "place"),
    [
        (["2022", "2024-05-01"], 1),
        (["2024-05-01", "2024-04"], 0),
        (["2024", "2024-05"], None),  # May of that year, or any month of it
        (["2024", "2024"], None),
        (["2024", None], None),
        ([], None),
        (["2021", "2023", "2022-12-31"], 1),
    ],
)
def test_the_newest_is_named_where_it_is_certain(dates, place):
    """Dates that overlap, or are unknown, name none."""
    assert newest(dates) == place
