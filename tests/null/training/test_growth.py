"""What more rows are expected to bring, where a label has few."""

import numpy as np

from coterie.config.specialists import make_section
from coterie.learning.dataset import Dataset, Row
from coterie.learning.fitting import FOLDS, TextExamples, cut_folds, deal_folds, expected_gain, text_examples
from coterie.learning.job import Job, Silent
from coterie.tasks.contract import task_of


def drawn(labels: int, per_label: int, noise: float, seed: int = 0) -> tuple[Dataset, TextExamples, np.ndarray]:
    """Rows around one direction a label: data, examples, unit vectors."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(labels, 24))

    label = np.repeat(np.arange(labels), per_label)
    vectors = centres[label] + noise * random.normal(size=(len(label), 24))
    rows = tuple(Row(text=f"{i:b} {i}", labels=(f"l{of:03}",)) for i, of in enumerate(label))
    data = Dataset(name="rows", rows=rows, sha256="")
    folds = deal_folds(data, FOLDS, 0)
    section = make_section(task="classify", data="rows")
    examples = text_examples(data, data.label_names, folds, seed=section.seed)
    examples = TextExamples(
        texts=examples.texts, hot=examples.hot, several=False, folds=folds, seed=0, pieces=cut_folds(data, folds, 0)
    )
    return data, examples, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def gain_of(data: Dataset, examples: TextExamples, vectors: np.ndarray, encoder) -> float:
    section = make_section(task="classify", data="rows")
    job = Job(
        name="it", task=task_of(section), section=section, train=data, held_out=data, encoder=encoder, progress=Silent()
    )
    return expected_gain(job, examples, vectors, None)


def test_more_rows_are_expected_to_help(encoder):
    """Where five rows a label leave much to learn, something is gained from knowing all of them."""
    assert 0.0 < np.mean([gain_of(*drawn(30, 5, 1.6, seed), encoder) for seed in range(4)]) < 0.2


def test_nothing_is_expected_where_rows_are_many_or_all_is_right(encoder):
    """Twenty rows a label are calibrated as they are, and of what is always right nothing can be gained."""
    assert gain_of(*drawn(20, 20, 1.6), encoder) == 0.0
    assert gain_of(*drawn(20, 5, 0.01), encoder) == 0.0
