"""Build the reranker that ships inside the wheel: a projection, a table of rarities and three weights.

Projection and rarities come from public texts that no retrieval benchmark of ours asks about (MedQuAD's answers and
CUAD's contracts): the principal components of the bundled encoder's token states, and in how many chunks each word
piece occurs. The weights are fitted on SciFact's training claims against the corpus (listwise softmax, L2), on the
candidates that an index's hybrid search gives; the test claims are not read.

    COTERIE_DATA=... python scripts/reranker_build.py --weights INDEX    # INDEX: a network with the index `scifact`
    COTERIE_DATA=... python scripts/reranker_build.py                    # keeps the weights that are there
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import os
import random
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from coterie.engines.onnx import OnnxEncoder, TokenStates

TARGET = Path(__file__).resolve().parents[1] / "src" / "coterie" / "retrieval" / "reranker"
WIDTH = 32
SAMPLE = 600
"""Chunks whose tokens make the projection."""
WORDS = 120
"""Words of a chunk in this script."""


def texts(folder: Path) -> dict[str, list[str]]:
    """Chunks of each source."""
    with gzip.open(folder / "medquad" / "medquad.jsonl.gz", "rt", encoding="utf-8") as lines:
        answers = [json.loads(line)["answer"] for line in lines]
    with tarfile.open(folder / "cuad" / "full_contract_txt.tar.gz") as packed:
        files = [packed.extractfile(member) for member in packed.getmembers() if member.isfile()]
        contracts = [file.read().decode("utf-8", "replace") for file in files if file is not None]
    return {"medquad": pieces(answers, 20_000), "cuad": pieces(contracts, 20_000)}


def pieces(whole: list[str], most: int) -> list[str]:
    """Texts cut into chunks of so many words, at most so many, evenly spread."""
    parts = []
    for text in whole:
        words = text.split()
        parts += [" ".join(words[at : at + WORDS]) for at in range(0, len(words), WORDS)]
    random.Random(0).shuffle(parts)  # noqa: S311 - a sample, no secret
    return parts[:most]


def rarities(encoder: OnnxEncoder, sources: dict[str, list[str]]) -> np.ndarray:
    """ln(1 + (N - n + 0.5) / (n + 0.5)) of every word piece, over the chunks of all sources."""
    seen: Counter[int] = Counter()
    total = 0
    for chunks in sources.values():
        for text in chunks:
            seen.update(set(encoder.tokenise(text)))
            total += 1
    table = [math.log(1 + (total - seen[piece] + 0.5) / (seen[piece] + 0.5)) for piece in range(encoder.vocabulary)]
    return np.array(table, dtype=np.float32)


def projection(encoder: OnnxEncoder, sources: dict[str, list[str]]) -> tuple[np.ndarray, float]:
    """The first principal components of unit token states (not centred: cosines are kept), and their share."""
    sums = np.zeros((encoder.dimension, encoder.dimension))

    def add(tokens: TokenStates) -> np.ndarray:
        unit = tokens.states / np.linalg.norm(tokens.states, axis=1, keepdims=True)
        return unit.T @ unit

    chunks = [text for source in sources.values() for text in source[: SAMPLE // len(sources)]]
    for start in range(0, len(chunks), 50):
        for token_states in encoder.encode_tokens(chunks[start : start + 50], add)[1]:
            sums += token_states
    values, vectors = np.linalg.eigh(sums)
    return vectors[:, ::-1][:, :WIDTH].astype(np.float32), float(values[::-1][:WIDTH].sum() / values.sum())


def main() -> None:
    """Build and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", metavar="K,C,I", help="keyword, cosine and interaction weight")
    given = parser.parse_args()
    folder = Path(os.environ["COTERIE_DATA"])
    encoder = OnnxEncoder.bundled(threads=2)
    sources = texts(folder)
    matrix, share = projection(encoder, sources)
    TARGET.mkdir(exist_ok=True)
    arrays = {"projection": matrix.astype(np.float16), "rarity": rarities(encoder, sources).astype(np.float16)}
    save_file(arrays, TARGET / "reranker.safetensors")
    about = TARGET / "reranker.json"
    before = json.loads(about.read_text(encoding="utf-8")) if about.exists() else {}
    weights = before.get("weights", {"keyword": 1.0, "cosine": 1.0, "interaction": 5.0})
    if given.weights:
        weights = dict(zip(("keyword", "cosine", "interaction"), map(float, given.weights.split(",")), strict=True))
    content = {
        "encoder_sha256": encoder.sha256,
        "weights": weights,
        "energy_kept": round(share, 3),
        "sources": {"medquad": "CC BY 4.0", "cuad": "CC BY 4.0", "weights": "SciFact training claims (CC BY 4.0)"},
        "sha256": hashlib.sha256((TARGET / "reranker.safetensors").read_bytes()).hexdigest(),
        "script": "scripts/reranker_build.py",
    }
    about.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
