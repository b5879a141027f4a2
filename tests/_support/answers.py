"""A passage, a question, and a reading model that likes a word: for tests of `answer`."""

import threading

import numpy as np

from coterie.engines.reading import PassageRead
from coterie.tasks.answer.scoring import LinearScore
from coterie.types import ContextView, Entry, Label, Passage

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
