"""Log-likelihoods of a closed set of continuations, with as few model calls as possible.

The continuations' tokens form a tree. The model generates a path down the tree with the tree's tokens favoured, which
costs one token a step, and reports at each node the probabilities of the next tokens before favouring. Branches are
kept in a queue, the most likely first. The search ends when all unexplored branches hold less than a thousandth of the
explored probability: mostly after one path. An unexplored branch counts with the probability up to its node, divided
equally among its continuations.

The module knows no engine: tokens are numbers, and the reader is an argument.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from coterie.engines.gguf import GGUFHeader

_TOLERANCE = 1e-3
"""Unexplored probability at which the search ends, as a share of the explored."""
_MOST_READS = 64
"""Most calls of the model: enough for a tuned model, and a bound for a model that does not know the choices."""


class Read(NamedTuple):
    """A token that the model was made to generate."""

    token: int
    log_probability: float
    """Log-probability among all tokens, before favouring."""
    listed: Mapping[int, float]
    """Log-probabilities of the likeliest tokens there."""


class ContinuationScorer(Protocol):
    """The next tokens of a model after a prompt and a path of tokens."""

    def down(self, path: tuple[int, ...], tokens: Sequence[int], most: int) -> Sequence[Read]:
        """Generate with some tokens favoured: at least one token, at most `most`.

        Favoured tokens come before all others, the likeliest of them first.
        """
        ...

    def among(self, path: tuple[int, ...], tokens: Sequence[int]) -> Mapping[int, float]:
        """Return the log-probability of each of these tokens, given that the next token is one of them."""
        ...


@dataclass(kw_only=True, eq=False)
class Node:
    """A node in the tree of the choices' tokens."""

    path: tuple[int, ...] = ()
    children: dict[int, Node] = field(default_factory=dict)
    choice: int | None = None
    """Index of the choice that ends here."""

    @property
    def leaves(self) -> list[int]:
        """The choices at and below the node."""
        if self.choice is not None:
            return [self.choice]
        return [leaf for child in self.children.values() for leaf in child.leaves]

    @property
    def tokens(self) -> list[int]:
        """The tokens of all edges below the node, each once."""
        behind = (token for child in self.children.values() for token in child.tokens)
        return list(dict.fromkeys([*self.children, *behind]))

    @property
    def depth(self) -> int:
        """Tokens of the longest path down."""
        return max((1 + child.depth for child in self.children.values()), default=0)


def tree_of(choices: Sequence[Sequence[int]]) -> Node:
    """Return the tree of the choices' tokens, each with a last one as end mark. Raises `ValueError` for equal ones."""
    root = Node()
    for index, tokens in enumerate(choices):
        node = root
        for token in tokens:
            node = node.children.setdefault(token, Node(path=(*node.path, token)))
        if node.children or node.choice is not None:
            raise ValueError("two choices have the same tokens")
        node.choice = index
    return root


def log_likelihoods(root: Node, reader: ContinuationScorer) -> np.ndarray:
    """Return the log-likelihood of each choice of a tree.

    Returns:
        (L,) float64. Exact for explored choices; an upper bound for the others, all of which together have at most a
        thousandth of the probability of the explored ones, unless the limit of model calls was reached before.
    """
    walk = _Walk(root, reader)
    while walk.is_open():
        walk.step()
    return walk.scores()


class _Open(NamedTuple):
    """An unexplored part: children of a node, or the node itself where its own probability is known."""

    key: float  # minus the log of the probability of each of them, or of the most it can be
    order: int
    node: Node
    score: float  # log-probability of the node
    children: tuple[Node, ...]  # empty: it is the node itself that was not followed

    @property
    def mass(self) -> float:
        """Upper bound of its probability."""
        return math.exp(-self.key) * max(len(self.children), 1)


