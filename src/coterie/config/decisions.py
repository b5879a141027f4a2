"""The `[decisions]` section of `coterie.toml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from coterie.config.section import STRICT, Name

EncoderName = Annotated[str, Field(min_length=1, max_length=500)]


class SiteSection(BaseModel):
    """`[decisions.sites.NAME]`: who answers one question, wherever it is asked."""

    model_config = STRICT

    question: str = Field(pattern=r"^[0-9a-f]{16}$")
    """Fingerprint of the question, as `coterie decisions` prints it."""
    specialist: str | None = None
    """Specialist that answers it."""
    label: str | None = None
    """Of a predicate: the label whose probability is the answer. With a `score` specialist there is none."""
    labels: dict[str, str] = Field(default={})
    """Labels by option, where an option has another name than its label: `{ "Money back" = "refund" }`."""
    model: str | None = None
    """`[models]` key of what answers it zero-shot, in place of a specialist."""

    @model_validator(mode="after")
    def _one_answers(self) -> SiteSection:
        if self.specialist is not None and self.model is not None:
            raise ValueError("specialist and model are both set: one of them answers")
        if self.specialist is None and (self.label is not None or self.labels):
            raise ValueError("label and labels are those of a specialist, and none is named")
        return self


class DecisionsSection(BaseModel):
    """`[decisions]`: who answers typed questions."""

    model_config = STRICT

    match: bool = True
    """Let a specialist answer a question whose options, three or more, are its labels or some of them."""
    model: str | None = None
    """`[models]` key of what answers other questions zero-shot; left out, the bundled encoder does.

    With `engine = "llama"` the options are weighed by their likelihood; a remote model is asked through the egress
    gate. Where it cannot answer, the encoder does.
    """
    encoder: EncoderName | Annotated[tuple[EncoderName, ...], Field(min_length=1, max_length=4)] | None = None
    """A second encoder for zero-shot answers, named as `[network] encoder` is: its likeness counts as much as that of
    the network's own. A list names those that weigh choices in place of the network's own. Specialists do not use
    them, and need no training anew."""
    adapt: bool = False
    """Draw the options of zero-shot choices towards the texts that are asked about, each tenant's for itself. Later
    answers then depend on earlier texts; what was drawn is kept in memory, by each worker for itself until it ends."""
    sites: dict[Name, SiteSection] = Field(default={})
    """Questions that have their own answerer."""

    @model_validator(mode="after")
    def _sites_differ(self) -> DecisionsSection:
        questions = [site.question for site in self.sites.values()]
        if len(questions) > len(set(questions)):
            raise ValueError("two of `sites` are about the same question")
        return self

    @property
    def models(self) -> frozenset[str]:
        """`[models]` keys of all that answer zero-shot."""
        return frozenset(name for name in (self.model, *(site.model for site in self.sites.values())) if name)
