"""The router's profile of a specialist: encodings of its examples, and how similar they are.

A profile is made when the specialist is trained and stored with its version, so a router is built from the
champions' profiles in milliseconds: adding, changing or removing a specialist changes it at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.engines.linear import stored_array
from coterie.errors import ArtefactRefused
from coterie.runtime.caches import products

NEIGHBOURS = 5
"""Number of nearest examples whose mean similarity is a text's similarity to a specialist."""
CROWDING = 0.5
"""Share of an example's density that is subtracted from its similarity to a text.

Beside examples that lie close together a text must be closer to be one of them; where examples lie far apart,
none is close. So one scale fits all specialists, and those whose examples are near everything attract fewer
texts of others (the hubs of nearest neighbours; after the local scaling of Conneau et al. 2018, "Word
Translation Without Parallel Data", section 2.3). Chosen on the half `dev` of `benchmarks/compound` and on
out-of-scope text (docs/history/log.md).
"""
USUAL_DENSITY = 0.6
"""The density that changes nothing: about the mean with the bundled encoder."""
MOST_EXAMPLES = 2_000
"""Most examples that are kept for one specialist, spread over its labels."""
EACH_LABEL = 10
"""Examples of every label that are kept before the rest is drawn from all."""
FEWEST_EXAMPLES = 20
"""Fewest examples whose similarity to each other is meaningful; below, `COLD_SIMILARITY` decides."""
COLD_SIMILARITY = 0.20
"""Lowest similarity to descriptions, phrases and label names that counts as in scope.

Chosen on the half `dev` of `benchmarks/routers/descriptions.py`: with 0.2 as many texts go to the right
specialist as to the nearest description.
"""
NEAR_COPY = 0.8
"""Cosine from which two examples are near copies, such as those made from one pattern.

Neither tells how similar the other is to the same content in other words. A text that is a near copy of an
example is in scope, however similar the examples are. Of 700 out-of-scope texts 2 to 11 in 1,000 are one.
"""


@dataclass(frozen=True, kw_only=True)
class CosineScale:
    """Scale of an encoder's cosines: for some encoders, unrelated texts have cosines of .8."""

    near_copy: float = NEAR_COPY
    cold: float = COLD_SIMILARITY
    usual: float = USUAL_DENSITY

    @property
    def crowding(self) -> float:
        """Amount subtracted from the similarity to examples of usual density, and so to hints."""
        return CROWDING * (self.usual - USUAL_DENSITY)

    @classmethod
    def of(cls, encoder: object) -> CosineScale:
        """Return the scale from the encoder's cosine of `unrelated` texts to 1; the default if it states none."""
        floor = float(getattr(encoder, "unrelated", 0.0))
        stretched = [floor + (1 - floor) * level for level in (NEAR_COPY, COLD_SIMILARITY, USUAL_DENSITY)]
        return cls(near_copy=stretched[0], cold=stretched[1], usual=stretched[2])


BUNDLED_SCALE = CosineScale()

_ENUMERATION = re.compile(r"[.;:]\s+|,\s+|\s+(?:and|or)\s+")
_SHORTEST_PHRASE = 4  # characters

_FAR = -2.0
"""Placeholder cosine for examples that a text is not compared with."""

PROFILE_FILE = "profile.safetensors"


class Compared(NamedTuple):
    """How similar some vectors are to a specialist."""

    similarity: np.ndarray  # (M,)
    """Mean similarity to the nearest examples: the cosine, reduced where they lie close together."""
    nearest: np.ndarray  # (M,)
    """Position of the nearest example or hint; -1 if there is none."""
    closest: np.ndarray  # (M,)
    """Cosine to the nearest example or hint."""

    def column(self, index: int) -> Compared:
        """Return the values of one specialist, if each array has a column for several."""
        return Compared(*(array[:, index] for array in self))


