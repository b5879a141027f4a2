"""Splitting rows so that measured rows were not learned; detection of exact and near duplicates.

The rows are first bound into units that stay together: the rows of a group, and texts that are duplicates
of each other. Units are then dealt out so that every part has each label's share.

Two texts are near duplicates when the Jaccard similarity of their character trigrams is at least 0.9, case,
punctuation and spaces aside: a typo in a sentence of 60 characters. The join is exact, not sampled: by prefix
filtering (Bayardo, Ma and Srikant 2007, "Scaling Up All Pairs Similarity Search"; the longer prefix with a
higher count is Wang, Li and Feng 2012, "Can we beat the prefix filtering?") only texts that share several of
their rarest trigrams are compared.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from coterie.errors import DataError
from coterie.learning.dataset import Dataset, Row, count, fold_label, listing, nearest, normalise, quote

SIMILARITY = 0.9
"""Jaccard similarity of trigrams from which two texts count as near duplicates."""

_LONGEST = 4_000
"""Characters of a text that are compared if it is not an exact duplicate."""
_SHARED = 4
"""Trigrams of their prefixes that two texts must share to be compared."""
_BLOCK = 256
"""Texts compared at once with all others, to limit the memory."""
_PAIRS = 1 << 15
"""Pairs verified at once."""
_CHUNK = 1024
"""Texts split into trigrams at once; their numbers take 10 bits beside a hash of 54."""
_OWNER_BITS, _HASH_BITS = np.uint64(10), np.uint64(54)
_MIX = np.uint64(0x9E3779B97F4A7C15)
"""Odd multiplier of Fibonacci hashing (Knuth, The Art of Computer Programming 3, section 6.4)."""


class Duplicate(NamedTuple):
    """Two texts that are the same or nearly so, by their positions."""

    a: int
    b: int
    similarity: float
    """Jaccard similarity; 1.0 for texts that are equal but for case, punctuation and spaces."""


def near_duplicates(a: Sequence[str], b: Sequence[str]) -> list[Duplicate]:
    """Return, for each text of `b` that occurs in `a`, verbatim or nearly, its most similar one there.

    Blank texts are never duplicates. The result is ordered by position in `b`.
    """
    plain_a, plain_b = [normalise(text) for text in a], [normalise(text) for text in b]
    first = {text: i for i, text in reversed(list(enumerate(plain_a)))}
    duplicates = {j: Duplicate(first[text], j, 1.0) for j, text in enumerate(plain_b) if text and text in first}
    # Each distinct text is compared once; its first position stands for it.
    left = list(first.values())
    right = list(dict.fromkeys(j for j, text in enumerate(plain_b) if text and j not in duplicates))
    for i, j, similarity in _join([plain_a[i] for i in left], [plain_b[j] for j in right]):
        pair = Duplicate(left[i], right[j], similarity)
        best = duplicates.get(pair.b)
        if best is None or (-pair.similarity, pair.a) < (-best.similarity, best.a):
            duplicates[pair.b] = pair
    return [duplicates[j] for j in sorted(duplicates)]


def duplicate_groups(texts: Sequence[str], *, nearly: bool = True) -> Ints:
    """Return a number for each text, the same for texts that are linked by duplicates: (N,).

    Blank texts are linked to nothing. `nearly=False` links only texts that are equal after normalising.
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

_WORD, _DIGIT = re.compile(r"\w+"), re.compile(r"\d")
_PIECE = 6  # characters that are compared at once, also over the end of a word: the order of words counts
_ALIKE, _SURELY_ALIKE = 0.2, 0.4
"""Mean share of pieces in common from which texts of a label are of one pattern, and to say that there are patterns."""
_OF_ONE = 3  # texts from which a pattern counts as one
_PATTERNED = 0.7
"""Share of texts in patterns from which the set was made of them: of made sets it is .9 to 1, with greetings, endings
and mistyped words .71 to .98; of what people wrote, up to 100 rows a label, 0 to .65, once .70 (decision 496)."""
_COMMON = 0.1  # weight of a piece that every label has; one that half of the labels have weighs 0.8
_MOST_TEXTS = 4_000


