"""Where a compound request may come apart.

Every space between two words is a boundary, marked or not: the end of a sentence, a joining word, a comma, a dash. Only
proposals are made here: the router keeps a split when the pieces belong to different specialists.

Where the encoder gives its tokens' states, a piece need not be encoded to be judged: the mean of its tokens' states is
nearly its vector, and knows what stands around it ("late chunking", Guenther et al. 2024, arXiv 2409.04701). So one
reading of the request tells which of all boundaries parts it best, joining word or not.
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
"""Made by `benchmarks/noise/fit_orders.py`."""
CLEARLY = 2.0
"""Log-odds by which what stands before an order in its clause must be none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OrderSense:
    """Tells orders from requests; for the vectors of one encoder."""

    weights: np.ndarray  # (D,)
    bias: float

    @classmethod
    def bundled(cls, encoder_sha256: str) -> OrderSense | None:
        """The one that comes with the package; None for another encoder than it was made with."""
        found: Mapping[str, object] = json.loads(ORDERS_FILE.read_text(encoding="utf-8"))
        if found["encoder"] != encoder_sha256:
            return None
        return cls(weights=np.array(found["weights"], dtype=np.float32), bias=float(str(found["bias"])))

    def are_orders(self, vectors: np.ndarray) -> np.ndarray:  # (M, D) -> (M,) bool
        """Which vectors are of words to the router: of requests about 1 in 50."""
        return self._scores(vectors) > 0

    def start(self, states: np.ndarray, offsets: np.ndarray, places: Sequence[int], end: int) -> int:
        """Where in a clause that is words to the router they begin: whoever writes without marks may ask before them.

        Args:
            states: (T, D) of the text's tokens.
            offsets: (T, 2) where they stand in it.
            places: The clause's beginning, then where the words to the router may begin instead.
            end: Of the clause.
        """
        before = self._scores(span_means(states, offsets, np.array([(places[0], place) for place in places[1:]])))
        behind = self._scores(span_means(states, offsets, np.array([(place, end) for place in places[1:]])))
        parted = np.where((before < -CLEARLY) & (behind > 0), behind - before, -np.inf)
        best = int(parted.argmax())
        return places[1 + best] if np.isfinite(parted[best]) else places[0]

    def _scores(self, vectors: np.ndarray) -> np.ndarray:  # (M, D) -> (M,)
        return np.asarray(vectors @ self.weights + self.bias)


def span_means(states: np.ndarray, offsets: np.ndarray, spans: np.ndarray) -> np.ndarray:  # (T, D), (T, 2), (M, 2)
    """The mean of the tokens' states in each span of characters, of unit length: nearly the vectors of the spans."""
    sums = np.vstack([np.zeros_like(states[:1]), np.cumsum(states, axis=0)])
    return means_between(sums, offsets, spans[:, 0], spans[:, 1])


def means_between(sums: np.ndarray, offsets: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:  # (M, D)
    """The same from running sums of the states (T + 1, D)."""
    first, last = np.searchsorted(offsets[:, 0], starts), np.searchsorted(offsets[:, 0], ends)
    means = sums[last] - sums[first]
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float32).tiny))


# --- Compound requests.

LONGEST = 450
"""Characters beyond which a text is a document, not a question with several parts."""
MOST_PARTS = 8
"""Pieces beyond which it is a list or a story: it stays whole."""
MOST_JUDGED = 4
"""Pieces that are proposed from tokens' states: each may have to be encoded."""

