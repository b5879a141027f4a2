"""Finding typed fields in long texts: sentences ranked, words tagged, values weighed. It knows no training."""

from ._chain import FORBIDDEN, TAGS, Stretch, stretches
from ._choose import Option, options
from ._document import Document, Place
from ._extractor import ENCODED, OUTCOMES, Extractor, FieldModel, Found, Survey, Weigher, second_look, shortlist
from ._features import word_features
from ._passages import ReadTags, first_tokens, passages
from ._quote import Quote, Quoting, Said, quoted
from ._rank import PLACES, Ranker, best_rows, place_features
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
    "TAGS",
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
