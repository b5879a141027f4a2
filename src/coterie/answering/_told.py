"""What a quoted sentence says to one who does not see where it stands: a row with its columns, an item with its "not".

The quote itself stays as the document has it. It knows English: which introductions deny.
"""

from __future__ import annotations

from collections.abc import Sequence

from coterie.types import Citation

from ._sentences import Sentence, flat


def spoken(citation: Citation, cited: Sequence[Sentence]) -> str:
    """A citation on one line; a table's row with the names of its columns."""
    place = (citation.document, citation.start, citation.end)
    row = next((each for each in cited if (each.passage.document, each.start, each.end) == place), None)
    pairs = named(row) if row is not None and row.head else []
    if not pairs:
        return flat(citation.text)
    return "; ".join(f"{name}: {value}" if name else value for name, value in pairs)


def borne_by(sentence: Sentence) -> str:
    """What it is taken to say where a wording is checked: each value beside its name, and what an item hangs on."""
    pairs = named(sentence)
    text = ", ".join(f"{name} {value}".strip() for name, value in pairs) if pairs else sentence.text
    return f"{sentence.lead.text} {text}" if sentence.lead else text


def named(sentence: Sentence) -> list[tuple[str, str]]:
    """Names and values of a row, those that have a value; none where it is no row, or its cells are not its columns."""
    if not sentence.head:
        lines = [line.strip() for line in sentence.text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(": " in line for line in lines[1:]):
            return []
        return [(name, value) if mark else ("", name) for name, mark, value in (each.partition(": ") for each in lines)]
    text, at = sentence.passage.text, sentence.start - sentence.passage.start
    end = text.find("\n", at)
    values = _cells(text[text.rfind("\n", 0, at) + 1 : end if end >= 0 else len(text)])
    names = _cells(sentence.head)
    if len(values) == len(names) + 1:
        names = ["", *names]  # the first column has no name
    if len(values) != len(names):
        return []
    return [(name, value) for name, value in zip(names, values, strict=True) if value]


def _cells(row: str) -> list[str]:
    return [" ".join(cell.split()) for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]
