"""Narrow models with one task each: they answer, or abstain and say why."""

from ._acceptance import Acceptance
from ._agreement import SIGNS, Agreement
from ._classify import ClassifySpecialist
from ._demonstrations import Demonstrations, Neighbour
from ._drafting import Drafting, Example
from ._generalist import GeneralistSpecialist
from ._generate import GenerateSpecialist
from ._grounding import Grounding, check_grounding
from ._load import load_specialist
from ._naming import find_label, match_label
from ._own_encoder import own_encoder_files
from ._prompted import PromptedSpecialist, Reply, calibrated_on, read_reply
from ._prompting import DEFAULT_INSTRUCTION, NEIGHBOURS, Form, Prompting, tokens_of
from ._scope import Scope
from ._score import ScoreSpecialist
from ._sentences import SentenceSplitter, split_sentences
from ._text_model import TextModel, text_files

__all__ = [
    "DEFAULT_INSTRUCTION",
    "NEIGHBOURS",
    "SIGNS",
    "Acceptance",
    "Agreement",
    "ClassifySpecialist",
    "Demonstrations",
    "Drafting",
    "Example",
    "Form",
    "GeneralistSpecialist",
    "GenerateSpecialist",
    "Grounding",
    "Neighbour",
    "PromptedSpecialist",
    "Prompting",
    "Reply",
    "Scope",
    "ScoreSpecialist",
    "SentenceSplitter",
    "TextModel",
    "calibrated_on",
    "check_grounding",
    "find_label",
    "load_specialist",
    "match_label",
    "own_encoder_files",
    "read_reply",
    "split_sentences",
    "text_files",
    "tokens_of",
]
