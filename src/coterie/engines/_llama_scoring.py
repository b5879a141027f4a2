"""Scoring choices with llama.cpp: what is sent for it and how the answer is read.

llama.cpp gives no probabilities of a prompt's own tokens. It does give, for each token it generates, its probability
before any was favoured, and those of the likeliest others. So a choice is scored by having it generated. Tokens that
prompt lookup guessed come without probabilities: reading stops before them and goes on in another request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._choices import Read

_FAVOUR = 100.0
"""Added to a logit, it makes a token likelier than all that are not favoured."""
_LISTED = 50
"""Tokens whose probabilities come with each that is generated."""
_FAVOURED = 1e-20
"""Probability above which a token must have been favoured."""

Ask = Callable[[Mapping[str, Any], Callable[[Mapping[str, Any]], bool]], None]
"""Sends a request and hands over each chunk of its answer until it is told that that is enough."""


class Scoring:
    """One prompt on its way down the tree of its choices: a `Reader`, which counts what it takes."""

    def __init__(self, ask: Ask, text: str) -> None:
        self._ask = ask
        self._text = text
        self.tokens_in = 0
        """Tokens of the prompt."""
        self.tokens_out = 0
        """Tokens that were generated."""

    def __call__(self, path: tuple[int, ...], tokens: Sequence[int], most: int) -> list[Read]:
        """How the model goes on after the prompt and a path, with some tokens favoured; a `Reader`."""
        found: list[Read] = []

        def take(chunk: Mapping[str, Any]) -> bool:
            self._count(chunk)
            for choice in chunk.get("choices", ()):
                probabilities = choice.get("logprobs")
                if choice.get("text") and not probabilities:
                    return True
                found.extend(map(_read, (probabilities or {}).get("content", ())))
            return False

        favoured = [[token, _FAVOUR] for token in tokens]
        self._ask(self._body([self._text, *path], favoured, max_tokens=most, temperature=0.0), take)
        self.tokens_out += len(found)
        return found

    def tokens_of(self, choice: str) -> tuple[int, ...]:
        """The tokens of a choice, as llama.cpp's tokenizer cuts it.

        There is no door to the tokenizer, but a text whose tokens are to be favoured is cut by it: what is likely then
        are its tokens, and their order is that in which they make up the text.

        Raises:
            ValueError: they do not make it up.
        """
        found: dict[int, bytes] = {}

        def take(chunk: Mapping[str, Any]) -> bool:
            self._count(chunk)
            for each in chunk.get("choices", ()):
                for step in (each.get("logprobs") or {}).get("content", ()):
                    likely = (token for token in step["top_probs"] if token["prob"] > _FAVOURED)
                    found.update((token["id"], bytes(token["bytes"])) for token in likely)
            return False

        listed = max(_LISTED, len(choice.encode()))
        body = self._body([self._text], [[choice, _FAVOUR]], max_tokens=1, temperature=1.0, logprobs=listed)
        self._ask(body | {"samplers": [], "post_sampling_probs": True}, take)
        return arrange(choice.encode(), found)

    def _body(self, prompt: list[str | int], favoured: list[list[Any]], **options: object) -> dict[str, object]:
        return {
            "prompt": prompt if len(prompt) > 1 else prompt[0],
            "logprobs": _LISTED,
            "logit_bias": favoured,
        } | options

    def _count(self, chunk: Mapping[str, Any]) -> None:
        self.tokens_in = self.tokens_in or int(chunk.get("prompt_progress", {}).get("total", 0))


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


def _read(step: Mapping[str, Any]) -> Read:
    listed = {token["id"]: float(token["logprob"]) for token in step["top_logprobs"]}
    return Read(int(step["id"]), float(step["logprob"]), listed)
