"""Sentence encoders: a text becomes a unit vector.

The int8 all-MiniLM-L6-v2 of `encoder/` ships with the package; fine-tuned ones are part of a specialist's version.
Pooling and normalisation are inside the graph. The files are checked against `provenance.json` each time they are
loaded (about 30 ms).

A network's encoder is the bundled one, one that was pulled, or one in a folder.
"""

from __future__ import annotations

import copy
import hashlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import ceil
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import onnxruntime
from tokenizers import Encoding, Tokenizer

from coterie.engines.batching import Batcher
from coterie.errors import ArtefactRefused, ModelMissing
from coterie.models.catalogue import Origin, models_folder
from coterie.runtime.caches import BatchMemo, KnownTexts
from coterie.runtime.codec import parse_json
from coterie.runtime.cpu import CpuSpan
from coterie.text.folding import valid_text
from coterie.types import SYSTEM, CallContext, Label, Output, Prompt, Usage

# --- One more output for a stored graph, without the library that edits graphs.
#
# Protocol Buffers messages merge by concatenation: the bytes of a model, followed by those of a model with one output
# only, are the model with that output added. https://protobuf.dev/programming-guides/encoding/#last-one-wins

_GRAPH, _OUTPUT, _NAME, _TYPE, _TENSOR = 7, 12, 1, 2, 1
"""Field numbers of ModelProto.graph, GraphProto.output, ValueInfoProto.name and .type, TypeProto.tensor_type."""
_FLOAT = bytes([1 << 3, 1])
"""TypeProto.Tensor.elem_type = FLOAT."""


def with_output(model: bytes, name: str) -> bytes:
    """Return the model with the value of this name, a float tensor, added to its outputs."""
    kind = _field(_TENSOR, _FLOAT)
    output = _field(_NAME, name.encode()) + _field(_TYPE, kind)
    return model + _field(_GRAPH, _field(_OUTPUT, output))


def _field(number: int, content: bytes) -> bytes:
    """Return a protobuf field with its length and content."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Encode a number as a varint: seven bits a byte, the lowest first; all but the last byte have the high bit set."""
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


T = TypeVar("T")

BUNDLED_ENCODER = Path(__file__).parent / "encoder"
GRAPH_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
PROVENANCE_FILE = "provenance.json"
ENCODER_FILES = (GRAPH_FILE, TOKENIZER_FILE, PROVENANCE_FILE)
"""The files of an encoder."""

_STATES = "/transformer/encoder/layer.5/output/LayerNorm/LayerNormalization_output_0"
"""The last layer's states in the bundled graph, before pooling; other encoders name theirs."""
_SLOWER = ("SkipLayerNormFusion",)
"""Optimisations of onnxruntime 1.32 that cost time: its fused sum and norm takes eight times as long as both apart."""
_BATCH_TOKENS = 4096
"""Tokens of one native call, padding included: this bounds the memory of its attention matrices (about 50 MB)."""
PREFIX_CHARACTERS = 64
"""Characters per token that are tokenised first: a long text is not read to its end only to be cut."""
_MOST_CHARACTERS = 65_536
"""Most characters that are tokenised. Where so many do not fill the window, the text is hardly natural language."""
_SHORT = 400
"""Characters that are tokenised within some tenth of a millisecond."""
MOST_KNOWN = 16_384
"""Cached vectors of all tenants together: 25 MB at 384 numbers each."""
_PREFIX_SLACK = 128
"""Tokens beyond the window that a prefix must give, so that the word that it cuts lies outside the window."""


