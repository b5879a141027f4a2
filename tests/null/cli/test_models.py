"""`coterie models`: what is known, what is here, how it gets here."""

import pytest

from coterie.errors import ModelMissing
from coterie.models import CATALOGUE


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Model files live in a folder of the test's own."""
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "home"))


def test_list(run):
    """Every known model is listed with size, licence and whether it is here."""
    document = run("models", "list", "--json").json

    assert [model["name"] for model in document["models"]] == list(CATALOGUE)
    for model in document["models"]:
        assert model["path"] is None
        assert {"bytes", "sha256", "licence", "source"} <= set(model)
    assert "smollm2" in run("models", "list").out


def test_pull(run, monkeypatch, tmp_path):
    """A pull passes the source on and says where the file is; the progress stays off standard output."""
    asked = []

    def pull(name, *, source, progress):
        asked.append((name, source))
        progress(1, None)
        progress(50, 100)
        return tmp_path / "model.gguf"

    monkeypatch.setattr("coterie.models.pull", pull)

    assert run("models", "pull", "smollm2", "--from", "hub").out == f"smollm2 is at {tmp_path / 'model.gguf'}\n"
    assert run("models", "pull", "smollm2", "--json").json == {"name": "smollm2", "path": str(tmp_path / "model.gguf")}
    assert asked == [("smollm2", "hub"), ("smollm2", None)]


def test_pull_fails(run, monkeypatch):
    """What `pull` cannot do is shown with its hint."""

    def pull(name, *, source, progress):
        raise ModelMissing("no such model", hint="known are: smollm2")

    monkeypatch.setattr("coterie.models.pull", pull)
    result = run("models", "pull", "nope")

    assert (result.code, result.out) == (1, "")
    assert "known are: smollm2" in result.err


def test_ctrl_c_in_a_pull(run, monkeypatch):
    """Ctrl-C in a pull ends with 130 and leaves the terminal alone."""

    def pull(name, *, source, progress):
        progress(10, 100)
        raise KeyboardInterrupt

    monkeypatch.setattr("coterie.models.pull", pull)

    assert run("models", "pull", "smollm2").code == 130
