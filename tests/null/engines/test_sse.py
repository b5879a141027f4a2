import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.engines.http import EventParser


def read(stream, *cuts):
    """The events of a stream that arrives in pieces cut at these places."""
    parser, events, last = EventParser(), [], 0
    for cut in [*sorted(cuts), len(stream)]:
        events += parser.feed(stream[last:cut])
        last = cut
    return events + parser.end()


def test_events():
    """Each blank line ends an event; its data lines are joined."""
    assert read(b"data: one\n\ndata: two\ndata: three\n\n") == ["one", "two\nthree"]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_line_ends(end):
    """LF, CR and CRLF all end a line."""
    assert read(end.join([b"data: a", b"", b"data: b", b"", b""])) == ["a", "b"]


def test_other_fields():
    """Comments, ids, event names and unknown fields are passed over."""
    assert read(b": ping\n\nevent: x\nid: 1\nretry: 9\ndata: a\nfoo\n\n:\n\n") == ["a"]


def test_space_and_emptiness():
    """One space after the colon belongs to the syntax, further ones to the data; empty data is data."""
    assert read(b"data:a\n\ndata:  b\n\ndata\n\n") == ["a", " b", ""]


def test_byte_order_mark():
    """A byte order mark before the first line is no part of it."""
    assert read(b"\xef\xbb\xbfdata: a\n\n") == ["a"]


def test_unfinished_end():
    """A stream that ends without its blank line, or within a line, still gives its last event."""
    assert read(b"data: a\n") == ["a"]
    assert read(b"data: a") == ["a"]
    assert read(b"data: a\r") == ["a"]


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), min_size=1),
    st.sampled_from([b"\n", b"\r", b"\r\n"]),
    st.data(),
)
def test_cut_anywhere(texts, end, data):
    """However a stream is cut into chunks, within characters and line ends too, it says the same."""
    stream = b"".join(b"data: " + text.encode() + end + b": comment" + end + end for text in texts)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    assert read(stream, *cuts) == texts
    assert read(stream, *range(len(stream))) == texts


def test_endless_line():
    """A line without end is refused, however small its pieces are."""
    parser = EventParser(limit=1000)
    for _ in range(1000):
        parser.feed(b"x")
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        parser.feed(b"x")


def test_endless_event():
    """So is an event of ever more lines."""
    parser = EventParser(limit=1000)
    for _ in range(250):
        parser.feed(b"data: xxx\n")
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        parser.feed(b"data: xxx\n")


def test_not_text():
    """Data that is no UTF-8 is a ValueError."""
    with pytest.raises(ValueError, match="decode"):
        read(b"data: \xff\xfe\n\n")