_BUNDLED_NAME, _BUNDLED_UNRELATED = "all-MiniLM-L6-v2", 0.078
"""Name of the bundled encoder, and the mean cosine of its vectors of `_UNRELATED`."""
_ALIKE = 0.1
"""Largest excess of another encoder's mean over that for the encoder to count as similar."""
_UNRELATED = (
    "Where is my parcel?", "The contract ends on 31 March.", "How do I cook rice?", "My dog is ill.",
    "The train was late again.", "Please send me the invoice.", "Gold rose by two per cent.",
    "What is the capital of Peru?", "Der Drucker ist kaputt.", "J'ai perdu mes cl\u00e9s.",
    "\u00bfCu\u00e1nto cuesta el billete?", "The patient has a fever.", "Turn off the lights.", "She plays the violin.",
    "Solve the equation for x.", "The roof is leaking.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class KnownVector:
    """The cached encoding of a text."""

    vector: np.ndarray  # (D,)
    tokens: int
    truncated: bool


class OnnxEncoder:
    """Runs an encoder in this process. Texts beyond its window are cut, and their `finish` is `length`.

    `sha256` is the checksum of the model file, `dimension` the length of a vector, `max_tokens` the window,
    `vocabulary` the number of token ids, and `languages` those that it was made for (empty if unknown). An encoder
    that was trained with a prefix (`query: `) reads it before every text.

    Every native call runs in one thread, so that its CPU-seconds are exact and a text's vector does not depend on
    the number of cores; `threads` is the number of concurrent calls of `encode`.
    """

    clearance = Label.RESTRICTED

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        name: str = "onnx",
        location: str = "these files",
        graph: Path | None = None,
        threads: int = 1,
        max_batch: int = 32,
        max_waiting: int = 256,
        most_known: int = MOST_KNOWN,
        states: bool = False,
    ) -> None:
        """Load the encoder.

        Args:
            files: Content of `ENCODER_FILES` by name.
            name: Its key in the ledger.
            location: The origin of the files, for errors.
            graph: The file that holds the graph, if one does: read from there it takes memory once, not twice.
            threads: Concurrent native calls of `encode`.
            max_batch: Texts of one native call.
            max_waiting: Texts that may wait; a further one is `Overloaded`.
            most_known: Vectors that `run` caches, for all tenants together.
            states: Whether states of tokens will be requested: the graph is then opened with them at once, not twice.

        Raises:
            ArtefactRefused: a file is missing or does not match the provenance.
        """
        self.name = name
        self._known = KnownTexts[KnownVector](most_known)
        self._model = OnnxModel(files, location, graph, states=states)
        self.sha256, self.dimension = self._model.sha256, self._model.dimension
        self.languages = self._model.languages
        self.max_tokens, self.vocabulary = self._model.max_tokens, self._model.vocabulary
        self.folder = graph.parent if graph is not None else None
        """Where it was read from, if it was."""
        self._threads = threads
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._batcher = self._queue()

    def _queue(self) -> Batcher[_Asked, _Encoded]:
        return Batcher(
            self._model.encode,
            engine=self.name,
            max_batch=self._max_batch,
            max_waiting=self._max_waiting,
            then=self._model.prepare,
        )

    def shared(self) -> OnnxEncoder:
        """Return the same model and cached texts with a separate queue: closing one leaves the other open."""
        copied = copy.copy(self)
        copied._batcher = self._queue()  # noqa: SLF001 - of this class
        return copied

    @classmethod
    def bundled(cls, *, threads: int = 1, max_batch: int = 32) -> OnnxEncoder:
        """Return the encoder that ships with the package."""
        return cls.read(BUNDLED_ENCODER, threads=threads, max_batch=max_batch)

    @classmethod
    def read(
        cls, folder: Path, *, threads: int = 1, max_batch: int = 32, max_waiting: int = 256, states: bool = False
    ) -> OnnxEncoder:
        """Open the encoder of a folder."""
        files = {}
        for name in ENCODER_FILES:
            try:
                files[name] = (folder / name).read_bytes()
            except OSError as error:
                raise _refused(str(folder), name, str(error)) from error
        return cls(
            files,
            location=str(folder),
            graph=folder / GRAPH_FILE,
            threads=threads,
            max_batch=max_batch,
            max_waiting=max_waiting,
            states=states,
        )

    @property
    def about(self) -> Mapping[str, str]:
        """The encoder's description for reports: `name`, `source`, `sha256`, `licence`."""
        return {**self._model.origin, "sha256": self.sha256}

    @property
    def unrelated(self) -> float:
        """Mean cosine of unrelated texts, where the bundled encoder's mean counts as 0.

        For multilingual-e5-small it is .76: all its vectors point in one direction.
        """
        return self._model.unrelated

    def follow(self, memo: BatchMemo[Any]) -> None:
        """Keep a memo prepared in the encoder's thread, unless texts wait, as long as the memo is referenced."""
        model = self._model
        model.followers = (*(follower for follower in model.followers if follower() is not None), weakref.ref(memo))

    def count_tokens(self, text: str) -> int:
        """Return the tokens of the whole text, also beyond the window."""
        return len(self._model.tokenise(text))

    def tokenise(self, text: str) -> list[int]:
        """Return token ids of the whole text, with the marks at both ends."""
        return self._model.tokenise(text)

    def words(self) -> list[str]:
        """Return the tokens that are whole words, in the order of their ids: the most frequent first."""
        ids = self._model.tokenizer.get_vocab()
        return [token for token in sorted(ids, key=ids.__getitem__) if token.isalpha()]

    def exceeds(self, texts: Sequence[str]) -> np.ndarray:  # (N,) bool
        """Return which texts are longer than the window. A token has at least one byte, so most are not counted."""
        most = self.max_tokens - 1 - self._model.lead  # beside the marks at both ends
        return np.array(
            [len(text.encode("utf-8", "replace")) > most and self._model.cut(text).truncated for text in texts],
            dtype=bool,
        )

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:
        """Return a unit vector for each prompt's `text`, with its tokens' states where they are requested.

        A text that the same tenant asked before, without states, takes no CPU time. Raises `Overloaded` when too many
        texts are waiting.
        """
        start, tenant = time.perf_counter(), call.principal.tenant
        cached_outputs = [None if prompt.states else self._known.get(tenant, prompt.text) for prompt in batch]
        missing = [prompt for prompt, cached in zip(batch, cached_outputs, strict=True) if cached is None]
        texts = [_Asked(prompt.text, prompt.states) for prompt in missing]
        encoded = iter(await self._batcher.run(texts) if texts else ())
        milliseconds = (time.perf_counter() - start) * 1000
        outputs = []
        for prompt, cached in zip(batch, cached_outputs, strict=True):
            encoded_one = _Encoded(cached.vector, cached.tokens, cached.truncated, 0.0) if cached else next(encoded)
            if cached is None and encoded_one.states is None:
                vector = encoded_one.vector.copy()  # one of its own: a row would keep the whole batch
                vector.flags.writeable = False
                self._known.put(tenant, prompt.text, KnownVector(vector, encoded_one.tokens, encoded_one.truncated))
            outputs.append(
                Output(
                    vector=encoded_one.vector,
                    finish="length" if encoded_one.truncated else "stop",
                    states=encoded_one.states,
                    offsets=encoded_one.offsets,
                    usage=Usage(
                        tokens_in=encoded_one.tokens, milliseconds=milliseconds, cpu_seconds=encoded_one.cpu_seconds
                    ),
                )
            )
        return outputs

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> np.ndarray:  # (N, D)
        """Encode all texts while the caller blocks: for training.

        Args:
            texts: the texts to encode.
            progress: called after each native call with the number of texts it encoded.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        pieces = [self._model.cut(text) for text in texts]

        def one(rows: list[int]) -> int:
            vectors[rows] = self._model.vectors([pieces[row].ids for row in rows])
            return len(rows)

        # The longest first: the cores finish together then.
        groups = reversed(list(group_rows([len(piece.ids) for piece in pieces], self._max_batch)))
        with ThreadPoolExecutor(max_workers=self._threads) as pool:
            for done in pool.map(one, groups):
                if progress is not None:
                    progress(done)
        return vectors

    def encode_tokens(
        self, texts: Sequence[str], reduce: Callable[[TokenStates], T]
    ) -> tuple[np.ndarray, list[T]]:  # (N, D)
        """Encode all texts and reduce each text's token states, while the caller blocks.

        Args:
            texts: the texts to encode; as with `encode`, text beyond the window is cut.
            reduce: called once per text, in any order and from several threads. Data that it does not copy is lost
                afterwards.

        Raises:
            ArtefactRefused: the graph has no readable states.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        reduced: list[T | None] = [None] * len(texts)
        pieces = [self._model.cut(text).ids for text in texts]

        def one(rows: list[int]) -> None:
            vectors[rows], states = self._model.states([pieces[row] for row in rows])
            for row, state in zip(rows, states, strict=True):
                inner = slice(self._model.lead, len(pieces[row]) - 1)
                reduced[row] = reduce(TokenStates(pieces[row][inner], state[inner]))

        groups = reversed(list(group_rows([len(ids) for ids in pieces], self._max_batch)))
        with ThreadPoolExecutor(max_workers=self._threads) as pool:
            for _ in pool.map(one, groups):
                pass
        return vectors, cast("list[T]", reduced)

    async def close(self) -> None:
        """Finish the queued texts and end the worker."""
        await self._batcher.close()


