"""Personal data in Presidio's synthetic sets: the detector of names beside Presidio with its small English model.

    COTERIE_DATA=... python benchmarks/personal_data/run.py [--part valid]

Test templates were seen by nobody: `_personal.py` has the split. Both detectors read the same texts in the same run and
are scored alike: span F1 by type, for the same place and for any overlap; in lower case too; on values that occur in no
training text; and how many of 1,027 of BANKING77's test messages, which name nobody, hold a person. Latency is of one
call for 500 characters on one core. What is found in ordinary texts (`ordinary.py`), in sentences of other
languages (`languages.py`) and in records, logs and inflected names (`marked.py`) is counted too. `coterie[presidio]`
and Faker are needed.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from languages import by_language
from marked import by_kind
from ordinary import TEXTS, found_by, ordinary_texts
from threadpoolctl import threadpool_limits

from _data import LENDER, find
from _personal import SETS, Span, Text, annotated, as_scored, normal, read_texts, score
from _record import Bar, Record, arguments, sha256
from coterie.privacy.detection import Detector, Kind
from coterie.privacy.patterns import PatternDetector
from coterie.privacy.tagger import NameTagger, PresidioDetector

CLAIM = "Personal data is found better than by Presidio with its small model, in a fraction of the time."
BOTH = ("PERSON", "PLACE", "ORGANIZATION", "NATIONALITY", "DATE", "CARD", "PHONE", "EMAIL", "IBAN", "IP", "URL")
"""Types that both detectors have; a set without annotations of one leaves it out."""
UNANNOTATED = {"generated_large": {"NATIONALITY", "AGE"}, "synth_dataset_v2": set[str]()}
"""Types that stand in a set's texts without being annotated."""
CHARACTERS = 500
CALLS = 200


def types_of(name: str, texts: Sequence[Text]) -> list[str]:
    """What is scored in a set: types that both detectors have and that are annotated in it."""
    there = {span.type for text in texts for span in annotated(text)}
    return [kind for kind in (*BOTH, "NATIONAL_ID") if kind in there - UNANNOTATED[name]]


def read(detector: Detector, texts: Sequence[str]) -> list[set[Span]]:
    """What a detector finds in each."""
    return [as_scored(text, detector.find(text)) for text in texts]


def figures(detector: Detector, name: str, texts: Sequence[Text], known_words: set[str]) -> dict[str, object]:
    """Everything that is said of one detector on one set."""
    types, predicted = types_of(name, texts), read(detector, [text.text for text in texts])
    lower = [text._replace(text=low) for text in texts if len(low := text.text.lower()) == len(text.text)]
    in_lower = score(lower, read(detector, [text.text for text in lower]), types)
    nobody = [
        f for text, f in zip(texts, predicted, strict=True) if not any(s.type == "PERSON" for s in annotated(text))
    ]
    return {
        "exact": score(texts, predicted, types),
        "overlap": score(texts, predicted, types, overlap=True),
        "exact in lower case": in_lower["all"],
        "persons unseen in training, recall": unseen_recall(texts, predicted, known_words),
        "texts without a person that have one found": sum(any(s.type == "PERSON" for s in f) for f in nobody)
        / max(len(nobody), 1),
        "age, exact": score(texts, predicted, ["AGE"])["AGE"] if "AGE" not in UNANNOTATED[name] else None,
    }


def unseen_recall(texts: Sequence[Text], predicted: Sequence[set[Span]], known_words: set[str]) -> dict[str, float]:
    """Recall of persons none of whose words is a word of a person in the training texts."""
    wanted = [
        (span in have)
        for text, have in zip(texts, predicted, strict=True)
        for span in annotated(text)
        if span.type == "PERSON" and not words_of(text.text[span.start : span.end]) & known_words
    ]
    return {"recall": sum(wanted) / max(len(wanted), 1), "n": len(wanted)}


def words_of(value: str) -> set[str]:
    """The words of a name, without single letters."""
    return {word for word in value.casefold().replace(".", " ").split() if len(word) > 1}


def false_persons(detector: Detector, messages: Sequence[str]) -> float:
    """Share of messages in which somebody is found."""
    hits = [any(span.kind == Kind.PERSON for span in detector.find(message)) for message in messages]
    return sum(hits) / len(hits)


