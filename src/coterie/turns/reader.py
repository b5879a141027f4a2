"""Classifies turns: small talk or not by a head on the network's encoder, follow-up or not by the follow-up model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from pathlib import Path

import numpy as np

from coterie.errors import ArtefactRefused
from coterie.models.catalogue import bundled_arrays
from coterie.text.language import base, language_of
from coterie.text.segmentation import small_words
from coterie.turns.follow_ups import Word, bundled_follow_ups, follow_up_facts, has_follow_ups, words_of
from coterie.types import Output

# --- Small networks on the encoder's vectors, as the package carries them for the encoders that it knows.
#
# They are made by `scripts/turns_build.py` from public sets; `MODEL_CARD.md` has data, figures and languages. An
# encoder that none were made for has none: then nothing is small talk.

FOLDER = Path(__file__).parent / "weights"
"""Folder of the weights. Made by `scripts/turns_build.py`."""
PROVENANCE = FOLDER / "provenance.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Perceptron:
    """A perceptron of one hidden layer."""

    first: np.ndarray  # (F, H)
    bias: np.ndarray  # (H,)
    second: np.ndarray  # (H, C)
    last: np.ndarray  # (C,)

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], name: str) -> Perceptron:
        """Return the perceptron of this name among the arrays of a file."""
        parts = (arrays[f"{name}.{part}"].astype(np.float32) for part in ("first", "bias", "second", "last"))
        first, bias, second, last = parts
        return cls(first=first, bias=bias, second=second, last=last)

    def logits(self, features: np.ndarray) -> np.ndarray:  # (N, F) -> (N, C)
        """Return the logits of each row."""
        return np.asarray(np.maximum(features @ self.first + self.bias, 0) @ self.second + self.last)


@dataclass(frozen=True, kw_only=True, eq=False)
class TurnHeads:
    """The heads for one encoder."""

    encoder: str
    languages: frozenset[str]
    heads: Mapping[str, Perceptron]
    thresholds: Mapping[str, float]


@lru_cache(maxsize=4)
def bundled_heads(encoder: str) -> TurnHeads | None:
    """Return the heads for an encoder by its name, or None. Raises `ArtefactRefused` for a changed file."""
    encoders = json.loads(PROVENANCE.read_text(encoding="utf-8"))["encoders"]
    if encoder not in encoders:
        return None
    about = encoders[encoder]
    heads: dict[str, Perceptron] = {}
    for file, sha256 in about["files"].items():
        arrays = bundled_arrays(FOLDER / file, sha256)
        try:
            heads |= {
                name: Perceptron.of(arrays, name) for name in dict.fromkeys(key.rpartition(".")[0] for key in arrays)
            }
        except (KeyError, ValueError) as error:
            raise ArtefactRefused(f"The turn models {file!r} cannot be read: {error}.") from error
    return TurnHeads(
        encoder=encoder,
        languages=frozenset(about["languages"]),
        heads=heads,
        thresholds=dict(about["thresholds"]),
    )


SCALE = 4.0
"""Factor for unit vectors before a head reads them."""

LEAD = 1.0
"""Standard deviations of the question's words by which a phrase's place must be nearer to it than other words.

Chosen on pairs of questions in four languages.
"""
NEIGHBOUR = 0.4
"""Share of the nearest word's lead from which words beside it are replaced with it. Chosen on 800 pairs of FollowUp."""


def unit_states(states: np.ndarray) -> np.ndarray:  # (T, D) -> (T, D)
    """Return the tokens' states, each scaled to the same length."""
    return np.asarray(states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-9) * SCALE)


