"""Reading of a long document from beginning to end by a small model in this process.

The document is cut into stretches as long as the passages that an `answer` specialist reads from an index. Each is read
separately, many concurrently, and gives citations or "not here". The passages with the best citations are then read
once more together, which is what the reader was calibrated on: that reading decides.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

from coterie.knowledge.documents import chunk
from coterie.knowledge.parsed import Parsed
from coterie.protocols import Engine, Specialist
from coterie.specialists.parts import Acceptance
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.model import AnswerSpecialist
from coterie.text.folding import estimate_tokens
from coterie.text.language import language_of
from coterie.text.numerals import find_numerals, read_figures
from coterie.text.segmentation import terms
from coterie.types import (
    CallContext,
    Citation,
    ContextView,
    Document,
    Entry,
    Finding,
    Label,
    Output,
    Passage,
    Prompt,
    SpecialistCard,
    Step,
    Task,
    Usage,
    label_without_pii,
    total_usage,
)

# --- Faithfulness: figures and quotes of a text must stand in its sources, word for word.

_FIGURE = re.compile(r"\d+(?:[,.:/-]\d+)*%?")
_MARK = re.compile(r"\[\d{1,3}\]")
_ITEM = re.compile(r"^[ \t]*\d{1,2}[.)][ \t]+", re.MULTILINE)
"""Pattern of a list item's number, which is no figure."""
_QUOTED = re.compile(r"[\"\u201c\u00ab](.+?)[\"\u201d\u00bb]", re.DOTALL)


def hallucinated(text: str, sources: Sequence[str], *, marks: int = 0, language: str | None = None) -> tuple[str, ...]:
    """Return figures and quotes of a text that no source contains, each once, in order; empty if there are none.

    Args:
        text: The generated text.
        sources: The texts that it was generated from.
        marks: `[1]` up to this number are references, not figures.
        language: Language in which numbers are read; None for that of the text.
    """
    language = language or language_of(text, "en")
    source_text = " ".join(sources)
    known_figures, flat = _figures(source_text, language_of(source_text, language)), _flat(source_text)
    wrong_marks = [mark for mark in _MARK.findall(text) if not 1 <= int(mark[1:-1]) <= marks]
    bare = _ITEM.sub("", _MARK.sub(" ", text))
    figures = [shown for value, shown in _figures(bare, language).items() if not _stands(value, known_figures)]
    quotes = [quote for quote in _QUOTED.findall(bare) if _flat(quote) and _flat(quote) not in flat]
    return tuple(dict.fromkeys([*wrong_marks, *figures, *quotes]))


def _figures(text: str, language: str) -> dict[str, str]:
    figures = {_plain(figure, language): figure for figure in _FIGURE.findall(text)}
    words = [numeral for numeral in find_numerals(text, language) if numeral.value > 1]  # "one" is a pronoun too often
    return {str(word.value): text[word.start : word.end] for word in words} | figures


def _plain(figure: str, language: str) -> str:
    """Return a number without thousands separators and trailing zeros, by its language; other text unchanged."""
    value = read_figures(figure.removesuffix("%"), language)
    plain = figure.removesuffix("%") if value is None else f"{value.normalize():f}"
    return plain + "%" * figure.endswith("%")


def _stands(figure: str, figures: dict[str, str]) -> bool:
    """Return whether the sources contain a figure; a share may occur as a part of one, a bare number as a share."""
    if figure in figures or f"{figure}%" in figures:
        return True
    if not figure.endswith("%"):
        return False
    bare = figure.removesuffix("%")
    is_number = re.fullmatch(r"\d+(?:\.\d+)?", bare) is not None
    return is_number and (bare in figures or _plain(f"{float(bare) / 100:.6f}", "en") in figures)


