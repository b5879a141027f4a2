"""The `[decisions]` section of `coterie.toml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from coterie.config.section import STRICT, Name

EncoderName = Annotated[str, Field(min_length=1, max_length=500)]


class SiteSection(BaseModel):
    """`[decisions.sites.NAME]`: which specialist or model answers one question, wherever it is asked."""

    model_config = STRICT

    question: str = Field(pattern=r"^[0-9a-f]{16}$")
    """Fingerprint of the question, as `coterie decisions` prints it."""
    specialist: str | None = None
    """Specialist that answers the question."""
    label: str | None = None
    """The label whose probability answers a predicate. A `score` specialist has no label."""
    labels: dict[str, str] = Field(default={})
    """Labels by option, where an option has another name than its label: `{ "Money back" = "refund" }`."""
    model: str | None = None
    """`[models]` key of the model that answers the question zero-shot, in place of a specialist."""

    @model_validator(mode="after")
    def _one_answers(self) -> SiteSection:
        if self.specialist is not None and self.model is not None:
            raise ValueError("specialist and model are both set: one of them answers")
        if self.specialist is None and (self.label is not None or self.labels):
            raise ValueError("label and labels are those of a specialist, and none is named")
        return self


class DecisionsSection(BaseModel):
    """`[decisions]`: which specialist or model answers typed questions."""

    model_config = STRICT

    match: bool = True
    """Let a specialist answer a question with three or more options that are all labels of the specialist."""
    model: str | None = None
    """`[models]` key of the model that answers other questions zero-shot; by default, the bundled encoder.

    With `engine = "llama"` the options are weighed by their likelihood; a remote model is asked through the egress
    gate. Where the model cannot answer, the encoder does.
    """
    encoder: EncoderName | Annotated[tuple[EncoderName, ...], Field(min_length=1, max_length=4)] | None = None
    """A second encoder for zero-shot answers, named as in `[network] encoder`.

    Its similarity counts as much as that of the network's own encoder. A list names encoders that weigh choices in
    place of the network's own. Specialists do not use them, and need no new training.
    """
    adapt: bool = False
    """Adapt the options of zero-shot choices to the texts that are asked about, separately for each tenant.

    Later answers then depend on earlier texts. Each worker keeps the adaptation in memory until it ends.
    """
    sites: dict[Name, SiteSection] = Field(default={})
    """Questions with their own specialist or model."""

    @model_validator(mode="after")
    def _sites_differ(self) -> DecisionsSection:
        questions = [site.question for site in self.sites.values()]
        if len(questions) > len(set(questions)):
            raise ValueError("two of `sites` are about the same question")
        return self

    @property
    def models(self) -> frozenset[str]:
        """`[models]` keys of all models that answer zero-shot."""
        return frozenset(name for name in (self.model, *(site.model for site in self.sites.values())) if name)
