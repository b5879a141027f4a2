"""Labels of what is found, and what stays of things that overlap."""

import importlib.util
import json
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.config.file import parse_config
from coterie.config.operation import PrivacySection
from coterie.errors import ConfigError, DataError, ExtraMissing
from coterie.privacy.detection import (
    AnnotatedText,
    Kind,
    PersonalData,
    label_of,
    least_label,
    measure_detector,
    read_annotated,
    settle,
)
from coterie.privacy.kinds import open_detector
from coterie.privacy.patterns import PatternDetector
from coterie.privacy.tagger import NameTagger, PresidioDetector
from coterie.testing import check_detector
from coterie.types import Label


def data(kind, start=0, end=1, score=1.0):
    return PersonalData(kind=kind, start=start, end=end, score=score)


def test_least_label():
    """The highest label of all that was found counts; harmless kinds alone ask for none."""
    assert least_label([]) is None
    assert least_label([data(Kind.LOCATION), data(Kind.URL)]) is None
    assert least_label([data(Kind.LOCATION), data(Kind.PERSON)]) is Label.CONFIDENTIAL
    assert least_label([data(Kind.SECRET), data(Kind.PERSON)]) is Label.RESTRICTED


@pytest.mark.parametrize("kind", Kind)
def test_label_is_the_same_for_name_and_member(kind):
    """A kind's name is as good as the member."""
    assert label_of(kind) == label_of(str(kind))


def test_unknown_kinds_are_personal():
    """A kind that a foreign detector brings is confidential."""
    assert label_of("BLOOD_GROUP") is Label.CONFIDENTIAL


def test_settle_keeps_the_surest():
    """The surest of things that overlap stays, of equals the longest."""
    sure, long, short = data("A", 2, 5, 0.9), data("B", 0, 4, 0.5), data("C", 6, 8, 0.5)

    assert settle([long, short, sure]) == (sure, short)
    assert settle([data("A", 0, 2), data("B", 0, 3)]) == (data("B", 0, 3),)


def test_settle_keeps_what_asks_for_a_label():
    """That a model is sure of a date takes nothing from its being a birth's."""
    date, birth = data(Kind.DATE, 0, 9, 1.0), data(Kind.DATE_OF_BIRTH, 0, 9, 0.9)

    assert settle([date, birth]) == (birth,)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9), st.sampled_from([0.5, 0.9, 1.0]))))
def test_settle_gives_ordered_apart(spans):
    """Whatever comes in, what stays is in order and apart, and what went overlaps something that stays."""
    given_ = [data("X", start, start + length, score) for start, length, score in spans]
    kept = settle(given_)

    assert all(a.end <= b.start for a, b in pairwise(kept))
    assert all(any(span.start < k.end and k.start < span.end for k in kept) for span in given_)


# --- The detector that a network's file names.


PRESIDIO = importlib.util.find_spec("presidio_analyzer") is not None


def test_default():
    """Without a section what has a form is found."""
    assert isinstance(open_detector(parse_config("").privacy), PatternDetector)


def test_names():
    """Names can be asked for, with nothing installed; what is not known is refused."""
    assert isinstance(open_detector(PrivacySection(detector="names")), NameTagger)
    with pytest.raises(ConfigError, match="There is no detector"):
        parse_config('[privacy]\ndetector = "magic"')


def test_presidio_is_missing(monkeypatch):
    """Without Presidio it is said what to install."""
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(ExtraMissing, match="presidio"):
        PresidioDetector()


@pytest.mark.parametrize("name", ["patterns", "names"])
async def test_detectors_keep_the_contract(name):
    """Ours do what the protocol says."""
    await check_detector(open_detector(PrivacySection(detector=name)))


@pytest.mark.slow
@pytest.mark.skipif(not PRESIDIO, reason="coterie[presidio] is not installed")
@pytest.mark.filterwarnings("ignore")
async def test_presidio_keeps_the_contract():
    """Presidio's names and our secrets are found together, at their places, and nothing is fetched."""
    detector = open_detector(PrivacySection(detector="presidio"))
    text = "My name is David Johnson\x00 and my password=hunter2, mail bob@example.com"
    spans = [(span.kind, text[span.start : span.end]) for span in detector.find(text)]

    await check_detector(detector)
    assert ("SECRET", "hunter2") in spans
    assert ("EMAIL", "bob@example.com") in spans
    assert ("PERSON", "David Johnson") in spans
    assert detector.find("") == ()


# --- Marked texts: what is read, what is refused, and how finds are counted against marks.


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
