"""semantic-router's index router with its defaults, on vectors from a file. Runs in an environment of its own.

PYTHON peer_semantic_router.py WORK.npz

WORK.npz holds `texts` with their `vectors`, the places of the examples in `known` with their route in `routes`, and
the places of what is asked in `asked`. Prints a line of JSON: its version, and each asked text's best route with its
score.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import numpy as np
from semantic_router import IndexedRouter, Route
from semantic_router.encoders import DenseEncoder


class Given(DenseEncoder):
    """Looks texts' vectors up."""

    name: str = "given"
    vectors: dict[str, list[float]]

    def __call__(self, docs: list[str]) -> list[list[float]]:
        """Their vectors."""
        return [self.vectors[text] for text in docs]


def main(path: str) -> None:
    """Index, ask, print."""
    work = np.load(path)
    texts = [str(text) for text in work["texts"]]
    encoder = Given(vectors=dict(zip(texts, work["vectors"].tolist(), strict=True)))
    utterances: dict[str, list[str]] = {}
    for index, route in zip(work["known"], work["routes"], strict=True):
        utterances.setdefault(str(route), []).append(texts[index])
    router = IndexedRouter(encoder, [Route(name=name, utterances=examples) for name, examples in utterances.items()])
    choices = [router(texts[index]) for index in work["asked"]]
    names, scores = [choice.name for choice in choices], [float(choice.confidence or 0) for choice in choices]
    print(json.dumps({"version": version("semantic-router"), "names": names, "scores": scores}))


if __name__ == "__main__":
    main(sys.argv[1])
