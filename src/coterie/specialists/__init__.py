"""Narrow models with one task each: they answer, or abstain and say why."""

from ._abstention import abstention
from ._acceptance import Acceptance
from ._adapter import ADAPTER_FILE, base_of
from ._agreement import SIGNS, Agreement
from ._answer import DOCUMENT_COLUMN, NOT_STATED, AnswerSpecialist, Thresholds, load_answer, passages_of
from ._assent import is_settled
from ._choice_head import ChoiceHead
from ._classify import ClassifySpecialist
from ._demonstrations import Demonstrations, Neighbour
from ._draft import Draft
from ._drafting import HEADING, Drafting, Example, one_line
from ._extract import ExtractSpecialist, as_fields, summarise_fields
from ._few_shot import DEFAULT_INSTRUCTION, NEIGHBOURS, FewShot, Form, tokens_of
from ._generate import GenerateSpecialist
from ._grounding import Grounding, check_grounding
from ._layout import context_first
from ._line import ConfidenceLine
from ._load import card_of, load_specialist
from ._naming import find_label, match_label
from ._on_demand import OnDemand, WeightMemory
from ._own_encoder import own_encoder_files
from ._pairs import PairSpecialist
from ._prompted import PromptedSpecialist, Reply, calibrated_on, read_reply
from ._prompting import Prompting, answers
from ._quoting_model import QuotingModel
from ._rung_chain import ChainSpecialist, Link, chain_files, make_chain
from ._scope import Centroids, Neighbours, Scope
from ._score import ScoreSpecialist
from ._sentences import SentenceSplitter, split_sentences
from ._spans import Span, split_clauses
from ._text_model import TextModel, text_files
from ._write import WriteSpecialist, Writing, fault_of, likeness, signs_of, thin_out
from ._writer import Writer, Written

__all__ = [
    "ADAPTER_FILE",
    "DEFAULT_INSTRUCTION",
    "DOCUMENT_COLUMN",
    "HEADING",
    "NEIGHBOURS",
    "NOT_STATED",
    "SIGNS",
    "Acceptance",
    "Agreement",
    "AnswerSpecialist",
    "Centroids",
    "ChainSpecialist",
    "ChoiceHead",
    "ClassifySpecialist",
    "ConfidenceLine",
    "Demonstrations",
    "Draft",
    "Drafting",
    "Example",
    "ExtractSpecialist",
    "FewShot",
    "Form",
    "GenerateSpecialist",
    "Grounding",
    "Link",
    "Neighbour",
    "Neighbours",
    "OnDemand",
    "PairSpecialist",
    "PromptedSpecialist",
    "Prompting",
    "QuotingModel",
    "Reply",
    "Scope",
    "ScoreSpecialist",
    "SentenceSplitter",
    "Span",
    "TextModel",
    "Thresholds",
    "WeightMemory",
    "WriteSpecialist",
    "Writer",
    "Writing",
    "Written",
    "abstention",
    "answers",
    "as_fields",
    "base_of",
    "calibrated_on",
    "card_of",
    "chain_files",
    "check_grounding",
    "context_first",
    "fault_of",
    "find_label",
    "is_settled",
    "likeness",
    "load_answer",
    "load_specialist",
    "make_chain",
    "match_label",
    "one_line",
    "own_encoder_files",
    "passages_of",
    "read_reply",
    "signs_of",
    "split_clauses",
    "split_sentences",
    "summarise_fields",
    "text_files",
    "thin_out",
    "tokens_of",
]
