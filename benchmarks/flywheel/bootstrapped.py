"""What a teacher's labels are worth beside 20 examples alone: BANKING77, the teacher being recorded.

    COTERIE_DATA=... python benchmarks/flywheel/bootstrapped.py

One of the 77 intents is drawn, with the nine whose names are most like its own, and two examples of each: intents that
are hard to tell apart. The teacher is GPT-5.2 as it was recorded (`reading/llm_answers`, prompt optimised by its
authors) on rows of the training split: it labels those of the ten intents through the product's `bootstrap`. It was
asked for one of 77 labels: an answer beyond the ten is dropped as `no_label`, and it has less to go by than a teacher
that is asked for one of ten. Both specialists are measured on other rows of the training split; the test split is not
read. Texts that a teacher writes are not measured: nobody recorded any. `embedding` names the rung that a job of the
flywheel is trained on; without a name training may take the lexical rung of few rows.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _site import train_site
from _vectors import RememberingEncoder

from _data import find
from _record import Bar, Record, arguments, sha256
from coterie.config.file import OpenAIModel
from coterie.flywheel.bootstrap import Bootstrapped, bootstrap
from coterie.learning.asked import AskedModel
from coterie.types import Label, Output, Prompt, Usage

CLAIM = "Twenty examples and a teacher's labels are five points better than the twenty examples alone."
LABELS, EACH = 10, 2
MEASURED = 600
RECORDING = "Miprov2_Optimize_-_GPT-5.2.csv.gz"
Rows = list[tuple[str, str]]


class Recorded:
    """An engine that says what the teacher said of a text."""

    name, clearance = "recorded", Label.RESTRICTED

    def __init__(self, said: dict[str, str]) -> None:
        """Take its answers by text."""
        self._said = said

    async def run(self, batch: Sequence[Prompt], **_: object) -> list[Output]:
        """Answer each prompt, which ends with the text."""
        texts = [each.messages[0].text.removesuffix("\n=>").rsplit("\n", 1)[-1] for each in batch]
        return [Output(text=self._said.get(text, ""), usage=Usage()) for text in texts]

    async def close(self) -> None:
        """Nothing to close."""

    def check(self, *_: object) -> None:
        """As a gate: let everything through."""

    def open(self, *_: object) -> Recorded:
        """As a gate: itself."""
        return self


def teach(said: dict[str, str], examples: Rows, texts: Sequence[str]) -> Bootstrapped:
    """Rows by the product's own bootstrap."""
    model = OpenAIModel(engine="openai", name="recorded", base_url="http://127.0.0.1:9/v1", price_in=Decimal(0))
    with tempfile.TemporaryDirectory() as folder:
        teacher = AskedModel(
            key="recorded",
            model=model,
            folder=Path(folder),
            label=Label.INTERNAL,
            gate=Recorded(said),  # type: ignore[arg-type]
        )
        return asyncio.run(bootstrap(teacher, "Routes messages of bank customers.", examples, texts=texts))


def accuracy(rows: Rows, held: Rows, encoder: RememberingEncoder, rungs: Sequence[str] | None = None) -> float:
    """Of the specialist that rows give."""
    found = asyncio.run(train_site(rows, encoder, rungs=rungs).ask([text for text, _ in held]))
    return float(np.mean([each.value == label for each, (_, label) in zip(found, held, strict=True)]))


def alike(names: list[str], draw: random.Random, encoder: RememberingEncoder) -> set[str]:
    """A drawn label and those whose names are most like its own."""
    vectors = encoder.encode([name.replace("_", " ") for name in names])
    nearest = np.argsort(-vectors @ vectors[draw.randrange(len(names))])
    return {names[place] for place in nearest[:LABELS]}


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--vectors", type=Path, help="file that keeps the vectors of texts")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=list(range(given.draws)))
    path = find("banking77")[0]
    recording = Path(os.environ["COTERIE_DATA"], "reading", "llm_answers", "banking77_llm", RECORDING)
    for each in (path, recording):
        record.data[f"{each.parent.name}/{each.name}"] = sha256(each)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    with gzip.open(recording, "rt", encoding="utf-8", errors="replace", newline="") as file:
        said = {row["user_query"]: row["predicted_label"] for row in csv.DictReader(file)}
    encoder = RememberingEncoder(given.vectors)
    draws = []
    for seed in range(given.draws):
        draw = random.Random(seed)  # noqa: S311 - draws no secret
        names = alike(sorted({label for _, label in rows}), draw, encoder)
        mine = [row for row in rows if row[1] in names]
        draw.shuffle(mine)
        others = [row for row in mine if row[0] not in said]
        examples = [row for name in sorted(names) for row in [each for each in others if each[1] == name][:EACH]]
        held = [row for row in others if row not in examples][:MEASURED]
        texts = [text for text, _ in mine if text in said]
        made = teach(said, examples, texts)
        truth, whole = dict(mine), [(row.text, row.label) for row in made.rows]
        taught = [row for row in made.rows if row.origin == "teacher"]
        found = {
            "few_shot": accuracy(examples, held, encoder),
            "bootstrapped": accuracy(whole, held, encoder),
            "few_shot_embedding": accuracy(examples, held, encoder, ["embedding"]),
            "bootstrapped_embedding": accuracy(whole, held, encoder, ["embedding"]),
            "texts": float(len(texts)),
            "rows_by_the_teacher": float(len(taught)),
            "teacher_right": float(np.mean([truth[row.text] == row.label for row in taught])),
        }
        draws.append(found)
        print(found, flush=True)
        encoder.save()
    means = {key: float(np.mean([each[key] for each in draws])) for key in draws[0]}
    gain = means["bootstrapped"] - means["few_shot"]
    record.figures = {"draws": draws, "mean": means, "points": 100 * gain}
    record.bars = [Bar(what="points over 20 examples alone, BANKING77", measured=100 * gain, limit=5.0)]
    record.write(given.out)


if __name__ == "__main__":
    main()
