"""Narrow models with one task each: they answer, or abstain and say why."""

from ._acceptance import Acceptance
from ._classify import ClassifySpecialist
from ._drafting import Drafting, Example
from ._generalist import GeneralistSpecialist
from ._generate import GenerateSpecialist
from ._grounding import Grounding, check_grounding
from ._load import load_specialist
from ._own_encoder import own_encoder_files
from ._scope import Centroids, Neighbours, Scope
from ._score import ScoreSpecialist
from ._sentences import SentenceSplitter, split_sentences
from ._text_model import TextModel, text_files

__all__ = [
    "Acceptance",
    "Centroids",
    "ClassifySpecialist",
    "Drafting",
    "Example",
    "GeneralistSpecialist",
    "GenerateSpecialist",
    "Grounding",
    "Neighbours",
    "Scope",
    "ScoreSpecialist",
    "SentenceSplitter",
    "TextModel",
    "check_grounding",
    "load_specialist",
    "own_encoder_files",
    "split_sentences",
    "text_files",
]
