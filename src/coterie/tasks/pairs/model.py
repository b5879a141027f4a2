"""`pairs`: decides what a document says about a hypothesis, and gives the clauses that decide it.

A document is cut into clauses, each is encoded once and scored for every known hypothesis, and the scores are
cached for the next question about the same document. A hypothesis unknown to training is answered by the
similarity of its words to the clauses, with a confidence of its own; mostly that is too low to be accepted.

First each clause is scored, for every known hypothesis and every label that can have evidence: is this a clause that
decides for it? Then the best scores of a document become a few features, and a linear decision per hypothesis turns
them into logits. The scores of the clauses do not depend on the question, so a document is read once. An unknown
hypothesis is decided by the similarity of its words to the clauses, which says little: it is calibrated separately.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from safetensors.numpy import load as load_arrays

from coterie.engines.linear import ARRAYS_FILE, KernelBlock, NgramFeatures, Sparse, stored_array, stored_strings
from coterie.learning.calibration import softmax
from coterie.protocols import Engine
from coterie.runtime.codec import from_json, to_json
from coterie.runtime.concurrency import aside
from coterie.runtime.cpu import timed
from coterie.specialists.parts import Acceptance, abstention
from coterie.text.folding import find_marks
from coterie.text.language import language_of
from coterie.text.segmentation import CLOSING, STOP, Span, ends_sentence, exceptions, negations, plain
from coterie.types import (
    SYSTEM,
    CallContext,
    ContextView,
    Evidence,
    Fact,
    Finding,
    Output,
    Prompt,
    Reason,
    SpecialistCard,
    Step,
    Task,
)

NEVER = -1.0
"""Score of a clause for a label without evidence in the hypothesis's training rows."""
BEST = 3
"""Number of best clauses that are used for each label."""
COUNT_IN_SUMMARY, COUNT_IN_OPEN = -1, -4
"""Positions of the logarithm of the number of clauses in `summarise` and `open_features`."""
_READ = 20  # clauses by which the language of a document is told
_SHARPNESS = 4.0  # of the soft maximum over clauses


class Clauses(NamedTuple):
    """A document in the form that a head reads."""

    grams: Sequence[Sparse]  # S
    words: Sequence[frozenset[str]]  # S, of the closed class that turns a meaning round
    vectors: np.ndarray | None  # (S, D)
    scores: np.ndarray  # (S, models, H, E)


class OpenQuestion(NamedTuple):
    """An unknown hypothesis in the form that a head reads."""

    grams: Sparse
    words: frozenset[str]
    vector: np.ndarray | None  # (D,)


class PairVerdict(NamedTuple):
    """A head's result for a pair."""

    logits: np.ndarray  # (L,)
    relevance: np.ndarray  # (S,) how much each clause decides


def normal_form(hypothesis: str) -> str:
    """Return the form in which equal hypotheses match: without case, extra spaces and the full stop."""
    return plain(hypothesis).rstrip(" .")


