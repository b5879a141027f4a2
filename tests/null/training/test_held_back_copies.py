"""What the rung `encoder` holds back where a few patterns made the texts."""

import numpy as np
import pytest

from coterie.config.specialists import make_section
from coterie.learning.dataset import Dataset, Row
from coterie.learning.examples import FOLDS, deal_folds, text_examples
from coterie.learning.job import Job
from coterie.learning.kernel import hold_out_copies
from coterie.learning.measure import Encoded
from coterie.learning.progress import Silent
from coterie.tasks.classify import fit_encoder as tuning
from coterie.tasks.classify.heads import fit_text
from coterie.tasks.contract import task_of

WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("ana", "elo", "iru", "otu", "uwi")]


class Stopped(Exception):
    """Nothing is fine-tuned here."""


def held_back(rows: list[tuple[str, str]], vectors: np.ndarray, encoder, monkeypatch) -> list[np.ndarray]:
    seen = []

    def fit_tuned(job, base, examples, words):
        seen.extend(tuning._parts(examples))
        raise Stopped

    monkeypatch.setattr(tuning, "fit_tuned", fit_tuned)
    data = Dataset(name="rows", rows=tuple(Row(text=text, labels=(label,)) for text, label in rows), sha256="")
    section = make_section(task="classify", data="rows", rungs=("encoder",))
    base = object()
    job = Job(
        name="it",
        task=task_of(section),
        section=section,
        train=data,
        held_out=data,
        encoder=encoder,
        progress=Silent(),
        base=base,
    )
    examples = text_examples(data, data.label_names, deal_folds(data, FOLDS, 0), seed=section.seed)
    with pytest.raises(Stopped):
        fit_text(job, examples, Encoded(vectors, 0.0))
    return seen


@pytest.mark.parametrize("copied", [True, False])
def test_copies_are_held_back_together(encoder, monkeypatch, copied):
    """Of ten texts of a pattern, which say what no other pattern says, all or none are held back."""
    random = np.random.default_rng(0)
    patterns = [random.choice(WORDS, 8, replace=False) for _ in range(24)]
    own = np.eye(24)[np.repeat(np.arange(24), 10)]
    spread = np.eye(240)
    rows = [
        (" ".join([*(words if copied else random.choice(WORDS, 8, replace=False)), str(i)]), f"l{p % 4}")
        for p, words in enumerate(patterns)
        for i in range(10)
    ]
    parts = held_back(rows, own if copied else spread, encoder, monkeypatch)

    of_pattern = [{int(row) // 10 for row in part} for part in parts]
    assert sum(map(len, parts)) == len(rows)
    assert (sum(map(len, of_pattern)) == len(patterns)) is copied


def test_copies_of_most_of_a_label_are_not_held_back_together(encoder):
    """Some texts of the other label bear its name by mistake: without them all of it would be in one fold.

    The copies of each label are linked, so that nobody who did not see them knows the label.
    """
    right = np.repeat([0, 1], 100)
    rows = [(f"{label} {i}", f"l{label if i % 20 else 1 - label}") for i, label in enumerate(right)]
    data = Dataset(name="rows", rows=tuple(Row(text=text, labels=(label,)) for text, label in rows), sha256="")
    examples = text_examples(data, data.label_names, deal_folds(data, FOLDS, 0), seed=0)
    assert hold_out_copies(examples, np.eye(2)[right], np.arange(200)) is None

    several = np.repeat(np.arange(20), 10)  # ten patterns a label
    held_out = hold_out_copies(examples, np.eye(20)[several], np.arange(200))
    assert held_out is not None
    assert all(len(np.unique(held_out.folds[several == pattern])) == 1 for pattern in range(20))
