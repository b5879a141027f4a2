"""A bundle as an OCI image: every blob is what its digest says, and one bundle gives one image."""

import gzip
import io
import json
import tarfile
from hashlib import sha256

import pytest

from coterie.edge.bundle import write_image
from coterie.errors import InputError


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