def denying_words(texts: Sequence[str]) -> list[frozenset[str]]:
    """Return each clause's words of negation or exception, in the language of the document."""
    language = language_of(" ".join(texts[:_READ]), "en")
    denying = negations(language) | exceptions(language)
    return [denying.intersection(text.casefold().replace(",", " ").replace(".", " ").split()) for text in texts]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairHead:
    """Scores of clauses, and decisions on them.

    H known hypotheses, E labels with evidence, L labels; K columns, each a hypothesis and a label with evidence in
    training.
    """

    labels: tuple[str, ...]
    hypotheses: tuple[str, ...]
    """The known hypotheses, in normal form."""
    evident: tuple[int, ...]
    """Positions of the labels that can have evidence."""
    columns: np.ndarray  # (K, 2) int: hypothesis, place among the evident labels
    features: NgramFeatures
    weights: np.ndarray  # (F, K)
    bias: np.ndarray  # (K,)
    kernel: KernelBlock | None
    kernel_bias: float
    decision: np.ndarray  # (H, P, L)
    decision_bias: np.ndarray  # (H, L)
    open_decision: np.ndarray  # (Q, L)
    open_bias: np.ndarray  # (L,)

    @cached_property
    def _position(self) -> Mapping[str, int]:
        return {hypothesis: index for index, hypothesis in enumerate(self.hypotheses)}

    @property
    def models(self) -> int:
        """Number of models that score the clauses: n-grams, and the encodings where there are any."""
        return 1 if self.kernel is None else 2

    def position(self, hypothesis: str) -> int | None:
        """Return the position of a known hypothesis; None for an unknown one."""
        return self._position.get(normal_form(hypothesis))

    def read(self, texts: Sequence[str], vectors: np.ndarray | None) -> Clauses:
        """Return the clauses of a document, scored for every known hypothesis.

        Args:
            texts: The clauses, at least one.
            vectors: (S, D), where the head has a kernel.
        """
        grams = [self.features.encode(text) for text in texts]
        weights = self._weights
        lexical = np.stack([values @ weights[indices] for indices, values in grams]) + self.bias
        models = [lexical]
        if self.kernel is not None and vectors is not None:
            models.append(self.kernel.logits(vectors) + self.kernel_bias)
        scores = spread(np.stack(models, axis=1), self.columns, len(self.hypotheses), len(self.evident))
        return Clauses(grams, denying_words(texts), vectors, scores)

    def ask(self, hypothesis: str, vector: np.ndarray | None) -> OpenQuestion:  # ..., (D,)
        """Return an unknown hypothesis for the head, with its encoding where the head has a kernel."""
        return OpenQuestion(self.features.encode(hypothesis), denying_words([hypothesis])[0], vector)

    def decide(self, clauses: Clauses, position: int) -> PairVerdict:
        """Return the verdict of a document on a known hypothesis."""
        own = clauses.scores[:, :, position, :]  # (S, models, E)
        logits = summarise(own) @ self.decision[position] + self.decision_bias[position]
        return PairVerdict(logits, relevance(own))

    def guess(self, clauses: Clauses, question: OpenQuestion) -> PairVerdict:
        """Return the likely verdict of a document on an unknown hypothesis."""
        alike = likeness(clauses, question, len(self.features.terms))
        logits = open_features(clauses, question, alike) @ self.open_decision + self.open_bias
        return PairVerdict(logits, alike.sum(axis=1))

    @cached_property
    def _weights(self) -> np.ndarray:
        return self.weights.astype(np.float32)

    # --- stored ----------------------------------------------------------------------------------

    def store(self) -> tuple[dict[str, object], dict[str, np.ndarray]]:
        """Return the JSON description and the arrays that restore the head."""
        arrays = {
            "idf": self.features.idf,
            "weights": self.weights,
            "bias": self.bias,
            "columns": self.columns,
            "decision": self.decision,
            "decision_bias": self.decision_bias,
            "open": self.open_decision,
            "open_bias": self.open_bias,
        }
        description: dict[str, object] = {
            "head": "pairs",
            "labels": list(self.labels),
            "hypotheses": list(self.hypotheses),
            "evident": list(self.evident),
            "features": self.features.describe(),
        }
        if self.kernel is not None:
            arrays |= {"kernel.landmarks": self.kernel.landmarks, "kernel.weights": self.kernel.weights}
            description |= {"gamma": self.kernel.gamma, "kernel_bias": self.kernel_bias}
        return description, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> PairHead:
        """Restore the result of `store`. Raises `ValueError` when its parts do not fit each other."""
        labels, hypotheses = stored_strings(description, "labels"), stored_strings(description, "hypotheses")
        evident = tuple(int(number) for number in description["evident"])
        columns = stored_array(arrays, "columns", None, 2).astype(np.int64)
        if not all(0 <= number < len(labels) for number in evident) or not evident:
            raise ValueError("the labels with evidence are none of its labels")
        if (columns < 0).any() or (columns >= [max(len(hypotheses), 1), len(evident)]).any():
            raise ValueError("a column is of no known hypothesis or label")
        features = NgramFeatures.restore(description["features"], arrays, "idf")
        kernel = KernelBlock.restore(description["gamma"], arrays, len(columns)) if "gamma" in description else None
        models = 1 if kernel is None else 2
        width, open_width = summary_width(models, len(evident)), open_width_of(models)
        return cls(
            labels=labels,
            hypotheses=hypotheses,
            evident=evident,
            columns=columns,
            features=features,
            weights=stored_array(arrays, "weights", len(features.terms), len(columns)),
            bias=stored_array(arrays, "bias", len(columns)),
            kernel=kernel,
            kernel_bias=float(description.get("kernel_bias", 0.0)),
            decision=stored_array(arrays, "decision", len(hypotheses), width, len(labels)),
            decision_bias=stored_array(arrays, "decision_bias", len(hypotheses), len(labels)),
            open_decision=stored_array(arrays, "open", open_width, len(labels)),
            open_bias=stored_array(arrays, "open_bias", len(labels)),
        )


