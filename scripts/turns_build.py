"""Train the turn models of the package (`src/coterie/turns/weights`) on public sets.

    COTERIE_DATA=FOLDER python scripts/turns_build.py [--encoder multilingual-e5-small] [--cache FOLDER] [--only leans]

Small heads on a frozen encoder: whether a text is small talk, whether a turn leans on what was asked before, and which
words of an earlier question it lacks. It takes some minutes of one core, most
of them for the encoder; `--cache` keeps what it read. Figures on held-out rows go to `provenance.json` beside the
weights, with the data's checksums. Needs torch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

sys.path.insert(0, str(Path(__file__).parent / "turns"))

from conversations import FOLDER as CONVERSATIONS
from corpus import LANGUAGES, SETS, Turn, talk, turns
from features import cached, read_states
from train import train_head

from coterie.engines.onnx import OnnxEncoder, open_encoder
from coterie.turns.reader import FOLDER, PROVENANCE, Perceptron, leaning_features, missing_features, words_of
from coterie.types import Output

SEED = 7
HELD_OUT = 10
"""Every tenth row."""
MOST_TALK = 0.003
"""The same of requests that are taken for small talk."""
LEAST_LEANING = {"all-MiniLM-L6-v2": 0.3}
"""Probability from which a turn leans: on the half `dev` of `benchmarks/followups` the highest difference of the shares
of follow-ups and of others from it on."""
MOST_ALONE = 0.053
"""Of another encoder that from which as many held turns that stand alone are taken for follow-ups as with this one."""
HEADS = ("talk", "leans", "missing")
Arrays = dict[str, np.ndarray]


def head_of(arrays: Arrays) -> Perceptron:
    """A head as the package runs it."""
    return Perceptron.of({f"head.{name}": array for name, array in arrays.items()}, "head")


def odds(head: Perceptron, features: np.ndarray) -> np.ndarray:  # (N, F) -> (N,)
    """The second class against the first."""
    logits = head.logits(features.astype(np.float32))
    return np.asarray(logits[:, 1] - logits[:, 0])


def train_talk(encoder: OnnxEncoder, folder: Path, languages: Sequence[str], cache: Path | None) -> tuple[Arrays, Any]:
    """Whether a text is small talk."""
    rows = talk(folder, languages, SEED)
    texts = [text for text, _, _ in rows]
    arrays = cached(cache, "talk", [encoder.sha256, *texts], lambda: {"v": encoder.encode(texts).astype(np.float16)})
    features, small = arrays["v"].astype(np.float32) * 4, np.array([small for _, small, _ in rows])
    held = np.random.default_rng(SEED).random(len(rows)) < 1 / HELD_OUT
    trained = train_head(
        features[~held], small[~held], np.ones((~held).sum()), classes=2, hidden=32, epochs=6, seed=SEED, batch=256,
        decay=0.01,
    )  # fmt: skip
    scores = odds(head_of(trained), features[held])
    least = max(0.0, float(np.quantile(scores[~small[held]], 1 - MOST_TALK)))
    sources = np.array([source for _, _, source in rows])[held]
    report = {
        "texts": int(held.sum()),
        "requests_taken_for_talk": float((scores[~small[held]] > least).mean()),
        "talk_found": float((scores[small[held]] > least).mean()),
        "found_by_source": {
            name: float((scores[small[held] & (sources == name)] > least).mean())
            for name in sorted(set(sources[small[held]]))
        },
    }
    return trained, (least, report)


def train_leans(encoder: OnnxEncoder, rows: Sequence[Turn], cache: Path | None) -> tuple[Arrays, Any]:
    """Whether a turn leans on the question before it."""
    last = encoder_vectors(encoder, [row.before[-1] for row in rows], cache, "last")

    def make() -> Arrays:
        def read(at: int, output: Output) -> np.ndarray:
            return leaning_features(np.asarray(output.vector), states_of(output), last[at].astype(np.float32))

        return {"f": np.stack(read_states(encoder, [row.text for row in rows], read)).astype(np.float16)}

    key = [encoder.sha256, *(row.text for row in rows), *(row.before[-1] for row in rows)]
    features = cached(cache, "leans", key, make)["f"]
    # A language with turns that stand alone only would be learned as a sign of them.
    languages = {row.language for row in rows if row.leans}
    kept = [at for at, row in enumerate(rows) if row.language in languages]
    features, rows = features[kept], [rows[at] for at in kept]
    leans, sources = np.array([row.leans for row in rows]), np.array([row.source for row in rows])
    weights = np.array([1 / np.sqrt((sources == source).sum()) for source in sources])
    held = np.random.default_rng(SEED).random(len(rows)) < 1 / HELD_OUT
    held = np.array([is_held(row.group) if row.group else own for row, own in zip(rows, held, strict=True)])
    trained = train_head(
        features[~held], leans[~held], weights[~held] / weights.mean(), classes=2, hidden=48, epochs=10, seed=SEED,
        batch=256, decay=0.01,
    )  # fmt: skip
    scores, own = odds(head_of(trained), features[held]), leans[held]
    least = float(np.quantile(scores[~own], 1 - MOST_ALONE))
    chosen = LEAST_LEANING.get(encoder.about["name"])
    if chosen is not None:
        least = float(np.log(chosen / (1 - chosen)))
    report = {
        "turns": int(held.sum()),
        "leaning_found": float((scores[own] > least).mean()),
        "standing_alone_rewritten": float((scores[~own] > least).mean()),
        "by_source": {
            name: float((scores[sources[held] == name] > least).mean()) for name in sorted(set(sources[held]))
        },
    }
    return trained, (float(1 / (1 + np.exp(-least))), report)


def is_held(group: str) -> bool:
    """Whether all turns of a conversation are held out."""
    return zlib.crc32(group.encode()) % HELD_OUT == 0


def train_missing(encoder: OnnxEncoder, rows: Sequence[Turn], cache: Path | None) -> tuple[Arrays, Any]:
    """Which words of an earlier question a turn lacks."""
    pairs: list[tuple[str, str, set[str]]] = []
    for row in rows:
        own_words = {word.text for word in words_of(row.text)}
        added = {word.text for word in words_of(row.rewrite)} - own_words
        best = max(row.before[-4:][::-1], key=lambda text: len({word.text for word in words_of(text)} & added))
        if row.leans and added & {word.text for word in words_of(best)}:
            pairs.append((best, row.text, added))
    now = encoder_vectors(encoder, [text for _, text, _ in pairs], cache, "now").astype(np.float32)

    def make() -> Arrays:
        def read(at: int, output: Output) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            question, text, added = pairs[at]
            words = words_of(question)
            own_words = frozenset(word.text for word in words_of(text))
            features = missing_features(words, states_of(output), offsets_of(output), now[at], own_words)
            lacks = np.array([word.text in added for word in words])
            return features.astype(np.float16), lacks, np.full(len(words), at)

        states = read_states(encoder, [question for question, _, _ in pairs], read)
        return {name: np.concatenate([row[at] for row in states]) for at, name in enumerate(("f", "y", "i"))}

    key = [encoder.sha256, *(f"{question}\t{text}" for question, text, _ in pairs)]
    arrays = cached(cache, "missing", key, make)
    held = arrays["i"] % HELD_OUT == 0
    trained = train_head(
        arrays["f"][~held], arrays["y"][~held], np.ones((~held).sum()), classes=2, hidden=32, epochs=5, seed=SEED,
        batch=512, decay=0.01,
    )  # fmt: skip
    chosen, own = odds(head_of(trained), arrays["f"][held]) > 0, arrays["y"][held]
    report = {
        "words": int(held.sum()),
        "precision": float(own[chosen].mean()),
        "recall": float(chosen[own].mean()),
        "f1_of_all_words": float(2 * own.sum() / (own.sum() + len(own))),
        "f1": float(2 * (chosen & own).sum() / (chosen.sum() + own.sum())),
    }
    return trained, (0.0, report)


def encoder_vectors(encoder: OnnxEncoder, texts: Sequence[str], cache: Path | None, name: str) -> np.ndarray:
    """(N, D) vectors, kept between runs; a text that comes twice is read once."""
    unique = list(dict.fromkeys(texts))
    arrays = cached(cache, name, [encoder.sha256, *unique], lambda: {"v": encoder.encode(unique).astype(np.float16)})
    places = {text: at for at, text in enumerate(unique)}
    return np.asarray(arrays["v"][[places[text] for text in texts]])


def states_of(output: Output) -> np.ndarray:
    """(T, D) of an output that has them."""
    return np.asarray(output.states)


def offsets_of(output: Output) -> np.ndarray:
    """(T, 2) of an output that has them."""
    return np.asarray(output.offsets)


def stored() -> dict[str, Any]:
    """What is known of the weights in the package."""
    return json.loads(PROVENANCE.read_text(encoding="utf-8")) if PROVENANCE.exists() else {"encoders": {}}


def former(encoder: OnnxEncoder) -> dict[str, Any]:
    """The same of an encoder's heads; empty if it has none."""
    return stored()["encoders"].get(encoder.about["name"], {})


