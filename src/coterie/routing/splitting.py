"""Places where a compound request may be split.

Every space between two words is a boundary, marked or not: the end of a sentence, a joining word, a comma, a
dash. Only proposals are made here: the router keeps a split when the pieces belong to different specialists.

If the encoder returns its tokens' states, a piece need not be encoded to be judged: the mean of its tokens'
states is nearly its vector, and reflects its context ("late chunking", Guenther et al. 2024, arXiv
2409.04701). So one reading of the request tells which of all boundaries parts it best, joining word or not.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from coterie.text.language import is_english
from coterie.text.segmentation import LOOSE_STOP

# --- Orders to the router.

ORDERS_FILE = Path(__file__).parent / "orders.json"
"""File made by `benchmarks/noise/fit_orders.py`."""
CLEARLY = 2.0
"""Log-odds by which the text before an order in its clause must be no order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OrderSense:
    """Distinguishes orders from requests, by the vectors of one encoder."""

    weights: np.ndarray  # (D,)
    bias: float

    @classmethod
    def bundled(cls, encoder_sha256: str) -> OrderSense | None:
        """Return the bundled model; None for another encoder than it was made with."""
        stored: Mapping[str, object] = json.loads(ORDERS_FILE.read_text(encoding="utf-8"))
        if stored["encoder"] != encoder_sha256:
            return None
        return cls(weights=np.array(stored["weights"], dtype=np.float32), bias=float(str(stored["bias"])))

    def are_orders(self, vectors: np.ndarray) -> np.ndarray:  # (M, D) -> (M,) bool
        """Return which vectors are of orders to the router; about 1 in 50 requests is taken for one."""
        return self._scores(vectors) > 0

    def start(self, states: np.ndarray, offsets: np.ndarray, places: Sequence[int], end: int) -> int:
        """Return where the order to the router begins in a clause: without punctuation a question may precede it.

        Args:
            states: (T, D) states of the text's tokens.
            offsets: (T, 2) their spans in the text.
            places: The clause's beginning, then where the order may begin instead.
            end: End of the clause.
        """
        before = self._scores(span_means(states, offsets, np.array([(places[0], start) for start in places[1:]])))
        behind = self._scores(span_means(states, offsets, np.array([(start, end) for start in places[1:]])))
        parted = np.where((before < -CLEARLY) & (behind > 0), behind - before, -np.inf)
        best = int(parted.argmax())
        return places[1 + best] if np.isfinite(parted[best]) else places[0]

    def _scores(self, vectors: np.ndarray) -> np.ndarray:  # (M, D) -> (M,)
        return np.asarray(vectors @ self.weights + self.bias)


def span_means(states: np.ndarray, offsets: np.ndarray, spans: np.ndarray) -> np.ndarray:  # (T, D), (T, 2), (M, 2)
    """Return the mean of the tokens' states in each span, of unit length, which is nearly the span's vector."""
    sums = np.vstack([np.zeros_like(states[:1]), np.cumsum(states, axis=0)])
    return means_between(sums, offsets, spans[:, 0], spans[:, 1])


def means_between(sums: np.ndarray, offsets: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:  # (M, D)
    """Return these means from running sums of the states (T + 1, D); a token may begin with the space before it."""
    first, last = np.searchsorted(offsets[:, 1], starts, side="right"), np.searchsorted(offsets[:, 0], ends)
    last = np.maximum(first, last)
    means = sums[last] - sums[first]
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float32).tiny))


# --- Compound requests.

LONGEST = 450
"""Characters beyond which a text is a document, not a question with several parts."""
MOST_PARTS = 8
"""Number of pieces beyond which a text is a list or a story, which stays whole."""
MOST_JUDGED = 4
"""Most pieces that are proposed from tokens' states: each may have to be encoded."""

Mark = Literal["sentence", "joiner", "comma", "gap"]
"""The end of a piece: the end of a sentence or line, a joining word, a comma or dash, or nothing."""