# --- What training shares with the head ----------------------------------------------------------


def spread(scores: np.ndarray, columns: np.ndarray, hypotheses: int, evident: int) -> np.ndarray:
    """Rearrange columns of scores (S, models, K) by hypothesis and label: (S, models, H, E)."""
    table = np.full((*scores.shape[:2], hypotheses, evident), NEVER, dtype=np.float32)
    table[:, :, columns[:, 0], columns[:, 1]] = scores
    return table


def summary_width(models: int, evident: int) -> int:
    """Return the length of the result of `summarise`."""
    return models * ((BEST + 2) * evident + 2) + 1


def summarise(scores: np.ndarray) -> np.ndarray:  # (S, models, E) -> (P,)
    """Summarise a document's clauses for one hypothesis in a few numbers.

    For each model: the best scores of each label, their soft maximum, the best scores of any label, and the label of
    the best clause. The last one is the number of clauses: among many, one scores high by chance.
    """
    short = BEST - len(scores)
    padded = scores
    if short > 0:
        padded = np.concatenate([scores, np.repeat(scores.min(axis=0, keepdims=True), short, axis=0)])
    ranked = -np.sort(-padded, axis=0)[:BEST]  # (BEST, models, E)
    top = ranked[0]
    soft = top + np.log(np.exp(_SHARPNESS * (scores - top)).sum(axis=0)) / _SHARPNESS  # (models, E)
    anyone = scores.max(axis=2)  # (S, models)
    first = anyone.argmax(axis=0)
    second = -np.sort(-padded.max(axis=2), axis=0)[1]
    best = scores[first, np.arange(scores.shape[1])]  # (models, E)
    leaning = best - best.mean(axis=1, keepdims=True)
    parts = [*ranked, soft, leaning, anyone.max(axis=0)[:, None], second[:, None]]
    return np.append(np.concatenate(parts, axis=1).ravel(), np.log(len(scores)))


def relevance(scores: np.ndarray) -> np.ndarray:  # (S, models, E) -> (S,)
    """Return how much each clause decides: the models' summed scores for its likeliest label."""
    return np.asarray(scores.sum(axis=1).max(axis=1))


def open_width_of(models: int) -> int:
    """Return the length of the result of `open_features`."""
    return BEST * models + 4


def likeness(clauses: Clauses, question: OpenQuestion, terms: int) -> np.ndarray:  # (S, models)
    """Return the similarity of each clause to a hypothesis: cosine of TF-IDF, and of the encodings if there are any."""
    dense = np.zeros(terms, dtype=np.float32)
    dense[question.grams.indices] = question.grams.values
    lexical = np.array([values @ dense[indices] for indices, values in clauses.grams])
    if clauses.vectors is None or question.vector is None:
        return np.asarray(lexical[:, None])
    return np.stack([lexical, clauses.vectors @ question.vector], axis=1)


def open_features(clauses: Clauses, question: OpenQuestion, alike: np.ndarray) -> np.ndarray:  # (Q,)
    """Return the best similarities, the number of clauses, and which of the two negates."""
    padded = np.concatenate([alike, np.zeros((max(0, BEST - len(alike)), alike.shape[1]))])
    ranked = -np.sort(-padded, axis=0)[:BEST]
    denies, clause = bool(question.words), bool(clauses.words[int(alike.sum(axis=1).argmax())])
    return np.array([*ranked.ravel(), np.log(len(alike)), denies, clause, denies != clause], dtype=np.float64)


