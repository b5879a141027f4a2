"""What goes into a bundle besides packages: champions, file, and every model that the network names."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from coterie.config.file import load_config
from coterie.edge import bundle
from coterie.edge.bundle import _copy_network, _leave_out
from coterie.errors import InputError

pytest.importorskip("cryptography")

MODEL = '[models.small]\nengine = "llama"\nname = "{name}"\nsha256 = "{sha256}"\n'


def network(folder: Path, encoder: str, model: Path) -> Path:
    """The folder of a network with an encoder and a model that runs in the process."""
    folder.mkdir()
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(b"weights")
    name = model.relative_to(folder) if model.is_relative_to(folder) else model
    described = MODEL.format(name=name, sha256=sha256(b"weights").hexdigest())
    (folder / "coterie.toml").write_text(f'[network]\nname = "shop"\nencoder = "{encoder}"\n{described}')
    return folder


def encoder(folder: Path) -> None:
    """The files of an encoder."""
    folder.mkdir(parents=True)
    for name in ("model.onnx", "tokenizer.json", "provenance.json"):
        (folder / name).write_text("{}")


def test_models_of_the_network_s_folder(tmp_path):
    """Lie where the file names them."""
    folder = network(tmp_path / "shop", "e5", tmp_path / "shop" / "gguf" / "own.gguf")
    encoder(folder / "e5")
    _copy_network(folder, load_config(folder), tmp_path / "release" / "network")
    copied = tmp_path / "release" / "network"
    assert (copied / "gguf" / "own.gguf").read_bytes() == b"weights"
    assert (copied / "e5" / "model.onnx").exists()


def test_pulled_models(tmp_path, monkeypatch):
    """Lie beside the network, as below COTERIE_HOME."""
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "home"))
    folder = network(tmp_path / "shop", "e5", tmp_path / "shop" / "own.gguf")
    encoder(tmp_path / "home" / "models" / "encoders" / "e5")
    _copy_network(folder, load_config(folder), tmp_path / "release" / "network")
    assert (tmp_path / "release" / "models" / "encoders" / "e5" / "provenance.json").exists()


@pytest.mark.parametrize("where", ["elsewhere", "home/models"])
def test_a_model_named_by_a_path_of_this_machine(tmp_path, monkeypatch, where):
    """Would not be found on a device: it is refused when the bundle is made."""
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "home"))
    folder = network(tmp_path / "shop", "minilm", tmp_path / where / "own.gguf")
    with pytest.raises(InputError):
        _copy_network(folder, load_config(folder), tmp_path / "release" / "network")


def test_what_serving_does_not_use_is_left_out(tmp_path, monkeypatch):
    """Debugging information of libraries that have some, and the model of names where nothing imports it."""
    stripped: list[str] = []
    monkeypatch.setattr(bundle, "_strip", lambda library: stripped.append(library.name))
    tagger = tmp_path / "coterie" / "privacy" / "tagger"
    tagger.mkdir(parents=True)
    for name in ("model.onnx", "tokenizer.json", "provenance.json"):
        (tagger / name).write_text("{}")
    (tmp_path / "plain.so").write_bytes(b"\0.text\0")
    (tmp_path / "debug.so").write_bytes(b"\0.text\0.debug_info\0")

    _leave_out(tmp_path, [])

    assert stripped == ["debug.so"]
    assert [path.name for path in tagger.iterdir()] == ["provenance.json"]
