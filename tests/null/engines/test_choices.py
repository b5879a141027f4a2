import itertools
import math

import numpy as np
import pytest

from coterie.engines.choices import Read, cut_words, log_likelihoods, tree_of
from coterie.engines.gguf import GGUFHeader

END = 0
VOCABULARY = 12


class Language:
    """A made-up language model: the next token's distribution is drawn from the path; reads as llama.cpp does."""

    def __init__(self, *, sharpness=1.0, listed=3, seed=0, guesses_after=99):
        self.sharpness = sharpness
        self.listed = listed
        self.seed = seed
        self.guesses_after = guesses_after  # tokens after which probabilities stop coming
        self.reads = 0

    def next(self, path):
        """Log-probabilities of all tokens."""
        logits = self.sharpness * np.random.default_rng([self.seed, *path]).normal(size=VOCABULARY)
        return logits - np.logaddexp.reduce(logits)

    def down(self, path, tokens, most):
        """Favour the tokens, say the likeliest, list the likeliest of all."""
        self.reads += 1
        reads = []
        for _ in range(min(most, self.guesses_after)):
            scores = self.next(path)
            token = max(tokens, key=lambda candidate: scores[candidate])
            top = np.argsort(-scores)[: self.listed]
            reads.append(Read(token, scores[token], {int(candidate): scores[candidate] for candidate in top}))
            path = (*path, token)
            if token == END:
                break
        return reads

    def among(self, path, tokens):
        """Weigh the tokens against each other."""
        self.reads += 1
        scores = self.next(path)
        total = np.logaddexp.reduce([scores[token] for token in tokens])
        return {token: scores[token] - total for token in tokens}

    def exact(self, choice):
        """The log-likelihood of a choice, token by token."""
        return sum(self.next(choice[:index])[token] for index, token in enumerate(choice))


CHOICES = [(*way, END) for way in [(1,), (1, 2), (1, 2, 3), (1, 3), (4, 5), (4, 6, 7), (8,), (9, 1), (10, 11, 2)]]


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_brute_force(seed):
    """What matters of the distribution is exact: all but a thousandth of it, and the rest is no less than it is."""
    language = Language(seed=seed, sharpness=4.0)
    likelihoods = log_likelihoods(tree_of(CHOICES), language)
    exact = np.array([language.exact(choice) for choice in CHOICES])
    assert (likelihoods >= exact - 1e-9).all()
    assert np.exp(likelihoods).sum() - np.exp(exact).sum() <= 1.1e-3 * np.exp(exact).sum()
    assert likelihoods.argmax() == exact.argmax()


@pytest.mark.parametrize("guesses_after", [1, 2])
def test_guessed_tokens(guesses_after):
    """Where probabilities stop coming, reading goes on from there."""
    language = Language(seed=3, guesses_after=guesses_after)
    whole = log_likelihoods(tree_of(CHOICES), Language(seed=3))
    assert np.exp(log_likelihoods(tree_of(CHOICES), language)) == pytest.approx(np.exp(whole), abs=1e-3)


class Tuned(Language):
    """One that was tuned to say a choice, with hardly a doubt."""

    def next(self, path):
        """All probability but a little on the next token of the choice."""
        token = {(): 4, (4,): 6, (4, 6): 7, (4, 6, 7): END}[path]
        probabilities = np.full(VOCABULARY, 1e-6)
        probabilities[token] = 1.0
        return np.log(probabilities / probabilities.sum())


def test_one_way_down():
    """A model that is sure of its choice is asked once, however many choices there are."""
    language = Tuned()
    scores = log_likelihoods(tree_of(CHOICES), language)
    assert language.reads == 1
    assert np.exp(scores[CHOICES.index((4, 6, 7, END))]) > 0.999


def test_bounded():
    """A model that never heard of the choices is asked a bounded number of times."""
    language = Language(sharpness=0.1, listed=1)
    many = [(*way, END) for way in itertools.product(range(1, 8), repeat=3)]
    scores = log_likelihoods(tree_of(many), language)
    assert language.reads <= 130
    assert np.isfinite(scores).all()


def test_unlisted():
    """Choices that the model does not list are weighed all the same."""
    language = Language(listed=1, seed=5)
    likelihoods = log_likelihoods(tree_of(CHOICES), language)
    exact = np.array([language.exact(choice) for choice in CHOICES])
    assert np.exp(likelihoods).sum() == pytest.approx(np.exp(exact).sum(), rel=1e-3)


def test_prefix_is_not_favoured():
    """A choice that begins another one has the probability of ending there, not of both."""
    language = Language(seed=7)
    short, long = (1, END), (1, 2, END)
    scores = log_likelihoods(tree_of([short, long]), language)
    assert scores == pytest.approx([language.exact(short), language.exact(long)], abs=1e-2)
    assert np.exp(scores).sum() < math.exp(language.next(())[1]) + 1e-9


def test_two_alike():
    """Two choices of the same tokens cannot be told apart."""
    with pytest.raises(ValueError, match="same tokens"):
        tree_of([(1, END), (1, END)])


SPACE = "\u0120"
TOKENS = [*"abcdr", SPACE, f"{SPACE}c", "ar", f"{SPACE}car", f"{SPACE}card", "ab"]
MERGES = [f"{SPACE} c", "a r", f"{SPACE}c ar", f"{SPACE}car d", "a b"]


def header(**changes):
    """The header of a model with a small vocabulary."""
    about = {"tokens": TOKENS, "merges": MERGES, "model": "gpt2", "pre": "smollm"} | changes
    metadata = {f"tokenizer.ggml.{name}": value for name, value in about.items()}
    return GGUFHeader(architecture="llama", context_length=8, control_tokens=(), metadata=metadata, tensors={})


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (" card", [f"{SPACE}card"]),
        (" card card", [f"{SPACE}card", f"{SPACE}card"]),
        (" abc", [SPACE, "ab", "c"]),
        (" carab", [f"{SPACE}car", "ab"]),
    ],
)
def test_merges(text, pieces):
    """Neighbours are joined in the order of the merges, word by word."""
    assert cut_words([text], header()) == {text: tuple(TOKENS.index(piece) for piece in pieces)}


@pytest.mark.parametrize("text", ["card", " card.", "  card", " card ", " ca1d", " c\u00e4d", "", " xyz"])
def test_left_out(text):
    """What is not plain words behind spaces, or has a letter that the vocabulary has not, is left to the model."""
    assert cut_words([text, " card"], header()).keys() == {" card"}


@pytest.mark.parametrize("change", [{"model": "llama"}, {"pre": "odd"}, {"tokens": None}, {"merges": None}], ids=str)
def test_other_tokenizers(change):
    """A tokenizer of another kind is never imitated."""
    assert cut_words([" card"], header(**change)) == {}
