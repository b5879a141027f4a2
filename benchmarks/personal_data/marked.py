"""Sentences of our own with their names marked: inflected, in six more languages, in records and logs, in companies.

    python benchmarks/personal_data/marked.py [--show]

They were written before anything was measured on them, and no template that the model learned from is one of them
(`marked.txt`: kind of text, a tab, the text with `[KIND name]`). Most words of a name may be enough for a label; what
is asked here is the same place.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _personal import PLACE, Count, Span, Text, annotated, as_scored, count
from coterie.privacy.detection import Detector
from coterie.privacy.tagger import NameTagger

FILE = Path(__file__).with_name("marked.txt")
TYPES = ("PERSON", PLACE, "ORGANIZATION", "NATIONALITY")
_AS_IN_SETS = {"NATIONALITY": "NRP"}
_MARK = re.compile(r"\[([A-Z]{3,}) ([^\]]+)\]")


def marked_texts() -> Mapping[str, Sequence[Text]]:
    """The texts by their kind."""
    texts: dict[str, list[Text]] = {}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        kind, _, marked = line.partition("\t")
        marked, text, spans, at = marked.replace("\\n", "\n"), "", list[Span](), 0
        for match in _MARK.finditer(marked):
            text += marked[at : match.start()]
            spans.append(Span(len(text), len(text) + len(match[2]), _AS_IN_SETS.get(match[1], match[1])))
            text, at = text + match[2], match.end()
        texts.setdefault(kind, []).append(Text(text + marked[at:], tuple(spans), marked, 0))
    return texts


def by_kind(detector: Detector, *, show: bool = False) -> dict[str, dict[str, float]]:
    """Exact and overlapping figures of all types together, for each kind of text."""
    figures = {}
    for kind, texts in marked_texts().items():
        exact, overlap = Count(), Count()
        for text in texts:
            wanted, predicted = annotated(text), as_scored(text.text, detector.find(text.text))
            exact = sum((count(wanted, predicted, entity_type, overlap=False) for entity_type in TYPES), exact)
            overlap = sum((count(wanted, predicted, entity_type, overlap=True) for entity_type in TYPES), overlap)
            wrong = sorted(
                (candidate for candidate in wanted ^ predicted if candidate.type in TYPES),
                key=lambda wrong_span: wrong_span.start,
            )
            for span in wrong if show else ():
                print(kind, "missed" if span in wanted else "wrong", span.type, text.text[span.start : span.end])
        figures[kind] = {"exact": exact.figures()["f1"], "overlap": overlap.figures()["f1"], "texts": len(texts)}
    return figures


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print what was missed and what was wrong")
    for kind, figures in by_kind(NameTagger.bundled(), show=parser.parse_args().show).items():
        print(f"{kind:6}", {name: round(value, 3) for name, value in figures.items()})


if __name__ == "__main__":
    main()
