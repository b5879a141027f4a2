"""From which log-odds the statement model refuses, in English, what the check by words lets pass.

    python scripts/reading/statements_refuse.py CORPUS.jsonl.gz

Held pairs, cut into sentences as the product has them. Of each limit: the share of the supported ones that is lost, and
of the others that pass the words what still passes, each set alike. Chosen is the highest that loses `LOST` at most.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import defaultdict

import numpy as np

from coterie.engines.reading import bundled_checker
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.support import Support
from coterie.text.segmentation import split_sentences

SETS = ("pawsx", "hans_like", "made", "denied", "wikisplit", "neg_nli", "breaking_nli", "fever", "begin", "conjnli",
        "fm2", "cad_snli")  # fmt: skip
EACH, LOST = 70, 0.035


def main() -> None:
    """Print the shares and the limit."""
    defaults = load_defaults()
    words, least = Support(line=defaults.support.line), defaults.supported
    by = defaultdict(list)
    with gzip.open(sys.argv[1], "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["held"] and row["lang"] == "en" and row["set"] in SETS:
                by[row["set"]].append(row)
    passed = defaultdict(list)
    for name in SETS:
        for row in by[name][:EACH]:
            source = [sentence.strip() for sentence in split_sentences(row["p"], "en") if sentence.strip()]
            if words.judge(row["c"], source).support >= least:
                passed[row["y"] == "supported", name].append(bundled_checker().judge(row["c"], source).odds)

    def share(limit: float, *, supported: bool) -> float:
        of = [np.mean(np.array(odds) >= limit) for (kind, _), odds in passed.items() if kind is supported]
        return float(np.mean(of))

    chosen = -99.0
    for limit in np.arange(-4, 1.01, 0.25):
        lost = 1 - share(limit, supported=True)
        print(f"{limit:.2f}: lost {lost:.3f}, wrong ones that pass {share(limit, supported=False):.3f}")
        chosen = float(limit) if lost <= LOST else chosen
    print("refuses", chosen)


if __name__ == "__main__":
    main()
