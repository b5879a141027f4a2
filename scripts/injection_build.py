"""Train the model that remarks orders to a model (`src/coterie/governance/orders`) on patterns and public sets.

    COTERIE_DATA=FOLDER python scripts/injection_build.py

Orders are the patterns of `scripts/injection/orders.txt`, written for this project in seven languages, alone, two
together, or amid harmless text. Harmless are sentences and requests of public sets in more languages, and the patterns
of `scripts/injection/harmless.txt`, which resemble orders. Every fifth pattern and every fourth harmless text is held
out: they choose the threshold and are the figures in `provenance.json`. Then everything is trained on. It takes
minutes of one core.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from _contracts import contract_texts
from coterie.governance.injection import (
    DIMENSION,
    FEWEST,
    FOLDER,
    KINDS,
    PROVENANCE,
    STEP,
    WEIGHTS,
    WINDOW,
    OrderModel,
    pieces,
    plain,
)
from coterie.text.segmentation import sentences

HERE = Path(__file__).parent / "injection"
SEED = 7
EACH, RESEMBLING = 60, 60
"""Texts of a pattern of each kind."""
FRAGMENTS = 12_000
"""Beginnings and middles of harmless texts, of a few words."""
MOST = 3_000
"""Harmless texts of a set and language."""
ALARMS = 0.0005
"""Share of held-out harmless texts in which an order is remarked."""
AMID, TWO = 0.6, 0.15
"""Share of the orders that stand amid harmless text, too, and of those that are followed by another."""
CONTRACTS, OF_CONTRACTS = "cuad/full_contract_txt.tar.gz", 50_000
"""Contracts, which bind and forbid as orders do, and how many of their sentences are read."""
STRENGTH = 10.0
WEIGHT = 4.0
"""Of a harmless text that resembles an order, in training."""
SETS = (
    "qa/squad_train_slice", "qa/squad_es_v2_dev", "qa/squad_it_test", "qa/piaf_fr", "qa/faquad_pt", "qa/norquad",
    "qa/covidqa", "qa/tydiqa_goldp", "intents/xsid", "chat/bcontrast_de_en", "chat/sgd_slice",
    "chat/topical_chat_valid", "chat/followup", "ner/uner_other", "ner/europeana", "smalltalk/smalltalk_intents",
)  # fmt: skip
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_TEXTS = ("context", "passage", "paragraph", "question", "q", "text", "followup")


class Order(NamedTuple):
    """A text that gives orders."""

    text: str
    kinds: frozenset[str]
    pattern: int
    language: str


def patterns(name: str) -> list[str]:
    """The lines of a file of patterns."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("# ")]


def drawn(pattern: str, choose: random.Random) -> str:
    """A text of a pattern: one of each of its alternatives."""
    while match := _CHOICE.search(pattern):
        pattern = pattern[: match.start()] + choose.choice(match[1].split("|")) + pattern[match.end() :]
    return " ".join(pattern.split())


def orders(choose: random.Random) -> list[Order]:
    """Texts of all patterns, and pairs of them."""
    made: list[Order] = []
    for number, line in enumerate(patterns("orders.txt")):
        language, kind, pattern = line.split(" ", 2)
        texts = {drawn(pattern, choose) for _ in range(EACH)}
        made += [Order(text, frozenset({kind}), number, language) for text in sorted(texts)]
    for first in choose.sample(made, int(TWO * len(made))):
        second = choose.choice(
            [order for order in made[:: choose.randint(1, 50)] if order.language == first.language] or [first]
        )
        made.append(Order(f"{first.text}. {second.text}", first.kinds | second.kinds, first.pattern, first.language))
    return made


