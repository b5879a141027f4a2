"""`classify` for pairs: what a document says of a hypothesis, with the clauses that decide it.

A document is cut into clauses, each is encoded once and scored for every known hypothesis, and what it scored is
kept for the next question about the same document. A hypothesis that training did not have is answered by how like
its words the clauses are, with a confidence of its own; mostly that is too little to be accepted.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from safetensors.numpy import load as load_arrays

from coterie.engines.linear import ARRAYS_FILE
from coterie.protocols import Engine
from coterie.runtime.codec import from_json, to_json
from coterie.runtime.concurrency import aside
from coterie.runtime.cpu import CpuSpan
from coterie.specialists.acceptance import Acceptance, abstention
from coterie.tasks.pairs.heads import Clauses, PairHead, PairVerdict
from coterie.text.language import language_of
from coterie.text.segmentation import CLOSING, STOP, Span, ends_sentence
from coterie.text.unicode import find_marks
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

# --- A document cut into clauses, each with its place in it.
#
# Boundaries are ends of sentences, semicolons and colons, line breaks, and the marks of a list's items: contracts and
# regulations put each obligation into an item of a list. A piece is short enough for an encoder's window, so nothing
# of a document is silently cut.

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
    """The clauses of a text, in order, without white space around them; everything else of it is in one of them."""
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
    """Whether a boundary is the end of a clause, and not of an abbreviation, a number or a short heading."""
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
    """A clause without the space around it, in pieces that are not too long."""
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
    """Where a piece that is too long is cut: behind the last comma of its second half, else before a space."""
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
        """Held while a document is read: who asks about the same one waits for it, and the encoder is not flooded."""
        return self.locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def find(self, key: bytes) -> _Read | None:
        """A document that was read, which becomes the last one asked about."""
        if key in self.kept:
            self.kept.move_to_end(key)
        return self.kept.get(key)

    def keep(self, key: bytes, read: _Read) -> None:
        """Keep a document, and let go of the one that was not asked about for longest."""
        self.kept[key] = read
        while len(self.kept) > _DOCUMENTS:
            self.kept.popitem(last=False)


@dataclass(frozen=True, kw_only=True)
class PairSpecialist:
    """Reads the document (or remembers it), asks its head about the hypothesis, and quotes what decided."""

    card: SpecialistCard
    head: PairHead
    acceptance: Acceptance
    open_acceptance: Acceptance
    """For a hypothesis that training did not have."""
    encoder: Engine | None = None
    _documents: _DocumentCache = field(default_factory=_DocumentCache, compare=False, repr=False)

    @property
    def pair_column(self) -> str:
        """The column of structured input that holds the hypothesis."""
        return self.card.columns[0]

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:  # noqa: ARG002 - it reads no facts
        """The label of the text and the hypothesis together, with the clauses that decide as quotes."""
        hypothesis = (task.columns or {}).get(self.pair_column)
        if not task.text.strip():
            return abstention(self.card.name, task, Reason("abstain.no_text"))
        if not isinstance(hypothesis, str) or not hypothesis.strip():
            return abstention(self.card.name, task, Reason("abstain.no_second_text", column=self.pair_column))
        read, steps = await self._read(task, call)
        position = self.head.position(hypothesis)
        if position is not None:
            judged, step = await self._timed(task, lambda: self.head.decide(read.clauses, position))
            return self._finding(task, read, judged, (*steps, step), self.acceptance, known=True)
        vector, asked = await self._encode([hypothesis], task, call)
        question = self.head.ask(hypothesis, None if vector is None else vector[0])
        judged, step = await self._timed(task, lambda: self.head.guess(read.clauses, question))
        return self._finding(task, read, judged, (*steps, *asked[0], step), self.open_acceptance, known=False)

    # --- the document ----------------------------------------------------------------------------

    async def _read(self, task: Task, call: CallContext) -> tuple[_Read, tuple[Step, ...]]:
        """The document's clauses and scores, and what reading took: nothing where it was read before."""
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
        """Vectors (N, D) where the head looks at them, what they took, and whether a text did not fit the window."""
        if self.encoder is None:
            return None, ((), False)
        outputs: list[Output] = []
        for start in range(0, len(texts), _AT_ONCE):
            batch = [Prompt(text=text, label=task.label) for text in texts[start : start + _AT_ONCE]]
            outputs += await self.encoder.run(batch, call=call)
        steps = tuple(Step(producer=self.card.name, engine=self.encoder.name, usage=each.usage) for each in outputs)
        vectors = np.stack([np.asarray(output.vector) for output in outputs])
        return vectors, (_together(steps), any(output.finish == "length" for output in outputs))

    async def _timed(self, task: Task, work: Callable[[], T]) -> tuple[T, Step]:
        """What some work on a task's text gives, and what it took."""

        def timed() -> tuple[T, Step]:
            with CpuSpan() as took:
                result = work()
            return result, Step(producer=self.card.name, engine="linear", usage=took.usage)

        return await aside(len(task.text), timed)

    # --- the finding -----------------------------------------------------------------------------

    def _finding(
        self,
        task: Task,
        read: _Read,
        judged: PairVerdict,
        steps: tuple[Step, ...],
        acceptance: Acceptance,
        *,
        known: bool,
    ) -> Finding:
        probabilities = _softmax(judged.logits / acceptance.temperature)
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        accepted, reason = acceptance.judge(confidence, None)
        if not known:
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
            in_scope=1.0 if known else 0.0,
        )

    def _quotes(self, text: str, read: _Read, judged: PairVerdict) -> tuple[Evidence, ...]:
        """The clauses that decide most, the first one first; after it only those that come near to deciding."""
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
        """What a stored version says of it beside the head."""
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
    """The specialist of a stored version. Raises `KeyError`, `TypeError` or `ValueError` if it is not whole."""
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


def _softmax(logits: np.ndarray) -> np.ndarray:  # (L,) -> (L,)
    """As in `calibration`, which brings SciPy: serving does without."""
    exponentials = np.exp(logits - logits.max())
    return np.asarray(exponentials / exponentials.sum())
