"""The bill of materials of the package, as CycloneDX 1.6 JSON: `make sbom` writes it beside the wheel.

    python scripts/sbom_build.py [--out dist/coterie.cdx.json]

From the lock file of this platform (`scripts/lock_build.py`): every package with its version, its SHA-256, its licence
as the installed package states it, and the models that come in the wheel.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import licences_build
from lock_build import ROOT, lock_file

_NAMESPACE = uuid.UUID("6f0d9d0e-7b0c-5a44-9a35-636f74657269")
_LINE = re.compile(r"(\S+)==(\S+) --hash=sha256:(\S+)")


def libraries() -> Iterator[dict[str, Any]]:
    """A component a locked package."""
    for name, version, digest in _LINE.findall(lock_file().read_text(encoding="utf-8")):
        purl = f"pkg:pypi/{name}@{version}"
        try:
            licence = licences_build.licence_of(name)
        except metadata.PackageNotFoundError:
            licence = ""
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            "hashes": [{"alg": "SHA-256", "content": digest}],
            **({"licenses": [{"license": {"name": licence}}]} if licence else {}),
        }


def models() -> Iterator[dict[str, Any]]:
    """Weights that come in the wheel."""
    source = ROOT / "src" / "coterie"
    for path in sorted({*source.rglob("*.onnx"), *source.rglob("*.safetensors"), *source.rglob("*.gguf")}):
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"file:{path.relative_to(source).as_posix()}",
            "name": path.relative_to(source).as_posix(),
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
            "licenses": [{"license": {"name": "Apache-2.0"}}],
        }


def bill() -> dict[str, Any]:
    """The document."""
    version = re.search(r'__version__ = "(.+)"', (ROOT / "src/coterie/__init__.py").read_text(encoding="utf-8"))
    number = version[1] if version else "0"
    parts = [*libraries(), *models()]
    subject = {
        "type": "library",
        "bom-ref": f"pkg:pypi/coterie@{number}",
        "name": "coterie",
        "version": number,
        "purl": f"pkg:pypi/coterie@{number}",
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    serialised = json.dumps(parts, sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, serialised)}",
        "version": 1,
        "metadata": {"component": subject},
        "components": parts,
        "dependencies": [
            {"ref": subject["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"], "dependsOn": []} for part in parts),
        ],
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "coterie.cdx.json")
    out: Path = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(bill(), indent=1) + "\n", encoding="utf-8")
    print(f"Written: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
