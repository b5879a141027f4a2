"""What Coterie brings along: locked with hashes, its licences listed, in a bill of materials."""

import importlib.util
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lock_build():
    spec = importlib.util.spec_from_file_location("lock_build", ROOT / "scripts" / "lock_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lock_has_every_dependency(lock_build):
    """Of the core and the locked extras, within its range, with a hash; torch, which comes in builds, is not pinned."""
    files = sorted((ROOT / "requirements").glob("*.txt"))

    assert files
    assert {path.name: lock_build.problems(path) for path in files} == {path.name: [] for path in files}


def test_a_lock_that_lags_behind_is_found(lock_build, tmp_path, monkeypatch):
    """A dependency that is missing, too old, or without a hash, and a pinned torch."""
    line = "--hash=sha256:" + "a" * 64
    path = tmp_path / "lock.txt"
    path.write_text(f"# made\nnumpy==1.0 {line}\ntorch==2.9 {line}\n")
    problems = lock_build.problems(path)

    assert "numpy>=2.0 is locked at 1.0" in problems
    assert "aiohttp>=3.12 is not locked" in problems
    assert "torch must not be pinned" in problems
    path.write_text("numpy==2.4\n")
    with pytest.raises(ValueError, match="no `name==version"):
        lock_build.problems(path)


def test_a_lock_for_another_processor(lock_build):
    """What is needed on one of two processors only is named: pip cannot resolve that for another one."""
    here, there = platform.machine(), "aarch64" if platform.machine() == "x86_64" else "x86_64"
    needs = [
        "numpy>=2",
        "colorama; sys_platform == 'win32'",
        f"fast; platform_machine == '{here}'",
        f"slow; extra == 'all' and platform_machine == '{there}'",
    ]
    package = {"metadata": {"name": "a", "requires_dist": needs}}

    assert lock_build.depending([package], there) == {f"a needs {needs[2]}"}
    assert len(lock_build.depending([{**package, "requested_extras": ["all"]}], there)) == 2
    assert lock_build.depending([package], here) == set()


def test_every_dependency_has_a_licence(lock_build):
    """In the page, and stated."""
    rows = [
        line.split(" | ")
        for line in (ROOT / "docs/reference/licences.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    licences = {canonicalize_name(name.strip("| ")): licence.strip(" |") for name, licence in rows}

    for requirement in lock_build.wanted():
        assert licences[canonicalize_name(requirement.name)]
    assert [name for name, licence in licences.items() if licence in {"", "not stated"}] == []


@pytest.mark.slow
def test_the_package_has_a_bill_of_materials(tmp_path):
    """Valid CycloneDX with every locked package and the models in the wheel."""
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    out = tmp_path / "bill.json"
    subprocess.run([sys.executable, ROOT / "scripts/sbom_build.py", "--out", out], check=True, cwd=ROOT)
    document = json.loads(out.read_text())
    names = {part["name"] for part in document["components"]}

    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(out.read_text()) is None
    assert {"numpy", "starlette", "engines/encoder/model.onnx"} <= names
    assert all(part["hashes"] for part in document["components"])
