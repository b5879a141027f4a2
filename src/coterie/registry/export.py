"""Exports of a version: a folder or zip file in the Hugging Face form, and a bill of materials (CycloneDX)."""

from __future__ import annotations

import hashlib
import io
import re
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coterie.errors import InputError
from coterie.registry.promotion import mapping, number
from coterie.registry.signature import SIGNATURE
from coterie.registry.version import MANIFEST, Version, explaining, replace_file, write_folder

CARD = "card.md"
_README = "README.md"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a zip file can hold


def export_version(version: Version, target: Path) -> Path:
    """Write a version to a folder, or to a zip file if the name has that ending: as a whole or not at all.

    The export holds the version's files with manifest and signature, and the card once more as `README.md`. The
    same version gives the same bytes.

    Raises:
        InputError: the target already exists.
        SetupError: it cannot be written; nothing of it is left.
    """
    if target.exists() or target.is_symlink():
        raise InputError(f"{str(target)!r} exists already.", hint="Name a folder or zip file that does not exist yet.")
    files = dict(sorted({**version.files, MANIFEST: version.manifest}.items()))
    if version.signature.content is not None:
        files[SIGNATURE] = version.signature.content
    if CARD in files:
        files[_README] = files[CARD]
    with explaining(f"export to {str(target)!r}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".zip":
            replace_file(target, _zipped(f"{version.name}-{version.version}", files))
        else:
            write_folder(target.absolute().parent, target.name, files)
    return target


def _zipped(folder: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(f"{folder}/{name}", _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


# --- Bill of materials: CycloneDX 1.6.

SPECIFICATION = "1.6"
_NAMESPACE = uuid.UUID("6f0d9d0e-7b0c-5a44-9a35-636f74657269")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Component = dict[str, Any]


def bill_of_materials(version: Version) -> dict[str, Any]:
    """Return the CycloneDX document of a version."""
    report = version.report
    subject = _subject(version, report)
    parts = [*_files(version), *_data(report), *_models(report), *_libraries(report)]
    depends = [{"ref": subject["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]}]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{version.name}@{version.version}')}",
        "version": 1,
        "metadata": {"component": subject},
        "components": parts,
        "dependencies": [*depends, *({"ref": part["bom-ref"], "dependsOn": []} for part in parts)],
    }


def _subject(version: Version, report: Mapping[str, object]) -> Component:
    """Return the version as a component, with the fields of CycloneDX's model card."""
    figures = [
        {"type": name, "value": f"{value:.6g}"}
        for name, value_ in mapping(report.get("metrics")).items()
        if (value := number(value_)) is not None
    ]
    card: dict[str, Any] = {"modelParameters": {"task": str(report.get("task", ""))}}
    if data := list(_data(report)):
        card["modelParameters"]["datasets"] = [{"ref": dataset["bom-ref"]} for dataset in data]
    if figures:
        card["quantitativeAnalysis"] = {"performanceMetrics": figures}
    return {
        "type": "machine-learning-model",
        "bom-ref": f"coterie:{version.name}@{version.version}",
        "name": version.name,
        "version": version.version,
        "description": str(report.get("description", "")),
        "hashes": _hashes(hashlib.sha256(version.manifest).hexdigest()),
        "modelCard": card,
        "properties": [
            {"name": "coterie:rung", "value": str(report.get("rung", ""))},
            {"name": "coterie:code_version", "value": str(report.get("code_version", ""))},
        ],
    }


def _files(version: Version) -> Iterator[Component]:
    for name in sorted(version.files):
        content = version.files[name]
        yield {
            "type": "file",
            "bom-ref": f"file:{name}",
            "name": name,
            "hashes": _hashes(hashlib.sha256(content).hexdigest()),
        }


def _data(report: Mapping[str, object]) -> Iterator[Component]:
    """Yield the files of training and held-out rows, each once."""
    seen = set[str]()
    for use, described in mapping(report.get("data")).items():
        about = mapping(described)
        digest = str(about.get("sha256", ""))
        if digest in seen:
            continue
        seen.add(digest)
        yield {
            "type": "data",
            "bom-ref": f"data:{use}",
            "name": str(about.get("file", use)),
            "hashes": _hashes(digest),
            **_licensed(about.get("licence")),
            "properties": [{"name": "coterie:rows", "value": str(about.get("rows", ""))}],
        }


def _models(report: Mapping[str, object]) -> Iterator[Component]:
    if base := mapping(report.get("base")):
        source = str(base.get("source", ""))
        yield {
            "type": "machine-learning-model",
            "bom-ref": "model:base",
            "name": str(base.get("name", "base model")),
            "hashes": _hashes(str(base.get("sha256", ""))),
            **_licensed(base.get("licence")),
            **({"properties": [{"name": "coterie:source", "value": source}]} if source else {}),
        }
    if encoder := str(report.get("encoder_sha256") or ""):
        yield {
            "type": "machine-learning-model",
            "bom-ref": "model:encoder",
            "name": "all-MiniLM-L6-v2 (int8 ONNX)",
            "hashes": _hashes(encoder),
            **_licensed("Apache-2.0"),
        }


def _libraries(report: Mapping[str, object]) -> Iterator[Component]:
    for name, version in mapping(report.get("libraries")).items():
        purl = f"pkg:pypi/{name.lower()}@{str(version).partition('+')[0]}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": str(version), "purl": purl}


def _hashes(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}] if _SHA256.fullmatch(digest) else []


def _licensed(licence: object) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Return a licence as it was stated; nothing if none is stated."""
    if not isinstance(licence, str) or not licence.strip():
        return {}
    return {"licenses": [{"license": {"name": licence.strip()}}]}
