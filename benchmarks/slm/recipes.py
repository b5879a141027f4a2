"""Which linear maps an adapter sits on: shapes of about one size compared on rows of the training sets.

    COTERIE_DATA=FOLDER python benchmarks/slm/recipes.py
    COTERIE_DATA=FOLDER python benchmarks/slm/recipes.py --rows 300 --shapes all-8 feed-forward-16

No test row is read: of each training set some rows are trained on and others asked. Everything but the shape is what
the product does for so many rows. Needs the model: `coterie models pull smollm2`.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from peft import PeftModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import LENDER, find, headline_rows
from _record import Record, arguments, sha256
from coterie.config import LlamaModel
from coterie.specialists import Drafting, Prompting, answers
from coterie.training import Silent
from coterie.tuning import CausalTokens, TokenPair, find_causal_base, load_causal, load_tokens, lora_recipe_for
from coterie.tuning import tune_adapter as tune

CLAIM = "Adapters on the feed-forward maps alone are as good as adapters on all maps."
ATTENTION, FEED_FORWARD = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
SHAPES = {
    "all-8": (ATTENTION + FEED_FORWARD, 8),
    "feed-forward-8": (FEED_FORWARD, 8),
    "feed-forward-16": (FEED_FORWARD, 16),
    "attention-16": (ATTENTION, 16),
}
INTENTS = 20  # of BANKING77, evenly over their names


class Job(NamedTuple):
    """Pairs to train on, and texts to ask with the place of the right one among the things to say."""

    pairs: Sequence[TokenPair]
    asked: Sequence[Sequence[TokenPair]]
    """For each held-out row one pair a label; of a reply only the right one."""
    right: Sequence[int]


def classify(tokens: CausalTokens, rows: Sequence[tuple[str, str]], held_out: Sequence[tuple[str, str]]) -> Job:
    """Rows of a classifier."""
    labels, prompting = sorted({label for _, label in (*rows, *held_out)}), Prompting()
    words = answers(labels)
    asked = [[tokens.raw(prompting.prompt(text), word) for word in words] for text, _ in held_out]
    pairs = [tokens.raw(prompting.prompt(text), words[labels.index(label)]) for text, label in rows]
    return Job(pairs, asked, [labels.index(label) for _, label in held_out])


def jobs(tokens: CausalTokens, n: int, seed: int, record: Record) -> Iterator[tuple[str, Job]]:
    """What is compared, each with n rows to train on and half as many to ask."""
    draw = np.random.default_rng(seed)
    path = find("frugalgpt")[0]
    record.data["frugalgpt/train.csv"] = sha256(path)
    rows = headline_rows(path)
    rows = [rows[place] for place in draw.permutation(len(rows))[: n + n // 2]]
    yield "headlines", classify(tokens, rows[:n], rows[n:])
    path = find("banking77")[0]
    record.data["banking77/train.csv"] = sha256(path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    names = sorted({label for _, label in rows})[::4][:INTENTS]
    rows = [row for place in draw.permutation(len(rows)) if (row := rows[place])[1] in names][: n + n // 2]
    yield "banking77", classify(tokens, rows[:n], rows[n:])
    yield "replies", replies(tokens, draw, n // 2)


def replies(tokens: CausalTokens, draw: np.random.Generator, n: int) -> Job:
    """The lender's pairs of message and reply."""
    with (LENDER / "data/help.jsonl").open(encoding="utf-8") as file:
        sources = {row["intent"]: row["text"] for row in map(json.loads, file)}
    with (LENDER / "data/reply.pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    drafting = Drafting(instruction="Answer the customer with the sentences of the help text that are about it.")
    pairs = [
        tokens.chat(
            drafting.messages(asked=row["text"], key=row["intent"], source=sources[row["intent"]]), row["reply"]
        )
        for row in (rows[place] for place in draw.permutation(len(rows)))
    ]
    held_out = pairs[n : n + n // 2]
    return Job(pairs[:n], [[pair] for pair in held_out], [0] * len(held_out))


@torch.inference_mode()
def log_likelihoods(model: PeftModel, pairs: Sequence[TokenPair]) -> np.ndarray:  # (C,)
    """Of each completion behind its prompt."""
    ids = [[*pair.prompt, *pair.completion] for pair in pairs]
    tokens = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
    for row, each in enumerate(ids):
        tokens[row, : len(each)] = torch.tensor(each)
    causal: Any = model.get_base_model()
    hidden = causal.model(input_ids=tokens).last_hidden_state  # (C, T, D)
    found = []
    for row, pair in enumerate(pairs):
        places = torch.arange(len(pair.prompt), len(ids[row]))
        logits = causal.lm_head(hidden[row, places - 1]).float().log_softmax(-1)  # (P, V)
        found.append(float(logits[torch.arange(len(places)), tokens[row, places]].sum()))
    return np.array(found)


def judge(model: PeftModel, job: Job) -> Mapping[str, float]:
    """Surprise at the right thing to say, and how often it is the likeliest of all."""
    scores = [log_likelihoods(model, pairs) for pairs in job.asked]
    surprise = [-each[right] for each, right in zip(scores, job.right, strict=True)]
    hits = [each.argmax() == right for each, right in zip(scores, job.right, strict=True)]
    several = len(job.asked[0]) > 1
    return {"surprise": float(np.mean(surprise))} | ({"accuracy": float(np.mean(hits))} if several else {})


def main() -> None:
    """Tune each shape on each job and write what came of it."""
    parser = arguments(__doc__, __file__)
    parser.set_defaults(out=Path(__file__).with_name("recipes.json"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--rows", type=int, default=600, help="rows to train on; of replies half as many")
    parser.add_argument("--shapes", nargs="+", choices=tuple(SHAPES), default=list(SHAPES))
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=given.seeds)
    base = find_causal_base("small", LlamaModel(engine="llama", name="smollm2"), Path())
    tokens, network = load_tokens(base), load_causal(base)
    figures: dict[str, dict[str, dict[str, object]]] = {}
    record.figures["held_out_training_rows"] = figures
    for seed in given.seeds:
        for name, job in jobs(tokens, given.rows, seed, record):
            for shape in given.shapes:
                modules, rank = SHAPES[shape]
                recipe = replace(lora_recipe_for(len(job.pairs)), modules=modules, rank=rank, alpha=2 * rank)
                start = time.perf_counter()
                model = tune(
                    network, job.pairs, base_sha256=base.sha256, recipe=recipe, seed=seed, progress=Silent().advance
                )
                read = recipe.epochs * sum(len(pair.prompt) + len(pair.completion) for pair in job.pairs)
                speed = read / (time.perf_counter() - start)
                found = {**judge(model, job), "tokens_per_second": speed}
                figures.setdefault(name, {}).setdefault(shape, {})[str(seed)] = found
                print(name, shape, seed, found, flush=True)
                network = model.unload()
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
