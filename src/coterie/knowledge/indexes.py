"""Indexes of a group of chunks: keywords by BM25, unit vectors by cosine; rankings fused, and looked at again.

A group holds chunks of one label and one tenant, so no statistic comes from chunks that its reader may not see. Where a
reader sees several groups, a term's inverse document frequency is that of the groups together; the length that BM25
normalises by stays the group's own mean.

Few vectors are compared exactly. Of many, the signs of the components (against the mean) are compared first, 64 at a
time, and the cosine is computed for the nearest thousands only (Charikar 2002; "binary quantisation with rescoring").
Unlike a graph this needs no build, does not depend on the order of insertion, and keeps nothing of removed chunks.

Late interaction (Khattab, Zaharia 2020): each token of the query takes its best match among the passage's tokens, and
the matches are summed. Here the tokens are the bundled encoder's own, projected to their principal components; each
counts by how rare it is in general English, and the sum is weighed against keyword score and cosine. A passage's tokens
are kept with it, so reranking runs the encoder on the query only.

Nothing in it comes from the index, so nothing that the caller may not see can change a score.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar
from unicodedata import normalize

import numpy as np
import tantivy
from safetensors.numpy import load as load_arrays

from coterie.engines.onnx import TokenStates
from coterie.errors import ArtefactRefused
from coterie.runtime.codec import parse_json

# --- Analysis: equal-looking characters are equal; scripts without blanks give bigrams (as Lucene's CJKAnalyzer).
#
# Accents of cased letters and vowel points of Arabic and Hebrew are dropped, as many leave them out in queries.

_UNSPACED = re.compile(
    r"[\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff]+"
)
"""Thai, Lao, Burmese, Khmer; kana and Chinese characters."""
_MARKS = re.compile(r"[\u0300-\u036f\u0591-\u05c7\u0640\u064b-\u065f\u0670]")
"""Accents; points of Hebrew and Arabic, and what Arabic words are drawn out with."""
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u2060\ufeff]")
"""Where a word may be broken, and what says how to draw it."""
_NOTE = re.compile(r"(?<=[^\W\d_]{4})[\u00b2\u00b3\u00b9\u2070-\u2079]+|(?<=\d)[\u00b2\u00b3\u00b9\u2070-\u2079]+")
"""Marks of notes; behind a shorter word they are of a unit: m\u00b2, km\u00b3."""

_FRACTION = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
"""Between a number and the fraction behind it."""


def indexable(text: str) -> str:
    """A text with its words as an index takes them."""
    if text.isascii():
        return text
    plain = normalize("NFKD", _FRACTION.sub(" ", _NOTE.sub(" ", _INVISIBLE.sub("", text))))
    # Other marks are letters' own: they are put together again.
    return _UNSPACED.sub(_pairs, normalize("NFC", _MARKS.sub("", plain)))


def _pairs(match: re.Match[str]) -> str:
    run = match[0]
    pairs = (run[i : i + 2] for i in range(len(run) - 1)) if len(run) > 1 else (run,)
    return f" {' '.join(pairs)} "


_FIELD = "text"
_KEY = "chunk"
_ANALYSER = "coterie_en"
_HEAP = 64 * 1024 * 1024
_LOCK = "Lockfile"
"""What tantivy's error says where it cannot take its lock."""
_HEADING_TIMES = 2
"""A word of the heading counts as so many of the text."""
_MOST_TERMS = 64
"""Of a longer query the rarest terms are looked up."""
_LARGE, _COMMON = 8192, 0.5
"""Among more chunks than this, a term that such a share of them has says next to nothing and takes most of the time."""


class Hit(NamedTuple):
    """A chunk and how well it matches."""

    key: int
    score: float


_SCORE = itemgetter(1)


def build_keywords(folder: Path, chunks: Iterable[tuple[int, str, str]]) -> None:
    """Index (key, heading, text) chunks in an empty folder. Returns when all is on the disk. Raises `OSError`."""
    folder.mkdir(parents=True)
    try:
        _build(folder, chunks)
    except ValueError as error:  # tantivy's for everything, a full disk among it
        raise OSError(str(error)) from error


def _build(folder: Path, chunks: Iterable[tuple[int, str, str]]) -> None:
    index = tantivy.Index(_schema(), path=str(folder))
    index.register_tokenizer(_ANALYSER, _analyser())
    writer = index.writer(_HEAP, 1)
    for key, heading, text in chunks:
        writer.add_document(tantivy.Document(**{_KEY: key, _FIELD: indexable(with_heading(heading, text))}))
    writer.commit()
    writer.wait_merging_threads()


