"""What a detector finds in 4,000 ordinary texts that nobody made for it: most of it should be nothing.

    COTERIE_DATA=... python benchmarks/personal_data/ordinary.py [--detectors patterns names] [--show 20]

A thousand texts each of BANKING77 (test messages: the model of names saw training messages), CLINC150 (validation
messages, likewise), SciFact (every second abstract: it saw sentences of the others) and CUAD (clauses of training
contracts: it saw names of their parties, and no clause), spread evenly over their files. Nothing is
annotated in them, so a count is no error rate: clauses name real companies and days, abstracts name countries. In
messages and abstracts hardly a card, a telephone or a person is to be found.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import LENDER, find
from coterie.privacy.detection import Detector, label_of
from coterie.privacy.patterns import PatternDetector
from coterie.privacy.tagger import NameTagger

TEXTS = 1_000
"""Of each source."""


def ordinary_texts() -> Mapping[str, Sequence[str]]:
    """A thousand texts of each source."""
    (clinc,), (scifact, *_) = find("clinc150"), find("scifact_beir")
    with (LENDER / "data" / "triage.test.csv").open(encoding="utf-8", newline="") as file:
        messages = [row["text"] for row in csv.DictReader(file)]
    requests = [text for text, _ in json.loads(clinc.read_text(encoding="utf-8"))["val"]]
    with gzip.open(scifact, "rt", encoding="utf-8") as file:
        abstracts = [f"{row['title']} {row['text']}" for row in map(json.loads, file)][::2]
    with (LENDER / "data" / "clauses.train.jsonl").open(encoding="utf-8") as file:
        clauses = [json.loads(line)["text"] for line in file]
    whole = {"BANKING77": messages, "CLINC150": requests, "SciFact": abstracts, "CUAD": clauses}
    return {name: [texts[n * len(texts) // TEXTS] for n in range(TEXTS)] for name, texts in whole.items()}


def found_by(detector: Detector, texts: Sequence[str]) -> dict[str, int]:
    """How often each kind is found in a thousand texts, and in how many a kind that makes a text confidential."""
    findings = [detector.find(text) for text in texts]
    kinds = Counter(str(finding.kind) for own in findings for finding in own)
    raised = sum(any(label_of(finding.kind) for finding in own) for own in findings)
    return {**dict(sorted(kinds.items())), "texts whose label is raised": raised}


def main() -> None:
    """Print the counts, and with `--show` what was found of kinds with a form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    detectors = {"patterns": PatternDetector, "names": NameTagger.bundled}
    parser.add_argument("--detectors", nargs="*", default=list(detectors), choices=list(detectors))
    parser.add_argument("--show", type=int, default=0, help="how many finds of each kind and source to print")
    given = parser.parse_args()
    for name in given.detectors:
        detector = detectors[name]()
        for source, texts in ordinary_texts().items():
            print(f"{name:9} {source:10}", found_by(detector, texts), flush=True)
            shown = Counter[str]()
            for text in texts if given.show else ():
                for finding in detector.find(text):
                    shown[finding.kind] += 1
                    if shown[finding.kind] <= given.show:
                        around = text[max(0, finding.start - 30) : finding.end + 20].replace("\n", " ")
                        print(f"    {finding.kind} {text[finding.start : finding.end]!r} in {around!r}")


if __name__ == "__main__":
    main()
