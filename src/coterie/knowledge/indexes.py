"""Indexes of a group of chunks: keywords by BM25, unit vectors by cosine; rank fusion, and reranking.

A group holds chunks of one label and one tenant, so no statistic comes from chunks that its reader may not
see. If a reader sees several groups, a term's inverse document frequency is that of the groups together; the
length that BM25 normalises by stays the group's own mean.

Few vectors are compared exactly. Of many, the signs of the components (against the mean) are compared first,
64 at a time, and the cosine is computed for the nearest thousands only (Charikar 2002; "binary quantisation
with rescoring"). Unlike a graph this needs no build, does not depend on the order of insertion, and keeps
nothing of removed chunks.

Late interaction (Khattab, Zaharia 2020): each token of the query takes its best match among the passage's
tokens, and the matches are summed. Here the tokens are the bundled encoder's own, projected to their
principal components; each counts by how rare it is in general English, and the sum is weighed against keyword
score and cosine. A passage's tokens are kept with it, so reranking runs the encoder on the query only.

No reranking weight comes from the index, so chunks that the caller may not see cannot change a score.
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
from coterie.text.folding import UNSPACED

# --- Analysis: equal-looking characters are equal; scripts without blanks give bigrams (as Lucene's CJKAnalyzer).
#
# Accents of cased letters and vowel points of Arabic and Hebrew are dropped, as many leave them out in queries.

_MARKS = re.compile(r"[\u0300-\u036f\u0591-\u05c7\u0640\u064b-\u065f\u0670]")
"""Accents; vowel points of Hebrew and Arabic, and the Arabic elongation character."""
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u2060\ufeff]")
"""Soft hyphens and invisible formatting characters."""
_NOTE = re.compile(r"(?<=[^\W\d_]{4})[\u00b2\u00b3\u00b9\u2070-\u2079]+|(?<=\d)[\u00b2\u00b3\u00b9\u2070-\u2079]+")
"""Superscript note marks; after a shorter word they belong to a unit: m², km³."""

_FRACTION = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
"""The position between a number and the fraction after it."""


def indexable(text: str) -> str:
    """Return a text with its words in the form that an index takes."""
    if text.isascii():
        return text
    plain = normalize("NFKD", _FRACTION.sub(" ", _NOTE.sub(" ", _INVISIBLE.sub("", text))))
    # Other marks are letters' own: they are put together again.
    return UNSPACED.sub(_pairs, normalize("NFC", _MARKS.sub("", plain)))


def _pairs(match: re.Match[str]) -> str:
    run = match[0]
    pairs = (run[i : i + 2] for i in range(len(run) - 1)) if len(run) > 1 else (run,)
    return f" {' '.join(pairs)} "


_FIELD = "text"
_KEY = "chunk"
_ANALYSER = "coterie_en"
_HEAP = 64 * 1024 * 1024
_LOCK = "Lockfile"
"""Text in tantivy's error when it cannot take its lock."""
_HEADING_TIMES = 2
"""Weight of a word of the heading, in words of the text."""
_MOST_TERMS = 64
"""Most terms of a query that are looked up: the rarest ones."""
_LARGE, _COMMON = 8192, 0.5
"""Number of chunks, and the share of them, above which a term is too common: it says little and takes most time."""


class Hit(NamedTuple):
    """A chunk and its score."""

    key: int
    score: float


_SCORE = itemgetter(1)


def build_keywords(folder: Path, chunks: Iterable[tuple[int, str, str]]) -> None:
    """Index (key, heading, text) chunks in an empty folder. Returns once all is on the disk. Raises `OSError`."""
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
    """A group's keyword index, open for reading. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Open the index. Raises `ValueError` or `OSError` if it is damaged."""
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
        """Delete the temporary folder that was made to read the index."""
        if self._beside is None:
            return
        try:
            self._beside.cleanup()
        except OSError:  # tantivy looks for news in a thread of its own, and may have put its lock there meanwhile
            self._beside.cleanup()

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return int(self._searcher.num_docs)

    def frequency(self, term: str) -> int:
        """Return the number of chunks that contain the term."""
        return int(self._searcher.doc_freq(_FIELD, term))

    def search(self, terms: Iterable[Term], limit: int) -> list[Hit]:
        """Return the best chunks for these terms, weighted by each term's own weight, not its rarity in this group."""
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
    """Return a writable temporary folder with links to the files of a read-only one; it is deleted with its object."""
    beside = TemporaryDirectory(prefix="coterie-keywords-")
    for path in folder.iterdir():
        if path.suffix != ".lock":
            (Path(beside.name) / path.name).symlink_to(path.absolute())
    return beside