class _Walk:
    def __init__(self, root: Node, reader: ContinuationScorer) -> None:
        self._reader = reader
        self._reads = 0
        self._count = 0
        self._queue: list[_Open] = []
        self._done: dict[int, float] = {}
        self._size = len(root.leaves)
        self._push(root, 0.0)

    def is_open(self) -> bool:
        """Return whether the unexplored part could still matter."""
        followed = sum(map(math.exp, self._done.values()))
        return self._reads < _MOST_READS and sum(node.mass for node in self._queue) > _TOLERANCE * followed

    def step(self) -> None:
        """Ask the model once, at the likeliest node."""
        opened = heapq.heappop(self._queue)
        self._reads += 1
        if opened.children:
            self._read_unlisted(opened)
        else:
            self._read_down(opened)

    def scores(self) -> np.ndarray:
        """Return the current scores."""
        scores = np.full(self._size, -math.inf)  # (L,)
        for choice, score in self._done.items():
            scores[choice] = score
        for opened in self._queue:
            for node in opened.children or (opened.node,):
                leaves = node.leaves
                scores[leaves] = -opened.key - math.log(len(leaves))
        return scores

    def _read_down(self, opened: _Open) -> None:
        node, score = opened.node, opened.score
        for step in self._reader.down(node.path, node.tokens, node.depth):
            self._branch(node, score, step)
            if (following := node.children.get(step.token)) is None:
                return  # a favoured token of another place
            node, score = following, score + step.log_probability
            if node.choice is not None:
                self._done[node.choice] = score
                return
        self._push(node, score)

    def _branch(self, node: Node, score: float, step: Read) -> None:
        """Queue a node's children, except the generated one."""
        others = {token: child for token, child in node.children.items() if token != step.token}
        for token in others.keys() & step.listed.keys():
            self._push(others.pop(token), score + step.listed[token])
        if others:
            most = min(step.listed.values(), default=0.0)
            if step.token in node.children:
                most = min(most, step.log_probability)
            self._put_off(node, score, tuple(others.values()), most=score + most)

    def _read_unlisted(self, opened: _Open) -> None:
        """Score children that the model did not list: one of them among all tokens, and each among these children."""
        path, children = opened.node.path, {child.path[-1]: child for child in opened.children}
        step, *_ = self._reader.down(path, list(children), 1)
        if step.token not in children:
            raise ValueError("a token was said that was not favoured")
        among = self._reader.among(path, list(children)) if len(children) > 1 else {step.token: 0.0}
        for token, child in children.items():
            self._push(child, opened.score + step.log_probability + among[token] - among[step.token])

    def _push(self, node: Node, score: float) -> None:
        """Queue or finish a node whose probability is known."""
        if node.choice is not None:
            self._done[node.choice] = score
        else:
            self._put_off(node, score, (), most=score)

    def _put_off(self, node: Node, score: float, children: tuple[Node, ...], *, most: float) -> None:
        self._count += 1
        heapq.heappush(self._queue, _Open(-most, self._count, node, score, children))


# --- Tokenising plain words without the model: byte-pair encoding (Sennrich et al. 2016) of words between spaces.
#
# All byte-level tokenizers with merges agree there. It is for speed; whatever else there is, llama.cpp is asked.

_PLAIN = re.compile(r"(?: [A-Za-z]+)+")
_SPACE = "\u0120"  # how these vocabularies write a space
_SPLITTERS = frozenset({"default", "gpt-2", "llama-bpe", "qwen2", "smollm"})
"""Values of `tokenizer.ggml.pre` whose rules keep a space and the following letters together."""


def cut_words(texts: Iterable[str], header: GGUFHeader) -> dict[str, tuple[int, ...]]:
    """Return the tokens of texts that are plain words, each after a space; other texts are left out."""
    vocabulary, merges = (header.metadata.get(f"tokenizer.ggml.{name}") for name in ("tokens", "merges"))
    kind, splitter = (header.metadata.get(f"tokenizer.ggml.{name}") for name in ("model", "pre"))
    if kind != "gpt2" or splitter not in _SPLITTERS or not isinstance(vocabulary, list) or not isinstance(merges, list):
        return {}
    tokens = {str(token): number for number, token in enumerate(vocabulary)}
    ranks = {tuple(str(merge).split(" ")): rank for rank, merge in enumerate(merges)}
    words: dict[str, tuple[int, ...]] = {}
    tokens_of_text = {}
    for text in filter(_PLAIN.fullmatch, texts):
        for word in set(text.split()) - words.keys():
            pieces = _merge([_SPACE, *word], ranks)
            if all(piece in tokens for piece in pieces):
                words[word] = tuple(tokens[piece] for piece in pieces)
        if all(word in words for word in text.split()):
            tokens_of_text[text] = tuple(token for word in text.split() for token in words[word])
    return tokens_of_text


def _merge(pieces: list[str], ranks: Mapping[tuple[str, ...], int]) -> list[str]:
    """Join neighbours in the order of the tokenizer's merges until none can be joined."""
    while len(pieces) > 1:
        pairs = [(ranks.get((one, two), len(ranks)), at) for at, (one, two) in enumerate(pairwise(pieces))]
        rank, at = min(pairs)
        if rank == len(ranks):
            break
        pieces = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]
    return pieces