def _flat(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


# --- Parsing the replies of a large model.

READER = "reader"
"""Name of the bundled reader."""
STRETCH = 8
"""Passages that are read at once, as many as are looked up in an index."""
_AT_ONCE = 4
"""Stretches that are read concurrently."""


@dataclass(frozen=True, kw_only=True)
class Extract:
    """What a document says about one short question."""

    question: str
    finding: Finding
    """The reader's finding on the best passages of the whole document; its citations are the extract."""
    stretches: int
    """Number of stretches that were read."""
    answered: int
    """Number of stretches in which something was found."""

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The quotes that answer, or come nearest to an answer; empty where the reader is sure that there is none."""
        return _quotes(self.finding)

    @property
    def sure(self) -> bool:
        """Whether the reader accepts the quotes."""
        return self.finding.accepted and bool(self.finding.citations)

    @property
    def absent(self) -> bool:
        """Whether the reader is sure that the document has no answer."""
        return self.finding.accepted and not self.finding.citations


def passages_of(document: Document, label: Label) -> tuple[Passage, ...]:
    """Return the document as passages in order, cut at ends of sentences, without overlap."""
    return tuple(
        Passage(
            document=document.name,
            start=piece.start,
            end=piece.end,
            text=document.text[piece.start : piece.end],
            score=0.0,
            label=label,
        )
        for piece in chunk(Parsed(text=document.text), lambda texts: [estimate_tokens(text) for text in texts])
    )


def default_reader(encoder: Engine) -> AnswerSpecialist:
    """Return the extractive reader that ships with Coterie: it quotes, and generates nothing."""
    defaults = load_defaults()
    reader, given = defaults.readers["embedding"], defaults.thresholds["embedding"]
    answering, silence = (
        Acceptance(
            temperature=1.0, threshold=given[name].confidence, target_risk=given[name].risk, scope_threshold=None
        )
        for name in ("answering", "silence")
    )
    card = SpecialistCard(
        name=READER,
        task="answer",
        description="Reads a document that comes with a question.",
        rung="embedding",
        version=str(defaults.provenance["encoder_sha256"])[:12],
    )
    return AnswerSpecialist(card=card, reader=reader, answering=answering, silence=silence, encoder=encoder)


class DocumentReader:
    """Reads one document for any number of questions; each of its sentences is encoded once."""

    def __init__(
        self, specialist: Specialist, document: Document, label: Label, label_without_pii: Label | None = None
    ) -> None:
        """Store an `answer` specialist; one that words its answers does so in the last reading only.

        Args:
            specialist: The reader. It runs in this process.
            document: The document.
            label: The document's label, at least the request's.
            label_without_pii: The label without personal data.
        """
        self.name = specialist.card.name
        self.label, self._label_without_pii = label, label_without_pii or label
        self.passages = passages_of(document, label)
        self._first = self._last = specialist
        if isinstance(specialist, AnswerSpecialist):
            encoder = None if specialist.encoder is None else _Remembering(specialist.encoder)
            self._first = replace(specialist, encoder=encoder, writer=None)
            self._last = replace(specialist, encoder=encoder)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._language = language_of(document.text, "en")
        self._words = [set(terms(passage.text, self._language)) for passage in self.passages]
        self._spread = Counter(word for words in self._words for word in words)

    async def read(self, question: str, task: Task, call: CallContext) -> Extract:
        """Return what the document says about a question; of the task only the labels are used."""
        bare = max(label_without_pii(task), self._label_without_pii)
        task = replace(
            task, text=question, columns=None, vector=None, label=max(task.label, self.label), label_without_pii=bare
        )
        shared = dict(zip(self.passages, self._shared(question), strict=True))
        stretches = [self.passages[start : start + STRETCH] for start in range(0, len(self.passages), STRETCH)]
        first = await asyncio.gather(*(self._read(task, stretch, shared, call) for stretch in stretches))
        with_citations = [finding for finding in first if finding.citations]
        cited = [
            passage
            for finding, stretch in sorted(zip(first, stretches, strict=True), key=lambda pair: _promise(pair[0]))
            for passage in stretch
            if any(quote.start < passage.end and passage.start < quote.end for quote in _quotes(finding))
        ]
        others = sorted(self.passages, key=lambda passage: -shared[passage])
        best = list(dict.fromkeys([*cited, *others]))[:STRETCH]
        last = await self._last.consult(task, _view(best, bare), call=call)
        spent = _spent(self.name, [step for finding in first for step in finding.steps])
        return Extract(
            question=question,
            finding=replace(last, steps=(*spent, *last.steps)),
            stretches=len(stretches),
            answered=len(with_citations),
        )

    async def _read(
        self, task: Task, stretch: Sequence[Passage], shared: dict[Passage, float], call: CallContext
    ) -> Finding:
        """Read one stretch, with its passages in the order of a search."""
        async with self._turns:
            await asyncio.sleep(0)  # others are served between two stretches
            ordered = sorted(stretch, key=lambda passage: -shared[passage])
            return await self._first.consult(task, _view(ordered, label_without_pii(task)), call=call)

    def _shared(self, question: str) -> list[float]:
        """Return the share of the question's words in each passage, weighted by their rarity in the document."""
        question_words = set(terms(question, self._language))
        rarity = {
            word: log(1 + len(self.passages) / self._spread[word]) for word in question_words if self._spread[word]
        }
        return [sum(rarity.get(word, 0.0) for word in words & question_words) for words in self._words]


def _promise(finding: Finding) -> float:
    """Return the sort key of a reading: the surest answer first, the surest absence last."""
    return -finding.confidence if finding.citations else finding.confidence


def _quotes(finding: Finding) -> tuple[Citation, ...]:
    nearest = (quote for quote in finding.evidence if quote.kind == "quote")
    return finding.citations or tuple(
        Citation(document=quote.name, start=quote.start, end=quote.end, text=quote.text, label=finding.label)
        for quote in nearest
        if quote.start is not None and quote.end is not None
    )


def _view(passages: Sequence[Passage], label_without_pii: Label) -> ContextView:
    return ContextView(
        entries=tuple(
            Entry(
                content=passage,
                producer=passage.document,
                label=passage.label,
                label_without_pii=label_without_pii,
                time=0.0,
            )
            for passage in passages
        )
    )


def _spent(name: str, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps of the first readings, merged per engine, so that the ledger stays short."""
    engines = dict.fromkeys(step.engine for step in steps)
    return tuple(
        Step(producer=name, engine=engine, usage=total_usage(s.usage for s in steps if s.engine == engine))
        for engine in engines
    )


class _Remembering:
    """An encoder that caches each text, since several questions are asked about the same sentences."""

    def __init__(self, encoder: Engine) -> None:
        self.name = encoder.name
        self.clearance = encoder.clearance
        self._encoder = encoder
        self._known: dict[str, Output] = {}

    async def run(self, batch: Sequence[Prompt], *, call: CallContext) -> Sequence[Output]:
        """Return one output per prompt; a cached one has no usage."""
        new = list({prompt.text: prompt for prompt in batch if prompt.text not in self._known}.values())
        fresh = dict(
            zip((prompt.text for prompt in new), await self._encoder.run(new, call=call) if new else (), strict=True)
        )
        self._known |= {text: replace(output, usage=Usage()) for text, output in fresh.items()}
        return [fresh.pop(prompt.text, self._known[prompt.text]) for prompt in batch]

    async def close(self) -> None:
        """Do nothing, since it owns nothing."""
