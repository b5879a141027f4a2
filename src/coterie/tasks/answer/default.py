"""The calibration that comes with Coterie: what an `answer` specialist knows before it is trained on anything.

Made by `benchmarks/answer/calibrate.py` from public training data; the file says which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from coterie.tasks.answer.reader import AnswerReader
from coterie.tasks.answer.scoring import AnswerScorer, LinearScore
from coterie.tasks.answer.support import SUPPORT, Support

DEFAULT_FILE = "default.json"


class Proven(NamedTuple):
    """A confidence, and the share of wrong ones that it holds on the data it was found on."""

    confidence: float
    risk: float


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What the file holds."""

    readers: Mapping[str, AnswerReader]
    """By rung: `lexical` and `embedding`."""
    thresholds: Mapping[str, Mapping[str, Proven]]
    """By rung: when an answer is given (`answering`), and when it is said that there is none (`silence`)."""
    support: Support
    supported: float
    """Support from which a sentence is taken to be supported."""
    provenance: Mapping[str, Any]
    """Data, licences and checksums that it was made from, and what it reaches on rows held back."""


@cache
def load_defaults() -> Defaults:
    """The calibration that comes with the package."""
    stored = json.loads(files(__package__).joinpath(DEFAULT_FILE).read_text(encoding="utf-8"))
    return Defaults(
        readers={rung: AnswerReader(plain=AnswerScorer.restore(each)) for rung, each in stored["readers"].items()},
        thresholds={
            rung: {name: Proven(each["value"], each["risk"]) for name, each in both.items()}
            for rung, both in stored["thresholds"].items()
        },
        support=Support(line=LinearScore.restore(stored["support"], SUPPORT)),
        supported=stored["supported"],
        provenance=stored["provenance"],
    )