class TurnReader:
    """Distinguishes small talk from requests, and follow-ups from independent questions.

    Args:
        heads: The heads for the encoder whose vectors `talk` gets; None if the package has none for it.
    """

    def __init__(self, heads: TurnHeads | None) -> None:
        self._heads = heads
        self._languages = follow_up_facts().languages if has_follow_ups() else frozenset()

    @property
    def languages(self) -> frozenset[str]:
        """The languages that follow-ups are known in: none without the files of the follow-up model."""
        return self._languages

    @property
    def talk_languages(self) -> frozenset[str]:
        """The languages that small talk is known in."""
        return frozenset() if self._heads is None else self._heads.languages

    @classmethod
    def of(cls, about: Mapping[str, str]) -> TurnReader:
        """Return the reader for an encoder by its description."""
        return cls(bundled_heads(about.get("name", "")))

    def talk(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N,)
        """Return log-odds that texts are greetings, thanks or chat, by their vectors, relative to the threshold."""
        if self._heads is None:
            return np.full(len(vectors), -np.inf)
        logits = self._heads.heads["talk"].logits(vectors * SCALE)
        return np.asarray(logits[:, 1] - logits[:, 0] - self._heads.thresholds["talk"])

    @property
    def least_leaning(self) -> float:
        """Probability from which a turn counts as dependent on an earlier one."""
        return follow_up_facts().least

    def leans(self, text: str, before: Sequence[str]) -> float:
        """Return the probability that a turn depends on the questions before it, oldest first. Blocks."""
        return bundled_follow_ups().read(text, before).leans

    def missing(self, text: str, question: str) -> tuple[Sequence[str], Sequence[float]]:
        """Return the words of an earlier question with the log-odds that a dependent turn lacks them. Blocks."""
        _, words, lacks = bundled_follow_ups().read(text, (question,))
        return words, lacks

    def substituted(self, text: str, now: Output, question: str, output: Output) -> str | None:
        """Return an earlier question with the phrase of a dependent turn in place of a parallel one, or None.

        "And for acetone?" makes "Which gloves for caustic soda?" the question "Which gloves for acetone?". The turn's
        phrase is its end. Both phrases follow the same word, with nothing but words of both between. The tokens' states
        of the words that it replaces are nearer to it than those of all other words that the turn lacks.
        """
        if any(part is None or not len(part) for part in (output.states, output.offsets, now.states, now.offsets)):
            return None
        language = base(language_of(f"{question} {text}", "en"))
        words, turn = words_of(question), words_of(text)
        own = own_phrase(words, turn, small_words(language))
        if own is None:
            return None
        own_words, before = {word.text for word in turn}, {word.text for word in words}
        content = [at for at, word in enumerate(words) if word.text not in own_words | small_words(language)]
        if not content:
            return None
        phrase = np.sum([state_of(now, word) for word in turn[own]], axis=0)
        phrase /= max(float(np.linalg.norm(phrase)), 1e-9)
        near = np.array([float(state_of(output, word) @ phrase) for word in words])
        spread = float(near[[at for at, word in enumerate(words) if word.text not in own_words]].std())
        lacking = {word for word, score in zip(*self.missing(text, question), strict=True) if score > 0}
        anchors = {word.text for word in takewhile(lambda word: word.text in before, reversed(turn[: own.start]))}
        best: tuple[float, list[int]] = (0.0, [])
        for span in parallel_spans(question, words, anchors, content):
            others = [at for at in content if at not in span]
            others = [at for at in others if words[at].text in lacking] or others
            if not others:
                continue
            leads = near[span] - near[others].max()
            if leads.max() > max(LEAD * spread, best[0]):
                beside = [at for at, lead in zip(span, leads, strict=True) if lead >= NEIGHBOUR * leads.max()]
                best = float(leads.max()), beside
        if not best[1]:
            return None
        first, last = words[best[1][0]], words[best[1][-1]]
        new = text[turn[own][0].start : turn[own][-1].start + len(turn[own][-1].text)]
        return f"{question[: first.start]}{new}{question[last.start + len(last.text) :]}"


def state_of(output: Output, word: Word) -> np.ndarray:  # (D,)
    """Return the mean state of a word's tokens, as a unit vector; zeros for a word that was not read."""
    states, offsets = np.asarray(output.states), np.asarray(output.offsets)
    inside = (offsets[:, 0] < word.start + len(word.text)) & (offsets[:, 1] > word.start)
    mean = states[inside].mean(axis=0) if inside.any() else np.zeros(states.shape[1])
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9))


def own_phrase(words: list[Word], turn: list[Word], small: frozenset[str]) -> slice | None:
    """Return the place of the content words that a turn has and the question lacks; None if they are not its end.

    Content words of both may follow: "drill" in "And the Heron drill?".
    """
    before = {word.text for word in words}
    own = [at for at, word in enumerate(turn) if word.text not in small | before]
    if not own or own != list(range(own[0], own[-1] + 1)):
        return None
    ends = all(word.text in before and word.text not in small for word in turn[own[-1] + 1 :])
    return slice(own[0], own[-1] + 1) if ends else None


def parallel_spans(question: str, words: list[Word], anchors: set[str], content: list[int]) -> list[list[int]]:
    """Return for each anchor the run of content words (their numbers) that follows it.

    Small words may be between them, and words that the turn has, too: "the card" of "the card for adults".
    """
    spans = []
    for start in (at for at, word in enumerate(words) if word.text in anchors):
        span = [at for at in content if at > start][:1]
        while span and span[-1] + 1 in content:
            last, following = words[span[-1]], words[span[-1] + 1]
            if not question[last.start + len(last.text) : following.start].isspace():
                break  # a comma between them
            span.append(span[-1] + 1)
        spans += [span] if span else []
    return spans
