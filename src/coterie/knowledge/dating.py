"""When a document is from, as far as it says so: by its file's name, else by its title, else by its metadata.

A date is `2024`, `2024-05` or `2024-05-31`: as much as is known. What can be read in two ways is None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from coterie.knowledge.parsed import Parsed
from coterie.text.dates import find_dates
from coterie.text.language import language_of

_HEAD = 400
"""Characters at the beginning of a text that may say when it is from."""
_COMPACT = re.compile(r"(?<!\d)((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?!\d)")
_JOINED = re.compile(r"(?<!\d)[-_]|[-_](?!\d)")
"""What joins words of a file's name, and no figures."""
_MONTH = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_./](0[1-9]|1[0-2])(?![\d])")
_YEAR = re.compile(r"(?<![\d.,-])((?:19|20)\d\d)(?![\d]|[.,]\d)")
_FIGURES = re.compile(r"(?<!\d)\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?!\d)")


def document_date(name: str, parsed: Parsed) -> str | None:
    """When a document of this name is from; None where that is unknown or can be read in two ways."""
    language = language_of(parsed.text, "") or None
    end = min([_HEAD, *(start for start, _ in parsed.rows[:1])])
    head = parsed.text[:end]
    title = parsed.headings[0].title if parsed.headings else head.strip().partition("\n")[0]
    file = _JOINED.sub(" ", _COMPACT.sub(r"\1-\2-\3", PurePath(name).stem))
    for text, years in ((file, True), (title, not title.endswith((".", "!", "?"))), (head, False)):
        days = {each.value for each in find_dates(text, language)}
        if len(days) < len({*_FIGURES.findall(text)}):
            return None  # in figures that can be read in two ways
        found = [days, {"-".join(each) for each in _MONTH.findall(text)}, {*_YEAR.findall(text)}]
        for dates in found if years else found[:1]:
            if len(dates) == 1:
                return str(dates.pop())
            if dates:
                break  # several: nothing says which one counts
    return parsed.dated


def newest(dates: Sequence[str | None]) -> int | None:
    """The place of the latest date; None where one is unknown, or two cannot be told apart."""
    known = [date for date in dates if date]
    if len(known) < len(dates) or not known:
        return None
    last = max(range(len(known)), key=lambda at: known[at])
    others = (date for at, date in enumerate(known) if at != last)
    least = all(date[: len(known[last])] < known[last][: len(date)] for date in others)
    return last if least else None
