"""The report as a page: whole, loading nothing, with its values, and with nothing in it that was not escaped."""

import pytest

from coterie.learning.dataset import Row
from coterie.learning.evaluation import Case
from coterie.rightsizing.large import Prices, RecordedAnswer, judge_answers
from coterie.rightsizing.page import rightsizing_page
from coterie.rightsizing.result import difference, probabilities, reliability, risk_curve


@pytest.fixture
def found(job, size, texts):
    """A right-sizing with a large model, and texts and labels that try to be markup."""
    rows = [{**row, "text": f"<script>alert(1)</script> {row['text']}"} for row in texts(noise=0.4)]
    read = job([{**row, "label": f"<b>{row['label']}"} for row in rows], bar={"accuracy": 0.5})
    answers = [RecordedAnswer(text=row.text, row=None, answer="<b>card", milliseconds=9.0) for row in read.held.rows]
    return size(read, large=judge_answers("giant & co", "on file", answers, read.held, Prices()))


@pytest.fixture
def page(found, read_page):
    return read_page(rightsizing_page(found))


def test_values(page, found):
    """Each rung and the large model has a row with its figure; data, seed and machine are there to check it."""
    heading, *rows = page.table(0)
    terms = page.terms()

    assert heading[0] == "rung"
    assert [row[0] for row in rows] == [*(row.rung for row in found.rungs), "giant & co"]
    for cells, row in zip(rows, [*found.rungs, found.large], strict=True):
        assert cells[1] == "{:.3f} {:.3f} to {:.3f}".format(row.figure.value, *row.figure.interval)
    assert page.names.count("svg") == 3
    assert page.texts("div", class_=f"verdict {found.verdict.outcome}")
    assert found.data["train"]["sha256"] in terms["train"]
    assert (terms["seed"], terms["giant & co"]) == (str(found.seed), "on file")
    assert "abacus" in terms["machine"]
    assert [name for name in terms if name in {row.rung for row in found.rungs}] == [row.rung for row in found.rungs]


def test_confused_pairs(page, found):
    """The rows of the table of pairs are the mistakes of the rung taken, with examples."""
    _, *rows = page.table(1)
    wrong = [case for case in found.taken.cases if not case.correct]

    assert sum(int(row[2]) for row in rows) == len(wrong)
    assert {(row[0], row[1]) for row in rows} == {(case.row.labels[0], case.value) for case in wrong}
    assert all(row[3].startswith("<script>alert(1)</script>") for row in rows)


def test_nothing_is_loaded_and_texts_are_escaped(page):
    """No script, link, image or address is in it; what stands in the data never becomes an element."""
    page.assert_loads_nothing()
    assert not {"b", "script"} & set(page.names)
    assert "<b>card" in {text for row in page.table(1) for text in row}


def test_no_coordinate_is_lost(page):
    """Every number in the charts is one."""
    for _, attributes in page.seen:
        for name in ("x", "y", "cx", "cy", "points", "d", "width", "height"):
            assert not {"nan", "inf"} & set((attributes.get(name) or "").replace(",", " ").split())


def test_a_score_has_a_report_too(job, size, applicants, read_page, monkeypatch):
    """Columns stand in for the text of an example."""
    monkeypatch.setattr("coterie.tasks.score.fit.STAGES", 3)  # trees that are not looked at
    page = read_page(rightsizing_page(size(job(applicants(), task="score"))))

    assert all(quote.startswith("income ") for quote in page.texts("div", class_="quote"))


def test_a_tick_says_where_it_is(job, size, texts, read_page):
    """No two ticks of an axis say the same, also where all answers are certain and correct."""
    source = rightsizing_page(size(job(texts(each=40))))
    reliability = read_page("<svg" + source.split("<svg")[3].split("</svg>")[0] + "</svg>")

    for axis in ("tick end", "tick middle"):
        ticks = [text for class_ in (axis, f"{axis} omit") for text in reliability.texts("text", class_=class_)]
        assert len(ticks) == len(set(ticks)) > 2


def test_a_chain_has_its_curve(job, size, texts, read_page):
    """The chain is a line through its stops, and a table of them in which its own is marked."""
    rows = job(texts(each=100, noise=0.2), chain=["lexical", "embedding"], chain_quality=0.8)
    report = size(rows)
    page = read_page(rightsizing_page(report))
    lines = [attributes["points"] for name, attributes in page.seen if name == "polyline"]

    assert any(len(points.split()) == len(report.chain) for points in lines)
    assert len(page.table(1)) == 1 + len(report.chain)
    marked = [attributes for name, attributes in page.seen if name == "tr" and attributes.get("class") == "marked"]
    assert len(marked) == 2  # the rung, and the stop


# --- Differences on the same rows, and the curves of a report.


def cases(*answers, labels=None):
    """Cases of (value, confidence); the right label is `x`, or as given."""
    labels = labels or "x" * len(answers)
    return [
        Case(Row(text="", labels=(label,)), value, confidence, True, value == label)
        for (value, confidence), label in zip(answers, labels, strict=True)
    ]


def test_a_difference_is_paired():
    """Two models that are right on the same rows differ by exactly nothing."""
    first = cases(("x", 0.9), ("y", 0.8), ("x", 0.7))
    result = difference("accuracy", first, first)

    assert (result.value, *result.interval) == (0.0, 0.0, 0.0)
    assert difference("accuracy", first, cases(("y", 0.9), ("y", 0.8), ("x", 0.7))).value == pytest.approx(1 / 3)


def test_a_difference_of_aucs():
    """For scores the difference is that of the areas."""
    good = cases(("1", 0.9), ("0", 0.9), ("1", 0.8), ("0", 0.7), labels="1010")
    bad = cases(("0", 0.9), ("1", 0.9), ("0", 0.8), ("1", 0.7), labels="1010")

    assert difference("auc", good, bad).value == 1.0
    assert probabilities(good).tolist() == pytest.approx([0.9, 0.1, 0.8, 0.3])


def test_silence_is_no_probability():
    """Where nothing was said, the probability is one half."""
    assert probabilities(cases((None, 1.0))).tolist() == [0.5]


def test_the_risk_curve_ends_with_everything():
    """Its last point is all rows and their error; it is thinned to what can be drawn."""
    many = cases(*[("x" if n % 4 else "y", n / 1000) for n in range(1, 1000)])
    curve = risk_curve(many)

    assert len(curve.coverage) <= 400
    assert (curve.coverage[-1], round(curve.risk[-1], 2)) == (1.0, 0.25)


def test_reliability_leaves_out_thin_bins():
    """A bin shows its mean confidence and accuracy; one of few answers is left out."""
    bins = reliability(cases(*[("x", 0.95)] * 15, *[("y", 0.95)] * 5, ("x", 0.2)))

    assert len(bins) == 1
    assert bins[0].confidence == pytest.approx(0.95)
    assert (bins[0].accuracy, bins[0].rows) == (0.75, 20)
