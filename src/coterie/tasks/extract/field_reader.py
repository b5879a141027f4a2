"""What a rung of `extract` reads with, before it is weighed and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coterie.protocols import Engine
from coterie.tasks.extract.quotes import Quoting, QuotingModel
from coterie.tasks.extract.ranking import Ranker
from coterie.tasks.extract.tagging import CandidateSpan, Tagger
from coterie.types import Rung


@dataclass(frozen=True, kw_only=True)
class FieldReader:
    """What ranks and reads texts, and what ones like it, which had not seen a text, found there."""

    rung: Rung
    ranker: Ranker
    candidates: Mapping[int, Sequence[Sequence[CandidateSpan]]]
    """By the number of each text that was read so, and by field."""
    tagger: Tagger | None = None
    quoting: Quoting | None = None
    encoder: Engine | None = None
    model: QuotingModel | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What a version holds beside description and arrays."""
    about: Mapping[str, object] = field(default_factory=dict)
    """What its description says besides."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """What is particular to it, for the report."""
