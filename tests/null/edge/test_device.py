"""A device accepts whole, signed, newer releases, and switches between two slots by one rename."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from coterie.edge import device as devices
from coterie.errors import ArtefactRefused
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


def release(folder: Path, signer: Signer, number: int, **files: str) -> Path:
    """A release with a file or two."""
    content = {"network/coterie.toml": f"# {number}\n", "network/state/index.json": "{}", **files}
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    sums = {name: sha256(text.encode()).hexdigest() for name, text in content.items()}
    manifest = json.dumps({"release": number, "network": "shop", "coterie": "0", "files": sums}).encode()
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
    found = release(tmp_path / "1", signer, 1)
    devices.install(found, device)
    for folder in (found, device / "current"):
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
