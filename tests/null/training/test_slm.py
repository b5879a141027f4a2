"""Which jobs a small generative model can be tuned for, before anything is tuned."""

import numpy as np
import pytest

from coterie.config.file import LlamaModel, OpenAIModel
from coterie.config.specialists import SpecialistSection, make_section
from coterie.errors import ArtefactRefused, ConfigError, ExtraMissing, ModelMissing
from coterie.learning.dataset import Dataset, Row
from coterie.models.files import hash_file
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
