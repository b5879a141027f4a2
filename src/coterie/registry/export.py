"""A version as a folder or zip file that others can use, in the form the Hugging Face hub wants."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from coterie.errors import InputError
from coterie.registry.files import MANIFEST, replace_file, told, write_folder
from coterie.registry.signature import SIGNATURE
from coterie.registry.version import Version

CARD = "card.md"
_README = "README.md"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a zip file can hold


def export_version(version: Version, target: Path) -> Path:
    """Write a version to a folder, or to a zip file if the name ends so: whole or not at all.

    It holds the version's files with manifest and signature, and the card once more as `README.md`. The same version
    gives the same bytes.

    Raises:
        InputError: there is something of this name.
        SetupError: it cannot be written; nothing of it is left.
    """
    if target.exists() or target.is_symlink():
        raise InputError(f"{str(target)!r} exists already.", hint="Name a folder or zip file that does not exist yet.")
    files = dict(sorted({**version.files, MANIFEST: version.manifest}.items()))
    if version.signature.content is not None:
        files[SIGNATURE] = version.signature.content
    if CARD in files:
        files[_README] = files[CARD]
    with told(f"export to {str(target)!r}"):
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
