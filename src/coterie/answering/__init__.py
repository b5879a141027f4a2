"""Answers from passages: sentences found that answer a question, how sure that is, and whether a text is borne out."""

from ._bound_numbers import value_astray
from ._default import DEFAULT_FILE, Defaults, load_defaults
from ._experts import PLACES, Experts, place_odds, place_of
from ._features import ENCODED, LEXICAL, WHOLE, encoded_features, lexical_features
from ._gate import SAME, Gate, Known, Metric, answer_directions, fit_metric, open_gate, plain_metric
from ._reader import (
    MOST_CITED,
    MOST_SENTENCES,
    Reader,
    Reading,
    Survey,
    cite,
    likely_rows,
    survey,
    weigh,
)
from ._scorer import KNOWN, OUTCOME, Line, Outcomes, Scorer, cited_rows, in_own_words, mix_kinds, outcome_features
from ._sentences import Sentence, cut_passages
from ._support import SUPPORT, Borne, Support, denials, support_features
from ._told import borne_by, spoken
from ._words import terms

__all__ = [
    "DEFAULT_FILE",
    "ENCODED",
    "KNOWN",
    "LEXICAL",
    "MOST_CITED",
    "MOST_SENTENCES",
    "OUTCOME",
    "PLACES",
    "SAME",
    "SUPPORT",
    "WHOLE",
    "Borne",
    "Defaults",
    "Experts",
    "Gate",
    "Known",
    "Line",
    "Metric",
    "Outcomes",
    "Reader",
    "Reading",
    "Scorer",
    "Sentence",
    "Support",
    "Survey",
    "answer_directions",
    "borne_by",
    "cite",
    "cited_rows",
    "cut_passages",
    "denials",
    "encoded_features",
    "fit_metric",
    "in_own_words",
    "lexical_features",
    "likely_rows",
    "load_defaults",
    "mix_kinds",
    "open_gate",
    "outcome_features",
    "place_odds",
    "place_of",
    "plain_metric",
    "spoken",
    "support_features",
    "survey",
    "terms",
    "value_astray",
    "weigh",
]
