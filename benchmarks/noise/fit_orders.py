"""Makes `src/coterie/routing/orders.json`: the direction in which words to the router differ from requests.

    COTERIE_DATA=FOLDER python benchmarks/noise/fit_orders.py

Orders are made by a grammar of our own (a fifth of its verbs, targets and openings is held back for the figures in the
file); requests are training rows of the nine specialists of `compound`, sentences of abstracts and of contracts, and
requests that use the same verbs for what is no order. Both are encoded alone and behind or before one another, as the
router meets them. Nothing of the half `test` of `noise` is read.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find
from _routing import SEED, subjects
from coterie.engines.onnx import OnnxEncoder
from coterie.routing.splitting import ORDERS_FILE, span_means
from coterie.types import Prompt

ORDERS = 2_600
REQUESTS = 6_000
FALSE_ALARMS = 0.02
"""Share of held-out requests that may look like orders: only those that name a specialist or the machine are looked
at, and only where something else is asked beside them."""
HELD_BACK = 0.2
ROUTER_SHARE = 0.6
"""Of the orders, those that say who is to be asked; the others tell a model what to be, to forget or to show."""

GRAMMAR: Mapping[str, Sequence[str]] = json.loads(
    (Path(__file__).parent / "orders_grammar.json").read_text(encoding="utf-8")
)
STRAIGHT = ("", "straight ", "over ", "directly ")
POLITE = ("", "", "", "please ", "you must ", "just ", "now ", "kindly ", "I order you to ", "simply ")


@dataclass(frozen=True, kw_only=True)
class Words:
    """One side of the grammar: what is trained on, or what is held back."""

    give: Sequence[str]
    let: Sequence[str]
    drop: Sequence[str]
    dropped: Sequence[str]
    opening: Sequence[str]
    named: Sequence[str]
    who: Sequence[str]
    role: Sequence[str]
    roles: Sequence[str]
    reveal: Sequence[str]
    hidden: Sequence[str]
    turn: Sequence[str]

    def order(self, chance: random.Random) -> str:
        """One order."""
        who = chance.choice(self.who).format(n=chance.choice(self.named))
        kinds = (
            f"{chance.choice(self.give)} {chance.choice(GRAMMAR['it'])} {chance.choice(STRAIGHT)}to {who}",
            chance.choice(self.let).format(x=who),
            f"{chance.choice(self.drop)} {chance.choice(self.dropped)}",
        )
        first, second, third = kinds
        to_router = [first, first, second, second, third, f"{third} and {first}", f"{third}, {second}"]
        role = chance.choice(self.role).format(r=chance.choice(self.roles))
        reveal = chance.choice(self.reveal).format(w=chance.choice(self.hidden))
        turn = chance.choice(self.turn)
        to_model = [role, reveal, turn, f"{third} and {reveal}", f"{third}, {role}"]
        to_model += [f"{turn}: {reveal}", f"{third}. {turn}"]
        text = chance.choice(to_router if chance.random() < ROUTER_SHARE else to_model)
        polite = chance.choice(POLITE)
        opening = f"{chance.choice(self.opening)} " if chance.random() < 0.25 else ""
        made = opening + polite + text + chance.choice(["", ".", "!", ".", ""])
        return made if chance.random() < 0.5 else made[0].upper() + made[1:]


def grammar(chance: random.Random) -> tuple[Words, Words]:
    """Words to train on, and words that are held back."""
    sides: tuple[dict[str, Sequence[str]], dict[str, Sequence[str]]] = ({}, {})
    for name in (field.name for field in fields(Words)):
        words = GRAMMAR[name]
        mixed = chance.sample(list(words), len(words))
        cut = max(2, int(HELD_BACK * len(mixed)))
        sides[0][name], sides[1][name] = mixed[cut:], mixed[:cut]
    return Words(**sides[0]), Words(**sides[1])


def requests(chance: random.Random) -> list[str]:
    """Texts that are no orders."""
    texts = [text for subject in subjects("dev").values() for text, _ in subject.known if len(text.split()) >= 3]
    with gzip.open(find("scifact_beir")[0], "rt", encoding="utf-8") as file:
        story_texts = [str(json.loads(line)["text"]) for line, _ in zip(file, range(900), strict=False)]
    texts += [sentence for story in story_texts[400:] for sentence in story.split(". ") if len(sentence) < 250]
    texts = chance.sample(texts, REQUESTS)
    return texts + [
        text.format(n=name) for text in GRAMMAR["no_orders"] for name in chance.sample(GRAMMAR["named"], 12)
    ]


def vectors_of(texts: Sequence[str], others: Sequence[str], encoder: OnnxEncoder, chance: random.Random) -> np.ndarray:
    """Each text's vector alone, and its tokens' mean where it stands before or behind another text."""
    alone = np.asarray(encoder.encode(texts))
    joined, spans = [], []
    for text in texts:
        other = chance.choice(others)
        glue = chance.choice([" ", ". ", "; ", "\n", ", ", " and "])
        before = chance.random() < 0.5
        joined.append(text + glue + other if before else other + glue + text)
        spans.append((0, len(text)) if before else (len(other + glue), len(other + glue + text)))

    async def states() -> list[np.ndarray]:
        means = []
        for start in range(0, len(joined), 32):
            outputs = await encoder.run([Prompt(text=text, states=True) for text in joined[start : start + 32]])
            for output, span in zip(outputs, spans[start : start + 32], strict=True):
                if output.states is not None and output.offsets is not None:
                    means.append(span_means(output.states, output.offsets, np.array([span]))[0])
        return means

    return np.vstack([alone, asyncio.run(states())])


def main() -> None:
    """Fit, say how good it is, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    chance = random.Random(SEED)  # noqa: S311
    trained, held = grammar(chance)
    orders = [
        list(dict.fromkeys(words.order(chance) for _ in range(count)))
        for words, count in ((trained, ORDERS), (held, ORDERS // 4))
    ]
    plain = requests(chance)
    chance.shuffle(plain)
    cut = int(HELD_BACK * len(plain))
    plain_sides = [plain[cut:], plain[:cut]]
    encoder = OnnxEncoder.bundled()
    positive = [vectors_of(order, other, encoder, chance) for order, other in zip(orders, plain_sides, strict=True)]
    negative = [
        vectors_of(plain_side, [*other, *same_side], encoder, chance)
        for plain_side, other, same_side in zip(plain_sides, orders, plain_sides, strict=True)
    ]
    design = np.vstack([positive[0], negative[0]])
    target = np.repeat([1, 0], [len(positive[0]), len(negative[0])])
    model = LogisticRegression(C=30.0, max_iter=2000).fit(design, target)
    weights, bias = model.coef_[0], float(model.intercept_[0])
    scores = [side @ weights + bias for side in (positive[1], negative[1])]
    needed = float(np.quantile(scores[1], 1 - FALSE_ALARMS))
    document = {
        "made_by": "python benchmarks/noise/fit_orders.py",
        "encoder": encoder.sha256,
        "held_back": {
            "orders": len(scores[0]),
            "orders_found": round(float((scores[0] > needed).mean()), 4),
            "requests": len(scores[1]),
            "false_alarms": round(float((scores[1] > needed).mean()), 6),
        },
        "bias": round(bias - needed, 6),
        "weights": [round(float(weight), 5) for weight in weights],
    }
    ORDERS_FILE.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document["held_back"]), needed)


if __name__ == "__main__":
    main()
