"""The bill of materials of a version: valid CycloneDX, every byte of it with its hash, and the same each time."""

import hashlib
import json

import pytest

from coterie.errors import ArtefactRefused
from coterie.registry.export import bill_of_materials
from coterie.registry.registry import Registry

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