LONGEST_QUERY = 20_000  # characters; what comes after them names nothing that the beginning does not


class Term(NamedTuple):
    """A word that is searched in a group."""

    text: str
    weight: float
    """Inverse document frequency in all groups together."""
    found: int
    """Number of chunks in this group that contain the word."""


def search_keywords(groups: Sequence[KeywordIndex], query: str, limit: int) -> list[Hit]:
    """Return the best chunks of all these groups, best first; equals in the order of indexing."""
    chunks = sum(group.chunks for group in groups)
    groups_by_term = {
        term: [group.frequency(term) for group in groups] for term in dict.fromkeys(analyse(query[:LONGEST_QUERY]))
    }
    counts = {term: sum(matches) for term, matches in groups_by_term.items() if any(matches)}
    wanted = rarest(counts, chunks)
    hits: list[Hit] = []
    for index, group in enumerate(groups):
        hits += group.search(
            (Term(term, rarity(counts[term], chunks), groups_by_term[term][index]) for term in wanted), limit
        )
    return sorted(sorted(hits), key=_SCORE, reverse=True)[:limit]  # stable: of equals the lowest key stays first


def rarest(counts: Mapping[str, int], chunks: int) -> list[str]:
    """Return the terms to search, rarest first.

    Args:
        counts: Number of chunks that contain each term, for terms that occur.
        chunks: Number of chunks.
    """
    by_rarity = sorted(counts, key=counts.__getitem__)[:_MOST_TERMS]
    if chunks <= _LARGE:
        return by_rarity
    return [term for term in by_rarity if counts[term] <= _COMMON * chunks] or by_rarity


def rarity(matching: int, chunks: int) -> float:
    """Return the inverse document frequency of BM25 in Lucene and tantivy: ln(1 + (N - n + 0.5) / (n + 0.5))."""
    return math.log(1 + (chunks - matching + 0.5) / (matching + 0.5))


def with_heading(heading: str, text: str) -> str:
    """Return a chunk's text as its words are indexed: those of the heading count twice."""
    return f"{f'{heading} ' * _HEADING_TIMES}\n{text}" if heading else text


def analyse(text: str) -> list[str]:
    """Return the terms of a text, as every index uses them.

    Terms are runs of letters and digits without case and accents, reduced to their English stem; in scripts
    without blanks, pairs of neighbouring letters. Terms longer than 60 bytes are left out.
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
"""Most vectors that are all compared exactly."""
_RESCORED = 1200
"""Nearest vectors by sign that are compared exactly; at least five times as many as requested."""


class Nearest(NamedTuple):
    """Rows of an index and their cosines, nearest first."""

    rows: np.ndarray  # (K,) int64
    cosines: np.ndarray  # (K,) float32


class VectorIndex:
    """Unit vectors, read from a file without loading it whole. Safe to use from several threads."""

    def __init__(self, vectors: np.ndarray) -> None:  # (N, D) float32
        """Index the vectors. A memory-mapped array stays in its file: only compared rows are read."""
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
        """Return the index of an `.npy` file."""
        return cls(np.load(path, mmap_mode="r", allow_pickle=False))

    def search(self, query: np.ndarray, limit: int) -> Nearest:  # query (D,)
        """Return the nearest vectors by cosine; of equals, the lowest row first."""
        if self._exact:
            return _best(np.arange(len(self._small)), self._small @ query, limit)
        rows = self._near(query, max(_RESCORED, 5 * limit))
        return _best(rows, self._vectors[rows] @ query, limit)

    def _near(self, query: np.ndarray, count: int) -> np.ndarray:  # (>= count,)
        """Return the rows whose signs are nearest to the query's; all rows at the last distance are included."""
        own = _signs(query[None, :], self._mean)[:, 0]  # (W,)
        distances = np.zeros(self._signs.shape[1], dtype=np.uint16)
        for word, signs in zip(own, self._signs, strict=True):
            distances += np.bitwise_count(signs ^ word)
        within = np.bincount(distances).cumsum()
        return np.flatnonzero(distances <= np.searchsorted(within, min(count, len(distances))))


