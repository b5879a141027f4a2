"""Train the correction of an encoder that lets it tell names of options apart: a file of `coterie/tuning/options`.

    COTERIE_DATA=... python scripts/options_train.py minilm --layers 2 --rank 8
    COTERIE_DATA=... python scripts/options_train.py sentence-transformers/all-mpnet-base-v2 --layers 3 --rank 4

Texts and names of CLINC150's intents (CC BY 3.0), training rows only, and of 84 small-talk intents (ISC-style
permission; `reading/smalltalk` of the data folder). The upper layers get LoRA matrices; what the lower ones make of a
text is computed once. A step compares some texts with sixty names, two whole domains among them: softmax over cosines.
Two domains are left out of training (`--left-out`), and accuracy among their names is printed before and after.
BANKING77 is not read. One thread, half a minute to two minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from coterie.text.segmentation import folded
from coterie.tuning.base import BaseEncoder, find_base
from coterie.tuning.encoders import FOLDER
from coterie.tuning.finetune import load_transformer

SCALE, SHARPNESS, NAMES, TEXTS, MOST_TOKENS = 2.0, 20.0, 60, 40, 40
"""Of the product of the matrices; of cosines in the softmax; names and texts a step; tokens of a text."""


class Lora(nn.Module):
    """A linear map with a thin correction."""

    def __init__(self, inner: nn.Linear, rank: int) -> None:
        super().__init__()
        self.inner = inner
        self.a = nn.Parameter(torch.randn(rank, inner.in_features) / inner.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(inner.out_features, rank))

    def forward(self, states: Tensor) -> Tensor:
        """What the map makes of states, corrected."""
        return self.inner(states) + SCALE * (states @ self.a.T) @ self.b.T


class Intents(NamedTuple):
    """Texts by their intent's name, and each name's domain."""

    texts: dict[str, list[str]]
    domains: dict[str, str]


def read_intents(folder: Path, left_out: Sequence[str], per_name: int) -> tuple[Intents, Intents]:
    """Intents to train on, and those of the domains that are left out with their validation rows."""
    content = json.loads((folder / "clinc150/data_full.json").read_text())
    domains = json.loads((folder / "clinc150/domains.json").read_text())
    own, held = Intents({}, {}), Intents({}, {})
    chance = np.random.default_rng(0)
    for domain, labels in domains.items():
        for label in labels:
            part, rows = (held, content["val"]) if domain in left_out else (own, content["train"])
            texts = [text for text, row_label in rows if row_label == label]
            part.texts[folded(label)] = [texts[i] for i in chance.permutation(len(texts))[:per_name]]
            part.domains[folded(label)] = domain
    path = folder / "reading/smalltalk/smalltalk_intents/smalltalk_intents.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            name = folded(row["intent"].removeprefix("smalltalk.").replace(".", " "))
            texts = own.texts.setdefault(name, [])
            if len(texts) < max(2, per_name // 3):
                texts.append(row["text"])
            own.domains.setdefault(name, "smalltalk")
    return own, held


class Upper:
    """The upper layers of an encoder over what its lower ones made of texts."""

    def __init__(self, base: BaseEncoder, layers: int, rank: int) -> None:
        self._base, self._network = base, load_transformer(base).eval()
        self._stack = self._network.encoder.layer
        self._cut = len(self._stack) - layers
        self._states: dict[str, Tensor] = {}
        self.matrices: dict[str, Lora] = {}
        for parameter in self._network.parameters():
            parameter.requires_grad = False
        for number in range(self._cut, len(self._stack)):
            layer = self._stack[number]
            for name, module in list(layer.named_modules()):
                if isinstance(module, nn.Linear):
                    path, _, last = name.rpartition(".")
                    lora = Lora(module, rank)
                    setattr(layer.get_submodule(path), last, lora)
                    self.matrices[f"encoder.layer.{number}.{name}"] = lora

    def read(self, texts: Sequence[str]) -> None:
        """Keep what the lower layers make of texts."""
        tokens = dict(zip(texts, self._base.token_ids(texts, longest=MOST_TOKENS), strict=True))
        order = sorted(tokens, key=lambda text: len(tokens[text]))
        for start in range(0, len(order), 64):
            batch = order[start : start + 64]
            ids = nn.utils.rnn.pad_sequence(
                [torch.tensor(tokens[text]) for text in batch],
                batch_first=True,
                padding_value=int(str(self._base.config["pad_token_id"])),
            )
            lengths = torch.tensor([len(tokens[text]) for text in batch])
            with torch.no_grad():
                states = self._run(self._network.embeddings(input_ids=ids), _mask(lengths), 0, self._cut)
            self._states |= {text: states[row, : len(tokens[text])] for row, text in enumerate(batch)}

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """(N, D) unit vectors of texts that were read."""
        rows = [self._states[text] for text in texts]
        mask = _mask(torch.tensor([len(row) for row in rows]))
        states = self._run(nn.utils.rnn.pad_sequence(rows, batch_first=True), mask, self._cut, len(self._stack))
        return normalize((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=1)

    def _run(self, states: Tensor, mask: Tensor, first: int, last: int) -> Tensor:
        more = {}
        if hasattr(self._network.encoder, "compute_position_bias"):  # MPNet
            more["position_bias"] = self._network.encoder.compute_position_bias(states)
        with torch.autocast("cpu", torch.bfloat16):
            for layer in self._stack[first:last]:
                made = layer(states, (1.0 - mask[:, None, None, :]) * -1e4, **more)
                states = made[0] if isinstance(made, tuple) else made
        return states.float()


def _mask(lengths: Tensor) -> Tensor:  # (N,) -> (N, T)
    return (torch.arange(int(lengths.max()))[None, :] < lengths[:, None]).float()


def accuracy(upper: Upper, intents: Intents) -> float:
    """Share of texts whose own name is the most alike, as `Similarity` compares them."""
    names = sorted(intents.texts)
    rows = [(text, index) for index, name in enumerate(names) for text in intents.texts[name]]
    with torch.no_grad():
        options = (upper.vectors(names) + upper.vectors([f"{name}?" for name in names])) / 2
        parts = [upper.vectors([text for text, _ in rows[at : at + 64]]) @ options.T for at in range(0, len(rows), 64)]
    best = torch.cat(parts).argmax(1).numpy()
    return float((best == np.array([index for _, index in rows])).mean())


def train(upper: Upper, intents: Intents, steps: int, rate: float) -> None:
    """Fit the matrices."""
    names, chance = sorted(intents.texts), np.random.default_rng(0)
    domains = sorted(set(intents.domains.values()))
    parameters = [matrix for lora in upper.matrices.values() for matrix in (lora.a, lora.b)]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 5) * max(0.03, 1 - step / steps)
        options: list[str] = []
        for domain in chance.permutation(domains)[:2]:
            alike = [name for name in names if intents.domains[name] == domain]
            options += list(chance.permutation(alike)[:20])
        rest = [name for name in names if name not in set(options)]
        options += list(chance.permutation(rest)[: NAMES - len(options)])
        rows = chance.choice(len(options), TEXTS, replace=False)
        texts = upper.vectors([str(chance.choice(intents.texts[options[row]])) for row in rows])
        written = upper.vectors([name + "?" * int(chance.random() < 0.5) for name in options])
        loss = cross_entropy(SHARPNESS * texts @ written.T, torch.tensor(rows))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 19:
            print(f"step {step + 1}: loss {loss.item():.3f}, {time.process_time():.0f} s of CPU", flush=True)


def main() -> None:
    """Read, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    parser.add_argument("--layers", type=int, default=2, help="upper ones that are corrected")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--per-name", type=int, default=8, help="texts of an intent")
    parser.add_argument("--left-out", default="credit_cards,travel", help="domains of CLINC150")
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    own, held = read_intents(Path(os.environ["COTERIE_DATA"]), given.left_out.split(","), given.per_name)
    base = find_base(given.encoder, Path())
    upper = Upper(base, given.layers, given.rank)
    every = [text for part in (own, held) for name, texts in part.texts.items() for text in (name, f"{name}?", *texts)]
    upper.read(list(dict.fromkeys(every)))
    print(f"{given.left_out}, {len(held.texts)} names: {accuracy(upper, held):.4f} before", flush=True)
    train(upper, own, given.steps, given.rate)
    print(f"{given.left_out}, {len(held.texts)} names: {accuracy(upper, held):.4f} after", flush=True)
    arrays = {}
    for name, lora in upper.matrices.items():
        arrays[f"{name}.lora_a"] = lora.a.detach().numpy().astype(np.float16)
        arrays[f"{name}.lora_b"] = lora.b.detach().numpy().astype(np.float16)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{given.encoder.partition('@')[0].rpartition('/')[2]}.safetensors"
    about = {"base": given.encoder, "base_sha256": base.sha256, "scale": str(SCALE), "data": "CLINC150, CC BY 3.0"}
    path.write_bytes(save(arrays, metadata=about))
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
