"""What tests of several packages share: a page taken apart, and the check that it loads nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

VOID = {"meta", "br"}
LOADING = {"script", "link", "img", "iframe", "object", "image", "use", "embed", "base", "form"}


class Page(HTMLParser):
    """Elements in order with their attributes and text; a tag that closes another element is an error."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self._text: list[list[str]] = []
        self._open: list[int] = []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        """Remember it."""
        self.seen.append((tag, dict(attrs)))
        self._text.append([])
        if tag not in VOID:
            self._open.append(len(self.seen) - 1)

    def handle_endtag(self, tag):
        """It closes what was opened last."""
        assert self.seen[self._open.pop()][0] == tag

    def handle_data(self, data):
        """Text belongs to all elements that are open."""
        for place in self._open:
            self._text[place].append(data)

    @property
    def names(self):
        """Of all elements."""
        return [name for name, _ in self.seen]

    def texts(self, name, *, class_=None):
        """The text of each such element."""
        return [
            "".join(self._text[place])
            for place, (tag, attributes) in enumerate(self.seen)
            if tag == name and class_ in {None, attributes.get("class")}
        ]

    def table(self, number):
        """The cells' texts of a table, by row."""
        rows, tables = [], -1
        for place, (name, _) in enumerate(self.seen):
            tables += name == "table"
            if tables == number and name == "tr":
                rows.append([])
            if tables == number and name in {"th", "td"}:
                rows[-1].append("".join(self._text[place]))
        return rows

    def terms(self):
        """The definitions, by their term."""
        return dict(zip(self.texts("dt"), self.texts("dd"), strict=True))

    def assert_loads_nothing(self):
        """No script, link, image or address is in it."""
        assert not LOADING & set(self.names)
        assert not any({"href", "src", "srcset", "data", "style"} & attributes.keys() for _, attributes in self.seen)
        assert not re.search(r"url\(|@import|https?://", self.source)


@pytest.fixture(scope="session")
def read_page():
    """Take a page apart: `read_page(source)`."""
    return Page