Mark = Literal["sentence", "joiner", "comma", "gap"]
"""What shows that a piece ends: the end of a sentence or line, a joining word, a comma or dash, nothing."""

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
"""The same for other languages than English, whose joining words are not known."""
_WORD = re.compile(r"\S+")
_ASIDE = re.compile(r"\s\([^()]*\)$")
_LINE, _STOP = re.compile(r"\n+\s*"), re.compile(LOOSE_STOP)
_SHORTEST_END = 12  # characters
_SENTENCES = 3
"""Sentences of a long text that are looked at beside its ends."""
_SENTENCE = re.compile(r"[.?!;\u2026]")
_LEAD = re.compile(r"\s*(?:1[.)]\s+|(?:first|firstly)\b[,:]?\s+)", re.IGNORECASE)
_SHORTEST = 3  # words; a shorter piece is no request of its own
_TRIMMED = " ,;:\n\t-"
LEAST_GAIN: Mapping[Mark, float] = {"sentence": -0.05, "joiner": -0.05, "comma": -0.05, "gap": 0.05}
"""What the tokens of two pieces must say more than those of the whole, to be proposed: the smaller gain and half of the
larger one. Each proposal costs an encoding, and where nothing stands between the pieces nearly all are in vain. Chosen
on the half `dev` of `benchmarks/compound`, where it loses no right split (the least gain of one at a gap is 0.059)."""
_LEAST_GAIN_ALIKE: Mapping[Mark, float] = {"sentence": 0.03, "joiner": 0.03, "comma": 0.06, "gap": math.inf}
"""The same where both pieces seem to be for the same specialist, of the nearest two; chosen there too. Without it one
compound request in twenty was never looked at in pieces. Pieces of pieces gain nothing by it."""
_NEVER: Mapping[Mark, float] = dict.fromkeys(LEAST_GAIN, math.inf)
_LEANING: dict[Mark, float] = {"sentence": 0.10, "joiner": 0.08, "comma": 0.05, "gap": 0.0}
"""What a mark adds to a boundary's score among all boundaries of a text; chosen on the half `dev` of
`benchmarks/compound`."""


class Boundary(NamedTuple):
    """Between two pieces: `text[:end]` is before it, `text[start:]` behind it."""

    end: int
    start: int
    mark: Mark
    joined: bool = False
    """By words or a sign that say that something else is asked: "by the way", "2.", a dash."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """A piece of a request, and the pieces that it may come apart into."""

    start: int
    end: int
    text: str
    mark: Mark = "gap"
    """What stands between its pieces."""
    joined: bool = False
    """What stands there says that something else is asked."""
    pieces: tuple[Piece, ...] = ()
    ends: tuple[Piece, ...] = ()
    """Of a long text, its last and first sentences and lines: the question may be one of them."""
    source: str = field(repr=False)
    """The whole request."""

    def text_between(self, start: int, end: int) -> str:
        """What stands there in the request."""
        return self.source[start:end].strip(_TRIMMED)

    def walk(self) -> Iterator[Piece]:
        """Itself, then every piece below it, in order."""
        yield self
        for piece in (*self.pieces, *self.ends):
            yield from piece.walk()


_CLEARER = 0.05
"""Likeness that a side of a boundary must have more than the whole, to be looked at as the question in it."""
_CUTS = 2
"""Boundaries at which a text is cut to find it: what stands before it and what stands behind."""
SHORTEST_ALONE = 4
"""Words of it: three of nobody's text are like somebody's by chance."""

Judge = Callable[[np.ndarray], np.ndarray]
"""How like each specialist some vectors are: (M, D) -> (M, S)."""


def split_parts(text: str, language: str = "en") -> tuple[str, ...]:
    """The pieces a text might consist of: at ends of sentences and joining words, in order.

    A piece of fewer than three words stays with the piece before it. A text that cannot be split, or only into very
    many, gives itself.
    """
    spans = _marked_spans(text, language) if len(text) <= LONGEST else []
    parts = tuple(text[a:b].strip(_TRIMMED) for a, b in spans)
    return parts if 1 <= len(parts) <= MOST_PARTS else (text,)


def propose_marked(text: str, language: str = "en") -> Piece:
    """The text with the pieces that its marks suggest, for an encoder that gives no states."""
    spans = _marked_spans(text, language) if len(text) <= LONGEST else []
    pieces = tuple(_piece(text, start, end) for start, end in spans)
    kept = pieces if 2 <= len(pieces) <= MOST_PARTS else ()
    return Piece(start=0, end=len(text), text=text, mark="joiner", pieces=kept, source=text)


def propose_ends(
    text: str, states: np.ndarray | None = None, offsets: np.ndarray | None = None, judge: Judge | None = None
) -> Piece:
    """A long text with its last and first sentences and lines, where a question about the rest would stand.

    Where the tokens' states are known, also with the sentences whose tokens are most like somebody's examples.
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
    """The sentences whose tokens are most like somebody's examples, those of each specialist apart."""
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
    """The text with the pieces whose tokens are like different specialists.

    Args:
        text: What is asked.
        states: (T, D) of its tokens.
        offsets: (T, 2) where they stand in it.
        judge: Gives the likeness of vectors to each specialist.
        language: The text's; joining words are known in English only.
    """
    tokens = _tokens_of(text, states, offsets, judge)
    lead = _LEAD.match(text)
    boundaries = _boundaries(text, language)
    budget = [MOST_JUDGED - 1]
    start = lead.end() if lead else 0
    if start >= len(text.rstrip()):
        start = 0
    found = _part(tokens, start, len(text), boundaries, budget, alike=_LEAST_GAIN_ALIKE)
    return replace(found, start=0, end=len(text), text=text)


