"""Pages: every kind of content, whole, escaped, and nothing loaded."""

import itertools
import re
from importlib.resources import files

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from coterie.reports.pages import Axis, Card, Cell, Chart, Report, Table, page, render, span

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


# --- Axes: round ticks inside the bounds, also on a logarithmic axis.


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0.83, 0.96, [0.85, 0.9, 0.95]), (0.0, 0.07, [0.0, 0.02, 0.04, 0.06])],
)
def test_ticks_are_round(low, high, ticks):
    """About five ticks at multiples of 1, 2 or 5."""
    assert Axis(title="", low=low, high=high).ticks() == pytest.approx(ticks)


def test_logarithmic_ticks_are_powers():
    """A logarithmic axis has powers of ten, thinned over many decades."""
    assert Axis(title="", low=0.5, high=200.0, log=True).ticks() == [1.0, 10.0, 100.0]
    assert len(Axis(title="", low=1e-9, high=1e9, log=True).ticks()) <= 8


def test_values_outside_stay_on_the_edge():
    """What lies beyond an axis is drawn at its end."""
    axis = Axis(title="", low=1.0, high=100.0, log=True)

    assert [axis.share(value) for value in (0.0, 1.0, 10.0, 1000.0)] == [0.0, 0.0, 0.5, 1.0]


def test_span_has_a_margin_within_bounds():
    """An axis is as wide as it must be, and never leaves 0 to 1."""
    low, high = span([0.9, 0.9], least=0.1)
    assert (low, high) == pytest.approx((0.85, 0.95))
    assert span([0.0, 1.0], least=0.1) == (0.0, 1.0)


def test_text_is_escaped():
    """Attributes and labels are text, whatever is in them."""
    chart = Chart(x=Axis(title='<"x">', low=0.0, high=1.0), y=Axis(title="", low=0.0, high=1.0), description="a & b")
    chart.label(0.5, 0.5, "<i>", "c0")
    chart.dot(0.5, 0.5, 'c0" onload="', title="<b>")
    drawn = chart.render()

    assert not re.search('<(i|b|")|" onload="', drawn)
    assert "<title>a &amp; b</title>" in drawn


def test_labels_do_not_overlap():
    """A label that would lie on an earlier one stands below it."""
    axis = Axis(title="", low=0.0, high=1.0)
    chart = Chart(x=axis, y=axis, description="three points at one place")
    for name in ("first", "second", "third"):
        chart.label(0.5, 0.5, name, "c0")
    lines = [float(y) for y in re.findall(r'y="([\d.]+)" class="label', chart.render())]

    assert len(lines) == 3
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(lines))


def test_marks_and_columns():
    """An axis may have marks of its own; a column stands on the axis."""
    chart = Chart(
        x=Axis(title="", low=-0.5, high=1.5, marks=(0.0, 1.0), show=lambda at: "ab"[int(at)]),
        y=Axis(title="", low=0.0, high=10.0),
        description="two columns",
    )
    chart.column(-0.4, 0.4, 5.0, "c0", title="five <b>")
    drawn = chart.render()
    assert ">a</text>" in drawn
    assert ">b</text>" in drawn
    assert "<title>five &lt;b&gt;</title>" in drawn
    (column,) = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', drawn)
    x, y, width, height = map(float, column)
    assert (x, y) == pytest.approx(chart.at(-0.4, 5.0), abs=0.06)
    assert (x + width, y + height) == pytest.approx(chart.at(0.4, 0.0), abs=0.11)
