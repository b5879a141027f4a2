"""A generative model that training asks.

Only the rung `llm` asks one, and only where it is named. Remote models are reached through the egress gate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from coterie.accounting import format_money, token_money
from coterie.config import Config, Model, OpenAIModel, SpecialistSection
from coterie.engines import LlamaEngine
from coterie.governance import ClearancePolicy, Gate
from coterie.models import describe_model, locate
from coterie.protocols import Engine
from coterie.types import Label

from ._kept import KeptAnswers, RememberingEngine

ANSWERS_FILE = Path("state") / "answers.jsonl"
"""In the network's folder: a line an answer, with a hash in place of its prompt."""
_AT_ONCE = 8
"""Prompts that are with a server at the same time."""


@dataclass(frozen=True, kw_only=True)
class AskedModel:
    """A `[models]` entry that training may ask."""

    key: str
    """Its key in `[models]`, and its name in the ledger."""
    model: Model
    folder: Path
    """The network's."""
    label: Label
    """Sensitivity of the texts it is shown."""
    currency: str = "USD"
    """Of its prices."""

    @property
    def is_remote(self) -> bool:
        """It is reached through the gate."""
        return isinstance(self.model, OpenAIModel)

    def check(self) -> None:
        """Refuse what would be refused at every prompt, before anything is asked.

        Raises:
            EgressRefused: the texts are above its clearance.
            ModelMissing, ArtefactRefused: its file is not here, or is another.
        """
        if isinstance(self.model, OpenAIModel):
            Gate(ClearancePolicy()).check(self.key, self.model, self.label)
        else:
            locate(self.model, self.folder)

    def open(self) -> RememberingEngine:
        """The engine, which asks nothing twice. Opens no connection and loads nothing before the first new prompt."""
        if isinstance(self.model, OpenAIModel):
            engine: Engine = Gate(ClearancePolicy()).open(self.key, self.model)
            at_once = _AT_ONCE
        else:
            engine = LlamaEngine.configured(self.key, self.model, locate(self.model, self.folder))
            at_once = self.model.parallel
        identity = [self.model.engine, *self.describe().values(), getattr(self.model, "base_url", "")]
        return RememberingEngine(
            engine, KeptAnswers(self.folder / ANSWERS_FILE), identity=json.dumps(identity), at_once=at_once
        )

    def describe(self) -> dict[str, str | None]:
        """The model's name, and its file's checksum where one is pinned."""
        return describe_model(self.model)

    def money(self, tokens_in: int, tokens_out: int) -> Decimal | None:
        """What so many tokens cost; None where no price is set. A model in this process takes no money a token."""
        if not isinstance(self.model, OpenAIModel):
            return None
        prices = self.model.prices_at()
        return token_money(
            Decimal(tokens_in), Decimal(tokens_out), price_in=prices.tokens_in, price_out=prices.tokens_out
        )

    def in_words(self, tokens_in: int, tokens_out: int) -> str:
        """What so many tokens cost, for people."""
        if not self.is_remote:
            return "no money: it runs in this process"
        money = self.money(tokens_in, tokens_out)
        return "at a price that is not set" if money is None else f"about {format_money(money, self.currency)}"


def find_asked(section: SpecialistSection, config: Config, folder: Path) -> AskedModel | None:
    """The model that a section's rung `llm` asks; None if it has no such rung.

    Args:
        section: The specialist's.
        config: The network's, whose `default_label` the texts have unless the section says otherwise.
        folder: The network's.
    """
    if "llm" not in (section.rungs or ()) or section.model is None:
        return None
    return AskedModel(
        key=section.model,
        model=config.models[section.model],
        folder=folder,
        label=section.data_label or config.network.default_label,
        currency=config.accounting.currency,
    )