def word_starts(text: str, start: int, end: int) -> list[int]:
    """The beginning of a span, and where in it a piece may begin that leaves one before it."""
    inside = [match.end() for match in _BOUNDARY.finditer(text, start, end)]
    return [start, *(each.end for each in _standing(text, start, end, (Boundary(at, at, "gap") for at in inside)))]


def _tokens_of(text: str, states: np.ndarray, offsets: np.ndarray, judge: Judge) -> _Tokens:
    sums = np.vstack([np.zeros_like(states[:1]), np.cumsum(states, axis=0)])
    return _Tokens(text=text, judge=judge, sums=sums, offsets=offsets)


def propose_clearest(
    text: str, states: np.ndarray, offsets: np.ndarray, judge: Judge, spans: Sequence[tuple[int, int]]
) -> tuple[Piece, ...]:
    """The piece of each span whose tokens are most like somebody's examples: the question among what is nobody's.

    Args:
        text: What is asked.
        states: (T, D) of its tokens.
        offsets: (T, 2) where they stand in it.
        judge: Gives the likeness of vectors to each specialist.
        spans: Where to look.
    """
    tokens = _tokens_of(text, states, offsets, judge)
    read = int(tokens.offsets[:, 1].max(initial=0))
    boundaries = [_boundary(match) for match in _BOUNDARY.finditer(text, 0, read)]
    found = dict.fromkeys(cut for span in spans for cut in _cuts(tokens, span, boundaries))
    pieces = (_piece(text, *span) for span in found)
    return tuple(piece for piece in pieces if len(piece.text.split()) >= SHORTEST_ALONE)


def _cuts(tokens: _Tokens, span: tuple[int, int], boundaries: list[Boundary]) -> Iterator[tuple[int, int]]:
    for _ in range(_CUTS):
        cut = _clearer(tokens, *span, boundaries)
        if cut is None:
            return
        yield cut
        span = cut


def _clearer(tokens: _Tokens, start: int, end: int, boundaries: list[Boundary]) -> tuple[int, int] | None:
    """The side of a boundary that is most like somebody; None if the whole is about as much so."""
    within = _standing(tokens.text, start, end, boundaries)
    if not within:
        return None
    ends, starts = np.array([each.end for each in within]), np.array([each.start for each in within])
    froms = np.concatenate([np.full(len(within), start), starts, [start]])
    untils = np.concatenate([ends, np.full(len(within), end), [end]])
    likeness = tokens.judge(tokens.mean(froms, untils))  # (2 B + 1, S)
    if not likeness.shape[1]:
        return None
    clear = likeness.max(axis=1)
    clear[:-1][_short(tokens.text, froms[:-1], untils[:-1])] = -np.inf
    leaning = np.array([_LEANING[each.mark] for each in within])
    best = int((clear[:-1] + np.concatenate([leaning, leaning])).argmax())
    return (int(froms[best]), int(untils[best])) if clear[best] > clear[-1] + _CLEARER else None


