"""Pages as shops, offices and clubs write them, and what people ask about them: `pages.json`, written for this project.

A question's answer is a sentence of its page, or nothing where the page does not say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("pages.json")
_HEADING = re.compile(r"^(#+)\s+(.*)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page, and the questions to it."""

    name: str
    text: str
    asked: Sequence[tuple[str, str | None]]
    """Each question with the sentence that answers it."""

    def span(self, answer: str) -> tuple[int, int]:
        """Where an answer stands, in characters."""
        start = self.text.index(answer)
        return start, start + len(answer)

    def sections(self) -> Iterator[tuple[int, str, str]]:
        """Where each section begins, its text, and the headings above it."""
        marks = list(_HEADING.finditer(self.text))
        starts = [mark.start() for mark in marks]
        if not marks:
            yield 0, self.text, ""
            return
        if starts[0] > 0:
            yield 0, self.text[: starts[0]], ""
        path: list[str] = []
        for mark, end in zip(marks, [*starts[1:], len(self.text)], strict=True):
            path = [*path[: len(mark[1]) - 1], mark[2].strip()]
            yield mark.start(), self.text[mark.start() : end], " > ".join(path)


def read_pages(*, held_out: bool) -> list[Page]:
    """Those that are held out of the calibration, or those that it learns from."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    return [
        Page(name=name, text=page["text"], asked=[(question, answer) for question, answer in page["asked"]])
        for name, page in stored.items()
        if page["held_out"] == held_out
    ]
