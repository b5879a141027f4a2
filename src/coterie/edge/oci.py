"""A bundle as an OCI image layout: a folder that container tools load, made without any of them.

One layer holds the bundle, with dates and owners that are always the same, so one bundle gives one digest.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import platform
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from coterie.edge.device import NETWORK
from coterie.errors import InputError

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_USER = 65532
"""The owner of the files and of the process: no root."""


def write_image(bundle: Path, out: Path, *, name: str) -> str:
    """Write the image of a bundle to a new folder; return its digest.

    It has no system below it: it runs on a base with a C library and a shell, or from an image volume.

    Raises:
        InputError: there is something at `out`.
    """
    if out.exists():
        raise InputError(f"{str(out)!r} exists already.", hint="Name a folder that does not exist yet.")
    blobs = out / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    plain, packed = _layer(bundle, blobs)
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"User": f"{_USER}", "Entrypoint": ["/coterie/run"], "WorkingDir": "/coterie"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{plain}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _blob(blobs, config, "application/vnd.oci.image.config.v1+json"),
        "layers": [packed],
    }
    described = _blob(blobs, manifest, "application/vnd.oci.image.manifest.v1+json")
    described["annotations"] = {"org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [described]}
    (out / "index.json").write_text(json.dumps(index))
    (out / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(described["digest"])


def _layer(bundle: Path, blobs: Path) -> tuple[str, dict[str, Any]]:
    """Write the layer; the digest of what it holds, and its description."""
    draft = blobs / "draft"
    with draft.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0) as zipped:
        plain = _Hashing(zipped)
        with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(bundle.rglob("*")):
                if path.relative_to(bundle).parts[0] == NETWORK:
                    continue  # the ledger and the keys of a device that has run: no part of a release
                archive.add(path, f"coterie/{path.relative_to(bundle)}", recursive=False, filter=_anonymous)
    content = draft.read_bytes()
    digest = sha256(content).hexdigest()
    draft.replace(blobs / digest)
    media = "application/vnd.oci.image.layer.v1.tar+gzip"
    return plain.digest.hexdigest(), {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}


class _Hashing(io.RawIOBase):
    """Passes on what is written, and its SHA-256."""

    def __init__(self, target: gzip.GzipFile) -> None:
        self.digest, self._target = sha256(), target

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:  # noqa: ANN401 - any buffer
        self.digest.update(content)
        self._target.write(content)
        return len(content)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = _USER
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _blob(blobs: Path, document: dict[str, Any], media: str) -> dict[str, Any]:
    content = json.dumps(document, sort_keys=True).encode()
    digest = sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    os.chmod(blobs / digest, 0o644)  # noqa: PTH101 - as all blobs
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}
