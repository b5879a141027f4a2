"""Public sets with persons, places and organisations marked, as running text with spans.

The sets come as tokens; a detector reads texts. `running_text` puts the tokens together as a writer would: no blank
before a full stop, none between Chinese letters.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from coterie.privacy.detection import Kind

SETS: Mapping[str, str] = {
    "uner_other": "uner",
    "wikiann_slices": "wikiann",
    "europeana": "europeana",
    "germeval2014": "germeval",
    "ler_german_legal": "ler",
    "english_mixed": "en",
    "ronec_v2": "ronec",
    "crossner": "crossner",
}
"""Folders of `ner/`, and the file in each."""
_PERSONS = "PER person PERSON politician writer musicalartist scientist researcher RR AN"
_PLACES = "LOC location GPE FAC FACILITY country LD ST STR LDS"
_ORGANISATIONS = "ORG organisation corporation group politicalparty university band UN INN GRT"
KINDS: Mapping[str, Kind | None] = {
    **dict.fromkeys(_PERSONS.split(), Kind.PERSON),
    **dict.fromkeys(_PLACES.split(), Kind.LOCATION),
    **dict.fromkeys(_ORGANISATIONS.split(), Kind.ORGANIZATION),
    **dict.fromkeys(("NAT_REL_POL", "NORP", "LOCderiv"), Kind.NATIONALITY),
    **dict.fromkeys(("MISC", "misc"), None),
}
"""What the sets' classes are here: None may be a nationality or nothing, and other classes are nothing."""
_UNSPACED = frozenset({"zh", "ja"})
_NO_BLANK_BEFORE = re.compile(r"[.,;:!?%)\]}»”…]+|'s|'S|\u2019s|n't|'re|'m|'ll|'ve|'d")
_ELIDED = 4


class MarkedText(NamedTuple):
    """A text with what is marked in it."""

    text: str
    spans: list[tuple[int, int, Kind | None]]
    """Begin, end and kind; None of what nobody says whether it is ours."""


def read_marked(folder: Path) -> Iterator[tuple[str, str, str, MarkedText]]:
    """Set, language, split and text of every row in a folder with the sets."""
    for name, file in SETS.items():
        with gzip.open(folder / name / f"{file}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield name, row["lang"], row["split"], running_text(row["tokens"], row["tags"], row["lang"])


def running_text(tokens: Sequence[str], tags: Sequence[str], language: str) -> MarkedText:
    """The text of some tokens, with the spans that their BIO tags say."""
    text, places, quoted, glued = "", [], False, True
    for written in tokens:
        token = '"' if written in {"``", "''"} else written
        blank = "" if glued or language in _UNSPACED or _NO_BLANK_BEFORE.fullmatch(token) else " "
        glued = token in set("([{«“„¿¡") or (
            language in {"fr", "it"} and 1 < len(token) <= _ELIDED and token[-1] in "'\u2019"
        )
        if token == '"':  # noqa: S105 - a quotation mark
            blank, glued, quoted = ("" if quoted else blank), not quoted, not quoted
        text += blank
        places.append((len(text), len(text) + len(token)))
        text += token
    spans: list[tuple[int, int, str]] = []
    for tag, (start, end) in zip(tags, places, strict=True):
        if len(tag) < 3 or tag[2:] not in KINDS:
            spans.append((start, start, ""))
        elif tag[0] == "I" and spans and spans[-1][2] and KINDS[spans[-1][2]] == KINDS[tag[2:]]:
            spans[-1] = (spans[-1][0], end, spans[-1][2])
        else:
            spans.append((start, end, tag[2:]))
    return MarkedText(text, [(start, end, KINDS[tag]) for start, end, tag in spans if tag])


def f1_of(right: int, wrong: int, missed: int) -> float:
    """F1 of counts."""
    return 2 * right / max(2 * right + wrong + missed, 1)