# --- A document cut into clauses, each with its place in it.
#
# Boundaries are ends of sentences, semicolons and colons, line breaks, and the marks of a list's items: contracts and
# regulations put each obligation into an item of a list. A piece is short enough for an encoder's window, so nothing
# of a document is silently cut.

# --- `classify` for pairs: what a document says of a hypothesis, with the clauses that decide it.

LONGEST = 800
"""Characters of a clause; a longer one is cut at a comma or a space. About 200 tokens of English, below the 256 of
the bundled encoder."""
_HEADING = 3  # words of a piece that is the head of what follows it on the line
_NUMBERED = 25  # characters of such a piece if it begins with a number, as "5. Term and Renewal." does
_ITEM = r"\((?:[a-z]{1,2}|[ivx]+|\d{1,2})\)\s"
_BOUNDARY = re.compile(
    rf"{STOP}|[;:](?=\s)|\n+"
    rf"|(?<=[,;:])\s+(?={_ITEM})|(?<=\sor)\s+(?={_ITEM})|(?<=\sand)\s+(?={_ITEM})"  # before "(b) ..."
)
_NUMBER = re.compile(r"[(\[]?(?:\d+(?:\.\d+)*|[a-z]|[ivx]+)(?!\w)", re.IGNORECASE)
_LONE_MARK = re.compile(r"\s*[(\[]?\w{1,4}[).\]]*\s*")


def split_clauses(text: str, language: str | None = None) -> list[Span]:
    """Return the clauses of a text, in order, without white space around them; they cover the rest of the text."""
    language = language or language_of(text, "en")
    spans: list[Span] = []
    start = 0
    for boundary in find_marks(_BOUNDARY, text):
        # What stands far before a boundary does not matter to it.
        if _divides(text[max(start, boundary.end() - 2 * LONGEST) : boundary.end()], boundary.group(), language):
            spans += _pieces(text, start, boundary.end())
            start = boundary.end()
    return [*spans, *_pieces(text, start, len(text))]


def _divides(piece: str, mark: str, language: str) -> bool:
    """Return whether a boundary ends a clause, and not an abbreviation, a number or a short heading."""
    if mark.startswith("\n"):
        return not _LONE_MARK.fullmatch(piece)  # "(a)" alone on a line belongs to the next one
    if mark[0] in ".!?" and (not ends_sentence(piece, language) or _NUMBER.fullmatch(_last_word(piece))):
        return False
    words = piece.split()
    return len(words) > _HEADING and not (len(piece) < _NUMBERED and _NUMBER.match(words[0]))


def _last_word(piece: str) -> str:
    words = piece.rstrip(".!?" + CLOSING).split()
    return words[-1] if words else ""


