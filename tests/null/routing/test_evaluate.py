"""How good a router is on a file, and which texts of it would mend most."""

import json

import numpy as np
import pytest

from coterie.errors import DataError
from coterie.routing.evaluation import ExpectedRoute, judge_routes, read_expected
from coterie.routing.matching import CandidateSpecialist, Considered, Explanation, Likeness
from coterie.types import Route, worded


def made(specialists, *, nearest=("a", 0.5), vector=(1.0, 0.0), text="x"):
    """What was found: whom a text was asked of, and the specialist it is most like."""
    candidate = CandidateSpecialist(
        specialist=nearest[0],
        score=nearest[1],
        similarity=nearest[1],
        typicality=0.5,
        needed=0.03,
        cold=False,
        in_scope=bool(specialists),
        nearest=(Likeness(example=f"{nearest[0]}'s own", similarity=nearest[1]),),
    )
    considered = Considered(
        text=text, asked=None, candidates=(candidate,), margin=None, small_talk=None, vector=np.array(vector)
    )
    return Explanation(
        route=Route(parts=(), reason=worded("")), asked=specialists, read_as=text, orders=(), considered=(considered,)
    )


def expected(*specialists, text="x"):
    return ExpectedRoute(text=text, specialists=specialists)


def test_shares():
    """Accuracy counts whole sets; texts for nobody, for one and for several have figures of their own."""
    rows = [expected("a"), expected("a"), expected("b"), expected(), expected(), expected("a", "b")]
    explanations = [made(("a",)), made(()), made(("b", "a")), made(()), made(("a",)), made(("b", "a"))]
    figures = judge_routes(rows, explanations, ["a", "b"])

    assert figures.accuracy == pytest.approx(3 / 6)
    assert figures.single_accuracy == pytest.approx(1 / 3)
    assert figures.compound_accuracy == 1.0
    assert figures.out_of_scope_recall == 0.5
    assert figures.false_rejection == pytest.approx(1 / 4)
    assert figures.false_split == pytest.approx(1 / 3)
    assert figures.specialists["a"].recall == pytest.approx(2 / 3)
    assert figures.specialists["a"].precision == pytest.approx(2 / 4)
    assert figures.specialists["b"].recall == 1.0


def test_figures_that_a_file_cannot_say():
    """A file without texts for nobody or for several says nothing of these."""
    figures = judge_routes([expected("a")], [made(("a",))], ["a"])

    assert (figures.out_of_scope_recall, figures.compound_accuracy) == (None, None)
    assert (figures.confusions, figures.fixes) == ((), ())


def test_confusions_name_the_example_that_drew_them():
    """Who should have been asked, who was, how often, and which example most of these texts are like."""
    rows = [expected("a"), expected("a"), expected("b"), expected()]
    explanations = [made(("b",), nearest=("b", 0.8)), made(("b",), nearest=("b", 0.7)), made(()), made(("a",))]
    confusions = judge_routes(rows, explanations, ["a", "b"]).confusions

    assert [(confusion.expected, confusion.asked, confusion.count) for confusion in confusions] == [
        ("a", "b", 2),
        ("b", "nobody", 1),
        ("nobody", "a", 1),
    ]
    assert confusions[0].like == "b's own"


def test_fixes_are_those_that_draw_most_others_with_them():
    """Of the texts that went wrong, the one in the middle of the others mends most as an example."""
    turn = [(np.cos(angle), np.sin(angle)) for angle in (0.0, 0.5, 1.0)]
    rows = [expected("a", text=f"text {i}") for i in range(3)]
    explanations = [made(("b",), nearest=("b", 0.8), vector=vector) for vector in turn]
    fixes = judge_routes(rows, explanations, ["a", "b"]).fixes

    assert (fixes[0].text, fixes[0].mends) == ("text 1", 3)
    assert {fix.specialist for fix in fixes} == {"a"}
    assert fixes[0].like == "b's own"


def test_texts_for_others_are_not_mended_by_it():
    """An example for one specialist does not mend texts that belong to another."""
    rows = [expected("a"), expected("c")]
    explanations = [made(("b",), vector=(1.0, 0.0)), made(("b",), vector=(1.0, 0.0))]

    assert [fix.mends for fix in judge_routes(rows, explanations, ["a", "b", "c"]).fixes] == [1, 1]


def test_unknown_specialists_are_told():
    """A specialist that the network does not have is named, and no example is proposed for it."""
    figures = judge_routes([expected("z")], [made(("a",))], ["a"])

    assert figures.unknown == ("z",)
    assert figures.fixes == ()


# --- Files -----------------------------------------------------------------------------------------


def test_csv(tmp_path):
    """Empty, none and nobody are nobody; several specialists stand with | between them."""
    path = tmp_path / "routes.csv"
    path.write_text("text,specialist\none,a\ntwo,\nthree,none\nfour,a|b\nfive,Nobody\nsix,a | a\n")

    assert [row.specialists for row in read_expected(path)] == [("a",), (), (), ("a", "b"), (), ("a",)]


def test_jsonl(tmp_path):
    """In JSONL it may be null or a list."""
    path = tmp_path / "routes.jsonl"
    rows = [{"q": "one", "who": ["a", "b"]}, {"q": "two", "who": None}, {"q": "three", "who": "a"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    expected_rows = read_expected(path, text_column="q", specialist_column="who")
    assert [row.specialists for row in expected_rows] == [("a", "b"), (), ("a",)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\none,a\n", "has no column 'specialist'"),
        ("text,specialist\n", "has no rows"),
        ("text,specialist\n,a\n", "has no text in 'text'"),
        ('{"text": "one"}\n', "has no 'specialist'"),
        ('{"text": "one", "specialist": [1]}\n', r"has \[1\] in 'specialist'"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, content, message):
    """What is wrong is said with the file's name."""
    path = tmp_path / ("routes.jsonl" if content.startswith("{") else "routes.csv")
    path.write_text(content)

    with pytest.raises(DataError, match=message):
        read_expected(path)
