"""The section of personal data; its face is `coterie.config`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from ._section import STRICT


class PrivacySection(BaseModel):
    """`[privacy]`: what finds personal data and secrets in texts."""

    model_config = STRICT

    detector: Literal["patterns", "names", "presidio"] = "patterns"
    """`patterns` finds what has a form: numbers with check digits, telephones, addresses of the net, secrets.

    `names` finds names, places, organisations and postal addresses too, with a small model that comes with Coterie:
    then a request that names somebody is confidential, and takes some milliseconds more. `presidio` joins the patterns
    with Microsoft Presidio (`coterie[presidio]`).
    """
