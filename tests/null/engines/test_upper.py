"""The files of the reading model and of the statement model: what is refused when they are opened."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save

from coterie.engines.reading import (
    BUNDLED_CHECKER,
    BUNDLED_READER,
    READER_FILES,
    UPPER_FILES,
    ReadingHeads,
    ReadingModel,
    StatementHead,
    StatementModel,
    bundled_reader,
    has_checker,
)
from coterie.errors import ArtefactRefused

here = pytest.mark.skipif(not has_checker(), reason="the models' files are not in this checkout")
both = pytest.mark.parametrize("model", ["reader", "checker"])


def opened(model, files):
    """The model of these files."""
    return ReadingModel(files) if model == "reader" else StatementModel(files, bundled_reader().lower)


def files_of(model):
    """Content of the model's files by name."""
    folder, names = (BUNDLED_READER, READER_FILES) if model == "reader" else (BUNDLED_CHECKER, UPPER_FILES)
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("heads", [ReadingHeads, StatementHead])
def test_weights_that_are_no_numbers_are_refused(heads):
    """Heads are not loaded with them."""
    with pytest.raises(ValueError, match="not finite"):
        heads({"side": np.array([0.0, np.nan], np.float32)})


def test_missing_files_are_named(tmp_path):
    """The error says which file and what to do."""
    with pytest.raises(ArtefactRefused, match=r"model\.onnx"):
        ReadingModel.load(tmp_path)


@here
def test_missing_files_of_the_statement_model_are_named(tmp_path):
    """Its own first one: the lower layers are the reading model's."""
    with pytest.raises(ArtefactRefused, match=r"upper\.onnx"):
        StatementModel.load(tmp_path, bundled_reader().lower)


@here
@both
@pytest.mark.parametrize("name", ["upper.onnx", "heads.safetensors"])
def test_a_changed_file_is_refused(model, name):
    """Every file is held against its checksum."""
    files = files_of(model) | {name: save({"side": np.zeros((2, 2), np.float32)})}
    with pytest.raises(ArtefactRefused, match="checksum"):
        opened(model, files)


@here
@both
def test_heads_without_their_arrays_are_refused(model):
    """Also where the provenance names that very file."""
    files = files_of(model) | {"heads.safetensors": save({"side": np.zeros((2, 2), np.float32)})}
    about = json.loads(files["provenance.json"])
    about["sha256"]["heads.safetensors"] = hashlib.sha256(files["heads.safetensors"]).hexdigest()
    files["provenance.json"] = json.dumps(about).encode()
    with pytest.raises(ArtefactRefused, match=r"heads\.safetensors"):
        opened(model, files)
