"""Answers from passages: sentences found that answer a question, how sure that is, and whether a text is borne out."""

from ._default import DEFAULT_FILE, Defaults, load_defaults
from ._experts import Experts, Gate, open_gate
from ._features import ENCODED, LEXICAL, encoded_features, lexical_features
from ._reader import MOST_CITED, MOST_SENTENCES, Reader, Reading, Survey, cite, survey, weigh
from ._scorer import KNOWN, OUTCOME, Line, Scorer, cited_rows, outcome_features
from ._sentences import Sentence, cut_passages
from ._support import SUPPORT, Borne, Support, support_features
from ._words import terms

__all__ = [
    "DEFAULT_FILE",
    "ENCODED",
    "KNOWN",
    "LEXICAL",
    "MOST_CITED",
    "MOST_SENTENCES",
    "OUTCOME",
    "SUPPORT",
    "Borne",
    "Defaults",
    "Experts",
    "Gate",
    "Line",
    "Reader",
    "Reading",
    "Scorer",
    "Sentence",
    "Support",
    "Survey",
    "cite",
    "cited_rows",
    "cut_passages",
    "encoded_features",
    "lexical_features",
    "load_defaults",
    "open_gate",
    "outcome_features",
    "support_features",
    "survey",
    "terms",
    "weigh",
]