def texts_of(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Language and text of each text in a row of a public set."""
    language = str(row.get("lang", ""))
    yield from ((language, str(row[name])) for name in _TEXTS if row.get(name))
    if "tokens" in row:
        yield language, " ".join(row["tokens"])
    for _, *texts in row.get("turns", ()):
        yield from ((language or str(at), text) for at, text in enumerate(texts[:2]) if isinstance(text, str))


def harmless(folder: Path, choose: random.Random) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Harmless sentences and requests by set and language, and the files' checksums."""
    sampled: dict[str, list[str]] = {}
    sums: dict[str, str] = {}
    for name in SETS:
        for path in sorted((folder / "reading" / name).glob("*.jsonl.gz")):
            sums[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
            by_language: dict[str, dict[str, None]] = {}
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for row in map(json.loads, file):
                    for language, text in texts_of(row):
                        by_language.setdefault(language, {})[text] = None
            for language, texts in by_language.items():
                some = choose.sample(list(texts), min(MOST, len(texts)))
                sampled[f"{name}/{language}"] = cut(some, language or "en", MOST, choose)
    return sampled, sums


def cut(texts: Sequence[str], language: str, most: int, choose: random.Random) -> list[str]:
    """At most so many of the sentences of some texts."""
    parts = {text[start:end] for text in texts for start, end in sentences(text, language=language)}
    plausible = sorted(part for part in parts if len(part) > 8)
    return choose.sample(plausible, min(most, len(plausible)))


def fragments(texts: Sequence[str], choose: random.Random) -> list[str]:
    """One to four words that stand together in a harmless text: a short text is no order."""
    phrases = []
    for text in choose.sample(list(texts), min(FRAGMENTS, len(texts))):
        words = text.split()
        start = choose.randrange(len(words))
        phrases.append(" ".join(words[start : start + choose.randint(1, 4)]))
    return phrases


def stretches(read: str) -> list[str]:
    """The stretches of a text that are judged."""
    return [read[start : start + WINDOW] for start in range(0, max(1, len(read) - WINDOW + STEP), STEP)]


def amid(order: str, around: Sequence[str], choose: random.Random) -> str:
    """An order with the end of a harmless text before it and the beginning of another behind it, cut to a stretch."""
    before, after = (plain(choose.choice(around)) for _ in range(2))
    text = before[len(before) - choose.randint(1, 50) :] + order.strip() + after[: choose.randint(1, 50)]
    spare = len(text) - WINDOW
    start = choose.randint(0, spare) if 0 < spare < WINDOW // 2 else max(0, min(spare, 20))
    return text[start : start + WINDOW]


def features(read: Sequence[str]) -> csr_matrix:
    """(N, D) of stretches."""
    hashes = [pieces(text) for text in read]
    values = [np.full(len(hashed), 1 / np.sqrt(max(FEWEST, len(hashed)))) for hashed in hashes]
    ends = np.cumsum([0, *map(len, hashes)])
    matrix = csr_matrix((np.concatenate(values), np.concatenate(hashes), ends), shape=(len(read), DIMENSION))
    matrix.sum_duplicates()
    return matrix


def fit(rows: Sequence[Order], others: Sequence[str], resembling: Sequence[str], choose: random.Random) -> OrderModel:
    """Train on some orders, harmless texts, and harmless ones that resemble orders."""
    marked = [(stretch, row.kinds) for row in rows for stretch in stretches(plain(row.text))[:2]]
    marked += [(amid(plain(row.text), others, choose), row.kinds) for row in rows if choose.random() < AMID]
    cut = [stretches(plain(text)) for text in (*resembling, *others)]
    few = [choose.sample(parts, min(2, len(parts))) for parts in cut]
    both = features([*(text for text, _ in marked), *(stretch for parts in few for stretch in parts)])
    is_order = np.arange(both.shape[0]) < len(marked)
    weights = np.ones(len(is_order))
    weights[len(marked) : len(marked) + sum(map(len, few[: len(resembling)]))] = WEIGHT
    heads = [LogisticRegression(C=STRENGTH, solver="liblinear").fit(both, is_order, sample_weight=weights)]
    alone = both[: len(marked)]
    heads += [
        LogisticRegression(C=STRENGTH, solver="liblinear").fit(alone, [kind in kinds for _, kinds in marked])
        for kind in KINDS
    ]
    weights = np.vstack([head.coef_[0] for head in heads])
    scales = np.abs(weights).max(axis=1) / 127
    return OrderModel(
        weights=np.round(weights / scales[:, None]).astype(np.int8),
        scales=scales,
        bias=np.array([head.intercept_[0] for head in heads]),
        least=0.0,
    )


def odds(model: OrderModel, texts: Sequence[str]) -> np.ndarray:  # (N,)
    """The most of each text's stretches."""
    return np.array([model.odds(text).max() for text in texts])


def main() -> None:
    """Train, and write the weights with their provenance."""
    variable = "COTERIE_DATA"
    if variable not in os.environ:
        sys.exit(f"Set {variable} to the folder of public sets.")
    begun, choose = time.perf_counter(), random.Random(SEED)  # noqa: S311 - reproducible
    folder = Path(os.environ[variable])
    sets, sums = harmless(folder, choose)
    contracts = sorted(text for _, text in contract_texts(folder / CONTRACTS))
    sums[CONTRACTS] = hashlib.sha256((folder / CONTRACTS).read_bytes()).hexdigest()
    of_contracts = cut([text for at, text in enumerate(contracts) if at % 4], "en", OF_CONTRACTS, choose)
    rows = orders(choose)
    resembling = sorted(
        {drawn(line.split(" ", 1)[1], choose) for line in patterns("harmless.txt") for _ in range(RESEMBLING)}
    )
    held = {name: texts[::4] for name, texts in sets.items()}
    sets["fragments"] = fragments([text for texts in sets.values() for text in texts], choose)
    held["fragments"] = sets["fragments"][::4]
    kept = [text for texts in sets.values() for at, text in enumerate(texts) if at % 4]
    kept += of_contracts
    apart = {line.split(" ", 1)[0] for line in patterns("orders.txt")}
    trial = fit([row for row in rows if row.pattern % 5], kept, resembling, choose)
    alarms = {name: odds(trial, texts) for name, texts in held.items()}
    least = float(np.quantile(np.concatenate(list(alarms.values())), 1 - ALARMS))
    alarms["whole contracts"] = odds(trial, contracts[::4])
    unseen = [row for row in rows if row.pattern % 5 == 0]
    recall = {
        language: float((odds(trial, [row.text for row in unseen if row.language == language]) >= least).mean())
        for language in sorted(apart & {row.language for row in unseen})
    }
    model = fit(rows, [*kept, *(text for texts in held.values() for text in texts)], resembling, choose)
    FOLDER.mkdir(exist_ok=True)
    arrays = {"weights": model.weights, "scales": model.scales, "bias": model.bias}
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    WEIGHTS.write_bytes(content)
    about = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "least": round(least, 3),
        "minutes": round((time.perf_counter() - begun) / 60, 1),
        "held_out": {
            "patterns_found": recall,
            "harmless_remarked": {name: float((scores >= least).mean()) for name, scores in alarms.items()},
        },
        "data": sums
        | {name: hashlib.sha256((HERE / name).read_bytes()).hexdigest() for name in ("orders.txt", "harmless.txt")},
    }
    PROVENANCE.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: about[name] for name in ("least", "minutes", "held_out")}, indent=1))


if __name__ == "__main__":
    main()
