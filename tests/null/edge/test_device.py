"""A device accepts whole, signed, newer releases, and switches between two slots by one rename."""

import gzip
import io
import json
import os
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from coterie.edge import device as devices
from coterie.edge.bundle import write_image
from coterie.errors import ArtefactRefused, InputError, SetupError
from coterie.registry.signature import Signer

pytest.importorskip("cryptography")


@pytest.fixture
def signer() -> Signer:
    """Signs with a key of its own."""
    from coterie.registry.ed25519 import make_key, read_key

    return Signer(read_key(make_key()))


@pytest.fixture
def device(tmp_path: Path, signer: Signer) -> Path:
    """A device that trusts the signer and has nothing yet."""
    home = tmp_path / "device"
    home.mkdir()
    (home / devices.TRUSTED).write_text(f"{signer.public}\n")
    return home


def release(folder: Path, signer: Signer, number: int, /, *, about: dict = {}, **files: str) -> Path:  # noqa: B006
    """A release with a file or two; `about` changes what its manifest says."""
    content = {"network/coterie.toml": f"# {number}\n", "network/state/index.json": "{}", **files}
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    sums = {name: sha256(text.encode()).hexdigest() for name, text in content.items()}
    system = {"system": os.uname().sysname, "machine": os.uname().machine}
    fields = {"format": devices.FORMAT, "release": number, "network": "shop", "coterie": "0", "platform": system}
    manifest = json.dumps({**fields, "files": sums, **about}).encode()
    (folder / devices.MANIFEST).write_bytes(manifest)
    signature = signer.attest(devices.STATEMENT, manifest)
    (folder / devices.SIGNATURE).write_text(json.dumps({"key": signer.public, "signature": signature}))
    return folder


def test_releases_alternate_between_slots(tmp_path, device, signer):
    """Each release goes into the slot that does not run; the one before stays there to go back to."""
    for number in (1, 2, 3):
        devices.install(release(tmp_path / str(number), signer, number), device)
        assert (device / "current").readlink().name == devices.SLOTS[(number - 1) % 2]
    network = devices.prepare(device)
    assert (network / "coterie.toml").read_text() == "# 3\n"
    assert devices.revert(device).number == 2
    assert (network / "coterie.toml").read_text() == "# 2\n"


def test_an_older_release_is_refused(tmp_path, device, signer):
    """Also one that was signed rightly, and also after going back: the number only grows."""
    devices.install(release(tmp_path / "2", signer, 2), device)
    devices.install(release(tmp_path / "3", signer, 3), device)
    devices.revert(device)
    for number in (1, 2, 3):
        with pytest.raises(ArtefactRefused):
            devices.install(release(tmp_path / f"old{number}", signer, number), device)


@pytest.mark.parametrize("name", ["network/coterie.toml", "network/state/index.json", "manifest.json", "manifest.sig"])
@pytest.mark.parametrize("where", [0, -2])
def test_any_changed_byte_is_refused(tmp_path, device, signer, name, where):
    """Of any file, before it is installed and after."""
    release_folder = release(tmp_path / "1", signer, 1)
    devices.install(release_folder, device)
    for folder in (release_folder, device / "current"):
        path = folder / name
        content = bytearray(path.read_bytes())
        content[where] ^= 1
        path.write_bytes(content)
        with pytest.raises(ArtefactRefused):
            devices.check_release(folder, trusted=[signer.public])
    with pytest.raises(ArtefactRefused):
        devices.prepare(device)


def test_files_that_come_or_go_are_refused(tmp_path, device, signer):
    """One more, one less, and a link in the place of a file."""
    devices.install(release(tmp_path / "1", signer, 1), device)
    slot = device / "a"
    (slot / "more.py").write_text("1")
    with pytest.raises(ArtefactRefused):
        devices.prepare(device)
    (slot / "more.py").unlink()
    devices.prepare(device)
    (slot / "network" / "coterie.toml").rename(tmp_path / "away")
    with pytest.raises(ArtefactRefused):
        devices.prepare(device)
    (slot / "network" / "coterie.toml").symlink_to(tmp_path / "away")
    with pytest.raises(ArtefactRefused):
        devices.prepare(device)


