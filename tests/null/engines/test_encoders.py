"""Which encoder a network has."""

import shutil

import pytest

from coterie.engines.encoders import BUNDLED, encoder_folder, open_encoder
from coterie.engines.onnx import BUNDLED_ENCODER
from coterie.errors import ModelMissing


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
