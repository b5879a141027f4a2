"""Personal data and secrets in text: what a detector finds, and the label that it asks for. It knows no policy."""

from ._found import Detector, Kind, PersonalData, label_of, least_label, settle
from ._names import NAME_KINDS, ChainModel, NameDetector, load_model, marginals, store_model
from ._open import open_detector
from ._patterns import PatternDetector
from ._presidio import PresidioDetector
from ._redact import redact
from ._words import OFFSETS, Lexicon, Word, case_of, lower_of, own_features, pair_features, read_words, shape

__all__ = [
    "NAME_KINDS",
    "OFFSETS",
    "ChainModel",
    "Detector",
    "Kind",
    "Lexicon",
    "NameDetector",
    "PatternDetector",
    "PersonalData",
    "PresidioDetector",
    "Word",
    "case_of",
    "label_of",
    "least_label",
    "load_model",
    "lower_of",
    "marginals",
    "open_detector",
    "own_features",
    "pair_features",
    "read_words",
    "redact",
    "settle",
    "shape",
    "store_model",
]