def pattern_groups(texts: Sequence[str], labels: Sequence[str]) -> Ints | None:
    """A number for the pattern of each text (N,); None where the set as a whole is not made from patterns.

    Average linkage within a label, by the share of pieces that two texts have in common; without spaces, of characters.
    A piece counts the more, the fewer labels have it, and one with a digit nothing: greetings, names and dates fill the
    patterns of all labels. More than some thousand texts are not looked at: nobody makes as many by hand.
    """
    if not 0 < len(texts) <= _MOST_TEXTS:
        return None
    of_label: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        of_label.setdefault(label, []).append(index)
    pieces = [_pieces(text) for text in texts]
    spread = Counter(piece for rows in of_label.values() for piece in {piece for row in rows for piece in pieces[row]})
    weights = {
        piece: 0.0 if _DIGIT.search(piece) else math.log(len(of_label) / several) + _COMMON
        for piece, several in spread.items()
    }
    alike_groups, surely, start = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64), 0
    for rows in of_label.values():
        tree = _linked([pieces[row] for row in rows], weights)
        for groups, alike in ((alike_groups, _ALIKE), (surely, _SURELY_ALIKE)):
            groups[rows] = start + (0 if tree is None else fcluster(tree, 1 - alike, "distance"))
        start += len(rows) + 1
    patterned = np.mean(np.bincount(surely)[surely] >= _OF_ONE) >= _PATTERNED
    return alike_groups if patterned else None


def _pieces(text: str) -> list[str]:
    """Those of a text, each once; its characters where it has next to no spaces."""
    words = _WORD.findall(text.casefold())
    if len(words) <= 2:
        return list(dict.fromkeys("".join(words)))
    whole = f" {' '.join(words)} "
    return list(dict.fromkeys(whole[at : at + _PIECE] for at in range(max(1, len(whole) - _PIECE + 1))))


def _linked(texts: Sequence[Sequence[str]], weights: Mapping[str, float]) -> np.ndarray | None:
    """The tree of texts, the most alike joined first; None of one text."""
    if len(texts) < 2:
        return None
    numbers = {piece: number for number, piece in enumerate(dict.fromkeys(piece for text in texts for piece in text))}
    ends = np.cumsum([0, *map(len, texts)])
    columns = np.fromiter((numbers[piece] for text in texts for piece in text), np.int64, ends[-1])
    weighed = np.sqrt(np.array([weights[piece] for piece in numbers]))[columns]
    present = sparse.csr_array((weighed, columns, ends), shape=(len(texts), max(1, len(numbers))))
    sizes = np.maximum(present.multiply(present).sum(axis=1), np.finfo(float).tiny)
    shared = (present @ present.T).toarray() / np.maximum(sizes[:, None], sizes)
    apart = 1 - np.minimum(shared, 1)
    np.fill_diagonal(apart, 0)
    return np.asarray(linkage(squareform(apart, checks=False), "average"))


# --- The join ------------------------------------------------------------------------------------


def _join(a: Sequence[str], b: Sequence[str] | None) -> Iterator[tuple[int, int, float]]:
    """Yield triples (i, j, similarity) of similar texts a[i] and b[j]; `b=None` joins `a` with itself, i < j."""
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
    """Yield the candidate pairs that are similar enough, with their similarity."""
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
    """Return the rarest features of each row: so many that similar rows share at least `_SHARED` of them.

    Two sets x, y with |x & y| / |x | y| >= t share at least t * |x| elements, so of any order of x the first
    |x| - ceil(t * |x|) + c hold at least c of the shared ones (Wang et al. 2012).
    """
    sizes = np.diff(rows.indptr)
    kept = np.minimum(sizes, sizes - np.ceil(SIMILARITY * sizes - 1e-9).astype(int) + _SHARED)
    rank_in_row = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], sizes)
    inside = rank_in_row < np.repeat(kept, sizes)
    starts = np.concatenate([[0], np.cumsum(kept)])
    return sparse.csr_array((rows.data[inside], rows.indices[inside], starts), shape=rows.shape)


