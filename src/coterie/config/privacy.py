"""The section of personal data; its face is `coterie.config`."""

from __future__ import annotations

from pydantic import BaseModel, Field, model_validator

from coterie.config.section import STRICT


class PrivacySection(BaseModel):
    """`[privacy]`: what finds personal data and secrets in texts."""

    model_config = STRICT

    detector: str = "patterns"
    """`patterns` finds what has a form: numbers with check digits, telephones, addresses of the net, secrets.

    `names` finds names, places, organisations and postal addresses too, with a small model that comes with Coterie:
    then a request that names somebody is confidential, and takes some milliseconds more. `presidio` joins the patterns
    with Microsoft Presidio (`coterie[presidio]`). An installed package may add others.
    """
    model: str | None = Field(default=None, min_length=1)
    """Folder of a model of names that `coterie privacy train` made, from the network's folder; without it `names` has
    the one that comes with Coterie."""

    @model_validator(mode="after")
    def _model_is_used(self) -> PrivacySection:
        if self.model is not None and self.detector != "names":
            raise ValueError(f'`model` is for detector = "names", and the detector is "{self.detector}"')
        return self


# --- The section on how long content is kept; its face is `coterie.config`.


class RetentionSection(BaseModel):
    """`[retention]`: how long what people said is kept. Figures of the ledger stay."""

    model_config = STRICT

    days: float | None = Field(default=None, gt=0, le=36_500)
    """Traces, and what else is kept about a request, are deleted after so many days; sessions not used for as long too.

    Left out, traces stay until they are erased, and sessions as `session_days` of `[store]` says. Within the hour, by
    whatever has the network open; also the names of sessions in the ledger go.
    """
