"""Narrow models with one task each: they answer, or abstain and say why."""

from ._acceptance import Acceptance
from ._classify import ClassifySpecialist
from ._drafting import Drafting, Example
from ._extract import ExtractSpecialist, as_fields, summarise_fields
from ._generalist import GeneralistSpecialist
from ._generate import GenerateSpecialist
from ._grounding import Grounding, check_grounding
from ._load import load_specialist
from ._own_encoder import own_encoder_files
from ._scope import Scope
from ._score import ScoreSpecialist
from ._sentences import SentenceSplitter, split_sentences
from ._text_model import TextModel, text_files

__all__ = [
    "Acceptance",
    "ClassifySpecialist",
    "Drafting",
    "Example",
    "ExtractSpecialist",
    "GeneralistSpecialist",
    "GenerateSpecialist",
    "Grounding",
    "Scope",
    "ScoreSpecialist",
    "SentenceSplitter",
    "TextModel",
    "as_fields",
    "check_grounding",
    "load_specialist",
    "own_encoder_files",
    "split_sentences",
    "summarise_fields",
    "text_files",
]