class TokenStates(NamedTuple):
    """Token states of a text without the marks at its ends, from the last layer."""

    ids: list[int]
    states: np.ndarray  # (T, D) float32


class _Provenance(NamedTuple):
    """The provenance of an encoder's files."""

    sha256: dict[str, str]
    dimension: int
    max_tokens: int
    origin: dict[str, str]
    languages: frozenset[str]
    prefix: str
    states: str


class _Piece(NamedTuple):
    """The part of a text that fits the window."""

    ids: list[int]
    truncated: bool
    offsets: list[tuple[int, int]]
    """Positions of the tokens in the text, including the marks at both ends."""


class _Asked(NamedTuple):
    text: str
    states: bool


class _Encoded(NamedTuple):
    vector: np.ndarray  # (D,)
    tokens: int
    truncated: bool
    cpu_seconds: float
    states: np.ndarray | None = None  # (T, D), without the marks at both ends
    offsets: np.ndarray | None = None  # (T, 2)


class OnnxModel:
    """Tokenizer and graph, loaded and checked. Its calls block; it is safe to call from several threads."""

    def __init__(self, files: Mapping[str, bytes], location: str, graph: Path | None, *, states: bool = False) -> None:
        provenance = _read_provenance(files, location)
        for name in (GRAPH_FILE, TOKENIZER_FILE):
            _verify(files, name, provenance.sha256.get(name, ""), location)
        self.sha256 = provenance.sha256[GRAPH_FILE]
        self.dimension = provenance.dimension
        self.max_tokens = provenance.max_tokens
        self.origin, self.languages = provenance.origin, provenance.languages
        self._states = provenance.states
        self.followers: tuple[weakref.ref[BatchMemo[Any]], ...] = ()
        self._graph, self._place = graph, location
        self._stateful, self._opening = False, threading.Lock()
        self.tokenizer = Tokenizer.from_buffer(files[TOKENIZER_FILE])
        self.tokenizer.no_truncation()  # cut here, where it can be said
        self.tokenizer.no_padding()
        self._prefix = self.tokenizer.encode(provenance.prefix.strip()).ids[1:-1] if provenance.prefix else []
        self.lead = 1 + len(self._prefix)
        """Tokens before those of the text: the mark at its beginning, and the prefix."""
        if states:
            with suppress(ArtefactRefused):  # it has none: who asks for them hears of it
                self._session, self._stateful = self._opened_with_states(files[GRAPH_FILE]), True
        if not self._stateful:
            self._session = open_graph(files[GRAPH_FILE] if graph is None else str(graph))
        self._inputs = {input_.name for input_ in self._session.get_inputs()}

    @property
    def vocabulary(self) -> int:
        """The number of token ids."""
        return int(self.tokenizer.get_vocab_size())

    @cached_property
    def unrelated(self) -> float:
        """See `OnnxEncoder.unrelated`; computed once for all encoders that share this model, at the first use."""
        if self.origin.get("name") == _BUNDLED_NAME:
            return 0.0
        vectors = self.vectors([self.cut(text).ids for text in _UNRELATED])
        cosines = (vectors @ vectors.T)[np.triu_indices(len(_UNRELATED), 1)]
        floor = (float(cosines.mean()) - _BUNDLED_UNRELATED) / (1 - _BUNDLED_UNRELATED)
        return floor if floor > _ALIKE else 0.0

    def tokenise(self, text: str) -> list[int]:
        """Return token ids of the whole text, with the special ones at both ends."""
        ids: list[int] = self._tokens(text).ids
        return ids

    def cut(self, text: str) -> _Piece:
        """Return the tokens of a text that fit the window, the last one its end mark."""
        read = self.max_tokens * PREFIX_CHARACTERS
        tokens = self._tokens(text[:read])
        while read < min(len(text), _MOST_CHARACTERS) and len(tokens.ids) <= self.max_tokens + _PREFIX_SLACK:
            read *= 4
            tokens = self._tokens(text[:read])
        ids = [tokens.ids[0], *self._prefix, *tokens.ids[1:]]
        offsets = [tokens.offsets[0], *[(0, 0)] * len(self._prefix), *tokens.offsets[1:]]
        if len(ids) <= self.max_tokens:
            return _Piece(ids, truncated=read < len(text), offsets=offsets)
        kept = self.max_tokens - 1
        return _Piece([*ids[:kept], ids[-1]], truncated=True, offsets=[*offsets[:kept], offsets[-1]])

    def _tokens(self, text: str) -> Encoding:
        """Return the tokens of a text.

        The library releases the interpreter's lock only while it works on a batch. For a short text that is slower:
        acquiring the lock again takes milliseconds where the event loop is busy.
        """
        valid = valid_text(text)
        return self.tokenizer.encode(valid) if len(valid) <= _SHORT else self.tokenizer.encode_batch([valid])[0]

    def encode(self, texts: Sequence[_Asked]) -> list[_Encoded]:
        """Return vectors and the cost of each: the work of a `Batcher`."""
        results: list[_Encoded | None] = [None] * len(texts)
        with CpuSpan() as cutting:
            pieces = [self.cut(text.text) for text in texts]
        tokenising = cutting.cpu_seconds / max(sum(len(piece.ids) for piece in pieces), 1)
        for rows in group_rows([len(piece.ids) for piece in pieces], len(texts)):
            ids = [pieces[row].ids for row in rows]
            with CpuSpan() as call:
                stateful = any(texts[row].states for row in rows)
                vectors, states = self.states(ids) if stateful else (self.vectors(ids), [None] * len(rows))
            spent = tokenising + call.cpu_seconds / max(sum(map(len, ids)), 1)  # a token
            for row, vector, of_tokens in zip(rows, vectors, states, strict=True):
                piece = pieces[row]
                inner = slice(self.lead, len(piece.ids) - 1)
                results[row] = _Encoded(
                    vector,
                    len(piece.ids),
                    piece.truncated,
                    spent * len(piece.ids),
                    *((of_tokens[inner], np.array(piece.offsets[inner])) if texts[row].states else ()),
                )
        return [result for result in results if result is not None]

    def prepare(self, encoded: Sequence[_Encoded], waiting: int) -> None:
        """Prepare the memos of a batch, unless texts wait: then there is more time for it elsewhere."""
        memos = [memo for follower in self.followers if (memo := follower()) is not None]
        batches = (
            {id(encoded_one.vector.base): encoded_one.vector.base for encoded_one in encoded}
            if memos and not waiting
            else {}
        )
        for batch, memo in product(batches.values(), memos):
            if batch is not None:
                memo.prepare(batch)

    def vectors(self, ids: Sequence[Sequence[int]]) -> np.ndarray:  # (B, D)
        """Return the vectors of some texts, in one native call."""
        return self.call(ids, "embedding")

    def call(
        self, ids: Sequence[Sequence[int]], output: str, given: Mapping[str, np.ndarray] | None = None
    ) -> np.ndarray:  # (B, ...)
        """Return one output of the graph for some texts, in one native call; `given` are inputs other than tokens."""
        return np.asarray(self._session.run([output], {**self._feed(ids), **(given or {})})[0], dtype=np.float32)

    def states(
        self, ids: Sequence[Sequence[int]], output: str = "embedding"
    ) -> tuple[np.ndarray, np.ndarray]:  # (B, ...), (B, T, D)
        """Run one native call that also returns the tokens' states, including those of padding."""
        with self._opening:
            if not self._stateful:
                self._session, self._stateful = self._opened_with_states(), True
        outputs, states = self._session.run([output, self._states], self._feed(ids))
        return np.asarray(outputs, dtype=np.float32), np.asarray(states, dtype=np.float32)

    def _feed(self, ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """Return the graph's inputs for these tokens: not every architecture has token types."""
        width = max(len(id_) for id_ in ids)
        tokens = np.zeros((len(ids), width), dtype=np.int64)  # (B, T)
        mask = np.zeros_like(tokens)
        for row, id_ in enumerate(ids):
            tokens[row, : len(id_)] = id_
            mask[row, : len(id_)] = 1
        feed = {"input_ids": tokens, "attention_mask": mask}
        return feed | {name: np.zeros_like(tokens) for name in self._inputs - feed.keys()}

    def _opened_with_states(self, verified: bytes | None = None) -> onnxruntime.InferenceSession:
        """Reopen the graph with one more output; it replaces the previous one, so that memory is taken once."""
        if verified is None:
            if self._graph is None:
                raise _refused(self._place, GRAPH_FILE, "it was not opened from a file, so its states cannot be read")
            verified = self._graph.read_bytes()
            _verify({GRAPH_FILE: verified}, GRAPH_FILE, self.sha256, self._place)
        try:
            return _opened_lightly(with_output(verified, self._states))
        except Exception as error:
            raise _refused(self._place, GRAPH_FILE, f"it has no states of tokens ({error})") from error


def group_rows(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield row numbers of native calls, shortest texts first.

    Texts of a group have similar lengths: padding a short text to a long neighbour would cost more than
    a separate call.
    """
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        width = lengths[row]
        full = len(group) >= most or width * (len(group) + 1) > _BATCH_TOKENS
        if group and (full or width > 2 * lengths[group[0]] + 8):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def open_graph(graph: bytes | str) -> onnxruntime.InferenceSession:
    """Open a graph, or the file that holds it, to run in the caller's thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # failures come as exceptions
    return onnxruntime.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(_SLOWER)
    )


def _opened_lightly(content: bytes) -> onnxruntime.InferenceSession:
    """Open a graph in memory as if from a file, since the library keeps a copy of bytes that it is given."""
    if not hasattr(os, "memfd_create"):
        return open_graph(content)
    file = os.memfd_create("graph")
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(file, left) :]
        return open_graph(f"/proc/self/fd/{file}")
    finally:
        os.close(file)