_JOINING = (
    r"(?:(?:oh|and|but|then|also|plus|additionally|furthermore|moreover|meanwhile|by\s+the\s+way|btw|as\s+well\s+as"
    r"|(?:while\s+)?(?:you|we)(?:'re|\s+are)\s+at\s+it|(?:another|one\s+more|one\s+other)\s+thing|in\s+addition)\b[,:]?"
    r"|(?:second|secondly|third|thirdly|next|finally|lastly|besides)[,:])"
)
_BOUNDARY = re.compile(
    r"(?P<end>[.?!;:\u2026,)\u2013\u2014-]{0,8})(?P<space>\s+)(?P<dash>[-\u2013\u2014\u2022*]\s+)?(?P<number>\d{1,2}[.)]\s+)?"
    rf"(?P<joining>(?:{_JOINING}\s+){{0,4}})",
    re.IGNORECASE,
)
_UNJOINED = re.compile(_BOUNDARY.pattern.replace(_JOINING, r"(?!)"), re.IGNORECASE)
"""Boundaries in languages other than English, whose joining words are not known."""
_WORD = re.compile(r"\S+")
_ASIDE = re.compile(r"\s\([^()]*\)$")
_LINE, _STOP = re.compile(r"\n+\s*"), re.compile(LOOSE_STOP)
_SHORTEST_END = 12  # characters
_SENTENCES = 3
"""Sentences of a long text that are examined beside its ends."""
_SENTENCE = re.compile(r"[.?!;\u2026]")
_LEAD = re.compile(r"\s*(?:1[.)]\s+|(?:first|firstly)\b[,:]?\s+)", re.IGNORECASE)
_SHORTEST = 3  # words; a shorter piece is no request of its own
_TRIMMED = " ,;:\n\t-"
LEAST_GAIN: Mapping[Mark, float] = {"sentence": -0.05, "joiner": -0.05, "comma": -0.05, "gap": 0.05}
"""Gain of two pieces' tokens over those of the whole from which a split is proposed, by kind of mark.

The gain is the smaller one plus half of the larger one. Each proposal costs an encoding, and where nothing
stands between the pieces nearly all are in vain. Chosen on the half `dev` of `benchmarks/compound`, where it
loses no right split (the least gain of one at a gap is 0.059).
"""
_LEAST_GAIN_ALIKE: Mapping[Mark, float] = {"sentence": 0.03, "joiner": 0.03, "comma": 0.06, "gap": math.inf}
"""`LEAST_GAIN` if both pieces seem to be for the same specialist, of the nearest two; chosen there too.

Without it one compound request in twenty was never examined in pieces. Pieces of pieces gain nothing by it.
"""
_NEVER: Mapping[Mark, float] = dict.fromkeys(LEAST_GAIN, math.inf)
_LEANING: dict[Mark, float] = {"sentence": 0.10, "joiner": 0.08, "comma": 0.05, "gap": 0.0}
"""Bonus of a mark in a boundary's score among all boundaries of a text.

Chosen on the half `dev` of `benchmarks/compound`.
"""


