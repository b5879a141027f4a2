"""`coterie models`: what is known, what is here, how it gets here."""

import hashlib
import tomllib

import pytest

from coterie.config.file import load_config
from coterie.errors import ArtefactRefused, ModelMissing, ModelUnpinned
from coterie.models.catalogue import CATALOGUE, SMALL_MODELS, locate


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


def test_list_what_was_pulled(run, tmp_path):
    """What came from elsewhere stands below, with revision and files."""
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "tiny.gguf").write_bytes(b"GGUF")
    assert run("models", "pull", "someone/tiny", "--file", "tiny.gguf", "--from", str(tmp_path / "stick")).code == 0
    model = run("models", "list", "--json").json["models"][-1]

    assert (model["name"], model["revision"], list(model["files"])) == ("someone/tiny", "copy", ["tiny.gguf"])
    assert "someone/tiny" in run("models", "list").out


def test_pull(run, monkeypatch, tmp_path):
    """A pull passes the source on and says where the file is; the progress stays off standard output."""
    pulls = []

    def pull(name, *, file, source, progress):
        pulls.append((name, file, source))
        progress(1, None)
        progress(50, 100)
        return tmp_path / "model.gguf"

    monkeypatch.setattr("coterie.models.pull.pull", pull)

    assert run("models", "pull", "smollm2", "--from", "hub").out == f"smollm2 is at {tmp_path / 'model.gguf'}\n"
    assert run("models", "pull", "smollm2", "--json").json == {"name": "smollm2", "path": str(tmp_path / "model.gguf")}
    assert run("models", "pull", "a/b", "--file", "c.gguf").code == 0
    assert pulls == [("smollm2", None, "hub"), ("smollm2", None, None), ("a/b", "c.gguf", None)]


def test_pull_fails(run, monkeypatch):
    """What `pull` cannot do is shown with its hint."""

    def pull(name, *, file, source, progress):
        raise ModelMissing("no such model", hint="known are: smollm2")

    monkeypatch.setattr("coterie.models.pull.pull", pull)
    result = run("models", "pull", "nope")

    assert (result.code, result.out) == (1, "")
    assert "known are: smollm2" in result.err


def test_ctrl_c_in_a_pull(run, monkeypatch):
    """Ctrl-C in a pull ends with 130 and leaves the terminal alone."""

    def pull(name, *, file, source, progress):
        progress(10, 100)
        raise KeyboardInterrupt

    monkeypatch.setattr("coterie.models.pull.pull", pull)

    assert run("models", "pull", "smollm2").code == 130


NETWORK = """# ours
[network]
name = "n"

[models.mine]  # from a friend
engine = "llama"
name = "my model.gguf"
threads = 1  # no more

[models.known]
engine = "llama"
name = "smollm2"

[models.far]
engine = "openai"
base_url = "http://x/v1"
name = "far"
"""


@pytest.fixture
def network(tmp_path):
    """A network with a model file of its own."""
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "coterie.toml").write_text(NETWORK)
    (folder / "my model.gguf").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize("name", ["mine", "my model.gguf"])
def test_pin(run, network, name):
    """A file of one's own is run once its checksum is recorded, and no other in its place; nothing else changes."""
    model = load_config(network).models["mine"]
    with pytest.raises(ModelUnpinned, match="no recorded checksum") as refused:
        locate(model, network)
    assert refused.value.hint.endswith(" coterie models pin 'my model.gguf'")

    report = run("-C", str(network), "models", "pin", name, "--json").json
    digest = hashlib.sha256(b"weights").hexdigest()
    assert (report["model"], report["sha256"], report["before"]) == ("mine", digest, None)
    written = (network / "coterie.toml").read_text()
    assert [line for line in written.splitlines() if line not in NETWORK.splitlines()] == [f'sha256 = "{digest}"']
    assert tomllib.loads(written)["models"]["mine"]["sha256"] == digest
    assert locate(load_config(network).models["mine"], network) == network / "my model.gguf"

    (network / "my model.gguf").write_bytes(b"other weights")
    with pytest.raises(ArtefactRefused):
        locate(load_config(network).models["mine"], network)
    assert f"(it was {digest})" in run("-C", str(network), "models", "pin", "mine").out
    assert locate(load_config(network).models["mine"], network)


@pytest.mark.parametrize(
    ("name", "said"), [("known", "comes with Coterie"), ("far", "no model that runs"), ("nobody", "['known', 'mine']")]
)
def test_pin_fails(run, network, name, said):
    """Only an entry with a file of its own is pinned, and nothing is written otherwise."""
    result = run("-C", str(network), "models", "pin", name)
    assert result.code != 0
    assert said in result.err
    assert (network / "coterie.toml").read_text() == NETWORK


def test_pin_without_the_file(run, network):
    """What is not there has no checksum."""
    (network / "my model.gguf").unlink()
    assert "there is no file" in run("-C", str(network), "models", "pin", "mine").err


def test_available(run):
    """Each small model is listed with what one must know to choose; a licence with terms of its own is named."""
    document = run("models", "list", "--available", "--json").json

    assert {"qwen3-0.6b", "granite-4-350m", "smollm3-3b", "gemma-3-270m", "llama-3.2-1b"} <= {
        model["name"] for model in document["models"]
    }
    for model in document["models"]:
        assert model["file"].endswith(".gguf")
        assert model["revision"] is None or len(model["revision"]) == 40
        assert model["here"] is False
    assert "qwen3-4b" in run("models", "list", "--available").out


def test_small_model_is_pulled_and_used(run, folder, tmp_path):
    """A small model comes by its name, at its pinned commit, and gets its table."""
    model = SMALL_MODELS["qwen3-0.6b"]
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / model.file).write_bytes(b"GGUF")
    assert run("-C", folder, "models", "use", model.name).code != 0  # it is not here yet
    assert run("models", "pull", model.name, "--from", str(tmp_path / "stick")).code == 0
    assert run("models", "list", "--available", "--json").json["models"][0]["here"]
    done = run("-C", folder, "models", "use", model.name, "--json")

    assert done.json["model"] == "qwen3_0_6b"
    assert load_config(folder).models["qwen3_0_6b"].name == model.path
    assert run("-C", folder, "models", "use", model.name).code != 0  # the key is taken
    assert run("-C", folder, "models", "use", model.name, "--as", "writer").code == 0


def test_small_model_without_a_pinned_commit(run, tmp_path):
    """It is pulled only at a commit that the user names."""
    model = next(model for model in SMALL_MODELS.values() if model.revision is None)
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / model.file).write_bytes(b"GGUF")
    refused = run("models", "pull", model.name, "--from", str(tmp_path / "stick"))
    assert refused.code != 0
    assert "--revision" in refused.err
    assert run("models", "pull", model.name, "--revision", "a" * 40, "--from", str(tmp_path / "stick")).code == 0


@pytest.mark.parametrize("extra", [["--revision", "abc"], ["--pieces", "5000"], ["--prefix", "query: "]])
def test_options_of_others(run, extra):
    """An option that does not fit the model is refused before anything is fetched."""
    assert run("models", "pull", "smollm2", *extra).code != 0
