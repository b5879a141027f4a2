"""Names in several languages by the token classifier, on public sets: in sentences and in texts of many pages.

    COTERIE_DATA=FOLDER python benchmarks/names/run.py             # development sets
    COTERIE_DATA=FOLDER python benchmarks/names/run.py --test      # the PUD sets as well: asked once per model
    python benchmarks/names/run.py --latency                       # milliseconds by length
    python benchmarks/names/run.py --long                          # only the sentences of each set joined to long texts

Exact spans of persons, places and organisations. Nothing of the development sets here was trained on: the last third of
wikigold, one section of BTC, WNUT17's dev split, the last of GermEval's dev and of RONEC's. The PUD sets (1,000
sentences of news and Wikipedia each) are no part of any training or choice.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from threadpoolctl import threadpool_limits

from _names import MarkedText, f1_of, read_marked
from _record import Bar, Record, arguments, sha256
from coterie.privacy.detection import Detector, Kind
from coterie.privacy.tagger import NameTagger, load_tagger

CLAIM = "Persons, places and organisations are found in more than twelve languages."
SCORED = (Kind.PERSON, Kind.LOCATION, Kind.ORGANIZATION)
PUD = ("en", "de", "ru", "pt", "zh", "sv")
BARS = {"English": 0.85, "mean": 0.75}
LONG = 9_000
"""Characters of a text of several pages, at least."""


def development(rows: dict[tuple[str, str, str], list[MarkedText]]) -> dict[str, list[MarkedText]]:
    """What was held back from training."""
    return {
        "wikigold": rows["english_mixed", "en", "all"][1150:1450],
        "btc": rows["english_mixed", "en", "btc_f"][:400],
        "wnut17": rows["english_mixed", "en", "dev"][:400],
        "germeval": rows["germeval2014", "de", "dev"][-300:],
        "ronec": rows["ronec_v2", "ro", "valid"][-200:],
        **{
            f"uner {language}": rows["uner_other", language, "dev"][:150]
            for language in ("da", "pt", "sv", "hr", "zh", "sk", "sr")
        },
        **{
            f"wikiann {language}": rows["wikiann_slices", language, "dev"][:100]
            for language in ("fr", "es", "it", "pl", "ru", "ja")
        },
    }


def without_signs(text: str, start: int, end: int) -> tuple[int, int]:
    """A marked span without signs at its beginning, as a detector gives it: BTC marks the `@` of a handle."""
    while start < end and not text[start].isalnum():
        start += 1
    return start, end


def measure(detector: Detector, texts: Sequence[MarkedText]) -> dict[str, float]:
    """F1 of all, and precision and recall of persons; exact spans."""
    counts = {kind: [0, 0, 0] for kind in SCORED}
    for text in texts:
        predicted = {(span.start, span.end, span.kind) for span in detector.find(text.text) if span.kind in counts}
        spans = ((*without_signs(text.text, start, end), kind) for start, end, kind in text.spans)
        wanted = {span for span in spans if span[0] < span[1] and span[2] in counts}
        for kind, count in counts.items():
            own, have = ({span for span in some if span[2] == kind} for some in (wanted, predicted))
            count[0] += len(own & have)
            count[1] += len(have - own)
            count[2] += len(own - have)
    right, wrong, missed = counts[Kind.PERSON]
    return {
        "f1": f1_of(*(sum(count[index] for count in counts.values()) for index in range(3))),
        "person precision": right / max(right + wrong, 1),
        "person recall": right / max(right + missed, 1),
        **{f"{kind} f1": f1_of(*count) for kind, count in counts.items()},
        "texts": len(texts),
    }


def joined(texts: Sequence[MarkedText]) -> list[MarkedText]:
    """The texts of a set one after the other, with a blank between, as texts of at least `LONG` characters."""
    long_texts = [MarkedText("", [])]
    for text, spans in texts:
        whole = long_texts[-1].text + " " * bool(long_texts[-1].text)
        moved = [(start + len(whole), end + len(whole), kind) for start, end, kind in spans]
        long_texts[-1] = MarkedText(whole + text, [*long_texts[-1].spans, *moved])
        if len(long_texts[-1].text) >= LONG:
            long_texts.append(MarkedText("", []))
    return [text for text in long_texts if text.text]


def latency(detector: Detector) -> dict[str, float]:
    """Milliseconds of CPU of one call by characters, at the median."""
    text = (
        "Could you ask Maria Novak in Prague whether the invoice of Brandt Ltd was paid, please? I called on Monday. "
    )
    medians = {}
    for characters in (50, 100, 200, 500, 2000, 20_000):
        piece, took = (text * 200)[:characters], []
        for _ in range(30 if characters <= 2000 else 5):
            begun = time.thread_time()
            detector.find(piece)
            took.append((time.thread_time() - begun) * 1000)
        medians[str(characters)] = statistics.median(took)
    return medians


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--test", action="store_true", help="ask the PUD sets too")
    parser.add_argument("--latency", action="store_true", help="only how long it takes")
    parser.add_argument("--long", action="store_true", help="only the long texts")
    parser.add_argument("--model", type=Path, help="a folder with another classifier")
    given = parser.parse_args()
    threadpool_limits(1)
    detector = NameTagger(load_tagger(given.model)) if given.model else NameTagger.bundled()
    record = Record(claim=CLAIM)
    record.figures["milliseconds of CPU by characters"] = latency(detector)
    if given.latency:
        print(record.figures)
        return
    folder = Path(os.environ["COTERIE_DATA"]) / "reading" / "ner"
    record.data = {file.name: sha256(file) for file in sorted(folder.glob("*/*.jsonl.gz"))}
    rows: dict[tuple[str, str, str], list[MarkedText]] = {}
    for name, language, split, text in read_marked(folder):
        rows.setdefault((name, language, split), []).append(text)
    own = development(rows)
    sets = {f"long texts of {name}": joined(texts) for name, texts in own.items() if name not in {"wnut17", "ronec"}}
    if not given.long:
        sets |= own
        sets |= {f"PUD {language}": rows["uner_other", language, "test"] for language in PUD} if given.test else {}
    for name, texts in sets.items():
        record.figures[name] = measure(detector, texts)
        print(name, {what: round(figure, 3) for what, figure in record.figures[name].items()}, flush=True)
    if given.test:
        scores = [float(record.figures[f"PUD {language}"]["f1"]) for language in PUD]
        record.bars = [
            Bar(what="PUD English, F1", measured=scores[0], limit=BARS["English"]),
            Bar(what="PUD, mean of six languages, F1", measured=sum(scores) / len(scores), limit=BARS["mean"]),
        ]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
