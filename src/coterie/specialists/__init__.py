"""Narrow models with one task each: they answer, or abstain and say why."""

from ._acceptance import Acceptance
from ._classify import ClassifySpecialist
from ._drafting import Drafting, Example
from ._generalist import GeneralistSpecialist
from ._generate import GenerateSpecialist
from ._grounding import Grounding, check_grounding
from ._load import load_specialist
from ._own_encoder import own_encoder_files
from ._pairs import PairSpecialist
from ._scope import Scope
from ._score import ScoreSpecialist
from ._sentences import SentenceSplitter, split_sentences
from ._spans import Span, split_clauses
from ._text_model import TextModel, text_files

__all__ = [
    "Acceptance",
    "ClassifySpecialist",
    "Drafting",
    "Example",
    "GeneralistSpecialist",
    "GenerateSpecialist",
    "Grounding",
    "PairSpecialist",
    "Scope",
    "ScoreSpecialist",
    "SentenceSplitter",
    "Span",
    "TextModel",
    "check_grounding",
    "load_specialist",
    "own_encoder_files",
    "split_clauses",
    "split_sentences",
    "text_files",
]