def _signs(vectors: np.ndarray, mean: np.ndarray, step: int = 8192) -> np.ndarray:  # (W, N) uint64
    """Return which components are above the mean, as words of 64 bits, one row for each word."""
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
"""Constant of rank fusion that flattens the first ranks: SciFact's training claims favour it over the usual 60."""


def fuse(rankings: Sequence[Sequence[Key]], *, k: float = FUSION_K) -> dict[Key, float]:
    """Fuse rankings by reciprocal rank (Cormack, Clarke, Buettcher 2009): sum `1 / (k + rank)` over the rankings.

    Args:
        rankings: Keys, best first.
        k: Constant that flattens the first ranks.

    Returns:
        Scores by key, best first; of equals the lowest key first. A score depends on nothing but the ranks.
    """
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + 1.0 / (k + rank)
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
    """Weights of the three signals."""

    keyword: float
    cosine: float
    interaction: float


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidatePassage:
    """A passage that one of the rankings found."""

    keyword: float
    """BM25 score; 0 if the passage was not among the best by keyword."""
    cosine: float
    tokens: bytes
    """Packed tokens; empty if there are none."""


class Reranker:
    """Packs the tokens of passages, and scores passages by them.

    Args:
        projection: Matrix from a token's state to the components that are kept, (D, P) float32.
        rarity: Weight of each token id, (V,) float32.
        weights: Weight of each signal.
        encoder: Checksum of the encoder that the reranker was made for.
    """

    def __init__(self, projection: np.ndarray, rarity: np.ndarray, weights: Weights, encoder: str) -> None:
        self._projection, self._rarity, self._weights, self.encoder = projection, rarity, weights, encoder
        self.packing = hashlib.sha256(projection.tobytes() + rarity.tobytes()).hexdigest()

    @classmethod
    def bundled(cls) -> Reranker:
        """Return the bundled reranker."""
        return cls.read(BUNDLED_RERANKER)

    @classmethod
    def read(cls, folder: Path) -> Reranker:
        """Read the reranker from a folder. Raises `ArtefactRefused`."""
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
        """Return a passage's tokens as they are stored: one direction each, 8 bits a component."""
        rows = tokens.states @ self._projection  # (T, P)
        largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-9)
        return bytes(np.rint(rows / largest * _LEVELS).astype(np.int8).tobytes())

    def score(self, query: TokenStates, candidates: Sequence[CandidatePassage]) -> np.ndarray:  # (N,) float32
        """Return how well each passage fits the query; higher is better."""
        keyword = np.array([candidate.keyword for candidate in candidates], dtype=np.float32)
        best = max(float(keyword.max(initial=0.0)), 1e-9)
        cosine = np.array([candidate.cosine for candidate in candidates], dtype=np.float32)
        interaction = self._interaction(query, [candidate.tokens for candidate in candidates], cosine)
        weights = self._weights
        scores = weights.keyword * keyword / best + weights.cosine * cosine + weights.interaction * interaction
        return np.asarray(scores, dtype=np.float32)

    def _interaction(self, query: TokenStates, packed: Sequence[bytes], cosine: np.ndarray) -> np.ndarray:  # (N,)
        """Return the mean best match of the query's tokens, weighted by rarity; without tokens, the cosine."""
        rarity = self._rarity[np.minimum(np.asarray(query.ids, dtype=np.intp), len(self._rarity) - 1)]
        if not rarity.sum():
            return cosine
        own = _unit(query.states @ self._projection)  # (Q, P)
        share = rarity / rarity.sum()
        lengths = [len(tokens) // self.width for tokens in packed]
        everything = np.frombuffer(b"".join(packed), dtype=np.int8).reshape(-1, self.width).astype(np.float32)
        matches = own @ _unit(everything).T  # (Q, all tokens)
        scores = np.empty(len(packed), dtype=np.float32)
        at = 0
        for row, length in enumerate(lengths):
            scores[row] = share @ matches[:, at : at + length].max(axis=1) if length else cosine[row]
            at += length
        return scores


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), dtype=np.float32)
