"""The bill of materials of a version: valid CycloneDX, every byte of it with its hash, and the same each time."""

import hashlib
import json
import os

import pytest

from coterie.errors import ArtefactRefused, InputError, SetupError
from coterie.registry.export import bill_of_materials, export_version
from coterie.registry.registry import Registry
from coterie.registry.signature import Trust, open_signer, write_key

REPORT = {
    "name": "triage",
    "task": "classify",
    "rung": "encoder",
    "description": "Names the intent.",
    "data": {
        "train": {"file": "a.csv", "sha256": "a" * 64, "rows": 12, "licence": "CC-BY-4.0"},
        "held_out": {"file": "b.csv", "sha256": "b" * 64, "rows": 3},
        "again": {"file": "a.csv", "sha256": "a" * 64, "rows": 12},
    },
    "base": {"name": "minilm", "source": "org/minilm", "sha256": "c" * 64, "licence": "Apache-2.0"},
    "encoder_sha256": "d" * 64,
    "libraries": {"numpy": "2.4.6", "torch": "2.13.0+cpu"},
    "metrics": {"accuracy": 0.91, "intervals": {}, "note": "x"},
    "code_version": "0.1.0",
}


@pytest.fixture
def stored(tmp_path):
    registry = Registry(tmp_path / "registry")
    files = {"model.json": b"{}", "weights.safetensors": b"\x00\x01", "report.json": json.dumps(REPORT).encode()}
    return registry, registry.add("triage", files)


def test_what_is_in_it(stored):
    """Files, data once each, base, encoder and libraries, with the hashes that they have."""
    registry, version = stored
    bill = bill_of_materials(registry.load("triage", version))
    parts = {part["bom-ref"]: part for part in bill["components"]}
    subject = bill["metadata"]["component"]

    assert subject["bom-ref"] == f"coterie:triage@{version}"
    assert subject["hashes"][0]["content"].startswith(version)
    assert parts["file:weights.safetensors"]["hashes"] == [
        {"alg": "SHA-256", "content": hashlib.sha256(b"\x00\x01").hexdigest()}
    ]
    assert [ref for ref in parts if ref.startswith("data:")] == ["data:train", "data:held_out"]
    assert parts["data:train"]["licenses"] == [{"license": {"name": "CC-BY-4.0"}}]
    assert "licenses" not in parts["data:held_out"]
    assert parts["model:base"]["hashes"][0]["content"] == "c" * 64
    assert parts["model:encoder"]["hashes"][0]["content"] == "d" * 64
    assert parts["pkg:pypi/torch@2.13.0"]["version"] == "2.13.0+cpu"
    assert subject["modelCard"]["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "accuracy", "value": "0.91"}]
    assert bill == bill_of_materials(registry.load("triage", version))


@pytest.mark.parametrize("report", [REPORT, {"name": "bare"}, {"name": "x", "data": {"train": {"sha256": "?"}}}])
def test_it_is_cyclonedx(tmp_path, report):
    """The specification's own schema takes it, whatever the report has."""
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    registry = Registry(tmp_path / "registry")
    version = registry.add("triage", {"model.json": b"{}", "report.json": json.dumps(report).encode()})
    document = json.dumps(bill_of_materials(registry.load("triage", version)))

    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None


def test_a_tampered_version_has_none(stored):
    """It is refused, as everywhere."""
    registry, version = stored
    path = next(registry.load("triage", version).folder.glob("weights.safetensors"))
    path.chmod(0o600)
    path.write_bytes(b"\x00\x02")
    with pytest.raises(ArtefactRefused):
        bill_of_materials(registry.load("triage", version))


# --- Exports: complete, checkable, whole or not at all.


def test_what_was_exported_can_be_checked(registry, tmp_path):
    """An export, without its README.md, is the version: put into another registry it loads, signature and all."""
    _, public = write_key(tmp_path / "key.pem")
    signer = open_signer("key.pem", tmp_path)
    version = Registry(registry.root, signer=signer).add("triage", {"card.md": b"#", "model.json": b"{}"})
    other = Registry(tmp_path / "other", trust=Trust(keys=frozenset({public}), required=True))

    export_version(registry.load("triage", version), other.root / "triage" / version)
    (other.root / "triage" / version / "README.md").unlink()

    assert other.load("triage", version).files == {"card.md": b"#", "model.json": b"{}"}


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_an_export_that_fails_leaves_nothing(registry, add, tmp_path, monkeypatch, name):
    """Where the disk is full there is no folder, no file and no half of one."""
    version = registry.load("triage", add("first"))

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SetupError, match="No space left"):
        export_version(version, tmp_path / "to" / name)
    assert list((tmp_path / "to").iterdir()) == []


def test_a_dangling_link_is_not_written_through(registry, add, tmp_path):
    """A link where the export should be is something that is there."""
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InputError, match="exists already"):
        export_version(registry.load("triage", add("first")), tmp_path / "out")