class KeywordIndex:
    """A group's index, open for reading. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Open it. Raises `ValueError` or `OSError` if it is damaged."""
        self._beside: TemporaryDirectory[str] | None = None
        try:
            self._open(folder)
        except ValueError as error:
            if _LOCK not in str(error):
                raise
            # tantivy takes a lock to read, which needs a folder that can be written to.
            self._beside = _linked(folder)
            self._open(Path(self._beside.name))

    def _open(self, folder: Path) -> None:
        self._index = tantivy.Index.open(str(folder))
        self._index.register_tokenizer(_ANALYSER, _analyser())
        self._schema = self._index.schema
        self._searcher = self._index.searcher()

    def close(self) -> None:
        """Free what was made to read it."""
        if self._beside is None:
            return
        try:
            self._beside.cleanup()
        except OSError:  # tantivy looks for news in a thread of its own, and may have put its lock there meanwhile
            self._beside.cleanup()

    @property
    def chunks(self) -> int:
        """How many there are."""
        return int(self._searcher.num_docs)

    def frequency(self, term: str) -> int:
        """Chunks that hold the term."""
        return int(self._searcher.doc_freq(_FIELD, term))

    def search(self, terms: Iterable[Term], limit: int) -> list[Hit]:
        """The best chunks for these terms, each counting by its weight instead of by its rarity in this group."""
        wanted, chunks = [], self.chunks
        for term in terms:
            if term.found:
                query = tantivy.Query.term_query(self._schema, _FIELD, term.text, "freq")
                factor = term.weight / rarity(term.found, chunks)
                wanted.append((tantivy.Occur.Should, tantivy.Query.boost_query(query, factor)))
        if not wanted or limit < 1:
            return []
        hits = self._searcher.search(tantivy.Query.boolean_query(wanted), limit, count=False).hits
        keys = self._searcher.fast_field_values(_KEY, [address for _, address in hits])
        return [Hit(int(key or 0), score) for (score, _), key in zip(hits, keys, strict=True)]


def _linked(folder: Path) -> TemporaryDirectory[str]:
    """A folder that can be written to, with links to the files of one that cannot; gone with what it returns."""
    beside = TemporaryDirectory(prefix="coterie-keywords-")
    for path in folder.iterdir():
        if path.suffix != ".lock":
            (Path(beside.name) / path.name).symlink_to(path.absolute())
    return beside


LONGEST_QUERY = 20_000  # characters; what comes after them names nothing that the beginning does not


class Term(NamedTuple):
    """A word that is looked for in a group."""

    text: str
    weight: float
    """Its rarity in all groups together."""
    found: int
    """Chunks of this group that hold it."""


def search_keywords(groups: Sequence[KeywordIndex], query: str, limit: int) -> list[Hit]:
    """The best chunks of all these groups, best first; of equals the one indexed first."""
    chunks = sum(group.chunks for group in groups)
    found = {
        term: [group.frequency(term) for group in groups] for term in dict.fromkeys(analyse(query[:LONGEST_QUERY]))
    }
    counts = {term: sum(each) for term, each in found.items() if any(each)}
    wanted = rarest(counts, chunks)
    hits: list[Hit] = []
    for place, group in enumerate(groups):
        hits += group.search((Term(term, rarity(counts[term], chunks), found[term][place]) for term in wanted), limit)
    return sorted(sorted(hits), key=_SCORE, reverse=True)[:limit]  # stable: of equals the lowest key stays first


def rarest(counts: Mapping[str, int], chunks: int) -> list[str]:
    """The terms that are looked for, rarest first.

    Args:
        counts: How many chunks hold each; of those that some chunk holds.
        chunks: How many there are.
    """
    found = sorted(counts, key=counts.__getitem__)[:_MOST_TERMS]
    if chunks <= _LARGE:
        return found
    return [term for term in found if counts[term] <= _COMMON * chunks] or found


def rarity(found: int, chunks: int) -> float:
    """Inverse document frequency as BM25 has it in Lucene and tantivy: ln(1 + (N - n + 0.5) / (n + 0.5))."""
    return math.log(1 + (chunks - found + 0.5) / (found + 0.5))


def with_heading(heading: str, text: str) -> str:
    """A chunk's text as its words are indexed: those of the heading count twice."""
    return f"{f'{heading} ' * _HEADING_TIMES}\n{text}" if heading else text


