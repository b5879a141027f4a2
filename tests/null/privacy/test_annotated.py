"""Marked texts: what is read, what is refused, and how finds are counted against marks."""

import json

import pytest

from coterie.errors import DataError
from coterie.privacy.detection import PersonalData
from coterie.privacy.evaluation import AnnotatedText, measure_detector, read_annotated
from coterie.privacy.patterns import PatternDetector


def written(path, *rows):
    """A file of these rows."""
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def span(kind, start, end):
    """Something marked."""
    return PersonalData(kind=kind, start=start, end=end, score=1.0)


def test_read(tmp_path):
    """Ours and Presidio's names for the same things are understood; kinds that nobody knows are counted apart."""
    path = written(
        tmp_path / "marked.jsonl",
        {"text": "I am Ann.", "spans": [{"kind": "PERSON", "start": 5, "end": 8}]},
        {
            "full_text": "Dr. Ann, a@b.example",
            "spans": [
                {"entity_type": "EMAIL_ADDRESS", "start_position": 9, "end_position": 20},
                {"entity_type": "TITLE", "start_position": 0, "end_position": 3},
                {"entity_type": "PERSON", "start_position": 4, "end_position": 7},
            ],
        },
    )
    file = read_annotated(path)

    assert [text.spans for text in file.texts] == [
        (span("PERSON", 5, 8),),
        (span("PERSON", 4, 7), span("EMAIL", 9, 20)),
    ]
    assert file.unknown == {"TITLE": 1}
    assert len(file.sha256) == 64


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "Ann"}, "no list of spans"),
        ({"text": "Ann", "spans": [{"kind": "PERSON", "start": 0, "end": 4}]}, "no place in its 3 characters"),
        ({"text": "Ann", "spans": [{"kind": "PERSON", "start": True, "end": 2}]}, "no place"),
        ({"text": "Ann", "spans": ["PERSON"]}, "no place"),
        (
            {"text": "Ann", "spans": [{"kind": "PERSON", "start": 0, "end": 3}, {"kind": "AGE", "start": 2, "end": 3}]},
            "overlap, at 2",
        ),
    ],
)
def test_refused(tmp_path, row, said):
    """A line that marks no place is named."""
    path = written(tmp_path / "marked.jsonl", {"text": "x", "spans": []}, row)

    with pytest.raises(DataError, match=rf"line 2 .*{said}"):
        read_annotated(path)


def test_refused_files(tmp_path):
    """A table, a list and an empty file are no marked texts."""
    for content in ("text,label\na,b\n", "[]", ""):
        (tmp_path / "file.csv").write_text(content)
        with pytest.raises(DataError):
            read_annotated(tmp_path / "file.csv")


def test_measured():
    """Only the same kind at the same place is right, and kinds that are marked nowhere do not count."""
    text = "Mail a@b.example or c@d.example, 10.1.2.3"
    marked = AnnotatedText(text=text, spans=(span("EMAIL", 5, 16), span("EMAIL", 20, 30)))
    figures = measure_detector(PatternDetector(), [marked])

    assert set(figures) == {"EMAIL", "all"}
    assert figures["all"] == figures["EMAIL"]
    assert (figures["EMAIL"].marked, figures["EMAIL"].found, figures["EMAIL"].right) == (2, 2, 1)
    assert (figures["EMAIL"].precision, figures["EMAIL"].recall, figures["EMAIL"].f1) == (0.5, 0.5, 0.5)


def test_measured_nothing():
    """Where nothing is marked or found a figure is unknown, and not zero."""
    assert measure_detector(PatternDetector(), [AnnotatedText(text="x", spans=())])["all"].f1 is None
    missed = measure_detector(PatternDetector(), [AnnotatedText(text="Ann", spans=(span("PERSON", 0, 3),))])
    assert (missed["all"].precision, missed["all"].recall, missed["all"].f1) == (None, 0.0, 0.0)
