"""A LoRA adapter on a CPU: how long 1,000 examples take, and what the rung `slm` is worth on a job.

    COTERIE_DATA=FOLDER python benchmarks/slm/run.py

Time is that of `coterie.tuning` with the recipe the product takes for so many rows. Accuracy is on gold-price
headlines (FrugalGPT's split), trained on a part of the training rows; the floor has the same rows. Needs the model:
`coterie models pull smollm2`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _classify import TARGET_RISK, Rows
from _data import LENDER, find, headline_rows, thin, write_rows
from _record import Bar, Record, arguments, sha256
from _specialists import Steps, apart, gain, measure_champion, write_network
from coterie.config.file import LlamaModel
from coterie.learning.job import Silent
from coterie.specialists.parts import Prompting, answers
from coterie.training.train import train
from coterie.tuning.base import find_causal_base
from coterie.tuning.causal import TokenPair, adapter_files, load_causal, load_tokens, lora_recipe_for, tune_adapter

CLAIM = "A laptop's CPU fine-tunes a small generative model in minutes, and the adapter answers in this process."
MINUTES = 10.0
EXAMPLES, TOKENS = 1_000, 50
MODEL = {"engine": "llama", "name": "smollm2"}
CLAUSES = "data/clauses.train.jsonl"


def clause_rows(n: int) -> list[tuple[str, str]]:
    """(text, label) of the first clauses: texts that are long enough to be cut to one length."""
    with (LENDER / CLAUSES).open(encoding="utf-8") as file:
        rows = [json.loads(line) for _, line in zip(range(n * 4), file, strict=False)]
    return [(row["text"], row["labels"][0]) for row in rows if row["labels"]]


def time_tuning(examples: int) -> dict[str, Any]:
    """Tune one adapter on examples of exactly 50 tokens, prompt and answer together."""
    base = find_causal_base("small", LlamaModel(engine="llama", name="smollm2"), Path())
    start = time.perf_counter()
    tokens, network = load_tokens(base), load_causal(base)
    loaded = time.perf_counter()
    pairs = _of_one_length(
        [tokens.raw(Prompting().prompt(text), answers([label])[0]) for text, label in clause_rows(examples)]
    )
    pairs, recipe = pairs[:examples], lora_recipe_for(examples)
    began = time.perf_counter()
    model = tune_adapter(network, pairs, base_sha256=base.sha256, recipe=recipe, seed=0, progress=Silent().advance)
    tuned = time.perf_counter()
    files = adapter_files(model, base.repository)
    read = recipe.epochs * TOKENS * len(pairs)
    return {
        "examples": len(pairs),
        "tokens_an_example": TOKENS,
        "epochs": recipe.epochs,
        "seconds_to_load": loaded - start,
        "seconds_to_tune": tuned - began,
        "seconds_to_export": time.perf_counter() - tuned,
        "tokens_per_second": read / (tuned - began),
        "bytes": {name: len(content) for name, content in files.items()},
    }


def _of_one_length(pairs: Sequence[TokenPair]) -> list[TokenPair]:
    """Those that are long enough, the beginning of their text cut off."""
    long = [pair for pair in pairs if len(pair.prompt) + len(pair.completion) >= TOKENS]
    return [
        TokenPair(pair.prompt[len(pair.prompt) + len(pair.completion) - TOKENS :], pair.completion) for pair in long
    ]


def measure(train_rows: Rows, test_rows: Rows, seed: int) -> dict[str, Any]:
    """The floor and the rung `slm` trained on the same rows and asked about the same ones."""
    print(f"seed {seed}: {len(train_rows):,} training and {len(test_rows):,} test rows", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        section = {
            "task": "classify",
            "data": str(write_rows(folder / "train.csv", train_rows)),
            "test": str(write_rows(folder / "test.csv", test_rows)),
            "target_risk": TARGET_RISK,
            "seed": seed,
            "model": "small",
        }
        rungs = ("lexical", "slm")
        write_network(folder, {rung: {**section, "rungs": [rung]} for rung in rungs}, {"small": MODEL})
        trained = train(folder, progress=Steps()).specialists
        measured = {rung: measure_champion(folder, rung, seconds=trained[rung].seconds[rung]) for rung in rungs}
        figures = {rung: result.figures() for rung, result in measured.items()}
        return {**figures, "gain_over_floor": gain(measured["slm"].asked.right, measured["lexical"].asked.right)}


def run(record: Record, *, examples: int, rows: int, test_rows: int) -> None:
    """Time first, on a process that did nothing else, then accuracy."""
    record.data[CLAUSES] = sha256(LENDER / CLAUSES)
    timed = apart(time_tuning, examples)
    record.figures["tuning"] = timed
    whole = examples == EXAMPLES
    record.bars.append(
        Bar(
            what=f"minutes to tune an adapter on {EXAMPLES:,} examples of {TOKENS} tokens",
            measured=timed["seconds_to_tune"] / 60 if whole else None,
            limit=MINUTES,
            at_most=True,
        )
    )
    if not rows:
        return
    paths = find("frugalgpt")
    record.data |= {f"frugalgpt/{path.name}": sha256(path) for path in paths[:2]}
    train_rows, held_rows = thin(headline_rows(paths[0]), rows), thin(headline_rows(paths[1]), test_rows)
    record.figures["headlines"] = {str(seed): apart(measure, train_rows, held_rows, seed) for seed in record.seeds}


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="examples that are timed (the bar is on 1,000)")
    parser.add_argument("--rows", type=int, default=1_000, help="training rows for accuracy; 0 measures time only")
    parser.add_argument("--test-rows", type=int, default=500, help="test rows that are asked")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=given.seeds)
    run(record, examples=given.examples, rows=given.rows, test_rows=given.test_rows)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