def analyse(text: str) -> list[str]:
    """The terms of a text, which every index finds it by.

    Runs of letters and digits without case and accents, in their English stem; two neighbouring letters in scripts
    without blanks; nothing that is longer than 60 bytes.
    """
    return list(_QUERY_ANALYSER.analyze(indexable(text).encode(errors="replace").decode()))


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field(_KEY, fast=True)
    builder.add_text_field(_FIELD, tokenizer_name=_ANALYSER, index_option="freq")
    return builder.build()


def _analyser() -> tantivy.TextAnalyzer:
    return (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(60))
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.ascii_fold())
        .filter(tantivy.Filter.stemmer("english"))
        .build()
    )


_QUERY_ANALYSER = _analyser()


# --- The vector index.

EXACT = 8192
"""Up to so many vectors each is compared."""
_RESCORED = 1200
"""So many of the nearest by sign are compared exactly; five times as many as are asked for, if that is more."""


class Nearest(NamedTuple):
    """Rows of an index and their cosines, nearest first."""

    rows: np.ndarray  # (K,) int64
    cosines: np.ndarray  # (K,) float32


class VectorIndex:
    """Unit vectors, read from a file without loading it whole. Safe to use from several threads."""

    def __init__(self, vectors: np.ndarray) -> None:  # (N, D) float32
        """Index them. What is mapped from a file stays there: only what is compared is read."""
        self._vectors = vectors
        count, self._dimension = vectors.shape
        self._exact = count <= EXACT
        if self._exact:
            self._small = np.array(vectors, dtype=np.float32)
        else:
            self._mean = np.asarray(np.mean(vectors, axis=0, dtype=np.float32))  # (D,)
            self._signs = _signs(vectors, self._mean)  # (W, N) uint64

    @classmethod
    def open(cls, path: Path) -> VectorIndex:
        """The index of an `.npy` file."""
        return cls(np.load(path, mmap_mode="r", allow_pickle=False))

    def search(self, query: np.ndarray, limit: int) -> Nearest:  # query (D,)
        """The nearest by cosine, of equals the one with the lowest row."""
        if self._exact:
            return _best(np.arange(len(self._small)), self._small @ query, limit)
        rows = self._near(query, max(_RESCORED, 5 * limit))
        return _best(rows, self._vectors[rows] @ query, limit)

    def _near(self, query: np.ndarray, count: int) -> np.ndarray:  # (>= count,)
        """Rows whose signs are nearest to the query's; those at the last distance all come in."""
        own = _signs(query[None, :], self._mean)[:, 0]  # (W,)
        distances = np.zeros(self._signs.shape[1], dtype=np.uint16)
        for word, signs in zip(own, self._signs, strict=True):
            distances += np.bitwise_count(signs ^ word)
        within = np.bincount(distances).cumsum()
        return np.flatnonzero(distances <= np.searchsorted(within, min(count, len(distances))))


