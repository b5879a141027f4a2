"""Pages: every kind of content, whole, escaped, and nothing loaded."""

from importlib.resources import files

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from coterie.reports.pages import Card, Cell, Report, Table, page, render

EVIL = "<script>alert(1)</script> & \"'"


@pytest.fixture
def whole(read_page):
    """A page with every field set to text that tries to be markup, and one chart."""
    cells = [Cell(text=EVIL, note=EVIL, key="c0", quotes=[EVIL, EVIL]), EVIL]
    card = Card(
        title=EVIL,
        caption=EVIL,
        legend=[("c0", EVIL)],
        chart=Markup("<svg></svg>"),
        table=Table(headings=[EVIL, "b"], rows=[cells, ["1", "2"]], marked=[1], prose=True),
        items=[EVIL],
        terms=[(EVIL, EVIL)],
        wide=True,
    )
    report = Report(title=EVIL, subtitle=EVIL, verdict=[EVIL], outcome="met", cards=[card])
    return read_page(page(report))


def test_every_field_is_text(whole):
    """Each field arrives as it was given, and none of them as an element."""
    assert "script" not in whole.names
    for tag in ("title", "h1", "h2", "th", "small", "li", "dt", "dd"):
        assert whole.texts(tag)[0] == EVIL
    assert whole.texts("div", class_="quote") == [EVIL, EVIL]
    assert whole.table(0) == [[EVIL, "b"], [EVIL + " " + EVIL + EVIL + EVIL, EVIL], ["1", "2"]]


def test_structure(whole):
    """Charts are kept as they are; the marked row and the outcome have their class."""
    assert whole.names.count("svg") == 1
    assert [attributes.get("class") for name, attributes in whole.seen if name == "tr"] == [None, None, "marked"]
    assert any(attributes.get("class") == "verdict met" for _, attributes in whole.seen)


def test_nothing_is_loaded(whole):
    """No element, attribute or style names an address, and the page's policy forbids all of them."""
    whole.assert_loads_nothing()
    policy = next(a["content"] for n, a in whole.seen if n == "meta" and "http-equiv" in a)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_light_dark_and_print(whole):
    """One style sheet has both themes and paper."""
    (style,) = whole.texts("style")
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


def test_a_missing_value_is_an_error():
    """A template that names a value it does not get fails, instead of showing nothing."""
    with pytest.raises(UndefinedError):
        render("report.html.j2")


def test_templates_are_package_data():
    """The templates and the style sheet lie beside the code."""
    names = {file.name for file in files("coterie.reports").joinpath("templates").iterdir()}
    assert {"base.html.j2", "parts.html.j2", "report.html.j2", "style.css"} <= names
