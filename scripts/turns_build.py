"""Train the small-talk heads of the package (`src/coterie/turns/weights`) on public sets.

    COTERIE_DATA=FOLDER python scripts/turns_build.py [--encoder multilingual-e5-small] [--cache FOLDER]

A small head on a frozen encoder: whether a text is small talk. It takes some minutes of one core, most of them for the
encoder; `--cache` keeps what it read. Figures on held-out rows go to `provenance.json` beside the weights, with the
data's checksums. Needs torch. The follow-up model is trained by `turns/turn_train.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

sys.path.insert(0, str(Path(__file__).parent / "turns"))

from conversations import FOLDER as CONVERSATIONS
from corpus import LANGUAGES, SETS, talk
from features import cached
from train import train_head

from coterie.engines.onnx import OnnxEncoder, open_encoder
from coterie.turns.reader import FOLDER, PROVENANCE, Perceptron

SEED = 7
HELD_OUT = 10
"""Every tenth row."""
MOST_TALK = 0.003
"""Share of held requests that may be taken for small talk."""
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


def write(encoder: OnnxEncoder, languages: Sequence[str], trained: tuple[Arrays, Any], data: Mapping[str, str]) -> None:
    """The head's weights, and where they come from."""
    name, (arrays, (least, report)) = encoder.about["name"], trained
    FOLDER.mkdir(exist_ok=True)
    file = f"{name.lower()}.turns.safetensors"
    content = save({f"talk.{key}": np.ascontiguousarray(array) for key, array in sorted(arrays.items())})
    (FOLDER / file).write_bytes(content)
    provenance = json.loads(PROVENANCE.read_text(encoding="utf-8")) if PROVENANCE.exists() else {"encoders": {}}
    provenance |= {"script": "scripts/turns_build.py", "seed": SEED, "data": dict(data)}
    provenance["encoders"][name] = {
        "files": {file: hashlib.sha256(content).hexdigest()},
        "encoder_sha256": encoder.sha256,
        "languages": list(languages),
        "thresholds": {"talk": round(least, 3)},
        "minutes": round(time.process_time() / 60, 1),
        "held_out": {"talk": report},
    }
    PROVENANCE.write_text(json.dumps(provenance, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Train the head for one encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="minilm", help="name, hub id or folder, as in [network] encoder")
    parser.add_argument("--cache", type=Path, help="folder that keeps what the encoder read")
    given = parser.parse_args()
    folder = Path(os.environ["COTERIE_DATA"])
    encoder = open_encoder(given.encoder, Path())
    languages = [language for language in LANGUAGES if language in encoder.languages] or ["en"]
    trained = train_talk(encoder, folder, languages, given.cache)
    print(json.dumps(trained[1]), round(time.process_time()), "s", flush=True)
    data = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in SETS}
    data |= {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(CONVERSATIONS.glob("*.txt"))}
    write(encoder, languages, trained, data)


if __name__ == "__main__":
    main()
