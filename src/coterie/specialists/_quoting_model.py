"""A tuned small model that is asked for quotes from the likeliest sentences of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from coterie.errors import TooLong
from coterie.extraction import Document, Place, Quoting, Said
from coterie.protocols import Engine
from coterie.types import Label, Message, Prompt, Usage

_LESS = 0.6
"""Share of what was shown that is tried next where it does not fit the model's window."""
_LONGEST = 512
"""Tokens of an answer."""


class Quoted(NamedTuple):
    """What a model said, and of which sentences."""

    places: list[Place]
    said: list[Said | None]
    usage: Usage
    truncated: bool
    """It was shown less than it should be, or did not come to its end."""


@dataclass(frozen=True, kw_only=True)
class QuotingModel:
    """An engine with an adapter that answers with quotes; all fields of a text in one request."""

    engine: Engine
    adapter: str | None
    quoting: Quoting

    @property
    def name(self) -> str:
        """The engine's."""
        return self.engine.name

    async def ask(self, document: Document, scores: np.ndarray, label: Label) -> Quoted:
        """What it says of a text.

        Args:
            document: The text.
            scores: (S, F) log-odds of each sentence for each field.
            label: How sensitive the text is.

        Raises:
            TooLong: not even one sentence fits its window.
        """
        most: float | None = None
        while True:
            places = self.quoting.show(document, scores, most=most)
            try:
                (output,) = await self.engine.run([self._prompt(document, places, label)])
            except TooLong:
                shown = sum(place.end - place.start for place in places)
                if most is not None and shown > most:  # it is one sentence already
                    raise
                most = shown * _LESS
            else:
                said = self.quoting.read(output.text, output.logprobs)
                return Quoted(places, said, output.usage, most is not None or output.finish == "length")

    def _prompt(self, document: Document, places: Sequence[Place], label: Label) -> Prompt:
        return Prompt(
            messages=(Message(role="user", text=self.quoting.prompt(document, places)),),
            grammar=self.quoting.grammar(document, places),
            adapter=self.adapter,
            max_tokens=_LONGEST,
            label=label,
            logprobs=True,
        )
