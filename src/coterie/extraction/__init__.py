"""Finding typed fields in long texts: sentences ranked, words tagged, values weighed. It knows no training."""

from ._calibrator import Calibrator, Found
from ._chain import FORBIDDEN, TAGS, Stretch, stretches
from ._choose import Option, options
from ._document import Document, Place
from ._extractor import ENCODED, OUTCOMES, Extractor, Survey, Weigher, second_look, shortlist
from ._features import word_features
from ._field import FieldModel
from ._passages import ReadTags, first_tokens, passages
from ._quote import Quote, Quoting, Said, quoted
from ._rank import PLACES, Ranker, best_rows, place_features
from ._signs import SIGNS, Statement
from ._tag import (
    EVIDENCE,
    RANK_FEATURES,
    Candidate,
    Reading,
    Region,
    Tagger,
    Words,
    numbered,
    rank_features,
    regions,
    rows_to_read,
)

__all__ = [
    "ENCODED",
    "EVIDENCE",
    "FORBIDDEN",
    "OUTCOMES",
    "PLACES",
    "RANK_FEATURES",
    "SIGNS",
    "TAGS",
    "Calibrator",
    "Candidate",
    "Document",
    "Extractor",
    "FieldModel",
    "Found",
    "Option",
    "Place",
    "Quote",
    "Quoting",
    "Ranker",
    "ReadTags",
    "Reading",
    "Region",
    "Said",
    "Statement",
    "Stretch",
    "Survey",
    "Tagger",
    "Weigher",
    "Words",
    "best_rows",
    "first_tokens",
    "numbered",
    "options",
    "passages",
    "place_features",
    "quoted",
    "rank_features",
    "regions",
    "rows_to_read",
    "second_look",
    "shortlist",
    "stretches",
    "word_features",
]
