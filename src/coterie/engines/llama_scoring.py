"""Scoring choices with llama.cpp: what is sent for it and how the answer is read.

llama.cpp gives no probabilities of a prompt's own tokens. It does give, for each token it generates, its probability
before any was favoured, and those of the likeliest others. So a choice is scored by having it generated. Tokens that
prompt lookup guessed come without probabilities: reading stops before them and goes on in another request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from coterie.engines.choices import Read

_FAVOUR = 100.0
"""Added to a logit, it makes a token likelier than all that are not favoured."""
_LISTED = 50
"""Tokens whose probabilities come with each that is generated."""
_MOST_TRIES = 5
"""Requests that finding the tokens of one choice may take."""
_FAVOURED = 1e-20
"""Probability above which a token must have been favoured."""


class _Likely(NamedTuple):
    piece: bytes
    probability: float


Ask = Callable[[Mapping[str, Any], Callable[[Mapping[str, Any]], bool]], None]
"""Sends a request and hands over each chunk of its answer until it is told that that is enough."""


class Scoring:
    """One prompt on its way down the tree of its choices: a `Reader`, which counts what it takes."""

    def __init__(self, ask: Ask, text: str) -> None:
        self._ask = ask
        self._text = text
        self.tokens_in = 0
        """Tokens of the prompt."""
        self.tokens_cached = 0
        """Those of them that were remembered when it was sent first."""
        self.tokens_out = 0
        """Tokens that were generated."""

    def down(self, path: tuple[int, ...], tokens: Sequence[int], most: int) -> list[Read]:
        """What the model says after the prompt and a path when some tokens are favoured."""
        found: list[Read] = []

        def take(chunk: Mapping[str, Any]) -> bool:
            self._count(chunk)
            found.extend(map(_read, _steps(chunk)))
            return any(choice.get("text") and not choice.get("logprobs") for choice in chunk.get("choices", ()))

        favoured = [[token, _FAVOUR] for token in tokens]
        self._ask(self._body([self._text, *path], favoured, max_tokens=most, temperature=0.0), take)
        self.tokens_out += len(found)
        return found

    def among(self, path: tuple[int, ...], tokens: Sequence[int]) -> dict[int, float]:
        """The log-probability of each of these tokens, if it is one of them."""
        favoured: list[list[Any]] = [[token, _FAVOUR] for token in tokens]
        found = self._likely([self._text, *path], favoured, listed=len(tokens))
        smallest = math.log(_FAVOURED)
        return {token: math.log(found[token].probability) if token in found else smallest for token in tokens}

    def tokens_of(self, choice: str) -> tuple[int, ...]:
        """The tokens of a choice, as llama.cpp's tokenizer cuts it.

        There is no door to the tokenizer, but a text whose tokens are to be favoured is cut by it: what is likely then
        are its tokens, and their order is that in which they make up the text. One that it has twice is favoured twice
        and hides the others; those found are banned in the next try.

        Raises:
            ValueError: they do not make it up.
        """
        found: dict[int, bytes] = {}
        for _ in range(_MOST_TRIES):
            if not (new := self._favoured_by(choice, found)):
                break
            found |= new
            with suppress(ValueError):
                return arrange(choice.encode(), found)
        return arrange(choice.encode(), found)

    def _favoured_by(self, choice: str, banned: Mapping[int, bytes]) -> dict[int, bytes]:
        """The tokens, with their bytes, that are likeliest where those of a choice are favoured and some are banned."""
        biases: list[list[Any]] = [[choice, _FAVOUR], *([token, False] for token in banned)]
        found = self._likely([self._text], biases, listed=max(_LISTED, len(choice.encode())))
        return {token: each.piece for token, each in found.items()}

    def _likely(self, prompt: list[str | int], biases: list[list[Any]], *, listed: int) -> dict[int, _Likely]:
        """The tokens that may come next with these biases."""
        found: dict[int, _Likely] = {}

        def take(chunk: Mapping[str, Any]) -> bool:
            self._count(chunk)
            for step in _steps(chunk):
                for token in step["top_probs"]:
                    if token["prob"] > _FAVOURED:
                        found[token["id"]] = _Likely(bytes(token["bytes"]), token["prob"])
            return False

        body = self._body(prompt, biases, max_tokens=1, temperature=1.0, logprobs=listed)
        self._ask(body | {"samplers": [], "post_sampling_probs": True}, take)
        self.tokens_out += 1
        return found

    def _body(self, prompt: list[str | int], favoured: list[list[Any]], **options: object) -> dict[str, object]:
        return {
            "prompt": prompt if len(prompt) > 1 else prompt[0],
            "logprobs": _LISTED,
            "logit_bias": favoured,
        } | options

    def _count(self, chunk: Mapping[str, Any]) -> None:
        if not self.tokens_in and (progress := chunk.get("prompt_progress")):
            self.tokens_in, self.tokens_cached = int(progress.get("total", 0)), int(progress.get("cache", 0))


def arrange(text: bytes, tokens: Mapping[int, bytes]) -> tuple[int, ...]:
    """The order in which tokens make up a text: each at least once, and of several orders the shortest.

    Raises:
        ValueError: there is none.
    """
    ways: list[dict[frozenset[int], tuple[int, ...]]] = [{frozenset(): ()}]  # to each place, by the tokens used
    for end in range(1, len(text) + 1):
        here: dict[frozenset[int], tuple[int, ...]] = {}
        for token, piece in tokens.items():
            if piece and text[:end].endswith(piece):
                for used, way in ways[end - len(piece)].items():
                    key, longer = used | {token}, (*way, token)
                    here[key] = min(here.get(key, longer), longer, key=len)
        ways.append(here)
    whole = ways[-1].get(frozenset(tokens))
    if whole is None:
        raise ValueError(f"its tokens {sorted(tokens.values())} do not make up {text.decode()!r}")
    return whole


def _steps(chunk: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tokens of a chunk that come with probabilities."""
    return [step for each in chunk.get("choices", ()) for step in (each.get("logprobs") or {}).get("content", ())]


def _read(step: Mapping[str, Any]) -> Read:
    listed = {token["id"]: float(token["logprob"]) for token in step["top_logprobs"]}
    return Read(int(step["id"]), float(step["logprob"]), listed)