def nearest_mean(likeness: np.ndarray) -> np.ndarray:  # (M, N) -> (M,)
    """Return how similar each vector is to some examples: the mean of its `NEIGHBOURS` highest similarities."""
    k = min(NEIGHBOURS, likeness.shape[1])
    return np.asarray(np.partition(likeness, -k, axis=1)[:, -k:].mean(axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """Encodings of a specialist's examples and hints.

    Hints are its description and the names of its labels: they make a specialist without examples routable, and
    attract questions about its subject that are unlike its examples.
    """

    vectors: np.ndarray  # (N, D) float32, examples first, hints after them
    names: tuple[str, ...]
    """(N,) name of each vector, for reasons: an example's label or a hint's text."""
    typical: np.ndarray  # (E,) float32, ascending: each example's similarity to the others
    density: np.ndarray  # (N,) float32: each one's mean cosine to the nearest others

    @property
    def crowding(self) -> np.ndarray:  # (N,)
        """Amount subtracted from the cosine to each vector."""
        return np.asarray(CROWDING * (self.density - USUAL_DENSITY))

    def similarity(self, vectors: np.ndarray) -> np.ndarray:  # (M, D) -> (M,)
        """Return the similarity of each vector to the nearest examples and hints.

        Without enough examples, it is the mean of the cosines to the nearest one and to all of them together.
        """
        return self.compare(vectors).similarity

    def compare(self, vectors: np.ndarray) -> Compared:  # (M, D)
        """Return how similar some vectors are to the specialist, and the nearest example or hint of each."""
        if not len(self.vectors):
            return Compared(np.full(len(vectors), -1.0), np.full(len(vectors), -1), np.full(len(vectors), -1.0))
        cosines = products(vectors, self.vectors)
        nearest = cosines.argmax(axis=1)
        closest = cosines[np.arange(len(vectors)), nearest]
        if self.cold:
            return Compared((closest + vectors @ self.center) / 2, nearest, closest)
        return Compared(nearest_mean(cosines - self.crowding), nearest, closest)

    @property
    def cold(self) -> bool:
        """Whether there are too few examples to know how similar they are."""
        return not len(self.typical)

    @property
    def center(self) -> np.ndarray:  # (D,)
        """The mean of all examples and hints, of unit length."""
        mean = self.vectors.mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), float(np.finfo(np.float32).tiny)))

    def centroids(self) -> np.ndarray:  # (C, D)
        """Return the mean of the vectors of each name, of unit length: a sketch, far smaller than the profile."""
        numbers: dict[str, int] = {}
        of = np.array([numbers.setdefault(name, len(numbers)) for name in self.names], dtype=np.int64)
        sums = np.zeros((len(numbers), self.vectors.shape[1]), dtype=np.float32)
        np.add.at(sums, of, self.vectors)
        return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(np.float32).tiny))

    def neighbours(self, vector: np.ndarray, most: int) -> list[tuple[str, float]]:
        """Return names and cosines of the examples and hints nearest to a vector (D,), the nearest first."""
        cosines = self.vectors @ vector
        return [(self.names[i], float(cosines[i])) for i in np.argsort(-cosines, kind="stable")[:most]]

    def to_bytes(self) -> bytes:
        """Return the file that is stored with a version."""
        arrays = {"vectors": self.vectors.astype(np.float16), "typical": self.typical, "density": self.density}
        return save_arrays(arrays, metadata={"names": json.dumps(self.names, ensure_ascii=False)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Profile:
        """Return the profile of a stored version. Raises `ArtefactRefused`."""
        try:
            arrays = load_arrays(content)
            names = tuple(str(name) for name in json.loads(_metadata(content)["names"]))
            vectors = stored_array(arrays, "vectors", len(names), None).astype(np.float32)
            typical = np.sort(stored_array(arrays, "typical", None))
            if "density" not in arrays:  # of a version trained before there was one
                density, others = _measure(vectors, [None] * len(vectors), len(vectors), copy=NEAR_COPY)
                return cls(vectors=vectors, names=names, typical=others if len(typical) else typical, density=density)
            density = stored_array(arrays, "density", len(names))
            return cls(vectors=vectors, names=names, typical=typical, density=density)
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError, SafetensorError) as error:
            raise ArtefactRefused(
                f"A router profile cannot be read: {error}.", hint="Train the specialist again: coterie train NAME"
            ) from error


def _metadata(content: bytes) -> dict[str, str]:
    """Return the string table in a safetensors header, which the numpy reader does not return."""
    length = int.from_bytes(content[:8], "little")
    return dict(json.loads(content[8 : 8 + length])["__metadata__"])


def make_profile(
    vectors: np.ndarray,
    labels: Sequence[str],
    groups: Sequence[str | None],
    *,
    hints: np.ndarray,
    hint_texts: Sequence[str],
    seed: int,
    scale: CosineScale = BUNDLED_SCALE,
) -> Profile:
    """Make the profile of a trained specialist.

    Args:
        vectors: (N, D) encodings of the training texts; may be empty.
        labels: A label of each text, over which the selection is spread.
        groups: Rows of one group are not compared with each other; None is in no group.
        hints: (H, D) encodings of `hint_texts`.
        hint_texts: Description and label names.
        seed: Seed of the selection of examples.
        scale: The scale of the encoder's cosines.
    """
    kept = _spread(labels, seed)
    names = tuple(labels[i] for i in kept) + tuple(hint_texts)
    own = [groups[i] for i in kept]
    together = np.vstack([vectors[kept].reshape(-1, hints.shape[1]), hints]).astype(np.float32)
    density, typical = _measure(together, own, len(kept), copy=scale.near_copy)
    if len(typical) < FEWEST_EXAMPLES:  # all are copies of one: what is far from them is foreign all the same
        density, typical = _measure(together, own, len(kept), copy=np.inf)
    if len(typical) < FEWEST_EXAMPLES:
        density, typical = np.full(len(together), USUAL_DENSITY, dtype=np.float32), np.empty(0, dtype=np.float32)
    return Profile(vectors=together, names=names, typical=typical, density=density)


def hint_texts(description: str, labels: Sequence[str], *, examples: int = FEWEST_EXAMPLES) -> list[str]:
    """Return texts that represent a specialist's subject: its description, and its labels as words.

    With too few examples the description's phrases are included: for "Planning trips: flights, hotels, luggage" a
    question about luggage is similar to one phrase, and hardly to the whole.
    """
    words = [re.sub(r"[\W_]+", " ", label).strip() for label in labels[:MOST_EXAMPLES]]
    phrases = _phrases(description) if examples < FEWEST_EXAMPLES else []
    return [text for text in dict.fromkeys((description.strip(), *phrases, *words)) if text]


def _phrases(description: str) -> list[str]:
    """Return the phrases that a description enumerates; empty if it is one phrase."""
    phrases = (phrase.strip(" .,;:()") for phrase in _ENUMERATION.split(description))
    long_phrases = [phrase for phrase in phrases if len(phrase) >= _SHORTEST_PHRASE]
    return long_phrases if len(long_phrases) > 1 else []


def _spread(labels: Sequence[str], seed: int) -> np.ndarray:
    """Return at most `MOST_EXAMPLES` positions: some of every label, the rest at random, to keep the distribution."""
    order = np.random.default_rng(seed).permutation(len(labels))
    turn: dict[str, int] = {}
    rounds = np.empty(len(labels), dtype=np.int64)
    for position in order:
        turn[labels[position]] = turn.get(labels[position], -1) + 1
        rounds[position] = min(turn[labels[position]], EACH_LABEL)
    chosen = order[np.argsort(rounds[order], kind="stable")][:MOST_EXAMPLES]
    return np.sort(chosen)


def _measure(
    vectors: np.ndarray, groups: Sequence[str | None], examples: int, *, copy: float
) -> tuple[np.ndarray, np.ndarray]:  # (N, D) -> (N,), (at most E,)
    """Return the density at each vector, and each example's similarity to the others, as if it were a text, ascending.

    Nothing is compared with its near copies, nor an example with others of its group. An example that hardly any
    other can be compared with has the mean density, and does not affect what is typical.

    Args:
        vectors: The examples, then the hints.
        groups: The group of each example; None is in no group.
        examples: Number of examples, E.
        copy: Cosine from which two are near copies.
    """
    numbers: dict[str, int] = {}
    group_numbers = [
        -1 - i if g is None else numbers.setdefault(g, len(numbers)) for i, g in enumerate(groups[:examples])
    ]
    codes = np.array([*group_numbers, *range(-1 - len(vectors), -1 - examples)], dtype=np.int64)
    cosines = vectors @ vectors.T
    left_out = (codes[:, None] == codes[None, :]) | (cosines >= copy)  # (N, N), itself included
    comparable = (~left_out[:, :examples]).sum(axis=1) >= NEIGHBOURS
    density = np.full(len(vectors), USUAL_DENSITY, dtype=np.float32)
    if not comparable.any():
        return density, np.empty(0, dtype=np.float32)
    cosines[left_out] = _FAR
    density[comparable] = nearest_mean(cosines[comparable])
    density[~comparable] = density[comparable].mean()
    likeness = cosines[:examples][comparable[:examples]] - CROWDING * (density - USUAL_DENSITY)
    return density, np.sort(nearest_mean(likeness)).astype(np.float32) if len(likeness) else np.empty(0, np.float32)


# --- Shortlist: the specialists worth comparing a text with.

MOST_COMPARED = 32
"""Most specialists that a text is compared with closely; with 150 of them, 999 of 1,000 texts keep their best one."""
_MOST_JUDGED = 8
"""Most specialists that a possible piece of a text is compared with, if there are very many."""
_ROWS_LOOKED_AT = 8
"""Number of possible pieces of a text that select these specialists."""
_AXES = 96
"""Number of axes: the 32 nearest of 1,000 specialists along them hold the best one as often as along all 384."""


class Shortlist:
    """Finds the specialists that may be the best for a text, and approximates pieces' similarity to each of them."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        centroids = [profile.centroids() for profile in profiles]
        counts = np.array([len(centroid) for centroid in centroids], dtype=np.int64)
        self._count = len(profiles)
        self._centroids = np.vstack(centroids) if centroids else np.empty((0, 0), dtype=np.float32)  # (C, D)
        self._known = np.flatnonzero(counts)
        """Those of which something is known."""
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        self._axes = _axes(self._centroids) if self._count > MOST_COMPARED else None  # (D, A)
        self._sketch = self._centroids @ self._axes if self._axes is not None else None  # (C, A)

    def nearest(self, vectors: np.ndarray) -> np.ndarray:  # (T, D) -> (S',)
        """Return the positions of the specialists nearest to any of the texts, ascending, for the comparison."""
        if self._count <= MOST_COMPARED:
            return np.arange(self._count)
        return self._closest(vectors, MOST_COMPARED)

    def judge(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (M, D) -> (M, S'), (S',)
        """Return each vector's cosine to each specialist's nearest centroid, and the specialists: all or near ones."""
        which = self._known
        if self._count > MOST_COMPARED:
            which = self._closest(vectors[:: max(1, len(vectors) // _ROWS_LOOKED_AT)], _MOST_JUDGED)
        if not len(which):
            return np.empty((len(vectors), 0), dtype=np.float32), which
        if len(which) == len(self._known):
            centroids, starts = self._centroids, self._starts[which]
        else:
            lengths = self._ends[which] - self._starts[which]
            starts = np.cumsum(lengths) - lengths
            centroids = self._centroids[np.arange(lengths.sum()) + np.repeat(self._starts[which] - starts, lengths)]
        return np.asarray(np.maximum.reduceat(products(vectors, centroids), starts, axis=1)), which

    def _closest(self, vectors: np.ndarray, most: int) -> np.ndarray:  # (S',)
        """Return the specialists that are nearest to one of the vectors, by the sketch; ascending."""
        if self._axes is None or self._sketch is None or not len(self._known):
            return self._known
        likeness = np.maximum.reduceat(
            products(vectors @ self._axes, self._sketch), self._starts[self._known], axis=1
        )  # (T, S)
        most = min(most, likeness.shape[1])
        chosen = np.argpartition(-likeness, most - 1, axis=1)[:, :most]
        return np.asarray(self._known[np.unique(chosen)])


def _axes(centroids: np.ndarray) -> np.ndarray:  # (C, D) -> (D, A)
    _, axes = np.linalg.eigh(centroids.T @ centroids)
    return np.ascontiguousarray(axes[:, ::-1][:, :_AXES], dtype=np.float32)


# --- Examples of all specialists in one block, compared in one product.

_LARGE = 512
"""Examples from which a specialist is compared separately: with small ones, their rows would be mostly padding."""
_NOTHING = -1.0
"""Cosine of padding."""


class Bank:
    """Compares texts with many profiles. `profiles` are the given ones, with vectors that are views of the block."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        counts = np.array([len(profile.vectors) for profile in profiles], dtype=np.int64)
        ends = np.cumsum(counts)
        banks = [profile.vectors for profile in profiles if len(profile.vectors)]
        block = np.vstack(banks) if banks else np.empty((0, 0), dtype=np.float32)  # (N, D)
        self.profiles = tuple(
            replace(profile, vectors=block[end - count : end]) if count else profile
            for profile, count, end in zip(profiles, counts, ends, strict=True)
        )
        self.cold = np.array([profile.cold for profile in profiles], dtype=bool)  # (S,)
        self._counts = counts
        self._centers = np.zeros((len(profiles), block.shape[1]), dtype=np.float32)  # (S, D) of the cold ones
        for position in np.flatnonzero(self.cold & (counts > 0)).tolist():
            self._centers[position] = profiles[position].center
        self._starts = ends - counts
        self._block = block
        crowding = [profile.crowding for profile in profiles if len(profile.vectors)]
        self._crowding = np.concatenate(crowding).astype(np.float32) if crowding else np.empty(0)  # (N,)

    def compare(self, vectors: np.ndarray, which: np.ndarray) -> Compared:  # (T, D), (S',) -> each (T, S')
        """Return how similar each text is to each of these specialists, as `Profile.compare` does for one."""
        shape = len(vectors), len(which)
        together = Compared(np.empty(shape), np.empty(shape, dtype=np.int64), np.empty(shape))
        columns = np.arange(len(which))
        large = self._counts[which] > _LARGE
        for column in columns[large]:
            for whole, part in zip(together, self.profiles[which[column]].compare(vectors), strict=True):
                whole[:, column] = part
        small = columns[~large]
        if len(small):
            for whole, part in zip(together, self._padded(vectors, which[small]), strict=True):
                whole[:, small] = part
        return together

    def _padded(self, vectors: np.ndarray, which: np.ndarray) -> Compared:  # (T, D), (S',) -> each (T, S')
        """Compare with small profiles: a row of cosines each, padded."""
        counts = self._counts[which]
        places = np.arange(max(NEIGHBOURS, int(counts.max())))
        there = places < counts[:, None]  # (S', W)
        rows = (self._starts[which, None] + places)[there]  # (K,)
        vectors_, crowding = self._block[rows], self._crowding[rows]
        cosines = np.full((len(vectors), *there.shape), _NOTHING, dtype=np.float32)
        for row, vector in enumerate(vectors if len(vectors_) else ()):
            cosines[row][there] = vectors_ @ vector
        nearest = cosines.argmax(axis=2)
        closest = np.take_along_axis(cosines, nearest[..., None], axis=2)[..., 0]
        if crowding.any():  # none is, where all are cold
            lowered = np.zeros(there.shape, dtype=np.float32)
            lowered[there] = crowding
            cosines -= lowered
        mean = np.partition(cosines, -NEIGHBOURS, axis=2)[..., -NEIGHBOURS:].mean(axis=2)
        cold = self.cold[which]
        if cold.any() and len(self._block):  # too few examples to be typical of
            both = (closest + products(vectors, self._centers[which])) / 2
            mean = np.where(cold, np.where(counts > 0, both, closest), mean)
        return Compared(mean, np.where(counts > 0, nearest, -1), closest)
