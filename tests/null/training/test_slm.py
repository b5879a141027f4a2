"""Which jobs a small generative model can be tuned for, before anything is tuned."""

import numpy as np
import pytest

from coterie.config.file import LlamaModel, OpenAIModel
from coterie.config.specialists import SpecialistSection, make_section
from coterie.errors import ArtefactRefused, ConfigError, ExtraMissing, ModelMissing
from coterie.learning.dataset import Dataset, Row
from coterie.learning.fitting import FOLDS, deal_folds, hold_out_copies, text_examples
from coterie.learning.job import Job, Silent
from coterie.learning.measure import Encoded
from coterie.models.catalogue import hash_file
from coterie.tasks.classify import fit_tuned as tuning
from coterie.tasks.classify.heads import fit_text
from coterie.tasks.contract import task_of
from coterie.testing.fakes import gguf_bytes
from coterie.training.train import possible_rungs, train_rungs
from coterie.tuning.base import find_causal_base

DATA = Dataset(
    name="rows.csv",
    sha256="0" * 64,
    rows=tuple(Row(text=f"a text {n}", labels=("yes" if n % 2 else "no",)) for n in range(20)),
)


def section(**settings) -> SpecialistSection:
    """A `classify` section whose model is called `small`."""
    return make_section(**{"task": "classify", "data": "rows.csv", "model": "small"} | settings)


@pytest.mark.parametrize(
    ("settings", "possible"),
    [({}, True), ({"model": None}, False), ({"multi_label": True}, False), ({"task": "score"}, False)],
)
def test_what_can_climb_to_it(settings, possible, encoder):
    """A classifier of one label a text that names a model; labels that hold together are not weighed."""
    assert ("slm" in possible_rungs(section(**settings), DATA)) is possible


def test_only_a_model_in_this_process_is_tuned(encoder):
    """A remote one has no weights here; the message names those that could be."""
    models = {"small": OpenAIModel(engine="openai", base_url="https://example.org/v1", name="large")}
    models["tiny"] = LlamaModel(engine="llama", name="tiny.gguf")
    with pytest.raises(ConfigError, match=r"'small'.*'tiny'"):
        train_rungs("it", section(rungs=("slm",)), train=DATA, held_out=DATA, encoder=encoder, models=models)


def write_model(path, architecture: str) -> LlamaModel:
    """A GGUF file of one small matrix."""
    path.write_bytes(gguf_bytes({"general.architecture": architecture}, {"token_embd.weight": np.ones((4, 8))}))
    return LlamaModel(engine="llama", name=path.name, licence="MIT", sha256=hash_file(path))


def test_an_architecture_whose_adapters_are_not_known(tmp_path):
    """Its weights may lie in another order, so that an adapter would mean something else."""
    model = write_model(tmp_path / "odd.gguf", "mamba")
    with pytest.raises(ArtefactRefused, match="'mamba'"):
        find_causal_base("small", model, tmp_path)


def test_a_base_by_its_path(tmp_path):
    """Has its file's checksum, and the licence that its section states."""
    base = find_causal_base("small", write_model(tmp_path / "own.gguf", "llama"), tmp_path)

    assert (base.key, base.name, base.licence, base.repository) == ("small", "own.gguf", "MIT", "own.gguf")
    assert len(base.sha256) == 64


def test_a_base_that_is_not_here(tmp_path, monkeypatch):
    """The hint is the command that fetches it."""
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path))
    with pytest.raises(ModelMissing, match="smollm2") as error:
        find_causal_base("small", LlamaModel(engine="llama", name="smollm2"), tmp_path)
    assert "coterie models pull smollm2" in error.value.hint


def test_without_peft(tmp_path, monkeypatch):
    """The hint is the command that installs it."""
    monkeypatch.setattr("coterie.tuning.base.find_spec", lambda name: None if name == "peft" else name)
    with pytest.raises(ExtraMissing, match="'peft'") as error:
        find_causal_base("small", LlamaModel(engine="llama", name="smollm2"), tmp_path)
    assert "coterie[train]" in error.value.hint


# --- What the rung `encoder` holds back where a few patterns made the texts.


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
