"""The calibration that comes with Coterie: what an `answer` specialist knows before it is trained on anything.

Made by `benchmarks/answer/calibrate.py` from public training data; the file says which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from coterie.engines.reading import has_reader
from coterie.engines.statements import bundled_checker, checker_sha256
from coterie.tasks.answer.reader import AnswerReader
from coterie.tasks.answer.rereading import Rereading
from coterie.tasks.answer.scoring import AnswerScorer, LinearScore
from coterie.tasks.answer.support import SUPPORT, StatementLine, Support

DEFAULT_FILE = "default.json"


class Proven(NamedTuple):
    """A confidence, None if none is proven, and the share of wrong ones that it holds on the data it was found on."""

    confidence: float | None
    risk: float


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What the file holds."""

    readers: Mapping[str, AnswerReader]
    """By rung: `lexical` and `embedding`."""
    thresholds: Mapping[str, Mapping[str, Proven]]
    """By rung: when an answer is given (`answering`), and when it is said that there is none (`silence`)."""
    rereading: Rereading | None
    """What weighs the reading model's say; None without that model."""
    proven: Mapping[str, Sequence[Proven]]
    """With it: by risk when an answer is given and when it is said that there is none, the smallest risk first."""
    support: Support
    supported: float
    """Support from which a sentence is taken to be supported."""
    provenance: Mapping[str, Any]
    """Data, licences and checksums that it was made from, and what it reaches on rows held back."""


def proven_at(steps: Sequence[Proven], risk: float) -> Proven:
    """The step of the largest risk that is not above one, else of the smallest; no confidence where there is none."""
    return ([each for each in steps if each.risk <= risk + 1e-9] or steps[:1] or [Proven(None, risk)])[-1]


def _statements(stored: Mapping[str, Any] | None) -> StatementLine | None:
    """What weighs the statement model's say, where it is here and is the one that this was fitted with."""
    if stored is None or checker_sha256() != stored["model"]:
        return None
    return StatementLine(weight=stored["weight"], bias=stored["bias"], refuses=stored["refuses"], load=bundled_checker)


@cache
def load_defaults() -> Defaults:
    """The calibration that comes with the package."""
    stored = json.loads(files(__package__).joinpath(DEFAULT_FILE).read_text(encoding="utf-8"))
    read = stored.get("reading") if has_reader() else None
    return Defaults(
        readers={rung: AnswerReader(plain=AnswerScorer.restore(each)) for rung, each in stored["readers"].items()},
        thresholds={
            rung: {name: Proven(each["value"], each["risk"]) for name, each in both.items()}
            for rung, both in stored["thresholds"].items()
        },
        rereading=Rereading.restore(read["lines"]) if read else None,
        proven={
            name: [Proven(each["value"], each["risk"]) for each in steps] for name, steps in read["thresholds"].items()
        }
        if read
        else {},
        support=Support(
            line=LinearScore.restore(stored["support"], SUPPORT), read=_statements(stored.get("statements"))
        ),
        supported=stored["supported"],
        provenance=stored["provenance"],
    )