def test_what_is_no_plain_file_is_refused(tmp_path, device, signer):
    """A link to a folder, which Python would import from; a pipe, at which a reader would wait; a name of bytes."""
    release_folder = release(tmp_path / "1", signer, 1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for make, path in [
        (lambda path: path.symlink_to(elsewhere), release_folder / "network" / "sitecustomize"),
        (lambda path: path.symlink_to(tmp_path / "nowhere"), release_folder / "link"),
        (os.mkfifo, release_folder / "pipe"),
        (lambda path: Path(os.fsdecode(os.fsencode(path) + b"\xff")).touch(), release_folder / "odd"),
    ]:
        make(path)
        with pytest.raises(ArtefactRefused):
            devices.install(release_folder, device)
        next(entry for entry in path.parent.iterdir() if entry.name.startswith(path.name)).unlink()
    (release_folder / "network" / "coterie.toml").unlink()
    os.mkfifo(release_folder / "network" / "coterie.toml")
    with pytest.raises(ArtefactRefused):
        devices.install(release_folder, device)
    assert not (device / "current").exists()


def test_a_copy_that_was_cut_off_is_refused(tmp_path, device, signer):
    """Files that are shorter, or not there, whichever came last."""
    release_folder = release(tmp_path / "1", signer, 1, **{"python/lib.so": "x" * 10_000})
    for name, size in (("python/lib.so", 4_096), ("network/coterie.toml", 0), ("manifest.json", 100)):
        whole = (release_folder / name).read_bytes()
        (release_folder / name).write_bytes(whole[:size])
        with pytest.raises(ArtefactRefused):
            devices.install(release_folder, device)
        (release_folder / name).write_bytes(whole)
    devices.install(release_folder, device)


@pytest.mark.parametrize(
    "about",
    [
        {"network": "another"},
        {"format": "coterie-bundle/2"},
        {"platform": {"system": "Linux", "machine": "another"}},
        {"platform": None},
        {"files": []},
        {"files": {"network/coterie.toml": 1}},
        {"files": {"../elsewhere": "0" * 64}},
    ],
    ids=str,
)
def test_a_release_for_others_is_refused(tmp_path, device, signer, about):
    """Signed by who signs ours: of another network, for another machine, in another form."""
    devices.install(release(tmp_path / "1", signer, 1), device)
    with pytest.raises(ArtefactRefused):
        devices.install(release(tmp_path / "2", signer, 2, about=about), device)


def test_a_manifest_of_another_release_is_refused(tmp_path, device, signer):
    """With its signature, which is right, beside files that are not its own."""
    one, two = release(tmp_path / "1", signer, 1), release(tmp_path / "2", signer, 2)
    for name in (devices.MANIFEST, devices.SIGNATURE):
        (two / name).write_bytes((one / name).read_bytes())
    with pytest.raises(ArtefactRefused):
        devices.install(two, device)


def test_a_signature_for_something_else_is_none(tmp_path, device, signer):
    """What a signer said of something else than a bundle does not count."""
    release_folder = release(tmp_path / "1", signer, 1)
    signature = signer.attest("version", (release_folder / devices.MANIFEST).read_bytes())
    (release_folder / devices.SIGNATURE).write_text(json.dumps({"key": signer.public, "signature": signature}))
    with pytest.raises(ArtefactRefused):
        devices.install(release_folder, device)


@pytest.mark.parametrize("lost", [True, False])
def test_a_counter_that_is_lost_or_lowered(tmp_path, device, signer, lost):
    """What lies in the slots is still a floor for what is installed."""
    for number in (1, 2, 3):
        devices.install(release(tmp_path / str(number), signer, number), device)
    (device / "release").unlink() if lost else (device / "release").write_text("1\n")
    for number in (1, 2, 3):
        with pytest.raises(ArtefactRefused):
            devices.install(tmp_path / str(number), device)
    assert devices.install(release(tmp_path / "4", signer, 4), device).number == 4


def test_another_s_release_is_refused(tmp_path, device):
    """Signed rightly, with a key that the device does not know."""
    from coterie.registry.ed25519 import make_key, read_key

    other = Signer(read_key(make_key()))
    with pytest.raises(ArtefactRefused):
        devices.install(release(tmp_path / "1", other, 1), device)


def test_what_is_written_stays(tmp_path, device, signer):
    """The state of the network is the device's, and survives a further release."""
    devices.install(release(tmp_path / "1", signer, 1), device)
    network = devices.prepare(device)
    (network / "state" / "coterie.db").write_text("rows")
    devices.install(release(tmp_path / "2", signer, 2), device)
    assert (devices.prepare(device) / "state" / "coterie.db").read_text() == "rows"


def test_models_of_a_release(tmp_path, device, signer):
    """What is written beside a model, such as its checksum, is not in the slot, which stays as it was signed."""
    files = {"network/gguf/own.gguf": "weights", "models/encoders/e5/model.onnx": "graph"}
    devices.install(release(tmp_path / "1", signer, 1, **files), device)
    network = devices.prepare(device)
    pulled = network / "state" / "home" / "models" / "encoders" / "e5" / "model.onnx"
    for path in (network / "gguf" / "own.gguf", pulled):
        path.with_name("note.json").write_text("{}")
    devices.install(release(tmp_path / "2", signer, 2, **files | {"network/gguf/own.gguf": "others"}), device)
    assert devices.prepare(device) == network
    assert ((network / "gguf" / "own.gguf").read_text(), pulled.read_text()) == ("others", "graph")


def test_a_folder_that_an_earlier_version_linked(tmp_path, device, signer):
    """It becomes a folder with links to its files."""
    devices.install(release(tmp_path / "1", signer, 1, **{"network/gguf/own.gguf": "weights"}), device)
    (device / "network").mkdir()
    (device / "network" / "gguf").symlink_to("../current/network/gguf")
    network = devices.prepare(device)
    assert not (network / "gguf").is_symlink()
    assert (network / "gguf" / "own.gguf").read_text() == "weights"


def test_a_bundle_that_is_read_only(tmp_path, device, signer, monkeypatch):
    """With a folder of its own for the network it runs; without, it says which variable names one."""
    devices.install(release(tmp_path / "1", signer, 1), device)
    elsewhere = tmp_path / "volume" / "network"
    for _ in range(2):
        assert devices.prepare(device, elsewhere) == elsewhere
    assert (elsewhere / "coterie.toml").read_text() == "# 1\n"
    assert json.loads((elsewhere / "state" / "index.json").read_text()) == {}
    assert not (device / "network").exists()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    assert devices.prepare(device, elsewhere) == elsewhere  # every link is there: nothing is written
    with pytest.raises(SetupError, match=r"Read-only"):
        devices.prepare(device)


def test_an_interrupted_switch_leaves_the_old_one(tmp_path, device, signer, monkeypatch):
    """Cut before the rename, the release before still runs, and the next install works."""
    devices.install(release(tmp_path / "1", signer, 1), device)
    with monkeypatch.context() as patch:
        patch.setattr(devices, "switch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            devices.install(release(tmp_path / "2", signer, 2), device)
    assert (devices.prepare(device) / "coterie.toml").read_text() == "# 1\n"
    devices.install(release(tmp_path / "3", signer, 3), device)
    assert (devices.prepare(device) / "coterie.toml").read_text() == "# 3\n"


# --- A bundle as an OCI image: every blob is what its digest says, and one bundle gives one image.


@pytest.fixture
def bundle(tmp_path):
    """A folder with a program, a file and a link."""
    home = tmp_path / "box"
    (home / "a").mkdir(parents=True)
    (home / "run").write_text("#!/bin/sh")
    (home / "run").chmod(0o755)
    (home / "a" / "data.json").write_text("{}")
    (home / "current").symlink_to("a")
    (home / "network" / "state").mkdir(parents=True)
    (home / "network" / "state" / "keys.json").write_text("this device's own")
    return home


def test_blobs(tmp_path, bundle):
    """Manifest, configuration and layer are found by their digests, and the layer holds the bundle of nobody."""
    digest = write_image(bundle, tmp_path / "image", name="shop:3")
    blobs = tmp_path / "image" / "blobs" / "sha256"
    for path in blobs.iterdir():
        assert sha256(path.read_bytes()).hexdigest() == path.name
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
    config = json.loads((blobs / manifest["config"]["digest"].removeprefix("sha256:")).read_text())
    (layer,) = manifest["layers"]
    packed = (blobs / layer["digest"].removeprefix("sha256:")).read_bytes()
    plain = gzip.decompress(packed)
    assert layer["size"] == len(packed)
    assert config["rootfs"]["diff_ids"] == [f"sha256:{sha256(plain).hexdigest()}"]
    assert config["config"]["User"] != "0"
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        entries = {entry.name: entry for entry in archive}
    assert set(entries) == {"coterie/run", "coterie/a", "coterie/a/data.json", "coterie/current"}
    assert entries["coterie/current"].linkname == "a"
    assert {entry.uid for entry in entries.values()} == {65532}
    assert entries["coterie/run"].mode == 0o755


def test_the_same_bundle_gives_the_same_image(tmp_path, bundle):
    """Whenever it is made; and nothing is written over."""
    one = write_image(bundle, tmp_path / "one", name="shop:3")
    (bundle / "run").touch()
    assert write_image(bundle, tmp_path / "two", name="shop:3") == one
    with pytest.raises(InputError):
        write_image(bundle, tmp_path / "two", name="shop:3")
