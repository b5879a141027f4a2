"""A passage, a question, and a reading model that likes a word: for tests of `answer`."""

import threading

import numpy as np

from coterie.engines.reading import PassageRead
from coterie.specialists.parts import Acceptance
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.model import AnswerSpecialist
from coterie.tasks.answer.scoring import LinearScore
from coterie.types import ContextView, Entry, Label, Passage, SpecialistCard

TEXT = "A paper statement costs 3 pounds. The account is free. Cards are valid for 4 years. Never tell your PIN."
QUESTION = "How long can I use the card?"


class Likes:
    """A reading model that likes the sentences with a word, and the passages with such a sentence."""

    sha256 = "likes"

    def __init__(self, word):
        self.word, self.asked, self.threads = word, [], set()

    def read(self, question, sentences):
        """3 for the word, else -3."""
        self.asked.append((question, list(sentences)))
        self.threads.add(threading.get_ident())
        scores = np.array([3.0 if self.word in sentence else -3.0 for sentence in sentences])
        return PassageRead(scores, float(scores.max()))


def line(names, bias=0.0, **weights):
    """A line with a few weights."""
    return LinearScore(names=names, weights=np.array([weights.get(name, 0.0) for name in names]), bias=bias)


def passage(text=TEXT):
    """One that holds the text."""
    return Passage(document="bank.md", start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC)


def view():
    """With the passage."""
    return ContextView(entries=(Entry(content=passage(), producer="index", label=Label.PUBLIC, time=0.0),))


def document_reader():
    """The reader of documents that comes with Coterie, without encodings; from 0.3 on it stands by what it finds."""
    sure = Acceptance(temperature=1.0, threshold=0.3, target_risk=0.4, scope_threshold=None)
    card = SpecialistCard(name="reader", task="answer", description="", rung="lexical", version="0")
    return AnswerSpecialist(card=card, reader=load_defaults().readers["lexical"], answering=sure, silence=sure)
