"""Sentences of a reply that need no source: greetings, thanks, apologies, closings, as a small network tells them.

It reads the states that the reading model's lower layers have of a sentence. It is made by `scripts/courtesy_build.py`
from sentences in seven languages; what it finds in one that was left out of the training is in its provenance.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from coterie.engines.reading import LowerLayers, bundled_reader, has_reader
from coterie.errors import ArtefactRefused
from coterie.models.catalogue import bundled_arrays
from coterie.runtime.codec import parse_json
from coterie.text.language import base
from coterie.turns.reader import Perceptron, unit_states

WEIGHTS = Path(__file__).parent / "courtesy.safetensors"
PROVENANCE = Path(__file__).parent / "courtesy.json"
_MOST, _LEAD = 80, 3
"""Tokens of a sentence that are read, and those before it that say what it is."""

_SURELY = 1.75
"""Times the least log-odds that are asked of a sentence which may be about its source."""


def courtesy_features(lower: LowerLayers, sentence: str) -> np.ndarray:  # (F,)
    """What the network reads of a sentence."""
    states = unit_states(lower.question(sentence, _MOST).states[_LEAD:])
    return np.concatenate([states.mean(axis=0), states.max(axis=0), [np.log1p(len(states))]]).astype(np.float32)


class CourtesyModel:
    """Tells sentences that claim nothing. Blocking; safe to call from several threads.

    Raises:
        ArtefactRefused: its file is not what the provenance says, or was made for other lower layers.
    """

    def __init__(self, lower: LowerLayers) -> None:
        about = parse_json(PROVENANCE.read_bytes())
        if about["lower_sha256"] != lower.sha256:
            raise ArtefactRefused(
                f"The file {WEIGHTS.name!r} of the package is not the one that its reading model goes with.",
                hint="Install the package again.",
            )
        try:
            self._head = Perceptron.of(bundled_arrays(WEIGHTS, about["sha256"]), "courtesy")
        except (KeyError, ValueError) as error:
            raise ArtefactRefused(f"The file {WEIGHTS.name!r} cannot be read: {error}.") from error
        self._lower, self._least, self._languages = lower, float(about["threshold"]), frozenset(about["languages"])

    def is_courtesy(self, sentence: str, language: str, *, surely: bool = False) -> bool:
        """Whether a sentence beside a source of a language claims nothing. One with a digit may claim something."""
        if base(language) not in self._languages or any(sign.isdigit() for sign in sentence) or not sentence.strip():
            return False
        nothing, courtesy = self._head.logits(courtesy_features(self._lower, sentence)[None])[0]
        return bool(courtesy - nothing > self._least * (_SURELY if surely else 1))


@cache
def bundled_courtesies() -> CourtesyModel | None:
    """The one of the package, loaded once; None without the reading model's files. Raises `ArtefactRefused`."""
    return CourtesyModel(bundled_reader().lower) if has_reader() else None
