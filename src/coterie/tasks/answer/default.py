"""The calibration that ships with Coterie: the defaults of an `answer` specialist before any training.

Made by `benchmarks/answer/calibrate.py` from public training data; the file says which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from coterie.engines.reading import bundled_checker, checker_sha256, has_reader
from coterie.tasks.answer.reader import AnswerReader
from coterie.tasks.answer.rereading import Rereading
from coterie.tasks.answer.scoring import AnswerScorer, LinearScore
from coterie.tasks.answer.support import SUPPORT, StatementLine, Support

DEFAULT_FILE = "default.json"


class Proven(NamedTuple):
    """A confidence, None if none is proven, and the share of wrong answers that it holds on its calibration data."""

    confidence: float | None
    risk: float


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """The contents of the calibration file."""

    readers: Mapping[str, AnswerReader]
    """Readers by rung: `lexical` and `embedding`."""
    thresholds: Mapping[str, Mapping[str, Proven]]
    """Thresholds by rung: for giving an answer (`answering`), and for saying that there is none (`silence`)."""
    rereading: Rereading | None
    """The weighting of the reading model; None without that model."""
    proven: Mapping[str, Sequence[Proven]]
    """Thresholds with that model, by risk, for an answer and for saying that there is none; smallest risk first."""
    support: Support
    supported: float
    """Support from which a sentence counts as supported."""
    provenance: Mapping[str, Any]
    """Data, licences and checksums of its sources, and its figures on held-out rows."""


def proven_at(steps: Sequence[Proven], risk: float) -> Proven:
    """Return the step of the largest risk not above `risk`, else of the smallest; no confidence if there is none."""
    return ([step for step in steps if step.risk <= risk + 1e-9] or steps[:1] or [Proven(None, risk)])[-1]


def _statements(stored: Mapping[str, Any] | None) -> StatementLine | None:
    """Return the weighting of the statement model, if that model is present and is the one it was fitted with."""
    if stored is None or checker_sha256() != stored["model"]:
        return None
    return StatementLine(weight=stored["weight"], bias=stored["bias"], refuses=stored["refuses"], load=bundled_checker)


@cache
def load_defaults() -> Defaults:
    """Return the calibration that ships with the package."""
    stored = json.loads(files(__package__).joinpath(DEFAULT_FILE).read_text(encoding="utf-8"))
    read = stored.get("reading") if has_reader() else None
    return Defaults(
        readers={rung: AnswerReader(plain=AnswerScorer.restore(scorer)) for rung, scorer in stored["readers"].items()},
        thresholds={
            rung: {name: Proven(step["value"], step["risk"]) for name, step in both.items()}
            for rung, both in stored["thresholds"].items()
        },
        rereading=Rereading.restore(read["lines"]) if read else None,
        proven={
            name: [Proven(step["value"], step["risk"]) for step in steps] for name, steps in read["thresholds"].items()
        }
        if read
        else {},
        support=Support(
            line=LinearScore.restore(stored["support"], SUPPORT), read=_statements(stored.get("statements"))
        ),
        supported=stored["supported"],
        provenance=stored["provenance"],
    )