def write(
    encoder: OnnxEncoder,
    languages: Sequence[str],
    trained_heads: Mapping[str, tuple[Arrays, Any]],
    data: Mapping[str, str],
) -> None:
    """The weights of all heads, and where they come from; heads that were not trained stay as they are."""
    name = encoder.about["name"]
    FOLDER.mkdir(exist_ok=True)
    file = f"{name.lower()}.turns.safetensors"
    provenance, before = stored(), former(encoder)
    arrays = load((FOLDER / file).read_bytes()) if len(trained_heads) < len(HEADS) else {}
    arrays |= {f"{head}.{key}": array for head, (trained, _) in trained_heads.items() for key, array in trained.items()}
    content = save({key: np.ascontiguousarray(array) for key, array in sorted(arrays.items())})
    (FOLDER / file).write_bytes(content)
    thresholds = {"talk": 3, "leans": 4}  # with so many digits
    provenance["script"], provenance["seed"], provenance["data"] = "scripts/turns_build.py", SEED, data
    provenance["encoders"][name] = {
        "files": {file: hashlib.sha256(content).hexdigest()},
        "encoder_sha256": encoder.sha256,
        "languages": list(languages),
        "thresholds": before.get("thresholds", {})
        | {
            head: round(trained_heads[head][1][0], digits)
            for head, digits in thresholds.items()
            if head in trained_heads
        },
        "minutes": round(time.process_time() / 60, 1),
        "held_out": before.get("held_out", {}) | {head: report for head, (_, (_, report)) in trained_heads.items()},
    }
    PROVENANCE.write_text(json.dumps(provenance, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Train all heads for one encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="minilm", help="name, hub id or folder, as in [network] encoder")
    parser.add_argument("--cache", type=Path, help="folder that keeps what the encoder read")
    parser.add_argument("--only", nargs="+", choices=HEADS, default=HEADS, help="heads that are trained; others stay")
    given = parser.parse_args()
    folder = Path(os.environ["COTERIE_DATA"])
    encoder = open_encoder(given.encoder, Path())
    if len(given.only) < len(HEADS) and former(encoder).get("encoder_sha256") != encoder.sha256:
        parser.error(f"--only keeps the other heads, and {FOLDER.name} has none for this {given.encoder}: train all")
    languages = [language for language in LANGUAGES if language in encoder.languages] or ["en"]
    rows = turns(folder, languages, SEED)
    heads = {}
    for name, make in {
        "talk": lambda: train_talk(encoder, folder, languages, given.cache),
        "leans": lambda: train_leans(encoder, rows, given.cache),
        "missing": lambda: train_missing(encoder, rows, given.cache),
    }.items():
        if name not in given.only:
            continue
        heads[name] = make()
        print(name, json.dumps(heads[name][1]), round(time.process_time()), "s", flush=True)
    data = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in SETS}
    data |= {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(CONVERSATIONS.glob("*.txt"))}
    write(encoder, languages, heads, data)


if __name__ == "__main__":
    main()
