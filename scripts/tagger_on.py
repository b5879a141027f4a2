"""Train the classifier of names that ships on from its own weights: it had seen a part of its data once.

Data, shares and loss are those of `tagger_build.py`, drawn with another seed, and records without sentences
(`names/records.py`); vocabulary and word embeddings stay. The graph stays, too: its matrices are rounded anew. Each set
has a head of its own beside the common one, from nothing. What is written is the mean of the weights before and after.
The PUD tests and the development sets of `benchmarks/names` are not read.

    COTERIE_DATA=... python scripts/tagger_on.py --minutes 90 --out FOLDER

Minutes are the process's own of one core. Every `EVERY` minutes the weights are kept in FOLDER. Needs Faker and
`coterie[train]`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from coterie.engines.onnx import GRAPH_FILE, PROVENANCE_FILE, TOKENIZER_FILE
from coterie.privacy.tagger import FOLDER
from coterie.tuning.export import WEIGHT_LIMIT, round_to
from tagger_build import (
    LAYERS,
    LONGEST,
    WINDOW,
    Classifier,
    Example,
    batches,
    descend,
    example,
    optimiser_of,
    prepared,
    read_records,
    read_templates,
    read_training,
)

RECORDS = 12_000
RATES = {"body": 1.8e-4, "head": 4e-4, "own": 3e-4}
WARM, EVERY, TOLD = 60, 10.0, 50
"""Steps until the rates are at their highest; minutes between kept weights; steps between lines of the log."""


class Matrix(NamedTuple):
    """A matrix of the graph in int8, and the module that it belongs to."""

    module: str
    constant: str

    def read(self, held: Mapping[str, np.ndarray]) -> np.ndarray:  # (in, out)
        """As floats."""
        whole: np.ndarray = held[f"{self.constant}_int8"].astype(np.float32) * held[f"{self.constant}_scale"]
        return whole


def matrices(graph: onnx.GraphProto) -> list[Matrix]:
    """Those of the products, by the names of their outputs."""
    found = []
    for node in graph.node:
        if node.op_type == "MatMulIntegerToFloat":
            module = node.output[0].removeprefix("/").partition("/MatMul")[0].replace("/", ".")
            found.append(Matrix(module, node.input[1].removesuffix("_int8")))
    return found


def word_table(held: Mapping[str, np.ndarray], graph: onnx.GraphProto) -> np.ndarray:  # (V, D)
    """The word embeddings, from 4 bits and a scale for each 32 values."""
    (look_up,) = (node for node in graph.node if node.op_type == "GatherBlockQuantized")
    values, scales = (held[look_up.input[at]].astype(np.float32) for at in (0, 2))
    return (values.reshape(len(values), -1, 32) * scales[:, :, None]).reshape(len(values), -1)


def read_shipped(folder: Path) -> tuple[onnx.ModelProto, Classifier]:
    """The graph, and the network with its weights; the heads of the sets begin with nothing."""
    model = onnx.load(folder / GRAPH_FILE)
    held = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    words = word_table(held, model.graph)
    config = BertConfig(
        vocab_size=len(words), hidden_size=words.shape[1], num_hidden_layers=LAYERS, num_attention_heads=12,
        intermediate_size=1536, max_position_embeddings=WINDOW, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    classifier = Classifier(BertModel(config, add_pooling_layer=False))
    state = classifier.state_dict()
    state["transformer.embeddings.word_embeddings.weight"] = torch.from_numpy(words)
    for name, value in held.items():
        if (own := _own_name(name)) in state:
            state[own] = torch.from_numpy(value.astype(np.float32))
    for each in matrices(model.graph):
        state[_own_name(f"{each.module}.weight")] = torch.from_numpy(each.read(held).T.copy())
    classifier.load_state_dict(state)
    return model, classifier


def _own_name(name: str) -> str:
    return f"transformer.{name[2:]}" if name.startswith("t.") else name


def written(model: onnx.ModelProto, classifier: Classifier) -> bytes:
    """The graph with what was learned."""
    state = {name: value.detach().float().numpy() for name, value in classifier.state_dict().items()}
    head = classifier.served()
    state |= {"head.weight": head.weight.detach().numpy(), "head.bias": head.bias.detach().numpy()}
    new = {name: state[own] for name in (i.name for i in model.graph.initializer) if (own := _own_name(name)) in state}
    for each in matrices(model.graph):
        weights, scales = round_to(state[_own_name(f"{each.module}.weight")].T, WEIGHT_LIMIT, axis=0)
        new |= {f"{each.constant}_int8": weights, f"{each.constant}_scale": scales[0]}
    for constant in model.graph.initializer:
        if constant.name in new:
            kept = numpy_helper.to_array(constant)
            value = new[constant.name].astype(kept.dtype)
            if value.shape != kept.shape:
                raise ValueError(f"{constant.name} is {value.shape}, the graph has {kept.shape}.")
            constant.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), constant.name))
    return bytes(model.SerializeToString(deterministic=True))


def mean_of(before: Classifier, after: Classifier, share: float) -> Classifier:
    """The mean of two classifiers, `share` of it `after`; the heads that are served are in the common one."""
    states = [{**each.state_dict(), **each.served().state_dict(prefix="head.")} for each in (before, after)]
    first, second = states
    mean = {
        name: (1 - share) * value + share * second[name] for name, value in first.items() if value.is_floating_point()
    }
    mean |= {name: torch.zeros_like(first[name]) for name in ("own", "own_bias")}
    before.load_state_dict(first | mean)
    return before


def fit(classifier: Classifier, examples: Mapping[str, Sequence[Example]], minutes: float, out: Path) -> dict[str, int]:
    """Train for so many minutes of this process, the rates falling to nothing; gives the steps and the pieces."""
    optimiser, trained = optimiser_of(classifier, RATES, fused=True)
    chance = random.Random(1)  # noqa: S311 - an order
    begun, kept, step, pieces, losses = time.process_time(), 0.0, 0, 0, list[float]()
    while True:
        for batch in batches(examples, 1.0, chance):
            spent = (time.process_time() - begun) / 60
            if spent >= minutes:
                return {"steps": step, "pieces": pieces}
            if spent - kept >= EVERY:
                kept = spent
                torch.save(classifier.state_dict(), out / "weights.pt")
            share = min(1.0, (step + 1) / WARM) * max(0.01, 1 - spent / minutes)
            loss, read = descend(classifier, optimiser, trained, batch, share)
            step, pieces = step + 1, pieces + read
            losses.append(loss)
            if step % TOLD == 0:
                print(f"step {step}, {spent:.1f} min, {pieces} pieces, loss {np.mean(losses[-TOLD:]):.4f}", flush=True)


def main() -> None:
    """Train on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.4, help="of the weights after, in the mean that is written")
    parser.add_argument("--shipped", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    data, chance = Path(os.environ["COTERIE_DATA"]), random.Random(given.seed)  # noqa: S311 - texts, no secret
    fast = Tokenizer.from_file(str(given.shipped / TOKENIZER_FILE))
    fast.no_truncation()
    fast.no_padding()
    corpora = read_training(data) | {"templates/xx": read_templates(data)}
    corpora["uner/records"] = read_records(data, RECORDS, given.seed)
    examples = {
        name: [
            e
            for text in prepared(rows, name, chance)
            if len((e := example(text, name.split("/")[0], fast)).ids) <= LONGEST
        ]
        for name, rows in corpora.items()
    }
    print({name: len(rows) for name, rows in examples.items()}, flush=True)
    model, classifier = read_shipped(given.shipped)
    about = json.loads((given.shipped / PROVENANCE_FILE).read_text(encoding="utf-8"))
    seen = fit(classifier.train(), examples, given.minutes, given.out)
    torch.save(classifier.state_dict(), given.out / "weights.pt")
    _, before = read_shipped(given.shipped)
    content = written(model, mean_of(before, classifier, given.share).eval())
    (given.out / GRAPH_FILE).write_bytes(content)
    (given.out / TOKENIZER_FILE).write_bytes((given.shipped / TOKENIZER_FILE).read_bytes())
    about["trained_on"].append(
        {
            "script": "scripts/tagger_on.py",
            "minutes": given.minutes,
            "seed": given.seed,
            **seen,
            "share": given.share,
        }
    )
    about["sha256"] = {GRAPH_FILE: hashlib.sha256(content).hexdigest(), TOKENIZER_FILE: about["sha256"][TOKENIZER_FILE]}
    (given.out / PROVENANCE_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