def _short(text: str, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:  # (M,), (M,) -> (M,) bool
    """Which spans have too few words to be the question by themselves."""
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
    """The span with its best split, if its halves are like different specialists, and so on in each half."""
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
    """The boundary whose two sides say most more than the whole, each about another specialist; None if none does."""
    ends, starts = np.array([each.end for each in within]), np.array([each.start for each in within])
    count = len(within)
    froms = np.concatenate([np.full(count, start), starts, [start]])
    untils = np.concatenate([ends, np.full(count, end), [end]])
    likeness = tokens.judge(tokens.mean(froms, untils))  # (2 B + 1, S)
    left, right, whole = likeness[:count], likeness[count : 2 * count], likeness[-1]
    if likeness.shape[1] < 2:
        return None
    gain, sames = _gain(left, right, whole)
    needed = [(alike if same else LEAST_GAIN)[each.mark] for each, same in zip(within, sames, strict=True)]
    leaning = np.array([_LEANING[each.mark] for each in within])
    scores = np.where(gain > np.array(needed), gain + leaning, -np.inf)
    best = int(scores.argmax())
    return within[best] if np.isfinite(scores[best]) else None


def _gain(left: np.ndarray, right: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (B,), (B,)
    """What the sides of each boundary say more than the whole, of two specialists, and whether both are most like one.

    Each side is about the one that it is most like. Where that is the same, one of them is about its second: tokens
    know of those around them, so that a side alone may be like another one than its tokens are here.

    Args:
        left: (B, S) how like each specialist each left side is.
        right: (B, S) the right sides.
        whole: (S,) the text that they are the sides of.
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
    """The boundaries within a span both of whose sides are long enough to be requests."""
    first = list(islice(_WORD.finditer(text, start, end), _SHORTEST))
    last = text[start:end].rsplit(maxsplit=_SHORTEST - 1)
    if len(first) < _SHORTEST or len(last) < _SHORTEST:
        return []
    left, right = first[-1].start(), start + len(last[0])  # where the third word begins, and the last but two ends
    return [each for each in boundaries if left < each.end <= each.start < right]


def _piece(text: str, start: int, end: int) -> Piece:
    return Piece(start=start, end=end, text=text[start:end].strip(_TRIMMED), source=text)


def _boundaries(text: str, language: str) -> list[Boundary]:
    """Every place where a text may come apart; an aside at its end belongs to the words before it."""
    pattern = _BOUNDARY if is_english(language) else _UNJOINED
    found = [_boundary(match) for match in pattern.finditer(text)]
    aside = _ASIDE.search(text)
    return found if aside is None else [each for each in found if each.start < aside.start() and each.mark != "gap"]


def _boundary(match: re.Match[str]) -> Boundary:
    """The boundary at a space, with the joining words behind it."""
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
    """The spans between ends of sentences and joining words; one of under three words stays with its neighbour."""
    spans: list[tuple[int, int]] = []
    start = 0
    marked = [boundary for boundary in _boundaries(text, language) if boundary.mark in {"sentence", "joiner"}]
    for end, after in [*((each.end, each.start) for each in marked), (len(text), len(text))]:
        if len(text[start:end].split()) >= _SHORTEST:
            spans.append((start, end))
        elif spans and end > start:
            spans[-1] = (spans[-1][0], end)
        elif not spans and after < len(text):
            continue  # too short to stand alone at the beginning: it goes with what follows
        start = after
    return spans
