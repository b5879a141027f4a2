"""SetFit as its documentation trains it, on rows from files; prints a line of JSON. Runs in SetFit's own environment.

PYTHON peer_setfit.py TRAIN.csv TEST.csv ENCODER SEED ITERATIONS

ITERATIONS is of pair sampling, each two pairs a text: its paper uses 20 (Tunstall et al. 2022).
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments


def read(path: str) -> tuple[list[str], list[str]]:
    """Texts and labels."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def main(train: str, test: str, encoder: str, seed: str, iterations: str) -> None:
    """Train, ask, print."""
    texts, labels = read(train)
    start = time.perf_counter()
    model = SetFitModel.from_pretrained(encoder, labels=sorted(set(labels)))
    settings = TrainingArguments(
        batch_size=16, num_epochs=1, num_iterations=int(iterations), seed=int(seed), report_to="none"
    )
    trainer = Trainer(model=model, args=settings, train_dataset=Dataset.from_dict({"text": texts, "label": labels}))
    trainer.train()
    seconds = time.perf_counter() - start
    test_texts, right = read(test)
    predicted = model.predict(test_texts, batch_size=64)
    accuracy = sum(str(a) == b for a, b in zip(predicted, right, strict=True)) / len(right)
    print(json.dumps({"accuracy": accuracy, "seconds": seconds, "iterations": int(iterations), "batch": 16}))


if __name__ == "__main__":
    main(*sys.argv[1:])
