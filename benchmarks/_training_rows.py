"""Training rows of the public data sets, for benchmarks that never look at a test row."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence

from _data import find

Rows = Sequence[tuple[str, str]]
"""(text, label)."""


def banking() -> Rows:
    """BANKING77's training rows."""
    with find("banking77")[0].open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def clinc(part: str = "train") -> Rows:
    """CLINC150's rows of a part."""
    content: dict[str, list[tuple[str, str]]] = json.loads(find("clinc150")[0].read_text(encoding="utf-8"))
    return [(text, label) for text, label in content[part]]


def headlines() -> Rows:
    """HEADLINES' training rows."""
    with find("frugalgpt")[0].open(encoding="utf-8", newline="") as file:
        return [(text.removeprefix("Q: ").removesuffix("\nA:"), label) for text, label, _ in csv.reader(file)]


SETS = {"banking77": banking, "clinc150": clinc, "headlines": headlines}
FOLDERS = {"headlines": "frugalgpt"}
"""Which folder of the data holds a set, where that has another name."""
