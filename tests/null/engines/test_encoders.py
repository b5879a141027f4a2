"""Which encoder a network has."""

import shutil

import numpy as np
import pytest

from coterie.engines.onnx import BUNDLED, BUNDLED_ENCODER, encoder_folder, open_encoder
from coterie.errors import ModelMissing
from coterie.types import Prompt


def test_bundled(tmp_path):
    """The default needs nothing, and says that it knows English."""
    encoder = open_encoder(BUNDLED, tmp_path)
    assert encoder.languages == {"en"}
    assert encoder.folder == BUNDLED_ENCODER


def test_folder(tmp_path):
    """A folder is relative to the network's."""
    shutil.copytree(BUNDLED_ENCODER, tmp_path / "own")
    assert encoder_folder("own", tmp_path) == tmp_path / "own"
    assert open_encoder("own", tmp_path).sha256 == open_encoder(BUNDLED, tmp_path).sha256


def test_missing(tmp_path, monkeypatch):
    """The hint is the command that builds it; a folder without an encoder is told from none."""
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "home"))
    with pytest.raises(ModelMissing) as missing:
        encoder_folder("multilingual-e5-small", tmp_path)
    assert "coterie models pull multilingual-e5-small --languages" in (missing.value.hint or "")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelMissing) as missing:
        encoder_folder("empty", tmp_path)
    assert "provenance.json" in missing.value.message


async def test_states_can_be_read_from_the_start(tmp_path):
    """An encoder that is opened for states gives the vectors and states of one that is opened again for them."""
    prompts = [Prompt(text="my card is lost", states=True), Prompt(text="where is it?", states=True)]
    once, again = open_encoder(BUNDLED, tmp_path, states=True), open_encoder(BUNDLED, tmp_path)
    try:
        opened = once._model._session
        for one, other in zip(await once.run(prompts), await again.run(prompts), strict=True):
            assert np.array_equal(one.vector, other.vector)
            assert np.array_equal(one.states, other.states)
        assert once._model._session is opened
    finally:
        await once.close()
        await again.close()
