"""CUAD's contracts as they lie in the public archive: their texts, and the one name that table and archive agree on."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path


def contract_texts(archive: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each contract."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            stream = tar.extractfile(member) if member.name.endswith(".txt") else None
            if stream is not None:
                yield Path(member.name).name, stream.read().decode("utf-8", errors="replace")


def contract_key(name: str) -> str:
    """A file's name without suffix and signs: table and archive do not agree on them."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\.(pdf|txt)'?$", "", name.strip(), flags=re.IGNORECASE).casefold())