def _trigram_sets(texts: Sequence[str]) -> sparse.csr_array:
    """Return each text's set of trigrams as a row of ones, columns ordered from rare to frequent: (N, F)."""
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
    """Return distinct (text, trigram) pairs of at most 1024 texts; a trigram is a hash of its three code points."""
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


# --- Splitting rows so that what is measured was not learned.

Ints = np.ndarray
Floats = np.ndarray

_SORTED = 0.8
"""Share of neighbours in alphabetical order from which a label's rows count as sorted; it is half in random order."""
_LARGEST_UNIT = 0.1
"""Share of the rows that duplicates may bind into one unit; beyond it, links reflect boilerplate rather than copies."""


def split_dataset(dataset: Dataset, *, held_out: float, seed: int, by_label: bool = True) -> tuple[Dataset, Dataset]:
    """Split into training rows and held-out rows, both in the file's order.

    Each label gives its share, groups stay whole, and no held-out row is a duplicate of a training row:
    duplicates go to one side, or, where they bind groups together that should be apart, the held-out ones
    are left out with a warning. A label always keeps a unit to train on.

    Args:
        dataset: The rows.
        held_out: Share of the rows to hold out, between 0 and 1.
        seed: Seed of the random choice.
        by_label: Each label gives its share; set False if labels are replies, each of which is unique.

    Raises:
        DataError: the rows cannot be split, because they are all duplicates or of one group.
    """
    units, leaky = bind_rows(dataset.rows)
    table = _Table.of(dataset.rows if by_label else [replace(row, labels=()) for row in dataset.rows], units)
    if table.units < 2:
        raise DataError(
            f"{dataset.name} cannot be split: its {count(len(dataset), 'row')} are one group or repeat one text.",
            hint="Give held-out data of its own: test = FILE",
        )
    random = np.random.default_rng(seed)
    tries = [_choose(table, held_out, random) for _ in range(_tries(table))]
    chosen = min(tries, key=lambda units: table.distance(units, held_out))[units]
    train, test = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    if not leaky:
        return dataset.take(train.tolist()), dataset.take(test.tolist())
    return dataset.take(train.tolist()), _without_copies(dataset, train, test)


def folds(dataset: Dataset, k: int, seed: int, *, in_order: bool = False) -> Ints:
    """Return the fold of each row, 0 to k - 1, for cross-validation: (N,).

    Stratified by label; groups and duplicates share a fold (where duplicates would bind most of the groups
    together, only groups do). No fold is empty. Where each row has one label, a label of two units or more is
    never in one fold only, so it can always be trained.

    Args:
        dataset: The rows.
        k: Number of folds.
        seed: Seed of the random order.
        in_order: Rows of one label that stand near each other in the file often have one source (a writer, a
            day), so each label is cut into runs of the file's order instead of being dealt row by row: what is
            held out is then as far from the rest as new rows are (blocks; Roberts et al. 2017, "Cross-validation
            strategies for data with temporal, spatial, hierarchical, or phylogenetic structure"). Not where rows
            have groups, which say more, nor where texts are sorted, which puts like beside like whoever wrote
            them.

    Raises:
        DataError: there are fewer than k units to deal out.
    """
    units, _ = bind_rows(dataset.rows)
    table = _Table.of(dataset.rows, units)
    if not 2 <= k <= table.units:
        raise DataError(
            f"{dataset.name} cannot be dealt into {k} folds: {count(len(dataset), 'row')} make "
            f"{count(table.units, 'unit')} of groups and duplicates.",
            hint="Add rows, or groups.",
        )
    random = np.random.default_rng(seed)
    if in_order and _order_tells(dataset.rows):
        runs = _runs(dataset.rows, units, k, random)
        if len(np.unique(runs)) == k:
            _spread(table, runs, k)
            return np.asarray(runs[units])
    tries = [_deal(table, k, random) for _ in range(_tries(table))]
    dealt = min(tries, key=lambda dealt: sum(table.distance(dealt == fold, 1 / k) for fold in range(k)))
    _spread(table, dealt, k)
    return np.asarray(dealt[units])


