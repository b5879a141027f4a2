"""Train the head that mends what the classifier of names says of persons, places and organisations.

A perceptron over the states of a piece and both its neighbours, fitted on a part of what the classifier was trained on
(`tagger_build.py`); the classifier stays as it is. While it trains each set has a small head of its own beside the
common one; Universal NER's is served. The PUD tests and the development sets of `benchmarks/names` are not read.

    COTERIE_DATA=... python scripts/tagger_head.py [--states FILE.npz]

A minute of one core; `--states` keeps what the classifier read. Needs torch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from _names import MarkedText, read_marked
from coterie.engines.onnx import ENCODER_FILES, PROVENANCE_FILE, OnnxTagger
from coterie.privacy.detection import Kind
from coterie.privacy.names import TAGS
from coterie.privacy.tagger import FOLDER, HEAD_FILE, MENDED, beside
from tagger_build import LONGEST, MARKS_NATIONS, UNMARKED, both_bits, read_templates, tag_bits

STATES = "/t/encoder/layer.5/output/LayerNorm/LayerNormalization_output_0"
"""The last layer's output in the classifier's graph."""
UNER = {"da": 480, "pt": 480, "sv": 480, "hr": 480, "zh": 750, "sk": 480, "sr": 480}
"""Of each language so many texts with names; beside them 160 without."""
SILVER = ("en", "de", "pt", "sv", "zh", "ru", "es", "fr", "it", "pl", "nl")
WEIGHTS = {
    "uner": 1.0, "wikigold": 1.0, "germeval": 0.8, "btc": 0.5, "crossner": 0.6, "wikiann": 0.35, "templates": 0.6,
}  # fmt: skip
TEMPLATES = 1000
HIDDEN, EPOCHS, BATCH, RATE, DROPPED = 48, 2, 512, 2e-3, 0.2


def drawn(data: Path) -> dict[str, list[MarkedText]]:
    """Texts by set and language."""
    folder = data / "reading" / "ner"
    rng, rows = random.Random(7), dict[tuple[str, str, str], list[MarkedText]]()  # noqa: S311 - a sample, no secret
    for name, language, split, text in read_marked(folder):
        rows.setdefault((name, language, split), []).append(text)
    found = {}
    for language, most in UNER.items():
        own = rows["uner_other", language, "train"]
        named, none = [text for text in own if text.spans], [text for text in own if not text.spans]
        found[f"uner/{language}"] = rng.sample(named, min(most, len(named))) + rng.sample(none, min(160, len(none)))
    found["wikigold/en"] = rows["english_mixed", "en", "all"][:700]
    german = rows["germeval2014", "de", "test"]
    found["germeval/de"] = [t for t in german if t.spans][:650] + [t for t in german if not t.spans][:150]
    parts = [key for key in rows if key[0] == "english_mixed" and key[2].startswith("btc") and key[2] != "btc_f"]
    found["btc/en"] = rng.sample([text for key in parts for text in rows[key] if text.spans], 350)
    found["crossner/en"] = [text for key, own in rows.items() if key[0] == "crossner" for text in own]
    rng.shuffle(found["crossner/en"])
    found["crossner/en"] = found["crossner/en"][:300]
    for language in SILVER:
        own = rows["wikiann_slices", language, "train"]
        found[f"wikiann/{language}"] = rng.sample(own, min(90, len(own)))
    found["templates/xx"] = rng.sample(read_templates(data), TEMPLATES)
    return found


def allowed_tags(text: MarkedText, offsets: np.ndarray, group: str) -> list[int]:
    """Of each piece the tags that it may have, as bits; 0 for what is not scored."""
    unmarked = UNMARKED - ({Kind.NATIONALITY} if group in MARKS_NATIONS | {"wikiann"} else set())
    free, found = 1 if group == "templates" else both_bits(sorted(unmarked)), []
    for at, (begin, end) in enumerate(offsets.tolist()):
        start = begin + len(piece := text.text[begin:end]) - len(piece.lstrip())
        bits = free if start < end else 0
        for from_, to, kind in text.spans:
            if bits and from_ < end and start < to:
                first = start <= from_ or at == 0 or offsets[at - 1][1] <= from_
                bits = both_bits([Kind.NATIONALITY]) if kind is None else tag_bits(kind, begins=first)
                break
        found.append(bits)
    return found


def read_states(tagger: OnnxTagger, texts: dict[str, list[MarkedText]]) -> dict[str, np.ndarray]:
    """What the classifier says of every piece of the texts: states with both neighbours' (P, 3 D), logits (P, TAGS)."""
    states, logits, allowed, groups = list[np.ndarray](), list[np.ndarray](), list[int](), list[int]()
    for place, own in texts.items():
        group = place.split("/")[0]
        for text in own:
            (tags,) = tagger.tag([text.text])
            if tags.states is None or not 0 < len(tags.states) <= LONGEST:
                continue
            states.append(beside(tags.states).astype(np.float16))
            logits.append(tags.logits)
            allowed += allowed_tags(text, tags.offsets, group)
            groups += [list(WEIGHTS).index(group)] * len(tags.states)
        print(place, len(own), flush=True)
    arrays = {"states": np.concatenate(states), "logits": np.concatenate(logits)}
    return arrays | {"allowed": np.array(allowed), "groups": np.array(groups)}


