"""What a teacher's labels are worth beside 20 examples alone, on two public sets.

    COTERIE_DATA=... python benchmarks/flywheel/bootstrapped.py

*BANKING77*: intents are drawn, with those whose names are most like their own, and an example or two of each, 20 in
all. The teacher is GPT-5.2 as it was recorded (`reading/llm_answers`): to each of the unlabelled texts it says what it
said of one of its recorded rows of the same intent, drawn; so it makes the mistakes that it made, as often. It was
asked for one of 77 labels: an answer beyond those of the draw is dropped as `no_label`, and it has less to go by than a
teacher that is asked for one of ten.

*CLINC150*: the ten domains, two examples of each. The teacher is a model of 1.5B parameters on this machine, whose
answers are kept beside this file (`bootstrapped_teacher.json`; `--teacher MODEL.gguf` asks it, and takes long).

Both label their texts through the product's `bootstrap`. Both specialists are measured on other rows of the training
splits; no test split is read. Texts that a teacher writes are not measured: nobody recorded any. Draws from 100 on
chose the number of labels; those from 0 on are reported.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
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
from coterie.config.file import LlamaModel, OpenAIModel
from coterie.flywheel.bootstrap import Bootstrapped, bootstrap
from coterie.learning.asked import AskedModel
from coterie.types import Label, Output, Prompt, Usage

CLAIM = "Twenty examples and a teacher's labels are five points better than the twenty examples alone."
MOST, TEXTS, MEASURED = 20, 1_000, 600
RECORDINGS = ("Miprov2_Optimize_-_GPT-5.2.csv.gz", "Banking77_Eval_3_Models_-_gpt_5_2.csv.gz")
KEPT = Path(__file__).with_name("bootstrapped_teacher.json")
SAYS = {
    "banking77": "Routes messages of bank customers.",
    "clinc150": "Routes what people say to an assistant to the domain that it is about.",
}
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


def teach(said: dict[str, str], describe: str, examples: Rows, texts: Sequence[str]) -> Bootstrapped:
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
        return asyncio.run(bootstrap(teacher, describe, examples, texts=texts))


def accuracy(rows: Rows, held: Rows, encoder: RememberingEncoder, rungs: Sequence[str] | None = None) -> float:
    """Of the specialist that rows give."""
    found = asyncio.run(train_site(rows, encoder, rungs=rungs).ask([text for text, _ in held]))
    return float(np.mean([each.value == label for each, (_, label) in zip(found, held, strict=True)]))


def alike(names: list[str], count: int, draw: random.Random, encoder: RememberingEncoder) -> set[str]:
    """A drawn label and those whose names are most like its own."""
    vectors = encoder.encode([name.replace("_", " ") for name in names])
    nearest = np.argsort(-vectors @ vectors[draw.randrange(len(names))])
    return {names[place] for place in nearest[:count]}


def read_banking(record: Record) -> tuple[Rows, dict[str, list[str]]]:
    """Its training rows, and what the recorded teacher said, by the true label."""
    path = find("banking77")[0]
    record.data[f"{path.parent.name}/{path.name}"] = sha256(path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    said: dict[str, list[str]] = {}
    for name in RECORDINGS:
        recording = Path(os.environ["COTERIE_DATA"], "reading", "llm_answers", "banking77_llm", name)
        record.data[name] = sha256(recording)
        with gzip.open(recording, "rt", encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                found = row.get("predicted_label") or row.get("prediction") or ""
                said.setdefault(row["gold_label"], []).append(found)
    return rows, said


def read_clinc(record: Record) -> Rows:
    """Texts of its training split with their domain."""
    path = find("clinc150")[0]
    record.data[f"{path.parent.name}/{path.name}"] = sha256(path)
    domains = json.loads(path.with_name("domains.json").read_text())
    home = {intent: domain for domain, intents in domains.items() for intent in intents}
    return [(text, home[intent]) for text, intent in json.loads(path.read_text())["train"] if intent in home]


def draw_rows(rows: Rows, names: Sequence[str], draw: random.Random, each: int) -> tuple[Rows, Rows, Rows]:
    """Examples, rows to label and rows to measure on, of some labels."""
    mine = [row for row in dict(rows).items() if row[1] in names]
    draw.shuffle(mine)
    examples = [row for name in sorted(names) for row in [one for one in mine if one[1] == name][:each]]
    others = [row for row in mine if row not in examples]
    return examples, others[MEASURED : MEASURED + TEXTS], others[:MEASURED]


def compare(
    said: dict[str, str], drawn: tuple[Rows, Rows, Rows], describe: str, encoder: RememberingEncoder
) -> dict[str, float]:
    """The specialist of the examples beside that of the examples and the teacher's rows."""
    examples, texts, held = drawn
    made = teach(said, describe, examples, [text for text, _ in texts])
    taught, truth = [row for row in made.rows if row.origin == "teacher"], dict(texts)
    few = accuracy(examples, held, encoder)
    whole = accuracy([(row.text, row.label) for row in made.rows], held, encoder)
    gold = accuracy([*examples, *((row.text, truth[row.text]) for row in taught)], held, encoder)
    return {
        "few_shot": few,
        "bootstrapped": whole,
        "points": 100 * (whole - few),
        "points_with_gold_labels": 100 * (gold - few),
        "texts": float(len(texts)),
        "rows_by_the_teacher": float(len(taught)),
        "teacher_right": float(np.mean([truth[row.text] == row.label for row in taught])),
    }


