"""Texts that occur twice, word for word or nearly.

Two texts are near duplicates when the Jaccard similarity of their character trigrams is at least 0.9,
case, punctuation and spaces aside: a typo in a sentence of 60 characters. The join is exact, not sampled:
by prefix filtering (Bayardo, Ma and Srikant 2007, "Scaling Up All Pairs Similarity Search"; the longer prefix with
a higher count is Wang, Li and Feng 2012, "Can we beat the prefix filtering?") only texts that share several of
their rarest trigrams are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from coterie.learning.dataset import normalise

SIMILARITY = 0.9
"""Jaccard similarity of trigrams from which two texts count as nearly the same."""

_LONGEST = 4_000
"""Characters of a text that are compared when it is not word for word the same."""
_SHARED = 4
"""Trigrams of their prefixes that two texts must share to be compared."""
_BLOCK = 256
"""Texts compared at once with all others; bounds the memory."""
_PAIRS = 1 << 15
"""Pairs verified at once."""
_CHUNK = 1024
"""Texts cut into trigrams at once; their numbers take 10 bits beside a hash of 54."""
_OWNER_BITS, _HASH_BITS = np.uint64(10), np.uint64(54)
_MIX = np.uint64(0x9E3779B97F4A7C15)
"""Odd multiplier of Fibonacci hashing (Knuth, The Art of Computer Programming 3, section 6.4)."""

Ints = np.ndarray


class Duplicate(NamedTuple):
    """Two texts that are the same or nearly so, by their positions."""

    a: int
    b: int
    similarity: float
    """1.0 when they are the same, case, punctuation and spaces aside."""


def near_duplicates(a: Sequence[str], b: Sequence[str]) -> list[Duplicate]:
    """For each text of `b` that occurs in `a`, verbatim or nearly, its most similar one there.

    Texts that are blank are never duplicates. Ordered by position in `b`.
    """
    plain_a, plain_b = [normalise(text) for text in a], [normalise(text) for text in b]
    first = {text: i for i, text in reversed(list(enumerate(plain_a)))}
    found = {j: Duplicate(first[text], j, 1.0) for j, text in enumerate(plain_b) if text and text in first}
    # Each distinct text is compared once; its first position stands for it.
    left = list(first.values())
    right = list(dict.fromkeys(j for j, text in enumerate(plain_b) if text and j not in found))
    for i, j, similarity in _join([plain_a[i] for i in left], [plain_b[j] for j in right]):
        pair = Duplicate(left[i], right[j], similarity)
        best = found.get(pair.b)
        if best is None or (-pair.similarity, pair.a) < (-best.similarity, best.a):
            found[pair.b] = pair
    return [found[j] for j in sorted(found)]


def duplicate_groups(texts: Sequence[str], *, nearly: bool = True) -> Ints:
    """A number for each text, the same for texts that are linked by duplicates: (N,).

    Blank texts are linked to nothing. `nearly=False` links only what is the same after normalising.
    """
    plain = [normalise(text) for text in texts]
    number: dict[str, int] = {}
    own = np.array([number.setdefault(text or f"\0{i}", len(number)) for i, text in enumerate(plain)], dtype=np.int64)
    if not nearly or not len(own):
        return own
    distinct = ["" if text.startswith("\0") else text for text in number]
    pairs = [(i, j) for i, j, _ in _join(distinct, None)]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    links = sparse.coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(distinct),) * 2)
    _, component = connected_components(links, directed=False)
    return np.asarray(component[own], dtype=np.int64)


# --- Texts made from patterns: the same words but for what fills the slots.

_WORD = re.compile(r"\w+")
_ALIKE, _SURELY_ALIKE = 0.5, 0.6
"""Mean share of words in common from which texts of a label are of one pattern, and to say that there are patterns."""
_OF_ONE = 3
"""Texts from which a pattern counts as one."""
_PATTERNED = 0.7
"""Share of texts in patterns from which the set was made of them: of 430 texts of 72 patterns it is 0.91, of what
people wrote, for up to 100 rows a label, 0.00 to 0.53 (docs/history/log.md)."""
_MOST_TEXTS = 4_000


def pattern_groups(texts: Sequence[str], labels: Sequence[str]) -> Ints | None:
    """A number for the pattern of each text (N,); None where the set as a whole is not made from patterns.

    Average linkage within a label, by the share of words that two texts have in common; without spaces, of characters.
    More than some thousand texts are not looked at: nobody makes as many by hand.
    """
    if not 0 < len(texts) <= _MOST_TEXTS:
        return None
    of_label: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        of_label.setdefault(label, []).append(place)
    found, surely, start = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64), 0
    for rows in of_label.values():
        for groups, alike in ((found, _ALIKE), (surely, _SURELY_ALIKE)):
            groups[rows] = start + _linked([texts[row] for row in rows], alike)
        start += len(rows) + 1
    patterned = np.mean(np.bincount(surely)[surely] >= _OF_ONE) >= _PATTERNED
    return found if patterned else None


def _linked(texts: Sequence[str], alike: float) -> Ints:
    numbers: dict[str, int] = {}
    found = [_WORD.findall(text.casefold()) for text in texts]
    sets = [
        {numbers.setdefault(word, len(numbers)) for word in (words if len(words) > 2 else "".join(words))}
        for words in found
    ]
    if len(texts) < 2 or not numbers:
        return np.arange(len(texts))
    ends = np.cumsum([0, *map(len, sets)])
    columns = np.fromiter((column for each in sets for column in each), np.int64, ends[-1])
    present = sparse.csr_array((np.ones(len(columns)), columns, ends), shape=(len(texts), len(numbers)))
    sizes = np.maximum(np.diff(ends), 1)
    apart = 1 - (present @ present.T).toarray() / np.maximum(sizes[:, None], sizes)
    np.fill_diagonal(apart, 0)
    return np.asarray(fcluster(linkage(squareform(apart, checks=False), "average"), 1 - alike, "distance"))


# --- The join ------------------------------------------------------------------------------------


def _join(a: Sequence[str], b: Sequence[str] | None) -> Iterator[tuple[int, int, float]]:
    """Triples (i, j, similarity) of texts a[i] and b[j] that are alike; `b=None` joins `a` with itself, i < j."""
    rows = _trigram_sets([*a, *(b or ())])
    left = rows[: len(a)]
    right = left if b is None else rows[len(a) :]
    if not left.nnz or not right.nnz:
        return
    prefixes = _prefixes(left).T.tocsr()
    right_prefixes = _prefixes(right)
    for start in range(0, right.shape[0], _BLOCK):
        shared = (right_prefixes[start : start + _BLOCK] @ prefixes).tocoo()
        enough = shared.data >= _SHARED
        j, i = shared.row[enough] + start, shared.col[enough]
        if b is None:
            i, j = i[i < j], j[i < j]
        yield from _verify(left, right, i, j)


def _verify(left: sparse.csr_array, right: sparse.csr_array, i: Ints, j: Ints) -> Iterator[tuple[int, int, float]]:
    """Those of the candidate pairs that are similar enough, with their similarity."""
    left_sizes, right_sizes = np.diff(left.indptr), np.diff(right.indptr)
    smaller, larger = np.minimum(left_sizes[i], right_sizes[j]), np.maximum(left_sizes[i], right_sizes[j])
    i, j = i[smaller >= SIMILARITY * larger], j[smaller >= SIMILARITY * larger]
    for start in range(0, len(i), _PAIRS):
        some_i, some_j = i[start : start + _PAIRS], j[start : start + _PAIRS]
        common = np.asarray(left[some_i].multiply(right[some_j]).sum(axis=1)).ravel()
        similarity = common / (left_sizes[some_i] + right_sizes[some_j] - common)
        for k in np.flatnonzero(similarity >= SIMILARITY):
            yield int(some_i[k]), int(some_j[k]), float(similarity[k])


def _prefixes(rows: sparse.csr_array) -> sparse.csr_array:
    """Of each row its rarest features: so many that similar rows share at least `_SHARED` of them.

    Two sets x, y with |x & y| / |x | y| >= t share at least t * |x| elements, so of any order of x the first
    |x| - ceil(t * |x|) + c hold at least c of the shared ones (Wang et al. 2012).
    """
    sizes = np.diff(rows.indptr)
    kept = np.minimum(sizes, sizes - np.ceil(SIMILARITY * sizes - 1e-9).astype(int) + _SHARED)
    place = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], sizes)
    inside = place < np.repeat(kept, sizes)
    starts = np.concatenate([[0], np.cumsum(kept)])
    return sparse.csr_array((rows.data[inside], rows.indices[inside], starts), shape=rows.shape)


def _trigram_sets(texts: Sequence[str]) -> sparse.csr_array:
    """Each text's set of trigrams as a row of ones, columns ordered from rare to frequent: (N, F)."""
    documents, trigrams = [], []
    for start in range(0, len(texts), _CHUNK):
        document, trigram = _trigrams(texts[start : start + _CHUNK])
        documents.append(document + start)
        trigrams.append(trigram)
    if not documents:
        return sparse.csr_array((0, 1))
    document = np.concatenate(documents)
    _, column, frequency = np.unique(np.concatenate(trigrams), return_inverse=True, return_counts=True)
    rank = np.empty(len(frequency), dtype=np.int64)
    rank[np.argsort(frequency, kind="stable")] = np.arange(len(frequency))
    # Documents ascend already, so one sort of (document, rank) packed in a number orders every row.
    packed = np.sort(document * len(frequency) + rank[column])
    indptr = np.concatenate([[0], np.cumsum(np.bincount(document, minlength=len(texts)))])
    ones = np.ones(len(document), dtype=np.int32)
    shape = (len(texts), max(1, len(frequency)))
    return sparse.csr_array((ones, packed % shape[1], indptr), shape=shape)


def _trigrams(texts: Sequence[str]) -> tuple[Ints, Ints]:
    """Distinct (text, trigram) pairs of at most 1024 texts; a trigram is a hash of its three code points."""
    padded = [f" {text[:_LONGEST]} " if text else "" for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    lengths = np.array([len(text) for text in padded])
    owner = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
    if len(points) < 3:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    packed = (points[:-2] << np.uint64(42)) | (points[1:-1] << np.uint64(21)) | points[2:]
    inside = owner[:-2] == owner[2:]
    hashed = (packed[inside] * _MIX) >> _OWNER_BITS
    pairs = np.sort((owner[:-2][inside] << _HASH_BITS) | hashed)
    pairs = pairs[np.concatenate([[True], pairs[1:] != pairs[:-1]])] if len(pairs) else pairs
    return (pairs >> _HASH_BITS).astype(np.int64), pairs & ((np.uint64(1) << _HASH_BITS) - np.uint64(1))
