"""The pages of `pages/`, written for training: sentences, questions with the sentences that answer, statements.

A page begins with `# language | title`. Its sentences stand on numbered lines. `? question => 2,5` is answered by the
sentences 2 and 5 (each of them, or both together), `? question => -` by none. `+ statement` is supported by the page,
`- statement` contradicts it, `~ statement` is neither. `python scripts/reading/written.py FILE ...` checks files.
"""

from __future__ import annotations

import collections
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "pages"


@dataclass
class Page:
    """One page."""

    lang: str
    title: str
    sentences: list[str] = field(default_factory=list)
    questions: list[tuple[str, list[int]]] = field(default_factory=list)
    """A question, and the sentences that answer it, from 0 on; none where nothing does."""
    statements: list[tuple[str, str]] = field(default_factory=list)
    """A statement, and whether it is `supported`, `refuted` or `unknown`."""


VERDICTS = {"+": "supported", "-": "refuted", "~": "unknown"}


def pages_of(path: Path) -> Iterator[Page]:
    """The pages of a file; a line that is none of the forms, or a number out of place, is an error with its line."""
    page = None
    for at, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = text.strip()
        if head := re.fullmatch(r"# ([a-z]{2}) \| (.+)", line):
            if page:
                yield page
            page = Page(head[1], head[2])
        elif line:
            wrong = "no page has begun" if page is None else take(page, line)
            if wrong:
                raise ValueError(f"{path.name}:{at}: {wrong}: {line[:80]}")
    if page:
        yield page


def take(page: Page, line: str) -> str:
    """Add a line to a page, or say what is wrong with it."""
    if sentence := re.fullmatch(r"(\d+) (.+)", line):
        if int(sentence[1]) != len(page.sentences) + 1:
            return f"sentence {len(page.sentences) + 1} was due"
        page.sentences.append(sentence[2])
    elif question := re.fullmatch(r"\? (.+?) => (-|\d+(?:,\s*\d+)*)", line):
        numbers = [] if question[2] == "-" else [int(n) - 1 for n in question[2].split(",")]
        if any(not 0 <= n < len(page.sentences) for n in numbers):
            return f"the page has {len(page.sentences)} sentences"
        page.questions.append((question[1], numbers))
    elif line[0] in VERDICTS and line[1:2] == " ":
        page.statements.append((line[2:], VERDICTS[line[0]]))
    else:
        return "not understood"
    return ""


def pages() -> Iterator[Page]:
    """All pages, file by file."""
    for path in sorted(FOLDER.glob("*.txt")):
        yield from pages_of(path)


def main() -> None:
    """Check files, and say what they hold."""
    for name in sys.argv[1:]:
        try:
            own = list(pages_of(Path(name)))
        except (OSError, ValueError) as error:
            sys.exit(str(error))
        print(name, len(own), "pages")
        print(dict(collections.Counter(page.lang for page in own)))
        print("sentences", sum(len(page.sentences) for page in own))
        asked = [numbers for page in own for _, numbers in page.questions]
        print("questions", len(asked), "answered", sum(bool(n) for n in asked))
        print("statements", dict(collections.Counter(y for page in own for _, y in page.statements)))
        for text, n in collections.Counter(page.title for page in own).items():
            if n > 1:
                print("title twice:", text)
        for page in own:
            if len(page.questions) < 8 or len(page.statements) < 4 or not 6 <= len(page.sentences) <= 20:
                print("thin:", page.title, len(page.sentences), len(page.questions), len(page.statements))


if __name__ == "__main__":
    main()
