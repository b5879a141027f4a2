"""The report: whole, fetched from nowhere, and with nothing in it that was not escaped."""

import re
from html.parser import HTMLParser

import pytest

from coterie.rightsizing.html import html_report
from coterie.rightsizing.large import Prices, RecordedAnswer, judge_answers

VOID = {"meta"}


class Tags(HTMLParser):
    """Checks that every element is closed, and gathers names and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        """Remember it."""
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """It closes what was opened last."""
        assert self.open.pop() == tag


def parsed(page: str) -> Tags:
    """The page's elements."""
    tags = Tags()
    tags.feed(page)
    tags.close()
    return tags


@pytest.fixture
def page(job, size, texts):
    """A report with a large model, and texts and labels that try to be markup."""
    rows = [{**row, "text": f"<script>alert(1)</script> {row['text']}"} for row in texts(noise=0.4)]
    read = job([{**row, "label": f"<b>{row['label']}"} for row in rows], bar={"accuracy": 0.5})
    answers = [RecordedAnswer(text=row.text, row=None, answer="<b>card", milliseconds=9.0) for row in read.held.rows]
    return html_report(size(read, large=judge_answers("giant & co", "on file", answers, read.held, Prices())))


def test_whole(page):
    """Every element is closed; table, three charts, pairs, data hash, seed, versions, date and machine are there."""
    tags = parsed(page)

    assert not tags.open
    assert [tag for tag, _ in tags.seen].count("svg") == 3
    for part in ("Confused pairs", "SHA-256", "seed", "versions", "abacus", "2026-11-24", "giant &amp; co"):
        assert part in page


def test_nothing_is_fetched(page):
    """No script, link, image or address is in it."""
    tags = parsed(page)

    assert not {tag for tag, _ in tags.seen} & {"script", "link", "img", "iframe", "object", "image", "use"}
    assert not any({"href", "src", "srcset", "data"} & attributes.keys() for _, attributes in tags.seen)
    assert not re.search(r"url\(|@import|https?://", page)


def test_texts_are_escaped(page):
    """What stands in the data never becomes markup."""
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;card" in page


def test_no_coordinate_is_lost(page):
    """Every number in the charts is one."""
    assert "nan" not in page.lower().replace("finance", "")
    assert "inf," not in page


@pytest.mark.slow  # ten folds of boosting
def test_a_score_has_a_report_too(job, size, applicants):
    """Columns stand in for the text of an example."""
    page = html_report(size(job(applicants(), task="score")))

    assert not parsed(page).open
    assert "income" in page


def test_a_tick_says_where_it_is(job, size, texts):
    """No two ticks of an axis say the same, also where all answers are sure and right."""
    page = html_report(size(job(texts(each=40))))
    reliability = page.split("Share of right answers by confidence")[1].split("</svg>")[0]

    for axis in ("tick end", "tick middle"):
        said = re.findall(rf'class="{axis}">([^<]+)<', reliability)
        assert len(said) == len(set(said)) > 2


def test_a_chain_has_its_curve(job, size, texts):
    """The chain is a line through its stops, and a table of them in which its own is marked."""
    rows = job(texts(each=100, noise=0.2), chain=["lexical", "embedding"], chain_quality=0.8)
    found = size(rows)
    page = html_report(found)
    tags = parsed(page)
    lines = [attrs["points"] for tag, attrs in tags.seen if tag == "polyline"]

    assert not tags.open
    assert any(len(points.split()) == len(found.chain) for points in lines)
    assert "asks embedding" in page
    assert page.count('class="taken"') == 2  # the rung, and the stop