def compare_datasets(train: Dataset, test: Dataset) -> tuple[str, ...]:
    """Return what makes figures on `test` doubtful: rows that occur in `train`, and labels that do not."""
    return (*shared_rows(train, test), *describe_unknown(test, train.label_names, train.name))


def find_copies(train: Sequence[Row], test: Sequence[Row]) -> list[Duplicate]:
    """Return the rows of `test` that occur in `train`: nearly the same text, or without a text the same columns."""
    by_text = near_duplicates([row.text for row in train], [row.text for row in test])
    rows_by_key: dict[object, int] = {}
    for i, row in enumerate(train):
        rows_by_key.setdefault(_columns_key(row), i)
    by_columns = [
        Duplicate(rows_by_key[key], j, 1.0)
        for j, row in enumerate(test)
        if (key := _columns_key(row)) is not None and key in rows_by_key
    ]
    return sorted([*by_text, *by_columns], key=lambda pair: pair.b)


# --- Units ---------------------------------------------------------------------------------------


def bind_rows(rows: Sequence[Row]) -> tuple[Ints, bool]:
    """Return the unit of each row (N,), and whether duplicates may still be in different units.

    Duplicates bind only while no unit grows past a tenth of the rows: boilerplate that recurs in every
    contract would otherwise bind all rows into one unit.
    """
    groups = _group_numbers(rows)
    largest = max(_LARGEST_UNIT * len(rows), 1.0, float(np.bincount(groups).max(initial=0)))
    for nearly in (True, False):
        units = _merge(groups, _copy_numbers(rows, nearly=nearly))
        if np.bincount(units).max(initial=0) <= largest:
            return units, not nearly
    # Without groups every text is its own group, and the same text is never on two sides.
    return (groups, True) if any(row.group is not None for row in rows) else (units, True)


def _group_numbers(rows: Sequence[Row]) -> Ints:
    """Return a number for each row's group; a row without one is its own group."""
    numbers: dict[object, int] = {}
    keys = (row.group if row.group is not None else i for i, row in enumerate(rows))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _copy_numbers(rows: Sequence[Row], *, nearly: bool) -> Ints:
    """Return a number for each set of duplicates; rows without a text are compared by their columns."""
    by_text = duplicate_groups([row.text for row in rows], nearly=nearly)
    numbers: dict[object, int] = {}
    keys = (_columns_key(row) or ("text", int(n)) for row, n in zip(rows, by_text, strict=True))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _columns_key(row: Row) -> tuple[object, ...] | None:
    """Return the key by which rows without a text are compared; None for a row with a text."""
    return None if row.text.strip() else ("columns", *sorted(row.columns.items()))


