"""The two constants of zero-shot answers by the encoder, fitted on BANKING77's training rows.

    COTERIE_DATA=FOLDER python benchmarks/decisions/fit_similarity.py

Prints the temperature of the softmax over cosines to 77 names, with its calibration error, and slope and middle of the
log-odds that a statement holds, of one right and one wrong intent a row.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from run import judged, read_banking
from scipy.optimize import minimize, minimize_scalar

from _data import find
from coterie.decisions.adaptation import forms_of
from coterie.engines.onnx import OnnxEncoder
from coterie.types import Option, Question

ROWS = 3_000


def main() -> None:
    """Fit and print."""
    path = next(each for each in find("banking77") if each.name == "train.csv")
    rows = read_banking(path)
    order = np.random.default_rng(0).permutation(len(rows))[:ROWS]
    names = sorted({label for _, label in rows})
    encoder, question = OnnxEncoder.bundled(), Question.choice(names)
    forms = [forms_of(question, Option(name=name)) for name in names]
    cosines = sum(encoder.encode([each[at] for each in forms]) for at in range(2)) / 2  # (L, D), not of unit length
    cosines = encoder.encode([rows[row][0] for row in order]) @ cosines.T  # (N, L)
    right = np.array([names.index(rows[row][1]) for row in order])
    every = np.arange(ROWS)

    def loss(temperature: float) -> float:
        logits = cosines / temperature
        return float((np.logaddexp.reduce(logits, axis=1) - logits[every, right]).mean())

    temperature = minimize_scalar(loss, bounds=(0.01, 0.5), method="bounded").x
    shares = np.exp(cosines / temperature - np.logaddexp.reduce(cosines / temperature, axis=1)[:, None])
    figures = judged(list(shares.argmax(axis=1) == right), shares.max(axis=1), 0.0)
    print(f"temperature {temperature:.4f}: accuracy {figures['accuracy']:.3f}, ECE {figures['ece']:.3f}")
    wrong = (right + np.random.default_rng(1).integers(1, len(names), ROWS)) % len(names)
    said = np.concatenate([cosines[every, right], cosines[every, wrong]])
    signs = np.repeat([1.0, -1.0], ROWS)
    fitted = minimize(lambda w: np.logaddexp(0, -signs * w[0] * (said - w[1])).mean(), [20, 0.4], method="Nelder-Mead")
    print(f"slope {fitted.x[0]:.2f}, middle {fitted.x[1]:.3f}")


if __name__ == "__main__":
    main()
