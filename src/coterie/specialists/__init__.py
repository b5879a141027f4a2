"""Narrow models with one task each: they answer, or abstain and say why."""

from ._acceptance import Acceptance
from ._classify import ClassifySpecialist
from ._generalist import GeneralistSpecialist
from ._generate import GenerateSpecialist
from ._grounding import Grounding, check_grounding
from ._load import load_specialist
from ._score import ScoreSpecialist
from ._sentences import SentenceSplitter, split_sentences

__all__ = [
    "Acceptance",
    "ClassifySpecialist",
    "GeneralistSpecialist",
    "GenerateSpecialist",
    "Grounding",
    "ScoreSpecialist",
    "SentenceSplitter",
    "check_grounding",
    "load_specialist",
    "split_sentences",
]