def latency(detector: Detector, texts: Sequence[str]) -> dict[str, float]:
    """Milliseconds of a call for 500 characters, and of the CPU in it, which other work does not lengthen so much."""
    whole = "\n".join(texts)
    pieces = [whole[at : at + CHARACTERS] for at in range(0, len(whole) - CHARACTERS, CHARACTERS)][: CALLS + 20]
    taken, busy = [], []
    for piece in pieces:
        begun, worked = time.perf_counter(), time.thread_time()
        detector.find(piece)
        busy.append((time.thread_time() - worked) * 1000)
        taken.append((time.perf_counter() - begun) * 1000)
    steady = sorted(taken[20:])
    return {
        "p50": statistics.median(steady),
        "p95": steady[int(len(steady) * 0.95)],
        "p50 of CPU": statistics.median(busy[20:]),
        "calls": len(steady),
    }


def keep_presidio(path: Path, record: Record) -> None:
    """Presidio's figures of an earlier run on the same files: it takes ten minutes and gives the same again."""
    before = json.loads(path.read_text(encoding="utf-8"))
    if before["data"] != record.data:
        raise SystemExit(f"{path.name} is of other data: run without --keep-presidio.")
    kept = {name: value for name, value in before["figures"].items() if name.startswith("presidio,")}
    record.figures |= kept
    dated = next((note for note in before["notes"] if note.startswith("Presidio's")), None)
    record.notes.append(dated or f"Presidio's figures, its time too, are of the run of {before['date']}")


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--part", choices=("valid", "test"), default="test", help="which templates are asked")
    parser.add_argument("--keep-presidio", action="store_true", help="take its figures from the result file as it is")
    given = parser.parse_args()
    threadpool_limits(1)
    record = Record(claim=CLAIM)
    paths = dict(zip(SETS, find("pii_presidio"), strict=True))
    record.data = {f"pii_presidio/{path.name}": sha256(path) for path in paths.values()}
    texts = {name: read_texts(path) for name, path in paths.items()}
    chosen = {name: [text for text in own if text.part == given.part] for name, own in texts.items()}
    known_words = {
        word
        for own in texts.values()
        for text in own
        if text.part != "test"
        for span in normal(text.text, (s for s in text.spans if s.type == "PERSON"))
        for word in words_of(text.text[span.start : span.end])
    }
    with (LENDER / "data" / "triage.test.csv").open(encoding="utf-8", newline="") as file:
        messages = [row["text"] for row in csv.DictReader(file)][::3]
    detectors: dict[str, Detector] = {"names": NameTagger.bundled(), "patterns": PatternDetector()}
    if given.keep_presidio:
        keep_presidio(given.out, record)
    else:
        detectors["presidio"] = PresidioDetector(patterns=False)
    for who, detector in detectors.items():
        if who != "patterns":
            for name, own in chosen.items():
                record.figures[f"{who}, {name}"] = figures(detector, name, own, known_words)
            record.figures[f"{who}, bank messages with a person found"] = false_persons(detector, messages)
        joined = [text.text for own in chosen.values() for text in own]
        record.figures[f"{who}, milliseconds for {CHARACTERS} characters"] = latency(detector, joined)
    for who in ("patterns", "names"):
        record.figures[f"{who}, finds in {TEXTS:,} ordinary texts"] = {
            source: found_by(detectors[who], own) for source, own in ordinary_texts().items()
        }
    record.figures["names, by language, exact"] = by_language(detectors["names"])
    record.figures["names, sentences of our own"] = by_kind(detectors["names"])
    record.figures["templates"] = {name: len({text.template for text in own}) for name, own in chosen.items()}
    record.figures["texts"] = {name: len(own) for name, own in chosen.items()}
    record.bars = bars(record.figures)
    record.note_load()
    record.write(given.out)


def bars(measured: dict[str, object]) -> list[Bar]:
    """Better than Presidio, over all types and in each; and fast."""

    def f1(who: str, name: str, kind: str, how: str = "exact") -> float:
        return float(measured[f"{who}, {name}"][how][kind]["f1"])  # type: ignore[index]

    made = []
    for name in SETS:
        kinds = list(measured[f"names, {name}"]["exact"])  # type: ignore[index]
        ours, theirs = f1("names", name, "all"), f1("presidio", name, "all")
        made.append(Bar(what=f"{name}: F1, exact spans, against Presidio's", measured=ours, limit=theirs))
        worse = sum(f1("names", name, kind) < f1("presidio", name, kind) for kind in kinds)
        made.append(Bar(what=f"{name}: types in which Presidio is better", measured=worse, limit=0, at_most=True))
    speed = measured[f"names, milliseconds for {CHARACTERS} characters"]["p50"]  # type: ignore[index]
    return [*made, Bar(what="p50 at 500 characters, one core, ms", measured=speed, limit=10, at_most=True)]


if __name__ == "__main__":
    main()
