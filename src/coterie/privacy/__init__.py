"""Personal data and secrets in text: what a detector finds, and the label that it asks for. It knows no policy."""

from ._annotated import (
    AnnotatedFile,
    AnnotatedText,
    SpanFigures,
    kinds_of,
    measure_detector,
    read_annotated,
)
from ._context import lowered
from ._demonyms import DEMONYMS
from ._found import Detector, Kind, PersonalData, label_of, least_label, settle
from ._names import NAME_KINDS, ChainModel, NameDetector, bundled_model, load_model, marginals, store_model
from ._open import open_detector
from ._patterns import PatternDetector
from ._presidio import PresidioDetector
from ._redact import redact
from ._words import Lexicon, Word, read_words, text_features

__all__ = [
    "DEMONYMS",
    "NAME_KINDS",
    "AnnotatedFile",
    "AnnotatedText",
    "ChainModel",
    "Detector",
    "Kind",
    "Lexicon",
    "NameDetector",
    "PatternDetector",
    "PersonalData",
    "PresidioDetector",
    "SpanFigures",
    "Word",
    "bundled_model",
    "kinds_of",
    "label_of",
    "least_label",
    "load_model",
    "lowered",
    "marginals",
    "measure_detector",
    "open_detector",
    "read_annotated",
    "read_words",
    "redact",
    "settle",
    "store_model",
    "text_features",
]