def _signs(vectors: np.ndarray, mean: np.ndarray, step: int = 8192) -> np.ndarray:  # (W, N) uint64
    """Which components are above the mean, 64 a word, words of one place side by side."""
    count, dimension = vectors.shape
    packed = np.zeros((count, -(-dimension // 64) * 8), dtype=np.uint8)
    for start in range(0, count, step):
        bits = np.packbits(vectors[start : start + step] > mean, axis=1)
        packed[start : start + step, : bits.shape[1]] = bits
    return np.ascontiguousarray(packed.view(np.uint64).T)


def _best(rows: np.ndarray, cosines: np.ndarray, limit: int) -> Nearest:
    if len(rows) > limit > 0:
        # Equal cosines at the edge: all of them are sorted, so that which stay does not depend on the partition.
        least = np.partition(cosines, len(cosines) - limit)[len(cosines) - limit]
        kept = np.flatnonzero(cosines >= least)
        rows, cosines = rows[kept], cosines[kept]
    order = np.argsort(-cosines, kind="stable")[:limit]  # rows come in their order, so equals stay in it
    return Nearest(rows[order], cosines[order])


# --- Rank fusion.

Key = TypeVar("Key", int, tuple[int, int, int])

FUSION_K = 10
"""How little the first ranks stand out: chosen on SciFact's training claims, where 60, the method's own, finds less."""


def fuse(
    rankings: Sequence[Sequence[Key]], *, k: float = FUSION_K, weights: Sequence[float] | None = None
) -> dict[Key, float]:
    """Reciprocal rank fusion (Cormack, Clarke, Buettcher 2009): the sum of `weight / (k + rank)` over the rankings.

    Args:
        rankings: Keys, best first.
        k: How little the first ranks stand out.
        weights: What each ranking counts; all the same by default.

    Returns:
        Scores by key, best first; of equals the lowest key first. A score depends on nothing but the ranks.
    """
    scores: dict[Key, float] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + weight / (k + rank)
    ordered = sorted(
        sorted(scores), key=scores.__getitem__, reverse=True
    )  # stable: of equals the lowest key stays first
    return {key: scores[key] for key in ordered}


# --- The finer look: how well each word of a query is met by some word of a passage.

BUNDLED_RERANKER = Path(__file__).parent / "reranker"
_ARRAYS = "reranker.safetensors"
_ABOUT = "reranker.json"
_LEVELS = 127


class Weights(NamedTuple):
    """What each of the three signs counts."""

    keyword: float
    cosine: float
    interaction: float


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidatePassage:
    """A passage that one of the rankings found."""

    keyword: float
    """Its BM25 score; 0 if it was not among the best by keyword."""
    cosine: float
    tokens: bytes
    """Its packed tokens; empty if it has none."""


class Reranker:
    """Packs the tokens of passages, and scores passages by them.

    Args:
        projection: From a token's state to what is kept of it, (D, P) float32.
        rarity: What a token of each id counts, (V,) float32.
        weights: What each sign counts.
        encoder: Checksum of the encoder that it was made for.
    """

    def __init__(self, projection: np.ndarray, rarity: np.ndarray, weights: Weights, encoder: str) -> None:
        self._projection, self._rarity, self._weights, self.encoder = projection, rarity, weights, encoder
        self.packing = hashlib.sha256(projection.tobytes() + rarity.tobytes()).hexdigest()

    @classmethod
    def bundled(cls) -> Reranker:
        """The one that ships with the package."""
        return cls.read(BUNDLED_RERANKER)

    @classmethod
    def read(cls, folder: Path) -> Reranker:
        """The reranker of a folder. Raises `ArtefactRefused`."""
        try:
            about = parse_json((folder / _ABOUT).read_text(encoding="utf-8"))
            content = (folder / _ARRAYS).read_bytes()
            if hashlib.sha256(content).hexdigest() != about["sha256"]:
                raise ValueError("its arrays are not those that its checksum names")  # noqa: TRY301 - refused below
            arrays = load_arrays(content)
            return cls(
                arrays["projection"].astype(np.float32),
                arrays["rarity"].astype(np.float32),
                Weights(**{name: float(about["weights"][name]) for name in Weights._fields}),
                str(about["encoder_sha256"]),
            )
        except Exception as error:
            raise ArtefactRefused(
                f"The reranker in {str(folder)!r} is not usable: {error}.",
                hint="Reinstall the package: pip install --force-reinstall coterie",
            ) from error

    @property
    def width(self) -> int:
        """Bytes of a packed token."""
        return int(self._projection.shape[1])

    def pack(self, tokens: TokenStates) -> bytes:
        """A passage's tokens as they are kept: a direction each, 8 bits a component."""
        rows = tokens.states @ self._projection  # (T, P)
        largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-9)
        return bytes(np.rint(rows / largest * _LEVELS).astype(np.int8).tobytes())

    def score(self, query: TokenStates, candidates: Sequence[CandidatePassage]) -> np.ndarray:  # (N,) float32
        """How well each passage fits the query; higher is better."""
        keyword = np.array([candidate.keyword for candidate in candidates], dtype=np.float32)
        best = max(float(keyword.max(initial=0.0)), 1e-9)
        cosine = np.array([each.cosine for each in candidates], dtype=np.float32)
        interaction = self._interaction(query, [each.tokens for each in candidates], cosine)
        weights = self._weights
        scores = weights.keyword * keyword / best + weights.cosine * cosine + weights.interaction * interaction
        return np.asarray(scores, dtype=np.float32)

    def _interaction(self, query: TokenStates, packed: Sequence[bytes], cosine: np.ndarray) -> np.ndarray:  # (N,)
        """The mean best match of the query's tokens, each counting by its rarity; the cosine where there are none."""
        rarity = self._rarity[np.minimum(np.asarray(query.ids, dtype=np.intp), len(self._rarity) - 1)]
        if not rarity.sum():
            return cosine
        own = _unit(query.states @ self._projection)  # (Q, P)
        share = rarity / rarity.sum()
        lengths = [len(each) // self.width for each in packed]
        everything = np.frombuffer(b"".join(packed), dtype=np.int8).reshape(-1, self.width).astype(np.float32)
        matches = own @ _unit(everything).T  # (Q, all tokens)
        found = np.empty(len(packed), dtype=np.float32)
        at = 0
        for row, length in enumerate(lengths):
            found[row] = share @ matches[:, at : at + length].max(axis=1) if length else cosine[row]
            at += length
        return found


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), dtype=np.float32)
