import hashlib
import json
import os
import socket

import pytest

from coterie.config.file import LlamaModel
from coterie.errors import ArtefactRefused, ModelMissing
from coterie.models import catalogue as _files
from coterie.models import catalogue as _locate
from coterie.models.catalogue import CATALOGUE, installed, locate, models_folder


@pytest.fixture
def tiny(monkeypatch, model):
    monkeypatch.setattr(_locate, "CATALOGUE", {"tiny": model})
    return model


@pytest.fixture
def hashed(monkeypatch):
    """Files whose checksum was computed, not remembered."""
    paths, compute = [], _files.hash_file
    monkeypatch.setattr(_files, "hash_file", lambda path: paths.append(path) or compute(path))
    return paths


def named(name, **settings):
    return LlamaModel(engine="llama", name=name, **settings)


def place(home, content):
    """Put the model where it belongs."""
    home.mkdir(parents=True)
    path = home / "tiny.gguf"
    path.write_bytes(content)
    return path


def test_missing(tiny, tmp_path):
    """A known model that is not here names the command that fetches it."""
    with pytest.raises(ModelMissing, match="'tiny'") as missing:
        locate(named("tiny"), tmp_path)
    assert missing.value.hint.endswith(" coterie models pull tiny")


def test_found(tiny, tmp_path, home, content):
    """A known model that is here and whole is found."""
    path = place(home, content)
    assert locate(named("tiny"), tmp_path) == path


def test_tampered(tiny, tmp_path, home, content):
    """One byte changed, and it is refused with both checksums."""
    path = place(home, content)
    locate(named("tiny"), tmp_path)
    path.write_bytes(content[:-1] + b"x")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ArtefactRefused, match=tiny.sha256):
        locate(named("tiny"), tmp_path)


def test_half(tiny, tmp_path, home, content):
    """Half a file is not the model."""
    place(home, content[: len(content) // 2])
    with pytest.raises(ArtefactRefused):
        locate(named("tiny"), tmp_path)
    assert installed() == [(tiny, None)]


def test_checksum_is_remembered(tiny, tmp_path, home, content, hashed):
    """The checksum is computed once for as long as size and time stay the same."""
    path = place(home, content)
    for _ in range(3):
        locate(named("tiny"), tmp_path)
    assert len(hashed) == 1
    os.utime(path, ns=(1, 1))
    locate(named("tiny"), tmp_path)
    assert len(hashed) == 2


@pytest.mark.parametrize("note", ["", "[]", "{}", "7", '{"size": 1}', "\xff"])
def test_damaged_note(tiny, tmp_path, home, content, note):
    """A note that makes no sense is not believed."""
    place(home, content)
    (home / "tiny.gguf.sha256.json").write_text(note, encoding="latin-1")
    assert locate(named("tiny"), tmp_path).read_bytes() == content


def test_a_byte_changed_behind_the_times(tiny, tmp_path, home, content):
    """A file whose time of change was put back after it was written to is read again, and refused."""
    path = place(home, content)
    locate(named("tiny"), tmp_path)  # remembered
    facts = path.stat()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    with pytest.raises(ArtefactRefused):
        locate(named("tiny"), tmp_path)
    assert installed() == [(tiny, None)]


def test_note_of_another_size(tiny, tmp_path, home, content):
    """Nor is one that speaks of another file."""
    path = place(home, content[::-1])
    facts = path.stat()
    times = {"mtime_ns": facts.st_mtime_ns, "ctime_ns": facts.st_ctime_ns}
    lie = {"sha256": tiny.sha256, "size": facts.st_size + 1, **times}
    (home / "tiny.gguf.sha256.json").write_text(json.dumps(lie))
    with pytest.raises(ArtefactRefused):
        locate(named("tiny"), tmp_path)


def test_folder_that_cannot_be_written(tiny, tmp_path, home, content, monkeypatch):
    """Where no note can be written the checksum is computed each time."""
    place(home, content)
    (home / "tiny.gguf.sha256.json").mkdir()
    assert locate(named("tiny"), tmp_path).read_bytes() == content


def test_by_path(tmp_path, content):
    """A file of one's own is found relative to the network's folder, or by its whole path."""
    (tmp_path / "mine.gguf").write_bytes(content)
    pinned = {"sha256": hashlib.sha256(content).hexdigest()}
    assert locate(named("mine.gguf", **pinned), tmp_path) == tmp_path / "mine.gguf"
    assert locate(named(str(tmp_path / "mine.gguf"), **pinned), tmp_path / "elsewhere") == tmp_path / "mine.gguf"


def test_by_path_with_checksum(tmp_path, model, content):
    """Its checksum is checked where one is given."""
    (tmp_path / "mine.gguf").write_bytes(content)
    assert locate(named("mine.gguf", sha256=model.sha256), tmp_path).is_file()
    with pytest.raises(ArtefactRefused, match="0000") as refusal:
        locate(named("mine.gguf", sha256="0" * 64), tmp_path)
    assert "sha256" in refusal.value.hint


def test_by_path_missing(tmp_path):
    """A name that is neither known nor a file says so, and lists what is known."""
    with pytest.raises(ModelMissing, match=r"no known name \(smollm2\)"):
        locate(named("smolm2"), tmp_path)


def test_folder_is_no_model(tmp_path):
    """A folder is not a model."""
    (tmp_path / "models").mkdir()
    with pytest.raises(ModelMissing):
        locate(named("models"), tmp_path)


def test_installed(tiny, home, content):
    """The list says which known models are here."""
    assert installed() == [(tiny, None)]
    path = place(home, content)
    assert installed() == [(tiny, path)]


def test_models_folder(monkeypatch, tmp_path):
    """`COTERIE_HOME` picks the folder; without it, it is in the user's cache."""
    assert models_folder() == tmp_path / "home" / "models"
    monkeypatch.delenv("COTERIE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert models_folder().name == "models"
    assert "coterie" in str(models_folder())


def test_offline(tiny, tmp_path, home, monkeypatch, content):
    """Finding models opens no connection."""

    def forbidden(*_, **__):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket, "socket", forbidden)
    installed()
    with pytest.raises(ModelMissing):
        locate(named("tiny"), tmp_path)
    place(home, content)
    locate(named("tiny"), tmp_path)
    assert CATALOGUE
