"""The audit log that a network's file describes."""

from __future__ import annotations

from pathlib import Path

from coterie.config import AuditSection
from coterie.registry import is_attested, open_signer

from ._audit import AuditLog
from ._audit_line import Place


def open_audit(section: AuditSection, folder: Path) -> AuditLog | None:
    """The log; None where it is not enabled. Nothing is written before the first entry.

    Raises:
        ConfigError: the signing key is not there, is none, or others may read it.
        ExtraMissing: signing needs a package.
    """
    if not section.enabled:
        return None
    signer = open_signer(section.signing_key, folder, setting="audit.signing_key")
    return AuditLog(
        folder / section.path,
        signer=signer,
        checkpoint_every=section.checkpoint_every,
        sync_seconds=section.sync_seconds,
    )


def attests(place: Place, key: str, signature: str) -> bool:
    """Whether the holder of this key signed that an audit log stood there."""
    return is_attested("audit", place.statement, key=key, signature=signature)