class Boundary(NamedTuple):
    """A boundary between two pieces: `text[:end]` is before it, `text[start:]` after it."""

    end: int
    start: int
    mark: Mark
    joined: bool = False
    """Whether words or a sign at it announce a further question: "by the way", "2.", a dash."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """A piece of a request, and the pieces that it may be split into."""

    start: int
    end: int
    text: str
    mark: Mark = "gap"
    """The mark between its pieces."""
    joined: bool = False
    """Whether the mark announces a further question."""
    pieces: tuple[Piece, ...] = ()
    ends: tuple[Piece, ...] = ()
    """For a long text, its last and first sentences and lines, one of which may be the question."""
    source: str = field(repr=False)
    """The whole request."""

    def text_between(self, start: int, end: int) -> str:
        """Return the text of the request between two positions."""
        return self.source[start:end].strip(_TRIMMED)

    def walk(self) -> Iterator[Piece]:
        """Yield the piece itself, then every piece below it, in order."""
        yield self
        for piece in (*self.pieces, *self.ends):
            yield from piece.walk()


_CLEARER = 0.05
"""Margin in similarity by which one side of a boundary must exceed the whole to be examined as its question."""
_CUTS = 2
"""Most boundaries at which a text is cut to find it: once before it and once after it."""
SHORTEST_ALONE = 4
"""Fewest words of such a question: three words of out-of-scope text match a specialist by chance."""

Judge = Callable[[np.ndarray], np.ndarray]
"""A function that returns how similar some vectors are to each specialist: (M, D) -> (M, S)."""


def split_parts(text: str, language: str = "en") -> tuple[str, ...]:
    """Return the pieces a text might consist of: at ends of sentences and joining words, in order.

    A piece of fewer than three words stays with the piece before it. A text that cannot be split, or only into
    very many pieces, is returned whole.
    """
    spans = _marked_spans(text, language) if len(text) <= LONGEST else []
    parts = tuple(text[a:b].strip(_TRIMMED) for a, b in spans)
    return parts if 1 <= len(parts) <= MOST_PARTS else (text,)


def propose_marked(text: str, language: str = "en") -> Piece:
    """Return the text with the pieces that its marks suggest, for an encoder that returns no states."""
    spans = _marked_spans(text, language) if len(text) <= LONGEST else []
    pieces = tuple(_piece(text, start, end) for start, end in spans)
    kept = pieces if 2 <= len(pieces) <= MOST_PARTS else ()
    return Piece(start=0, end=len(text), text=text, mark="joiner", pieces=kept, source=text)


def propose_ends(
    text: str, states: np.ndarray | None = None, offsets: np.ndarray | None = None, judge: Judge | None = None
) -> Piece:
    """Return a long text with its last and first sentences and lines, where a question about the rest would stand.

    If the tokens' states are known, the sentences whose tokens are most similar to examples are included.
    """
    stripped = text.rstrip()
    places: list[tuple[int, int]] = []
    for pattern in (_LINE, _STOP):
        starts = [match.end() for match in pattern.finditer(stripped)]
        if starts:
            places += [(starts[-1], len(text)), (0, starts[0])]
    if states is not None and offsets is not None and judge is not None:
        places += _clearest_sentences(_tokens_of(text, states, offsets, judge))
    spans = dict.fromkeys(span for span in places if _SHORTEST_END <= span[1] - span[0] <= LONGEST)
    ends = tuple(_piece(text, *span) for span in spans)
    return Piece(start=0, end=len(text), text=text, ends=ends, source=text)


def _clearest_sentences(tokens: _Tokens) -> list[tuple[int, int]]:
    """Return the sentences whose tokens are most similar to examples of any specialist."""
    stops = sorted({match.end() for pattern in (_LINE, _STOP) for match in pattern.finditer(tokens.text)})
    bounds = np.array([0, *stops, len(tokens.text)])
    spans = np.stack([bounds[:-1], bounds[1:]], axis=1)
    spans = spans[(spans[:, 1] - spans[:, 0] >= _SHORTEST_END) & (spans[:, 0] < tokens.offsets[:, 1].max(initial=0))]
    if not len(spans):
        return []
    likeness = tokens.judge(tokens.mean(spans[:, 0], spans[:, 1]))  # (M, S)
    order = np.argsort(-likeness.max(axis=1, initial=0.0))[:_SENTENCES]
    return [(int(start), int(end)) for start, end in spans[order]]


def propose_judged(text: str, states: np.ndarray, offsets: np.ndarray, judge: Judge, language: str = "en") -> Piece:
    """Return the text with the pieces whose tokens are similar to different specialists.

    Args:
        text: The text.
        states: (T, D) states of its tokens.
        offsets: (T, 2) their spans in the text.
        judge: Returns the similarity of vectors to each specialist.
        language: The text's language; joining words are known in English only.
    """
    tokens = _tokens_of(text, states, offsets, judge)
    lead = _LEAD.match(text)
    boundaries = _boundaries(text, language)
    budget = [MOST_JUDGED - 1]
    start = lead.end() if lead else 0
    if start >= len(text.rstrip()):
        start = 0
    part = _part(tokens, start, len(text), boundaries, budget, alike=_LEAST_GAIN_ALIKE)
    return replace(part, start=0, end=len(text), text=text)


def word_starts(text: str, start: int, end: int) -> list[int]:
    """Return the start of a span, and the positions at which a further piece may begin within it."""
    inside = [match.end() for match in _BOUNDARY.finditer(text, start, end)]
    return [
        start,
        *(boundary.end for boundary in _standing(text, start, end, (Boundary(at, at, "gap") for at in inside))),
    ]


def _tokens_of(text: str, states: np.ndarray, offsets: np.ndarray, judge: Judge) -> _Tokens:
    sums = np.vstack([np.zeros_like(states[:1]), np.cumsum(states, axis=0)])
    return _Tokens(text=text, judge=judge, sums=sums, offsets=offsets)


def propose_clearest(
    text: str, states: np.ndarray, offsets: np.ndarray, judge: Judge, spans: Sequence[tuple[int, int]]
) -> tuple[Piece, ...]:
    """Return the piece of each span whose tokens are most similar to examples: the question in out-of-scope text.

    Args:
        text: The text.
        states: (T, D) states of its tokens.
        offsets: (T, 2) their spans in the text.
        judge: Returns the similarity of vectors to each specialist.
        spans: The spans to search.
    """
    tokens = _tokens_of(text, states, offsets, judge)
    read = int(tokens.offsets[:, 1].max(initial=0))
    boundaries = [_boundary(match) for match in _BOUNDARY.finditer(text, 0, read)]
    cuts = dict.fromkeys(cut for span in spans for cut in _cuts(tokens, span, boundaries))
    pieces = (_piece(text, *span) for span in cuts)
    return tuple(piece for piece in pieces if len(piece.text.split()) >= SHORTEST_ALONE)


def _cuts(tokens: _Tokens, span: tuple[int, int], boundaries: list[Boundary]) -> Iterator[tuple[int, int]]:
    for _ in range(_CUTS):
        cut = _clearer(tokens, *span, boundaries)
        if cut is None:
            return
        yield cut
        span = cut


def _clearer(tokens: _Tokens, start: int, end: int, boundaries: list[Boundary]) -> tuple[int, int] | None:
    """Return the side of a boundary that is most similar to a specialist; None if the whole is about as similar."""
    within = _standing(tokens.text, start, end, boundaries)
    if not within:
        return None
    ends, starts = np.array([boundary.end for boundary in within]), np.array([boundary.start for boundary in within])
    froms = np.concatenate([np.full(len(within), start), starts, [start]])
    untils = np.concatenate([ends, np.full(len(within), end), [end]])
    likeness = tokens.judge(tokens.mean(froms, untils))  # (2 B + 1, S)
    if not likeness.shape[1]:
        return None
    clear = likeness.max(axis=1)
    clear[:-1][_short(tokens.text, froms[:-1], untils[:-1])] = -np.inf
    leaning = np.array([_LEANING[boundary.mark] for boundary in within])
    best = int((clear[:-1] + np.concatenate([leaning, leaning])).argmax())
    return (int(froms[best]), int(untils[best])) if clear[best] > clear[-1] + _CLEARER else None


def _short(text: str, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:  # (M,), (M,) -> (M,) bool
    """Return which spans have too few words to be the question by themselves."""
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    return np.array([len(text[a:b].split(maxsplit=SHORTEST_ALONE)) < SHORTEST_ALONE for a, b in pairs], dtype=bool)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tokens:
    text: str
    judge: Judge
    sums: np.ndarray  # (T + 1, D) of states
    offsets: np.ndarray  # (T, 2)

    def mean(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:  # (M,), (M,) characters -> (M, D)
        return means_between(self.sums, self.offsets, starts, ends)


def _part(
    tokens: _Tokens,
    start: int,
    end: int,
    boundaries: list[Boundary],
    budget: list[int],
    *,
    alike: Mapping[Mark, float] = _NEVER,
) -> Piece:
    """Return the span with its best split, if its halves are for different specialists, and so on in each half."""
    within = _standing(tokens.text, start, end, boundaries)
    whole = _piece(tokens.text, start, end)
    best = _best(tokens, start, end, within, alike) if within and budget[0] > 0 else None
    if best is None:
        return whole
    budget[0] -= 1
    halves = (_part(tokens, start, best.end, within, budget), _part(tokens, best.start, end, within, budget))
    return replace(whole, mark=best.mark, joined=best.joined, pieces=halves)


def _best(
    tokens: _Tokens, start: int, end: int, within: list[Boundary], alike: Mapping[Mark, float]
) -> Boundary | None:
    """Return the boundary with the largest gain over the whole, for two specialists; None if none has enough."""
    ends, starts = np.array([boundary.end for boundary in within]), np.array([boundary.start for boundary in within])
    count = len(within)
    froms = np.concatenate([np.full(count, start), starts, [start]])
    untils = np.concatenate([ends, np.full(count, end), [end]])
    likeness = tokens.judge(tokens.mean(froms, untils))  # (2 B + 1, S)
    left, right, whole = likeness[:count], likeness[count : 2 * count], likeness[-1]
    if likeness.shape[1] < 2:
        return None
    gain, sames = _gain(left, right, whole)
    needed = [(alike if same else LEAST_GAIN)[boundary.mark] for boundary, same in zip(within, sames, strict=True)]
    leaning = np.array([_LEANING[boundary.mark] for boundary in within])
    scores = np.where(gain > np.array(needed), gain + leaning, -np.inf)
    best = int(scores.argmax())
    return within[best] if np.isfinite(scores[best]) else None


def _gain(left: np.ndarray, right: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (B,), (B,)
    """Return the gain of each boundary's sides over the whole, for two specialists, and whether both prefer one.

    Each side counts for the specialist that it is most similar to. If that is the same one, one side counts for
    its second: tokens reflect their context, so that a side alone may be similar to another specialist than its
    tokens are here.

    Args:
        left: (B, S) similarity of each left side to each specialist.
        right: (B, S) similarity of the right sides.
        whole: (S,) similarity of the text that they are the sides of.
    """
    rows = np.arange(len(left))

    def of(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        gains = np.stack([left[rows, one] - whole[one], right[rows, other] - whole[other]])  # (2, B)
        return np.asarray(gains.min(axis=0) + 0.5 * gains.max(axis=0))

    one, other = left.argmax(axis=1), right.argmax(axis=1)
    alike = one == other
    gain = of(one, other)
    if alike.any():
        gain[alike] = np.maximum(of(one, _without(right, other)), of(_without(left, one), other))[alike]
    return gain, alike


def _without(likeness: np.ndarray, best: np.ndarray) -> np.ndarray:  # (B, S), (B,) -> (B,)
    others = likeness.copy()
    others[np.arange(len(others)), best] = -np.inf
    return np.asarray(others.argmax(axis=1))


def _standing(text: str, start: int, end: int, boundaries: Iterable[Boundary]) -> list[Boundary]:
    """Return the boundaries within a span both of whose sides are long enough to be requests."""
    first = list(islice(_WORD.finditer(text, start, end), _SHORTEST))
    last = text[start:end].rsplit(maxsplit=_SHORTEST - 1)
    if len(first) < _SHORTEST or len(last) < _SHORTEST:
        return []
    left, right = first[-1].start(), start + len(last[0])  # where the third word begins, and the last but two ends
    return [boundary for boundary in boundaries if left < boundary.end <= boundary.start < right]


def _piece(text: str, start: int, end: int) -> Piece:
    return Piece(start=start, end=end, text=text[start:end].strip(_TRIMMED), source=text)


def _boundaries(text: str, language: str) -> list[Boundary]:
    """Return every place where a text may be split; an aside at its end belongs to the words before it."""
    pattern = _BOUNDARY if is_english(language) else _UNJOINED
    boundaries = [_boundary(match) for match in pattern.finditer(text)]
    aside = _ASIDE.search(text)
    return (
        boundaries
        if aside is None
        else [boundary for boundary in boundaries if boundary.start < aside.start() and boundary.mark != "gap"]
    )


def _boundary(match: re.Match[str]) -> Boundary:
    """Return the boundary at a space, with the joining words after it."""
    ends = match["end"]
    if _SENTENCE.search(ends) or "\n" in match["space"] or match["number"]:
        mark: Mark = "sentence"
    elif match["joining"]:
        mark = "joiner"
    else:
        mark = "comma" if ends or match["dash"] else "gap"
    joined = bool(match["joining"] or match["number"] or match["dash"])
    return Boundary(match.start() + (len(ends) if mark == "sentence" else 0), match.end(), mark, joined)


def _marked_spans(text: str, language: str) -> list[tuple[int, int]]:
    """Return the spans between ends of sentences and joining words; one of under three words joins its neighbour."""
    spans: list[tuple[int, int]] = []
    start = 0
    marked = [boundary for boundary in _boundaries(text, language) if boundary.mark in {"sentence", "joiner"}]
    for end, after in [*((boundary.end, boundary.start) for boundary in marked), (len(text), len(text))]:
        if len(text[start:end].split()) >= _SHORTEST:
            spans.append((start, end))
        elif spans and end > start:
            spans[-1] = (spans[-1][0], end)
        elif not spans and after < len(text):
            continue  # too short to stand alone at the beginning: it goes with what follows
        start = after
    return spans
