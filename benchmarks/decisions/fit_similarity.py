"""The constants of zero-shot answers by the encoder, fitted on BANKING77's training rows; of two on CLINC150's.

    COTERIE_DATA=FOLDER python benchmarks/decisions/fit_similarity.py
    COTERIE_DATA=FOLDER python benchmarks/decisions/fit_similarity.py --encoder sentence-transformers/all-mpnet-base-v2

Prints the temperature of the softmax over cosines to 77 names, with its calibration error, and slope and middle of the
log-odds that a statement holds, of one right and one wrong intent a row. With a second
encoder: accuracy and temperature of the mean of both cosines, on CLINC150's validation rows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from run import judged, read_banking
from scipy.optimize import minimize, minimize_scalar

from _data import find
from coterie.decisions.deciding import forms_of
from coterie.engines.onnx import OnnxEncoder, open_encoder
from coterie.types import Option, Question

ROWS = 3_000


def fit_two(name: str) -> None:
    """Fit and print for the mean of two encoders' cosines, and for each alone."""
    (path,) = find("clinc150")
    rows = json.loads(path.read_text(encoding="utf-8"))["val"]
    names = sorted({label for _, label in rows})
    question = Question.choice(names)
    forms = [forms_of(question, Option(name=label)) for label in names]
    right = np.array([names.index(label) for _, label in rows])
    similarities = []
    for encoder in (OnnxEncoder.bundled(), open_encoder(name, Path())):
        options = sum(encoder.encode([form[at] for form in forms]) for at in range(2)) / 2
        similarities.append(encoder.encode([text for text, _ in rows]) @ options.T)
    for what, cosines in {
        "bundled": similarities[0],
        name: similarities[1],
        "both": (similarities[0] + similarities[1]) / 2,
    }.items():
        print(what, fitted(cosines, right))


def fitted(cosines: np.ndarray, right: np.ndarray) -> str:
    """The best temperature of these cosines, and what it gives."""
    every = np.arange(len(right))

    def loss(temperature: float) -> float:
        logits = cosines / temperature
        return float((np.logaddexp.reduce(logits, axis=1) - logits[every, right]).mean())

    temperature = minimize_scalar(loss, bounds=(0.01, 0.5), method="bounded").x
    shares = np.exp(cosines / temperature - np.logaddexp.reduce(cosines / temperature, axis=1)[:, None])
    figures = judged(list(shares.argmax(axis=1) == right), shares.max(axis=1), 0.0)
    return f"temperature {temperature:.4f}: accuracy {figures['accuracy']:.3f}, ECE {figures['ece']:.3f}"


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", help="a second encoder")
    if (second := parser.parse_args().encoder) is not None:
        fit_two(second)
        return
    path = next(file for file in find("banking77") if file.name == "train.csv")
    rows = read_banking(path)
    order = np.random.default_rng(0).permutation(len(rows))[:ROWS]
    names = sorted({label for _, label in rows})
    encoder, question = OnnxEncoder.bundled(), Question.choice(names)
    forms = [forms_of(question, Option(name=name)) for name in names]
    cosines = sum(encoder.encode([form[at] for form in forms]) for at in range(2)) / 2  # (L, D), not of unit length
    cosines = encoder.encode([rows[row][0] for row in order]) @ cosines.T  # (N, L)
    right = np.array([names.index(rows[row][1]) for row in order])
    every = np.arange(ROWS)

    print(fitted(cosines, right))
    wrong = (right + np.random.default_rng(1).integers(1, len(names), ROWS)) % len(names)
    similarities = np.concatenate([cosines[every, right], cosines[every, wrong]])
    signs = np.repeat([1.0, -1.0], ROWS)
    line = minimize(
        lambda w: np.logaddexp(0, -signs * w[0] * (similarities - w[1])).mean(), [20, 0.4], method="Nelder-Mead"
    )
    print(f"slope {line.x[0]:.2f}, middle {line.x[1]:.3f}")


if __name__ == "__main__":
    main()
