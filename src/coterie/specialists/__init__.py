"""Narrow models with one task each: they answer, or abstain and say why."""

from ._acceptance import Acceptance
from ._adapter import ADAPTER_FILE, base_of
from ._choice_head import ChoiceHead
from ._classify import ClassifySpecialist
from ._draft import Draft
from ._drafting import HEADING, Drafting, Example, one_line
from ._extract import ExtractSpecialist, as_fields, summarise_fields
from ._generalist import GeneralistSpecialist
from ._generate import GenerateSpecialist
from ._grounding import Grounding, check_grounding
from ._load import load_specialist
from ._own_encoder import own_encoder_files
from ._pairs import PairSpecialist
from ._prompting import Prompting, answers
from ._scope import Centroids, Neighbours, Scope
from ._score import ScoreSpecialist
from ._sentences import SentenceSplitter, split_sentences
from ._spans import Span, split_clauses
from ._text_model import TextModel, text_files

__all__ = [
    "ADAPTER_FILE",
    "HEADING",
    "Acceptance",
    "Centroids",
    "ChoiceHead",
    "ClassifySpecialist",
    "Draft",
    "Drafting",
    "Example",
    "ExtractSpecialist",
    "GeneralistSpecialist",
    "GenerateSpecialist",
    "Grounding",
    "Neighbours",
    "PairSpecialist",
    "Prompting",
    "Scope",
    "ScoreSpecialist",
    "SentenceSplitter",
    "Span",
    "TextModel",
    "answers",
    "as_fields",
    "base_of",
    "check_grounding",
    "load_specialist",
    "one_line",
    "own_encoder_files",
    "split_clauses",
    "split_sentences",
    "summarise_fields",
    "text_files",
]