def _merge(a: Ints, b: Ints) -> Ints:
    """Return the numbers of the finest units that neither `a` nor `b` cuts."""
    from scipy import sparse  # noqa: PLC0415 - training alone needs it
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 - training alone needs it

    n = int(a.max(initial=-1)) + 1
    size = n + int(b.max(initial=-1)) + 1
    links = sparse.coo_array((np.ones(len(a), bool), (a, b + n)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    _, units = np.unique(component[a], return_inverse=True)
    return np.asarray(units, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The number of rows of each label in each unit."""

    counts: sparse.csr_array  # (U, L)
    sizes: Ints  # (U,)
    totals: Ints  # (L,) rows of each label

    @property
    def units(self) -> int:
        return len(self.sizes)

    @classmethod
    def of(cls, rows: Sequence[Row], units: Ints) -> _Table:
        """Count labels by unit. Rows without a label count as a label of their own."""
        from scipy import sparse  # noqa: PLC0415 - training alone needs it

        names: dict[str | None, int] = {}
        pairs = [
            (int(unit), names.setdefault(label, len(names)))
            for row, unit in zip(rows, units, strict=True)
            for label in (row.labels or (None,))
        ]
        unit, label = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        shape = (int(units.max(initial=-1)) + 1, len(names))
        counts = sparse.coo_array((np.ones(len(unit), np.int64), (unit, label)), shape=shape).tocsr()
        return cls(counts=counts, sizes=np.bincount(units), totals=np.asarray(counts.sum(axis=0)).ravel())

    def of_unit(self, unit: int) -> tuple[Ints, Ints]:
        inside = slice(self.counts.indptr[unit], self.counts.indptr[unit + 1])
        return self.counts.indices[inside], self.counts.data[inside]

    def distance(self, chosen: Ints, share: float) -> float:
        """Return the squared distance of the labels' counts in the chosen units from their share, each scaled."""
        held = self.counts.T @ chosen.astype(np.int64)
        return float(((held - share * self.totals) ** 2 / self.totals).sum())

    def shuffled(self, random: np.random.Generator) -> Ints:
        """Return the units in random order, larger ones first, as they are hard to place later."""
        order = random.permutation(self.units)
        return order[np.argsort(-self.sizes[order], kind="stable")]


# --- Dealing -------------------------------------------------------------------------------------


def _tries(table: _Table) -> int:
    """Return the number of random tries of which the best is kept: several with few large units, one with many."""
    return max(1, min(20, 10_000 // table.units))


def _choose(table: _Table, share: float, random: np.random.Generator) -> Ints:
    """Return the units to hold out (U,): those that bring the labels' held-out counts nearest to their share."""
    chosen = np.zeros(table.units, dtype=bool)
    wanted = _whole_targets(table.totals, share, random)
    room = share * table.sizes.sum()
    left = table.totals.copy()
    for unit in random.permutation(table.units):
        labels, rows = table.of_unit(unit)
        # Change of the squared distance to the targets, each label by its own scale.
        change = float((rows * (rows - 2 * wanted[labels]) / np.maximum(1, table.totals[labels])).sum())
        if change < 0 and table.sizes[unit] <= 2 * room and (left[labels] > rows).all():
            chosen[unit] = True
            wanted[labels] -= rows
            left[labels] -= rows
            room -= table.sizes[unit]
    if not chosen.any():
        chosen[np.argmin(table.sizes)] = True
    return chosen


def _whole_targets(totals: Ints, share: float, random: np.random.Generator) -> Floats:
    """Return the rows to hold out of each label, rounded so that their sum keeps its share too (L,)."""
    exact = share * totals
    whole = np.floor(exact)
    missing = round(float(exact.sum() - whole.sum()))
    order = np.lexsort((random.permutation(len(totals)), -(exact - whole)))
    whole[order[:missing]] += 1
    return np.asarray(whole)


def _deal(table: _Table, k: int, random: np.random.Generator) -> Ints:
    """Return the fold of each unit (U,): the one where its labels are rarest, then the one with the fewest rows."""
    dealt = np.zeros(table.units, dtype=np.int64)
    held = np.zeros((k, len(table.totals)))
    sizes = np.zeros(k)
    rows_in_all = float(table.sizes.sum())
    for unit in table.shuffled(random):
        labels, rows = table.of_unit(unit)
        crowding = (held[:, labels] * (rows / table.totals[labels])).sum(axis=1) + sizes / rows_in_all / 1000
        fold = int(crowding.argmin())
        dealt[unit] = fold
        held[fold, labels] += rows
        sizes[fold] += table.sizes[unit]
    return dealt


def _order_tells(rows: Sequence[Row]) -> bool:
    """Return whether neighbouring rows may share a source: they have no groups and are not sorted alphabetically."""
    if any(row.group is not None for row in rows):
        return False
    last: dict[tuple[str, ...], str] = {}
    rising = pairs = 0
    for row in rows:
        before = last.get(row.labels)
        if before is not None:
            pairs += 1
            rising += before <= row.text
        last[row.labels] = row.text
    return pairs == 0 or 1 - _SORTED < rising / pairs < _SORTED


def _runs(rows: Sequence[Row], units: Ints, k: int, random: np.random.Generator) -> Ints:
    """Return the fold of each unit (U,): its label's rows in the file's order, cut into k equal runs."""
    first = np.full(int(units.max()) + 1, -1, dtype=np.int64)
    for row in range(len(rows) - 1, -1, -1):
        first[units[row]] = row
    sizes = np.bincount(units)
    of_label: dict[tuple[str, ...], list[int]] = {}
    for unit in np.argsort(first, kind="stable"):
        of_label.setdefault(rows[first[unit]].labels[:1], []).append(int(unit))
    dealt = np.zeros(len(first), dtype=np.int64)
    for members in of_label.values():
        before = np.cumsum(sizes[members]) - sizes[members]
        # From another fold on for each label: labels of few rows would all begin with the first.
        dealt[members] = (before * k // sizes[members].sum() + random.integers(k)) % k
    return dealt


def _spread(table: _Table, dealt: Ints, k: int) -> None:
    """Move one unit of each label that has several units, all in one fold; changes `dealt`."""
    by_label = table.counts.tocsc()
    for label in range(len(table.totals)):
        units = by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]
        if len(units) > 1 and len(set(dealt[units])) == 1:
            smallest = units[np.argmin(table.sizes[units])]
            dealt[smallest] = (dealt[smallest] + 1) % k


# --- Comparing -----------------------------------------------------------------------------------


def _without_copies(dataset: Dataset, train: Ints, test: Ints) -> Dataset:
    """Return the held-out rows that do not occur in training."""
    copies = {pair.b for pair in find_copies([dataset.rows[i] for i in train], [dataset.rows[i] for i in test])}
    kept = [int(i) for index, i in enumerate(test) if index not in copies]
    if not copies or not kept:
        return dataset.take(test.tolist())
    warning = f"{count(len(copies), 'held-out row')} left out because the text also occurs in a training row"
    return dataset.take(kept, warnings=[warning])


def shared_rows(train: Dataset, test: Dataset) -> list[str]:
    """Return warnings about `test` rows that are also in `train`; empty if there are none."""
    copies = find_copies(train.rows, test.rows)
    if not copies:
        return []
    pair = next((pair for pair in copies if pair.similarity < 1), copies[0])
    same = sum(pair.similarity == 1 for pair in copies)
    sentence = f"{len(copies):,} of {count(len(test), 'row')} of {test.name} also in {train.name}"
    example = f"such as {_show(test.rows[pair.b])} and {_show(train.rows[pair.a])}"
    return [f"{sentence} ({same:,} word for word), {example}: figures on them flatter"]


def _show(row: Row) -> str:
    return f"{quote(row.text or dict(row.columns))} at line {row.line}"


def unknown_labels(test: Dataset, labels: Collection[str]) -> dict[str, int]:
    """Return labels of `test` that are not known, with their number of rows, the most frequent first."""
    counts = Counter({label: n for label, n in test.label_counts.items() if label not in set(labels)})
    return dict(counts.most_common())


def describe_unknown(test: Dataset, labels: Collection[str], where: str) -> list[str]:
    """Return `unknown_labels` as a sentence, with the label that was probably meant; empty if all are known.

    Args:
        test: The rows.
        labels: Labels that may be right.
        where: The source of the known labels.
    """
    unknown = unknown_labels(test, labels)
    if not unknown:
        return []
    named = [f"{quote(label)} ({count(n, 'row')}{_meant(label, set(labels))})" for label, n in unknown.items()]
    return [f"{count(len(unknown), 'label')} of {test.name} not in {where}: {listing(named)}"]


def _meant(label: str, labels: set[str]) -> str:
    same = next((other for other in sorted(labels) if fold_label(other) == fold_label(label)), None)
    near = same or nearest(label, sorted(labels))
    return f", did you mean {near!r}?" if near else ""