def _read_provenance(files: Mapping[str, bytes], where: str) -> _Provenance:
    try:
        content = parse_json(files[PROVENANCE_FILE])
        return _Provenance(
            sha256={str(file): str(checksum) for file, checksum in content["sha256"].items()},
            dimension=int(content["dimension"]),
            max_tokens=int(content["max_tokens"]),
            origin={key: str(content[key]) for key in ("name", "source", "licence") if key in content},
            languages=frozenset(map(str, content.get("languages", ()))),
            prefix=str(content.get("prefix", "")),
            states=str(content.get("states", _STATES)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(where, PROVENANCE_FILE, f"{type(error).__name__}: {error}") from error


def _verify(files: Mapping[str, bytes], name: str, checksum: str, where: str) -> None:
    actual = hashlib.sha256(files.get(name, b"")).hexdigest()
    if actual != checksum:
        raise _refused(where, name, f"its checksum is {actual}, {PROVENANCE_FILE} says {checksum}")


def _refused(where: str, name: str, problem: str) -> ArtefactRefused:
    return ArtefactRefused(
        f"Encoder file {name!r} of {where!r} is not usable: {problem}.",
        hint="Reinstall the package (pip install --force-reinstall coterie), or train the specialist again.",
    )


# --- Token classification: logits for every token of a text.

TAGS_OUTPUT = "tags"
"""The graph's output of tags, (B, T, L)."""


class TokenTags(NamedTuple):
    """A tagger's output for the tokens of one text."""

    offsets: np.ndarray  # (T, 2) characters
    logits: np.ndarray  # (T, L)


class OnnxTagger:
    """Runs a token classifier in this process; an output has `scores` (T, L) and `offsets` (T, 2)."""

    clearance = Label.RESTRICTED

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        name: str = "onnx",
        location: str = "these files",
        max_batch: int = 32,
        max_waiting: int = 256,
    ) -> None:
        """Load it.

        Args:
            files: Content of `ENCODER_FILES` by name.
            name: Its key in the ledger.
            location: Where the files come from, for errors.
            max_batch: Texts that are worked on together.
            max_waiting: Texts that may wait; one more is `Overloaded`.

        Raises:
            ArtefactRefused: a file is missing or not what the provenance says.
        """
        self.name = name
        self._model = OnnxModel(files, location, None)
        self._batcher: Batcher[str, _Tagged] = Batcher(
            self._tag, engine=name, max_batch=max_batch, max_waiting=max_waiting
        )

    @property
    def size(self) -> int:
        """The number of logits per token."""
        return self._model.dimension

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:  # noqa: ARG002 - it runs here
        """Return logits of the tokens of each prompt's `text`. Raises `Overloaded` when too many are waiting."""
        start = time.perf_counter()
        tagged = await self._batcher.run([prompt.text for prompt in batch])
        milliseconds = (time.perf_counter() - start) * 1000
        return [
            Output(
                scores=item.tags.logits,
                offsets=item.tags.offsets,
                usage=Usage(tokens_in=item.tokens, milliseconds=milliseconds, cpu_seconds=item.cpu_seconds),
            )
            for item in tagged
        ]

    def tag(self, texts: Sequence[str]) -> list[TokenTags]:
        """Tag all texts while the caller blocks: for training."""
        return [item.tags for item in self._tag(texts)]

    async def close(self) -> None:
        """Finish the queued texts and end the worker."""
        await self._batcher.close()

    def _tag(self, texts: Sequence[str]) -> list[_Tagged]:
        """Tag a batch: the work of the `Batcher`."""
        with CpuSpan() as took:
            encodings = [self._model.tokenizer.encode(valid_text(text)) for text in texts]
            cut = [windows(encoding.ids, self._model.max_tokens) for encoding in encodings]
            every = [ids for cut_text in cut for ids in cut_text]
            read: list[np.ndarray] = [np.empty(0)] * len(every)
            for rows in group_rows([len(ids) for ids in every], max(len(every), 1)):
                ids = [every[row] for row in rows]
                logits = self._model.call(ids, TAGS_OUTPUT)
                for at, row in enumerate(rows):
                    read[row] = logits[at, 1 : len(every[row]) - 1]
        spent = took.cpu_seconds / max(sum(map(len, every)), 1)
        ends = np.cumsum([0, *map(len, cut)])
        return [
            _Tagged(
                TokenTags(
                    np.array(encoding.offsets[1:-1], dtype=np.int64).reshape(-1, 2),
                    np.concatenate(read[first:last]),
                ),
                tokens := sum(map(len, every[first:last])),
                spent * tokens,
            )
            for encoding, first, last in zip(encodings, ends[:-1], ends[1:], strict=True)
        ]


class _Tagged(NamedTuple):
    tags: TokenTags
    tokens: int
    cpu_seconds: float


def windows(ids: Sequence[int], most: int) -> list[list[int]]:
    """Split a text's tokens into windows of about equal length, each with the text's marks at both ends.

    Args:
        ids: Token ids with a mark at both ends.
        most: Most tokens of a window, marks included: at least 3.
    """
    inner = ids[1:-1]
    size = ceil(len(inner) / max(ceil(len(inner) / (most - 2)), 1)) or 1
    return [[ids[0], *inner[at : at + size], ids[-1]] for at in range(0, max(len(inner), 1), size)]


# --- Choice of a network's encoder: the bundled one, one that was pulled, or one in a folder.

BUNDLED = "minilm"
"""The name of the encoder in the package."""


def open_encoder(
    name: str, network_folder: Path, *, threads: int = 1, max_batch: int = 32, states: bool = False
) -> OnnxEncoder:
    """Open the encoder that `[network] encoder` names.

    Args:
        name: `minilm`; a name or `OWNER/NAME[@REVISION]` that `coterie models pull ... --languages` built; or a folder
            with `model.onnx`, `tokenizer.json` and `provenance.json`.
        network_folder: The folder to which a folder in `name` is relative.
        threads: Concurrent native calls of `encode`.
        max_batch: Texts of one native call.
        states: Whether states of tokens will be requested, as by the router.

    Raises:
        ModelMissing: it is not on this machine; the hint is the command that fetches it.
        ArtefactRefused: its files do not match its provenance.
    """
    return OnnxEncoder.read(encoder_folder(name, network_folder), threads=threads, max_batch=max_batch, states=states)


def encoder_folder(name: str, network_folder: Path) -> Path:
    """Return the folder of the encoder with this name. Raises what `open_encoder` raises."""
    if name == BUNDLED:
        return BUNDLED_ENCODER
    own, pulled = network_folder / Path(name).expanduser(), pulled_encoder(name)
    for folder in (own, pulled):
        if (folder / PROVENANCE_FILE).is_file():
            _check_revision(name, folder)
            return folder
    if own.is_dir():
        raise ModelMissing(
            f"The folder {str(own)!r} holds no encoder: it has no {PROVENANCE_FILE!r}.",
            hint=f"It needs {', '.join(ENCODER_FILES)}: `coterie models pull ... --languages` writes them.",
        )
    raise ModelMissing(
        f"Encoder {name!r} is not on this machine ({str(pulled)!r}), and there is no folder {str(own)!r}.",
        hint=f"Fetch it: coterie models pull {quote(name)} --languages de,fr (those of your texts)",
    )


def pulled_encoder(name: str) -> Path:
    """Return the folder of a pulled encoder; its revision is no part of the folder's name."""
    origin = Origin.read(name)
    return models_folder() / "encoders" / (origin.name if origin else name)


def _check_revision(name: str, folder: Path) -> None:
    """Check the revision of an encoder. Raises `ModelMissing` if another revision is requested than installed."""
    origin = Origin.read(name)
    if origin is None or origin.revision is None:
        return
    try:
        here = str(parse_json((folder / PROVENANCE_FILE).read_text(encoding="utf-8")).get("revision"))
    except (ValueError, AttributeError) as error:
        raise ArtefactRefused(f"{str(folder / PROVENANCE_FILE)!r} is damaged: {error}.") from error
    if not here.startswith(origin.revision):
        raise ModelMissing(
            f"Encoder {origin.name!r} is here at revision {here!r}, not {origin.revision!r}.",
            hint=f"Fetch it: coterie models pull {quote(name)} --languages de,fr (those of your texts)",
        )
