"""Saying that a text was not read to its end."""

from __future__ import annotations

from dataclasses import replace

from coterie.types import Finding

NOTE = "only the beginning of the text was read"


def truncated_finding(finding: Finding) -> Finding:
    """The finding of a text of which only the beginning was read, with that behind its reason."""
    return replace(finding, reason=f"{finding.reason}; {NOTE}", truncated=True)