def _pieces(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield a clause without the space around it, in pieces that are not too long."""
    while True:
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if end - start <= LONGEST:
            break
        cut = _cut(text, start)
        yield Span(start, cut)
        start = cut
    if start < end:
        yield Span(start, end)


def _cut(text: str, start: int) -> int:
    """Return where a long piece is cut: after the last comma of its second half, else before a space."""
    half, last = start + LONGEST // 2, start + LONGEST
    comma = text.rfind(", ", half, last)
    if comma >= 0:
        return comma + 1
    space = text.rfind(" ", half, last)
    return space if space >= 0 else last


T = TypeVar("T")

MOST_QUOTES = 3
_NEAR = -0.5  # relevance, a model, from which a second clause is quoted; 0 is as likely evidence as not
_DOCUMENTS = 8  # kept read, the last ones asked about
_AT_ONCE = 32  # clauses encoded in one call: others get their turn in between
_ALTERNATIVES = 3  # runners-up shown with a finding
_CUT = Reason("note.clause_truncated")


class _Read(NamedTuple):
    spans: Sequence[Span]
    clauses: Clauses
    cut: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class _DocumentCache:
    """The documents read last, by the checksum of their text, and one lock for each event loop that reads."""

    kept: OrderedDict[bytes, _Read] = field(default_factory=OrderedDict)
    locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = field(
        default_factory=weakref.WeakKeyDictionary
    )

    @property
    def lock(self) -> asyncio.Lock:
        """The lock that is held while a document is read.

        Another request for the same document waits for it, and the encoder is not overloaded.
        """
        return self.locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def find(self, key: bytes) -> _Read | None:
        """Return a cached document, which becomes the most recently used one."""
        if key in self.kept:
            self.kept.move_to_end(key)
        return self.kept.get(key)

    def keep(self, key: bytes, read: _Read) -> None:
        """Cache a document, and drop the least recently used one."""
        self.kept[key] = read
        while len(self.kept) > _DOCUMENTS:
            self.kept.popitem(last=False)


@dataclass(frozen=True, kw_only=True)
class PairSpecialist:
    """Reads the document (or gets it from the cache), runs its head on the hypothesis, and quotes what decided."""

    card: SpecialistCard
    head: PairHead
    acceptance: Acceptance
    open_acceptance: Acceptance
    """The acceptance for a hypothesis unknown to training."""
    encoder: Engine | None = None
    _documents: _DocumentCache = field(default_factory=_DocumentCache, compare=False, repr=False)

    @property
    def pair_column(self) -> str:
        """The column of structured input that holds the hypothesis."""
        return self.card.columns[0]

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:  # noqa: ARG002 - it reads no facts
        """Return the label of the text and the hypothesis together, with the deciding clauses as quotes."""
        hypothesis = (task.columns or {}).get(self.pair_column)
        if not task.text.strip():
            reason = Reason("abstain.no_text_and_columns", columns=self.pair_column)
            return abstention(self.card.name, task, reason)
        if not isinstance(hypothesis, str) or not hypothesis.strip():
            return abstention(self.card.name, task, Reason("abstain.no_second_text", column=self.pair_column))
        read, steps = await self._read(task, call)
        position = self.head.position(hypothesis)
        if position is not None:
            judged, step = await self._timed(task, lambda: self.head.decide(read.clauses, position))
            return self._finding(task, read, judged, (*steps, step), self.acceptance, is_trained=True)
        vector, encoded = await self._encode([hypothesis], task, call)
        question = self.head.ask(hypothesis, None if vector is None else vector[0])
        judged, step = await self._timed(task, lambda: self.head.guess(read.clauses, question))
        return self._finding(task, read, judged, (*steps, *encoded[0], step), self.open_acceptance, is_trained=False)

    # --- the document ----------------------------------------------------------------------------

    async def _read(self, task: Task, call: CallContext) -> tuple[_Read, tuple[Step, ...]]:
        """Return the document's clauses and scores, and the usage of reading: none if it was cached."""
        key = hashlib.sha256(task.text.encode("utf-8", "surrogatepass")).digest()
        async with self._documents.lock:
            if (read := self._documents.find(key)) is not None:
                return read, ()
            spans, cutting = await self._timed(task, lambda: split_clauses(task.text))
            texts = [task.text[span.start : span.end] for span in spans]
            vectors, (steps, cut) = await self._encode(texts, task, call)
            clauses, step = await self._timed(task, lambda: self.head.read(texts, vectors))
            read = _Read(spans, clauses, cut)
            self._documents.keep(key, read)
            return read, (*steps, replace(step, usage=cutting.usage + step.usage))

    async def _encode(
        self, texts: Sequence[str], task: Task, call: CallContext
    ) -> tuple[np.ndarray | None, tuple[tuple[Step, ...], bool]]:
        """Return vectors (N, D) if the head uses them, their usage, and whether a text exceeded the window."""
        if self.encoder is None:
            return None, ((), False)
        outputs: list[Output] = []
        for start in range(0, len(texts), _AT_ONCE):
            batch = [Prompt(text=text, label=task.label) for text in texts[start : start + _AT_ONCE]]
            outputs += await self.encoder.run(batch, call=call)
        steps = tuple(Step(producer=self.card.name, engine=self.encoder.name, usage=output.usage) for output in outputs)
        vectors = np.stack([np.asarray(output.vector) for output in outputs])
        return vectors, (_together(steps), any(output.finish == "length" for output in outputs))

    async def _timed(self, task: Task, work: Callable[[], T]) -> tuple[T, Step]:
        """Run some work on a task's text, and return its result and its usage."""
        result, usage = await aside(len(task.text), partial(timed, work))
        return result, Step(producer=self.card.name, engine="linear", usage=usage)

    # --- the finding -----------------------------------------------------------------------------

    def _finding(
        self,
        task: Task,
        read: _Read,
        judged: PairVerdict,
        steps: tuple[Step, ...],
        acceptance: Acceptance,
        *,
        is_trained: bool,
    ) -> Finding:
        probabilities = softmax(judged.logits / acceptance.temperature)
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        accepted, reason = acceptance.judge(confidence, None)
        if not is_trained:
            reason = reason.noting(Reason("note.untrained_pair", column=self.pair_column))
        label = self.head.labels[best]
        quotes = self._quotes(task.text, read, judged) if best in self.head.evident else ()
        return Finding(
            specialist=self.card.name,
            value=label,
            text=label,
            confidence=confidence,
            accepted=accepted,
            reason=reason.noting(_CUT) if read.cut else reason,
            label=task.label,
            label_without_pii=task.label_without_pii,
            evidence=(*quotes, *self._alternatives(probabilities)),
            facts=self._facts(label, confidence) if accepted else (),
            steps=steps,
            distribution=dict(zip(self.head.labels, probabilities.tolist(), strict=True)) if task.distribution else {},
            in_scope=1.0 if is_trained else 0.0,
        )

    def _quotes(self, text: str, read: _Read, judged: PairVerdict) -> tuple[Evidence, ...]:
        """Return the clauses that decide most, the first one first; after it only those that nearly decide."""
        order = np.argsort(-judged.relevance, kind="stable")[:MOST_QUOTES]
        order = order[(judged.relevance[order] > _NEAR * self.head.models) | (order == order[:1])]
        return tuple(
            Evidence(kind="quote", name="text", text=text[start:end], start=start, end=end)
            for start, end in (read.spans[index] for index in order.tolist())
        )

    def _alternatives(self, probabilities: np.ndarray) -> tuple[Evidence, ...]:
        order = np.argsort(-probabilities, kind="stable")[: _ALTERNATIVES + 1]
        named = [(self.head.labels[index], float(probabilities[index])) for index in order]
        return tuple(Evidence(kind="alternative", name=name, text=f"{name}: {p:.2f}", weight=p) for name, p in named)

    def _facts(self, label: str, confidence: float) -> tuple[Fact, ...]:
        return tuple(Fact(name=name, value=label, confidence=confidence) for name in self.card.writes[:1])

    def describe(self) -> dict[str, object]:
        """Return the description that a stored version has beside the head."""
        return {
            "task": "pairs",
            "rung": self.card.rung,
            "multi_label": False,
            "columns": list(self.card.columns),
            "acceptance": to_json(self.acceptance),
            "open_acceptance": to_json(self.open_acceptance),
        }


def load_pairs(
    card: SpecialistCard, described: Mapping[str, Any], files: Mapping[str, bytes], encoder: Engine | None
) -> PairSpecialist:
    """Load the specialist of a stored version. Raises `KeyError`, `TypeError` or `ValueError` if it is incomplete."""
    head = PairHead.restore(described, load_arrays(files[ARRAYS_FILE]))
    if len(card.columns) != 1:
        raise ValueError(f"it has {len(card.columns)} columns for the second text, not 1")
    if (head.kernel is None) != (encoder is None):
        raise ValueError(f"its head {'has no' if head.kernel is None else 'has a'} kernel, on rung {card.rung!r}")
    return PairSpecialist(
        card=card,
        head=head,
        acceptance=from_json(Acceptance, described["acceptance"]),
        open_acceptance=from_json(Acceptance, described["open_acceptance"]),
        encoder=encoder,
    )


def _together(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if not steps:
        return ()
    total = steps[0].usage
    for step in steps[1:]:
        total += step.usage
    return (replace(steps[0], usage=total),)
