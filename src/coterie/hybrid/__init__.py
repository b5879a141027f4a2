"""Small models with a large one above them: what it is told, what it may add, and what is done when it fails."""

from ._collaborate import Collaboration, Concluded
from ._generalist import NAME, Asking, Generalist
from ._held import made_up
from ._pack import pack_context
from ._prose import attributed, guess_of, how_sure, say, topic
from ._read import READER, DocumentReader, Extract, default_reader, passages_of
from ._tries import Candidate, Heard, Tries

__all__ = [
    "NAME",
    "READER",
    "Asking",
    "Candidate",
    "Collaboration",
    "Concluded",
    "DocumentReader",
    "Extract",
    "Generalist",
    "Heard",
    "Tries",
    "attributed",
    "default_reader",
    "guess_of",
    "how_sure",
    "made_up",
    "pack_context",
    "passages_of",
    "say",
    "topic",
]
