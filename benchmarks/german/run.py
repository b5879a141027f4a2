"""The same classes of texts in English and in German, with the bundled encoder and with a multilingual one.

    coterie models pull multilingual-e5-small --languages en,de
    COTERIE_DATA=FOLDER python benchmarks/german/run.py --look TEXT

xSID: 15 intents of assistants, the same sentences in both languages by translators. 500 sentences train the rung
`embedding`, 300 others are asked once. What is lost is against English with the bundled encoder.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, add_look, arguments, sha256
from coterie import Classifier
from coterie.engines.onnx import open_encoder
from coterie.learning.evaluation import bootstrap_mean
from coterie.training.train import train

CLAIM = "With a multilingual encoder the same classes are told apart in German nearly as well as in English."
ENCODERS = ("minilm", "multilingual-e5-small")
CASES = (("en", "en"), ("de", "de"), ("en", "de"))
"""Language of the training texts, and of those that are asked."""
LOST = 5.0
CONFIG = """[network]
name = "assistant"
encoder = "{encoder}"
language = "{language}"

[specialists.intents]
task = "classify"
description = "What people ask an assistant."
data = "train.csv"
rungs = ["embedding"]
"""
Rows = Sequence[tuple[str, str]]


def read_rows(path: Path) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Texts and intents by language and split; the larger split trains."""
    rows: dict[tuple[str, str], list[tuple[str, str]]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            part = "train" if row["split"] == "test" else "asked"
            rows.setdefault((row["lang"], part), []).append((row["text"], row["intent"]))
    return rows


def trained(encoder: str, language: str, rows: Rows, folder: Path) -> Classifier:
    """A specialist of these rows."""
    (folder / "coterie.toml").write_text(CONFIG.format(encoder=encoder, language=language), encoding="utf-8")
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)
    train(folder)
    return Classifier.load(folder, "intents")


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    add_look(parser)
    given = parser.parse_args()
    path = Path(os.environ["COTERIE_DATA"]) / "reading" / "intents" / "xsid" / "xsid.jsonl.gz"
    record = Record(claim=CLAIM)
    record.data = {path.name: sha256(path)}
    rows, accuracy = read_rows(path), dict[tuple[str, str, str], float]()
    for encoder in ENCODERS:
        record.figures[f"{encoder}, sha256"] = open_encoder(encoder, Path()).sha256
        for learnt in ("en", "de"):
            with tempfile.TemporaryDirectory() as folder:
                specialist = trained(encoder, learnt, rows[learnt, "train"], Path(folder))
                for language in (other for own, other in CASES if own == learnt):
                    texts, labels = zip(*rows[language, "asked"], strict=True)
                    predicted = [prediction.label for prediction in specialist.predict(list(texts))]
                    right = [one == other for one, other in zip(predicted, labels, strict=True)]
                    low, high = bootstrap_mean(right, seed=0)
                    accuracy[encoder, learnt, language] = sum(right) / len(right)
                    figures = {
                        "accuracy": accuracy[encoder, learnt, language],
                        "interval": [low, high],
                        "rows": len(right),
                    }
                    record.figures[f"{encoder}, trained in {learnt}, asked in {language}"] = figures
                    print(encoder, learnt, language, round(accuracy[encoder, learnt, language], 3), flush=True)
    english = accuracy["minilm", "en", "en"]
    for learnt, words in (("de", "trained in German"), ("en", "trained in English")):
        lost = 100 * (english - accuracy[ENCODERS[1], learnt, "de"])
        record.bars.append(Bar(what=f"points lost in German, {words}", measured=lost, limit=LOST, at_most=True))
    record.notes.append(given.look)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