def banking(seed: int, labels: int, record: Record, encoder: RememberingEncoder) -> dict[str, float]:
    """One draw of BANKING77."""
    rows, said = read_banking(record)
    draw = random.Random(seed)  # noqa: S311 - draws no secret
    names = alike(sorted(said), labels, draw, encoder)
    examples, texts, held = draw_rows(rows, sorted(names), draw, MOST // labels)
    answers = {text: draw.choice(said[label]) for text, label in texts}
    return compare(answers, (examples, texts, held), SAYS["banking77"], encoder)


def clinc(seed: int, record: Record, encoder: RememberingEncoder, teacher: Path | None) -> dict[str, float]:
    """One draw of CLINC150's domains, of the texts that the teacher was asked about."""
    rows = read_clinc(record)
    names = sorted({label for _, label in rows})
    draw = random.Random(0)  # noqa: S311 - the texts of all draws are the same, so that each is asked about once
    shown, texts, _ = draw_rows(rows, names, draw, MOST // len(names))
    if teacher is not None:
        ask_local(teacher, shown, [text for text, _ in texts])
    kept: dict[str, str] = json.loads(KEPT.read_text(encoding="utf-8"))
    asked = [row for row in texts if row[0] in kept]
    others = [row for row in dict(rows).items() if row[0] not in kept]
    examples, _, held = draw_rows(others, names, random.Random(seed), MOST // len(names))  # noqa: S311
    return compare(kept, (examples, asked, held), SAYS["clinc150"], encoder)


def ask_local(path: Path, examples: Rows, texts: Sequence[str]) -> None:
    """Ask a model file about texts, through the product's prompts, and keep what it says as it comes."""
    kept: dict[str, str] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    model = LlamaModel(engine="llama", name=path.name, sha256=sha256(path), threads=1, parallel=1)

    async def ask() -> None:
        teacher = AskedModel(key="local", model=model, folder=path.parent, label=Label.INTERNAL, gate=Recorded({}))  # type: ignore[arg-type]
        missing = [text for text in texts if text not in kept]
        for begin in range(0, len(missing), 16):
            some = missing[begin : begin + 16]
            made = await bootstrap(teacher, SAYS["clinc150"], examples, texts=some)
            named = {row.text: row.label for row in made.rows if row.origin == "teacher"}
            kept.update({text: named.get(text, "") for text in some})
            KEPT.write_text(json.dumps(kept, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
            print(len(kept), flush=True)

    asyncio.run(ask())


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--labels", type=int, default=10, help="of a draw of BANKING77; 20 examples in all")
    parser.add_argument("--sets", nargs="+", default=["banking77", "clinc150"])
    parser.add_argument("--teacher", type=Path, metavar="MODEL.gguf", help="ask it about texts of CLINC150 first")
    parser.add_argument("--vectors", type=Path, help="file that keeps the vectors of texts")
    given = parser.parse_args()
    seeds = list(range(given.first, given.first + given.draws))
    record = Record(claim=CLAIM, seeds=seeds)
    encoder = RememberingEncoder(given.vectors)
    for name in given.sets:
        draws = []
        for seed in seeds:
            if name == "banking77":
                draws.append(banking(seed, given.labels, record, encoder))
            else:
                draws.append(clinc(seed, record, encoder, given.teacher))
            print(name, seed, draws[-1], flush=True)
            encoder.save()
        means = {key: float(np.mean([each[key] for each in draws])) for key in draws[0]}
        record.figures[name] = {"draws": draws, "mean": means}
        record.bars.append(Bar(what=f"points over 20 examples alone, {name}", measured=means["points"], limit=5.0))
    record.write(given.out)


if __name__ == "__main__":
    main()