# --- Scoring choices with llama.cpp: requests and responses.

_FAVOUR = 100.0
"""Bias added to a logit that makes a token likelier than all that are not favoured."""
_LISTED = 50
"""Tokens whose probabilities are returned with each generated token."""
_MOST_TRIES = 5
"""Most requests for finding the tokens of one choice."""
_FAVOURED = 1e-20
"""Probability above which a token must have been favoured."""


class _Likely(NamedTuple):
    piece: bytes
    probability: float


Ask = Callable[[Mapping[str, Any], Callable[[Mapping[str, Any]], bool]], None]
"""Sends a request and passes on each chunk of its answer until the callback returns True."""


class Scoring:
    """Scoring of one prompt's choices: a `ContinuationScorer` that counts its usage."""

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
        """Generate after the prompt and a path, with some tokens favoured."""
        reads: list[Read] = []

        def take(chunk: Mapping[str, Any]) -> bool:
            self._count(chunk)
            reads.extend(map(_read, _steps(chunk)))
            return any(choice.get("text") and not choice.get("logprobs") for choice in chunk.get("choices", ()))

        favoured = [[token, _FAVOUR] for token in tokens]
        self._ask(self._body([self._text, *path], favoured, max_tokens=most, temperature=0.0), take)
        self.tokens_out += len(reads)
        return reads

    def among(self, path: tuple[int, ...], tokens: Sequence[int]) -> dict[int, float]:
        """Return the log-probability of each of these tokens, given that the next one is one of them."""
        favoured: list[list[Any]] = [[token, _FAVOUR] for token in tokens]
        likely = self._likely([self._text, *path], favoured, listed=len(tokens))
        smallest = math.log(_FAVOURED)
        return {token: math.log(likely[token].probability) if token in likely else smallest for token in tokens}

    def tokens_of(self, choice: str) -> tuple[int, ...]:
        """Return the tokens of a choice, as llama.cpp's tokenizer splits it.

        The tokenizer cannot be called directly, but it splits a text whose tokens are to be favoured: the likely
        tokens are then those of the text, and their order is the one in which they form the text. A token that occurs
        twice is favoured twice and hides the others; the tokens already found are banned in the next try.

        Raises:
            ValueError: the tokens do not form the text.
        """
        pieces: dict[int, bytes] = {}
        for _ in range(_MOST_TRIES):
            if not (new := self._favoured_by(choice, pieces)):
                break
            pieces |= new
            with suppress(ValueError):
                return arrange(choice.encode(), pieces)
        return arrange(choice.encode(), pieces)

    def _favoured_by(self, choice: str, banned: Mapping[int, bytes]) -> dict[int, bytes]:
        """Return the likeliest tokens, with their bytes, where those of a choice are favoured and some are banned."""
        biases: list[list[Any]] = [[choice, _FAVOUR], *([token, False] for token in banned)]
        likely = self._likely([self._text], biases, listed=max(_LISTED, len(choice.encode())))
        return {token: item.piece for token, item in likely.items()}

    def _likely(self, prompt: list[str | int], biases: list[list[Any]], *, listed: int) -> dict[int, _Likely]:
        """Return the tokens that may come next with these biases."""
        likely: dict[int, _Likely] = {}

        def take(chunk: Mapping[str, Any]) -> bool:
            self._count(chunk)
            for step in _steps(chunk):
                for token in step["top_probs"]:
                    if token["prob"] > _FAVOURED:
                        likely[token["id"]] = _Likely(bytes(token["bytes"]), token["prob"])
            return False

        body = self._body(prompt, biases, max_tokens=1, temperature=1.0, logprobs=listed)
        self._ask(body | {"samplers": [], "post_sampling_probs": True}, take)
        self.tokens_out += 1
        return likely

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
    """Return the order in which tokens form a text: each at least once, and the shortest of several orders.

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
    """Return the tokens of a chunk that come with probabilities."""
    return [step for choice in chunk.get("choices", ()) for step in (choice.get("logprobs") or {}).get("content", ())]


def _read(step: Mapping[str, Any]) -> Read:
    listed = {token["id"]: float(token["logprob"]) for token in step["top_logprobs"]}
    return Read(int(step["id"]), float(step["logprob"]), listed)
