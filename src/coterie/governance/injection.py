"""Detection of text that gives orders to a model, for the trace alone.

No decision depends on the findings: an attacker who evades detection gains nothing, since labels, clearances,
routes and tools do not depend on words. A finding is reported so that somebody examines the text.

A linear model on hashed pieces of 3 to 9 characters reads each window of a text (features: Cavnar and Trenkle
1994; hashing: Weinberger et al. 2009). It was trained on orders in seven languages and on harmless texts in
more by `scripts/injection_build.py`; `orders/MODEL_CARD.md` has data and figures, `benchmarks/injection` a
public set.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coterie.models.catalogue import bundled_arrays
from coterie.types import Reason, Verdict

FOLDER = Path(__file__).parent / "orders"
WEIGHTS, PROVENANCE = FOLDER / "orders.safetensors", FOLDER / "provenance.json"
KINDS = ("override", "task", "role", "prompt", "exfiltrate", "label", "router", "format")
"""Kinds of orders.

In this order: forget the instructions, do another task, play another role, show the prompt, send data or act
for the sender, carry a label, bypass the router, pose as the system.
"""
SUSPECTED = "injection.suspected"
DIMENSION = 1 << 16
WINDOW, STEP = 60, 20
"""Length of a window that is judged by itself, and the distance between two windows, in characters."""
_SIZES = (3, 4, 5, 7, 9)
FEWEST = 90
"""Least number of pieces that a score is divided by (about twenty characters), so that short texts weigh less."""
_LENGTHS = np.array(_SIZES)[:, None]
_PRIME = np.uint64(1099511628211)  # FNV-1a's, of 64 bits
_MIXED = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio, of 64 bits: Fibonacci hashing
_TOP = np.uint64(64 - 16)
_BLOCK = 100 * STEP
_MOST_LETTERS = 20_000
"""Most characters that are cached: those of the living scripts."""


class _Letters(dict[int, str]):
    """Maps a character to what the model reads: letters stay, digits become 0, unseen ones vanish, others a blank."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        category = unicodedata.category(letter)
        read = letter if category[0] == "L" else "0" if category[0] == "N" else "" if category in _UNSEEN else " "
        if len(self) < _MOST_LETTERS:  # nobody makes them a million by a text of all characters
            self[code] = read
        return read


_UNSEEN = frozenset({"Cf", "Mn", "Me"})
_LETTERS = _Letters()
_LETTERS.update({ord(character): " " for character in "\t\n\r"})


def plain(text: str) -> str:
    """Return a text as the model reads it: in lower case, with single blanks between words and around the text."""
    normal = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return f" {' '.join(normal.translate(_LETTERS).split())} "


def pieces(read: str) -> np.ndarray:  # (P,)
    """Return the hashed pieces of a normalised text: grouped by size, each group in the order of the text."""
    letters = np.frombuffer(read.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    running, hashes = letters * _PRIME, []
    for size in range(2, _SIZES[-1] + 1):
        running = (running[:-1] ^ letters[size - 1 :]) * _PRIME
        if size in _SIZES:
            hashes.append(running)
    return ((np.concatenate(hashes) * _MIXED) >> _TOP).view(np.int64)


class Windows(NamedTuple):
    """Where the windows of a text lie; that depends on its length alone."""

    starts: np.ndarray  # (W,)
    first: np.ndarray
    """(S, W) offsets of the first piece of each size in each window."""
    last: np.ndarray  # (S, W)
    sizes: np.ndarray
    """(W,) square roots of the pieces of each window, `FEWEST` at least."""


@lru_cache(maxsize=256)
def windows(length: int) -> Windows:
    """Return the windows of a normalised text of this length, in characters."""
    starts = np.arange(0, max(1, length - WINDOW + STEP), STEP)
    offsets = np.array([0, *accumulate(max(length - size + 1, 0) for size in _SIZES)])[:, None]  # (S + 1, 1)
    last = np.minimum(offsets[:-1] + np.maximum(starts + WINDOW + 1 - _LENGTHS, 0), offsets[1:])
    first = np.minimum(offsets[:-1] + starts, last)
    return Windows(starts, first, last, np.sqrt(np.maximum((last - first).sum(axis=0), FEWEST)))


@dataclass(frozen=True, kw_only=True, eq=False)
class OrderModel:
    """The bundled weights, applied to windows of a text."""

    weights: np.ndarray
    """(1 + K, D) int8: the weights of being an order, then those of each kind."""
    scales: np.ndarray  # (1 + K,)
    bias: np.ndarray  # (1 + K,)
    least: float
    """Log-odds from which a window counts as an order."""

    def odds(self, text: str) -> np.ndarray:  # (W,)
        """Return the log-odds that each window of a text is an order."""
        return np.concatenate(
            [self._odds(pieces(block), windows(len(block)), slice(0, 1))[0] for block in blocks(plain(text))]
        )

    def kinds(self, text: str) -> tuple[str, ...]:
        """Return the kinds of orders in a text, in the order of `KINDS`; the time grows with its length."""
        is_said = np.zeros(len(KINDS), dtype=bool)
        for block in blocks(plain(text)):
            hashed, read = pieces(block), windows(len(block))
            is_order = self._odds(hashed, read, slice(0, 1))[0] >= self.least
            if is_order.any():
                by_kind = self._odds(hashed, read, slice(1, None))[:, is_order]
                is_said |= ((by_kind > 0) | (by_kind == by_kind.max(axis=0))).any(axis=1)
        return tuple(kind for kind, is_one in zip(KINDS, is_said, strict=True) if is_one)

    def _odds(self, hashed: np.ndarray, read: Windows, rows: slice) -> np.ndarray:  # (R, W)
        """Return the log-odds of some rows of the weights for the windows of a text."""
        weights = self.weights[rows]
        summed = np.zeros((len(weights), len(hashed) + 1), dtype=np.int64)
        np.cumsum(weights.take(hashed, axis=1), axis=1, out=summed[:, 1:])
        total = (summed.take(read.last, axis=1) - summed.take(read.first, axis=1)).sum(axis=1)
        return np.asarray(total / read.sizes * self.scales[rows, None] + self.bias[rows, None])


def blocks(read: str) -> list[str]:
    """Split a text into parts that a cache can hold, without cutting a window in two."""
    starts = range(0, max(1, len(read) - WINDOW + STEP), _BLOCK)
    return [read[start : start + _BLOCK + WINDOW - STEP] for start in starts]


@lru_cache(maxsize=1)
def bundled_orders() -> OrderModel:
    """Return the bundled model. Raises `ArtefactRefused` for a changed file."""
    about = json.loads(PROVENANCE.read_text(encoding="utf-8"))
    arrays = bundled_arrays(WEIGHTS, about["sha256"])
    return OrderModel(
        weights=arrays["weights"], scales=arrays["scales"], bias=arrays["bias"], least=float(about["least"])
    )


def suspect(texts: Iterable[str], where: str) -> tuple[Verdict, ...]:
    """Return a verdict that the texts of one place hold orders; nothing if they hold none. It forbids nothing."""
    kinds = orders_in(texts)
    if not kinds:
        return ()
    reason = Reason("injection.suspected", where=where, kinds=", ".join(kinds))
    return (Verdict(allowed=True, rule=SUSPECTED, reason=reason),)


def orders_in(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds of orders that some texts hold, each once (`KINDS`)."""
    kinds: dict[str, None] = {}
    for text in filter(None, texts):
        kinds |= dict.fromkeys(bundled_orders().kinds(text))
    return tuple(kinds)
