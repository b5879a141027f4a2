"""Whether what a shelf has of a document is for more people than may see the document now.

A document that cannot be read any more keeps its earlier version. Its label may have been raised, or its tenant
changed, since: then the earlier version must go, or a file that happens to be broken is a way around its label.
"""

from __future__ import annotations

from coterie.types import Label

from ._document import Shelf

_NOBODY = ""
"""As this tenant one sees what belongs to none."""


async def is_outgrown(shelf: Shelf, name: str, *, label: Label, tenant: str | None) -> bool:
    """Whether anybody sees this document of the shelf who may not see one of this label and tenant."""
    lower = max((each for each in Label if each < label), default=None)
    for asker in (*await shelf.tenants(), _NOBODY):
        clearance = Label.RESTRICTED if tenant not in {None, asker} else lower
        seen = clearance is not None and await shelf.text(name, 0, 1, clearance=clearance, tenant=asker) is not None
        if seen:
            return True
    return False
