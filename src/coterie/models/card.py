"""The licence that a model's files state."""

from __future__ import annotations

import re
from email.parser import HeaderParser
from pathlib import Path

_HEAD = re.compile(r"---\n(.*?)\n---", re.DOTALL)
_LICENCE = re.compile(r"^license:\s*[\"']?([\w.+-]+)", re.MULTILINE)


def licence_of_card(readme: Path) -> str | None:
    """The licence that a model card of the hub names between the two lines of dashes at its head."""
    if not readme.is_file():
        return None
    head = _HEAD.match(readme.read_text(encoding="utf-8", errors="replace"))
    found = _LICENCE.search(head[1]) if head else None
    return found[1] if found else None


def licence_of_metadata(metadata: str) -> str | None:
    """The licence expression of a Python package (PEP 639), or its older field where that is one word."""
    said = HeaderParser().parsestr(metadata)
    licence = said.get("License-Expression") or said.get("License") or ""
    return licence.strip() if 0 < len(licence.strip()) <= 40 and "\n" not in licence.strip() else None