class Head(nn.Module):
    """A common head, and one of its own for each set."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, HIDDEN), nn.Linear(HIDDEN, len(MENDED))
        self.own, self.own_bias = (
            nn.Parameter(torch.zeros(len(WEIGHTS), len(MENDED), *more)) for more in ((HIDDEN,), ())
        )
        self.scale, self.drop = nn.Parameter(torch.ones(1)), nn.Dropout(DROPPED)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, states: Tensor, logits: Tensor, groups: Tensor) -> Tensor:
        """(P, TAGS) logits."""
        inner = self.drop(nn.functional.gelu(self.first(self.drop(states))))
        more = self.second(inner) + self.own_bias[groups] + torch.einsum("ph,pkh->pk", inner, self.own[groups])
        found = logits * self.scale
        found[:, MENDED] += more
        return found

    def served(self) -> dict[str, np.ndarray]:
        """The arrays of the head that is served: Universal NER's, the first of `WEIGHTS`."""
        found = {
            "first": self.first.weight.T, "bias": self.first.bias, "second": (self.second.weight + self.own[0]).T,
            "last": self.second.bias + self.own_bias[0], "scale": self.scale,
        }  # fmt: skip
        return {name: each.detach().numpy().astype(np.float16).copy() for name, each in found.items()}


def fit(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Train; gives the arrays that are served."""
    torch.manual_seed(0)
    head, bits = Head(arrays["states"].shape[1]), 1 << torch.arange(TAGS)
    shared: Sequence[Tensor] = [each for name, each in head.named_parameters() if not name.startswith("own")]
    parts = [
        {"params": shared, "weight_decay": 0.02, "lr": RATE},
        {"params": [head.own, head.own_bias], "weight_decay": 0.3, "lr": 0.3 * RATE},
    ]
    optimiser = torch.optim.AdamW(parts)
    scored, order = np.flatnonzero(arrays["allowed"] > 0), np.random.default_rng(0)
    steps = EPOCHS * (len(scored) // BATCH + 1)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, [RATE, 0.3 * RATE], total_steps=steps)
    weights = np.array(list(WEIGHTS.values()), dtype=np.float32)[arrays["groups"]]
    for epoch in range(EPOCHS):
        rows, spent = order.permutation(scored), 0.0
        for at in range(0, len(rows), BATCH):
            some = rows[at : at + BATCH]
            given = (torch.from_numpy(arrays[name][some]) for name in ("states", "logits", "groups"))
            states, logits, groups = given
            logs = torch.log_softmax(head(states.float(), logits.float(), groups), dim=-1)
            may = (torch.from_numpy(arrays["allowed"][some])[:, None] & bits) > 0
            lost = -torch.logsumexp(logs.masked_fill(~may, -1e9), dim=-1)
            weight = torch.from_numpy(weights[some])
            loss = (lost * weight).sum() / weight.sum()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            pace.step()
            spent += loss.item() * len(some)
        print(f"epoch {epoch}, loss {spent / len(rows):.4f}", flush=True)
    return head.eval().served()


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=Path, help="file that keeps what the classifier read")
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    torch.set_num_threads(1)
    about = json.loads((FOLDER / PROVENANCE_FILE).read_text(encoding="utf-8")) | {"states": STATES}
    files = {name: (FOLDER / name).read_bytes() for name in ENCODER_FILES}
    files[PROVENANCE_FILE] = json.dumps(about).encode()
    if given.states is not None and given.states.exists():
        with np.load(given.states) as stored:
            arrays = dict(stored)
    else:
        texts = drawn(Path(os.environ["COTERIE_DATA"]))
        arrays = read_states(OnnxTagger(files, states=True), texts)
        if given.states is not None:
            np.savez(given.states, **arrays)  # type: ignore[arg-type]
    content = save(fit(arrays))
    (given.out / HEAD_FILE).write_bytes(content)
    about["sha256"][HEAD_FILE] = hashlib.sha256(content).hexdigest()
    about["head"] = {"script": "scripts/tagger_head.py", "pieces": len(arrays["groups"]), "seed": 0}
    (given.out / PROVENANCE_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"{HEAD_FILE}: {len(content) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
