"""`answer`: answers from the documents of its indexes, each sentence with its place, or says that they do not say.

Passages come with the view. The reader finds the sentences that answer and their confidence (the rungs `lexical` and
`embedding`: the answer is quoted, nothing is written). A finding is one of three: an answer with citations, "not in the
documents", or an abstention because neither is confident enough.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, zip_longest
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.engines.linear import ARRAYS_FILE, MODEL_FILE
from coterie.engines.reading import bundled_reader
from coterie.knowledge.parsed import newest
from coterie.protocols import Engine
from coterie.runtime.codec import from_json, to_json
from coterie.runtime.concurrency import aside
from coterie.runtime.cpu import timed
from coterie.specialists.parts import Acceptance, abstention, model_of
from coterie.tasks.answer.cells import asks_for_another, named, other_number, own_rows
from coterie.tasks.answer.choosing import Choosing, SentenceChooser
from coterie.tasks.answer.default import load_defaults, proven_at
from coterie.tasks.answer.features import Sentence
from coterie.tasks.answer.reader import (
    AnswerReader,
    AnswerReading,
    SentenceSurvey,
    cite,
    find_rivals,
    is_of_another,
    spoken,
    survey,
    title_of,
    unopposed,
    values_of,
)
from coterie.tasks.answer.rereading import PassageReader, Rereading
from coterie.tasks.answer.section import AnswerSection
from coterie.tasks.answer.support import INSTRUCTION, AnswerWriter, Written
from coterie.tasks.contract import Parts
from coterie.types import (
    SYSTEM,
    CallContext,
    Citation,
    ContextView,
    Contradiction,
    Evidence,
    Fact,
    Finding,
    Label,
    Output,
    Passage,
    Prompt,
    Reason,
    SpecialistCard,
    Step,
    Task,
    Usage,
    Verdict,
    label_without_pii,
)

T = TypeVar("T")

DOCUMENT_COLUMN = "document"
"""The column of structured input that names the document a question is about."""
NOT_STATED = "not in the documents"
_SAID = "The documents do not say."
_ENGINE = "linear"
_READ = 8_000
"""Characters of a question whose words are used."""
_NEAR_ENOUGH = 0.28
"""Cosine from which a question is on the topic of the documents.

Chosen on ten pages, checked on eight others (docs/decisions/097): random letters and small talk stay below, questions
that the pages do not answer are mostly above.
"""
_MEANT = 0.5
"""Probability of an answer from which the sentences with a follow-up's own words are the ones that it means."""
_LONG = 8_000
"""Characters of linear work that a reading counts as: it never runs on the event loop."""
_READER = "reading"
"""The key of the reading model in the ledger."""
_WINDOW = 2048
"""Context window in tokens of a model that does not state one."""
_AT_ONCE = 16
"""Most sentences that wait at the encoder together: other callers share its queue."""


class Thresholds(NamedTuple):
    """Thresholds for a finding to be accepted."""

    answering: Acceptance
    """The threshold for giving an answer."""
    silence: Acceptance
    """The threshold for saying that the documents do not say."""


class _Third(NamedTuple):
    """The result of asking a larger model."""

    reading: AnswerReading
    steps: tuple[Step, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    stands: Thresholds | None = None
    """The thresholds to use; None where the model's pick was not used."""


@dataclass(frozen=True, kw_only=True)
class AnswerSpecialist:
    """Reads the passages of its view; a writer, if there is one, words the answer from them."""

    card: SpecialistCard
    reader: AnswerReader
    answering: Acceptance
    """The threshold for giving an answer."""
    silence: Acceptance
    """The threshold for saying that the documents do not say."""
    again: Thresholds | None = None
    """Thresholds for questions in words that training has seen, whose answers are better known; None for the same."""
    encoder: Engine | None = None
    """The encoder; set where the reader needs encodings."""
    writer: AnswerWriter | None = None
    rereading: Rereading | None = None
    """The weighting of a model that reads the best sentences; set together with `model`."""
    model: PassageReader | None = None
    chooser: SentenceChooser | None = None
    """A larger model that chooses among the likeliest sentences; set only beside `rereading`."""
    chosen: Thresholds | None = None
    """Thresholds for findings in which the larger model's pick was used."""
    turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = field(
        default_factory=WeakKeyDictionary, compare=False, repr=False
    )
    """Locks by event loop, so that sentences are encoded for one question at a time."""

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:
        """Return the answer of the passages in the view, or that they give none."""
        if not task.text.strip():
            return abstention(self.card.name, task, Reason("abstain.no_text"))
        finding = await self._answer(task, view, call)
        if not finding.accepted and task.rewritten:
            finding = await self._again(finding, replace(task, text=task.asked, vector=None), view, call)
        label = max([task.label, *(entry.label for entry in view.entries)])
        return replace(finding, label=label, label_without_pii=label_without_pii(task, *view.entries))

    async def _again(self, finding: Finding, task: Task, view: ContextView, call: CallContext) -> Finding:
        """Read an unanswered follow-up again in its original wording, and add the usage of that.

        If nothing answers the original wording, that is not accepted as an answer: the question may be a follow-up
        after all.
        """
        alone = await self._answer(task, view, call)
        steps, verdicts = (*finding.steps, *alone.steps), (*finding.verdicts, *alone.verdicts)
        if not alone.accepted or not alone.citations:
            return replace(finding, steps=steps, verdicts=verdicts)
        noted = alone.reason.noting(Reason("note.as_asked"))
        return replace(alone, reason=noted, steps=steps, verdicts=verdicts)

    async def _answer(self, task: Task, view: ContextView, call: CallContext) -> Finding:
        """Return the finding without its sensitivity label."""
        label = max([task.label, *(entry.label for entry in view.entries)])
        passages = passages_of(view, task)
        if not passages:
            return abstention(self.card.name, task, Reason("abstain.no_passage"))
        size = len(task.text) + sum(len(passage.text) for passage in passages)
        turn = task.asked[:_READ] if task.rewritten else ""
        cut = partial(survey, task.text[:_READ], passages, task.language, turn=turn)
        whole, surveying = await aside(size, partial(timed, cut))
        question, seen, vectors, steps = await self._look(whole, task, label, call)
        reading, judging = await aside(size, partial(timed, self.reader.read, seen, question, vectors))
        usage = surveying + judging
        steps = (*steps, Step(producer=self.card.name, engine=_ENGINE, usage=usage))
        if reading is None:
            return replace(abstention(self.card.name, task, Reason("abstain.no_sentence")), steps=steps)

        reading, looking = await self._looks(seen, reading, question, vectors)
        rows = (
            await aside(size, partial(own_rows, seen.sentences, reading.cited[0], turn, seen.language))
            if turn
            else None
        )
        if rows is not None:
            nearer, their_vectors = seen.take(rows), None if vectors is None else vectors[rows]
            own = await aside(size, partial(self.reader.read, nearer, question, their_vectors))
            if own is not None:
                own, more = await self._looks(nearer, own, question, their_vectors)
                looking += more
                if own.right >= _MEANT:
                    reading, seen, vectors = own, nearer, their_vectors
        if self.rereading is not None and self.model is not None:
            steps = (*steps, Step(producer=self.card.name, engine=_READER, usage=looking))
        third = await self._third(reading, seen, label, label_without_pii(task, *view.entries), call)
        reading, steps = third.reading, (*steps, *third.steps)
        nearest = None
        if question is not None and vectors is not None:
            # The first to ask has texts encoded for it.
            unrelated = float(await aside(_LONG, partial(getattr, self.encoder, "unrelated", 0.0)))
            nearest = (float((vectors @ question).max()) - unrelated) / (1 - unrelated)
        # Of a document that came with the question it is known to be about that.
        apart = not seen.shares_words and any(passage.index for passage in passages)
        stands = third.stands or (self.again if self.again and reading.again else (self.answering, self.silence))
        decide = partial(self._decide, reading, seen, label, steps, stands=stands, nearest=nearest, apart=apart)
        finding = _doubted(replace(await aside(size, decide), verdicts=third.verdicts), view)
        if third.stands and self.chooser:
            noted = finding.reason.noting(Reason("note.chosen_by", model=self.chooser.engine.name))
            finding = replace(finding, reason=noted)
        several = not {"answer.contradicted", "answer.depends"}.isdisjoint(finding.reason.codes)
        if self.writer is None or not finding.citations or not finding.accepted or several:
            return finding  # what is not sure enough to be quoted, or is not the only answer, keeps its words
        written = await self.writer.write(task, reading, seen, label, label_without_pii(task, *view.entries), call=call)
        return self._worded(finding, written)

    async def _looks(
        self, seen: SentenceSurvey, reading: AnswerReading, question: np.ndarray | None, vectors: np.ndarray | None
    ) -> tuple[AnswerReading, Usage]:
        """Return the reading after the reading model, where there is one, with its usage; a contradiction is no gap."""

        def first(rows: np.ndarray) -> AnswerReading | None:
            return self.reader.read(seen.take(rows), question, None if vectors is None else vectors[rows])

        if self.rereading is None or self.model is None:
            return await aside(_LONG, partial(unopposed, reading, seen, first)), Usage()
        return await aside(_LONG, partial(timed, self.rereading.look, seen, reading, self.model, first))

    async def _third(
        self,
        reading: AnswerReading,
        seen: SentenceSurvey,
        label: Label,
        without_pii: Label,
        call: CallContext,
    ) -> _Third:
        """Return the reading after a larger model, where there is one and the earlier looks are not confident."""
        if self.chooser is None or self.chosen is None or self._is_sure(reading):
            return _Third(reading)
        chosen = await self.chooser.look(reading, seen, label, without_pii, call=call)
        return _Third(chosen.reading, chosen.steps, chosen.verdicts, self.chosen if chosen.asked else None)

    def _is_sure(self, reading: AnswerReading) -> bool:
        """Return whether the looks before give an accepted answer: no model is paid to confirm it."""
        return reading.right >= 1 - reading.stated and self.answering.judge(reading.right, None)[0]

    async def _look(
        self, whole: SentenceSurvey, task: Task, label: Label, call: CallContext
    ) -> tuple[np.ndarray | None, SentenceSurvey, np.ndarray | None, tuple[Step, ...]]:
        """Return the question's encoding (D,), the sentences worth encoding with theirs (S, D), and their usage."""
        if self.encoder is None or not whole.sentences:
            return None, self.reader.narrow(whole), None, ()
        outputs: list[Output] = []
        async with self.turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if task.vector is None:
                outputs += await self.encoder.run([Prompt(text=task.text, label=label)], call=call)
            question = np.asarray(outputs[0].vector if task.vector is None else task.vector)
            seen = self.reader.narrow(whole, question)
            for start in range(0, len(seen.texts), _AT_ONCE):
                prompts = [Prompt(text=text, label=label) for text in seen.texts[start : start + _AT_ONCE]]
                outputs += await self.encoder.run(prompts, call=call)
        usage = Usage(
            tokens_in=sum(output.usage.tokens_in for output in outputs),
            milliseconds=sum(output.usage.milliseconds for output in outputs[::_AT_ONCE]),
            cpu_seconds=sum(output.usage.cpu_seconds for output in outputs),
        )
        vectors = np.stack([np.asarray(output.vector) for output in outputs[-len(seen.texts) :]])
        return question, seen, vectors, (Step(producer=self.card.name, engine=self.encoder.name, usage=usage),)

    def _decide(
        self,
        reading: AnswerReading,
        seen: SentenceSurvey,
        label: Label,
        steps: tuple[Step, ...],
        *,
        stands: tuple[Acceptance, Acceptance],
        nearest: float | None,
        apart: bool = False,
    ) -> Finding:
        """Return the more likely outcome: that the best sentences answer, or that nothing does.

        "Nothing answers" is accepted only for a question on the topic of the documents. A question is off topic if an
        index found no passage with any of its words (`apart`), or if its encoding is far from all sentences. `nearest`
        is the largest cosine of the question to a sentence that was found, None without encodings. `stands` are the
        thresholds of both outcomes.
        """
        silent = 1 - reading.stated
        answering, silence = stands
        if silent > reading.right:
            judged = silence.judge(silent, None)
            if apart:
                judged = False, Reason("abstain.no_word_shared")
            elif nearest is not None and nearest < _NEAR_ENOUGH:
                judged = False, Reason("abstain.beside_documents", nearest=nearest, needed=_NEAR_ENOUGH)
            statement = _Said(
                value=NOT_STATED,
                text=_SAID,
                confidence=silent,
                judged=judged,
                how=Reason("answer.not_stated"),
                nearest=() if judged[0] else cite(reading.cited),
            )
        else:
            statement = _quoted(reading, seen, answering)
        return self._finding(statement, label, steps)

    def _worded(self, quoted: Finding, written: Written) -> Finding:
        """Return the writer's answer, if every sentence of it is supported; else the quoted one, with a note."""
        steps, verdicts = (*quoted.steps, *written.steps), (*quoted.verdicts, *written.verdicts)
        if not written.sentences:
            return replace(quoted, steps=steps, verdicts=verdicts, reason=quoted.reason.noting(written.reason))
        statement = _Said(
            value=" ".join(written.sentences),
            text=written.text,
            confidence=min(quoted.confidence, written.support),
            judged=(quoted.accepted, quoted.reason),
            how=written.reason,
            citations=written.citations,
        )
        return replace(self._finding(statement, quoted.label, steps), verdicts=verdicts)

    def _finding(self, statement: _Said, label: Label, steps: tuple[Step, ...]) -> Finding:
        accepted, reason = statement.judged
        names = self.card.writes[:1] if accepted else ()
        return Finding(
            specialist=self.card.name,
            value=statement.value,
            text=statement.text,
            confidence=statement.confidence,
            accepted=accepted,
            reason=reason.noting(statement.how),
            label=label,
            task="answer",
            evidence=tuple(
                Evidence(
                    kind="quote", name=sentence.document, text=sentence.text, start=sentence.start, end=sentence.end
                )
                for sentence in statement.nearest
            ),
            citations=statement.citations,
            contradictions=statement.contradictions,
            facts=tuple(Fact(name=name, value=statement.value, confidence=statement.confidence) for name in names),
            steps=steps,
        )

    def to_files(self) -> dict[str, bytes]:
        """Return the files of the specialist in a stored version."""
        described, arrays = self.reader.store()
        about: dict[str, object] = {
            "task": "answer",
            "rung": self.card.rung,
            "answering": to_json(self.answering),
            "silence": to_json(self.silence),
            "columns": [DOCUMENT_COLUMN],
            "reader": described,
        }
        if self.rereading is not None:
            about["rereading"] = self.rereading.describe()
        if self.again is not None:
            about["again"] = to_json(self.again._asdict())
        files = {MODEL_FILE: json.dumps(about, ensure_ascii=False, sort_keys=True).encode()}
        if arrays:
            files[ARRAYS_FILE] = save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        return files


def _doubted(finding: Finding, view: ContextView) -> Finding:
    """Reject a finding that nothing is stated if an index was not searched."""
    if not view.unsearched or finding.value != NOT_STATED:
        return finding
    missing = ", ".join(repr(name) for name in view.unsearched)
    reason = Reason("abstain.not_searched", indexes=missing)
    return replace(finding, accepted=False, reason=reason, facts=())


@dataclass(frozen=True, kw_only=True)
class _Said:
    """The content of a finding, and whether it is accepted."""

    value: str
    text: str
    confidence: float
    judged: tuple[bool, Reason]
    how: Reason
    citations: tuple[Citation, ...] = ()
    nearest: tuple[Citation, ...] = ()
    """The nearest sentences, where neither outcome is confident enough: no answer rests on them."""
    contradictions: tuple[Contradiction, ...] = ()


def _quoted(reading: AnswerReading, seen: SentenceSurvey, answering: Acceptance) -> _Said:
    """Return the best sentences as an answer, and what other documents say instead, with what it differs by.

    Documents about the same contradict each other: the newest comes first where dates are known. Of documents about
    different subjects each is shown with its title, or with its name.
    """
    seen = replace(seen, read=reading.read)
    best, rivals = reading.cited[0], find_rivals(reading, seen)
    apart = [rival for rival in rivals if is_of_another(best, rival, seen)]
    alike = [rival for rival in rivals if not any(rival is other for other in apart)]
    subjects, parties = [best, *apart] if apart else [], [best, *alike] if alike else []
    titles = {
        (sentence.passage.index, sentence.passage.document): title_of(sentence, subjects) for sentence in subjects
    }
    cited = [*reading.cited, *rivals]
    last = newest([party.passage.dated for party in parties])
    if last is not None:
        cited.sort(key=lambda sentence: sentence.passage.document != parties[last].passage.document)
    citations = cite(cited)
    places = {(party.passage.index, party.passage.document, party.start): at for at, party in enumerate(parties)}
    numbered = [
        (n, places.get((citation.index, citation.document, citation.start)))
        for n, citation in enumerate(citations, start=1)
    ]
    contradictions = tuple(
        Contradiction(citation=number, dated=parties[at].passage.dated, newest=at == last)
        for number, at in numbered
        if at is not None
    )
    dates = {contradiction.citation: contradiction.dated for contradiction in contradictions}
    lines = [spoken(citation, cited, seen) for citation in citations]
    beside = [
        ", ".join(filter(None, (titles.get((citation.index, citation.document)), dates.get(number))))
        for number, citation in enumerate(citations, start=1)
    ]
    texts = [
        f"{line} ({words}) [{number}]" if words else f"{line} [{number}]"
        for number, (line, words) in enumerate(zip(lines, beside, strict=True), start=1)
    ]
    how = Reason("answer.quoted", places=_places(citations))
    notes: list[Reason] = []
    if subjects:
        of_subjects = [citation for citation in citations if (citation.index, citation.document) in titles]
        notes.append(Reason("answer.depends", places=_places(of_subjects)))
    if contradictions:
        documents = _places([citations[contradiction.citation - 1] for contradiction in contradictions])
        latest = "" if last is None else parties[last].passage.document
        notes.append(Reason("answer.contradicted", places=documents, newest=latest))
    judged = answering.judge(reading.right, None)
    missing = _missing(reading.cited, seen, reading)
    return _Said(
        value=" ".join(lines),
        text="\n".join([*texts, *(f"({note})" for note in notes)]),
        confidence=reading.right,
        judged=judged if missing is None else (False, missing),
        how=how.noting(*notes),
        citations=citations,
        contradictions=contradictions,
    )


def _missing(cited: Sequence[Sentence], seen: SentenceSurvey, reading: AnswerReading | None = None) -> Reason | None:
    """Return why the best sentence does not answer, or None.

    It is about another thing or year, it is a row without the requested cell, or another row, which is not cited
    beside it, would answer as well, or words that the table does not say are what is asked about.
    """
    best = cited[0]
    row, passage = named(best), best.passage
    if not row:
        beside = f"{passage.heading} {passage.document} {passage.dated or ''} {passage.text}"
        missing = other_number(seen.question, f"{passage.heading}\n{best.text}", beside, seen.language)
        return Reason("abstain.other_number", asked=missing) if missing else None
    if missing := asks_for_another(seen.question, row, seen.language):
        return Reason("abstain.other_row", row=row[0][1], asked=missing.upper())
    asks = seen.asked_of(best)
    if asks.missing:
        return Reason("abstain.blank_cell", row=row[0][1], column=asks.missing)
    fitting = _as_fitting(best, seen, None if asks.named else reading) if asks.named or reading is not None else ()
    if any(sentence not in cited for sentence in fitting):
        return Reason("abstain.row_not_named", row=row[0][1])
    if reading is not None and reading.overlooked:
        return Reason("abstain.overlooked", row=row[0][1], words=", ".join(reading.overlooked))
    return None


def _as_fitting(best: Sentence, seen: SentenceSurvey, reading: AnswerReading | None) -> Iterator[Sentence]:
    """Yield other rows of the same table that the question matches as well, with a value of the same unit.

    With a reading, where no column is named, only rows that are nearly as likely to answer.
    """
    at = seen.place_of(best)
    if at is None or seen.tables is None or seen.told is None:
        return
    own = values_of(best, seen).by_unit.keys()
    fitting = (seen.tables == seen.tables[at]) & (seen.told >= seen.told[at])
    if reading is not None:
        fitting &= reading.scores >= reading.scores[at] - _AS_LIKELY
    for row in np.flatnonzero(fitting):
        other = seen.sentences[row]
        units = values_of(other, seen).by_unit.keys()
        if row != at and not seen.asked_of(other).missing and (own & units or not (own or units)):
            yield other


_AS_LIKELY = 2.0
"""Log-odds within which another row of a table is as likely to answer a question that names no column."""


def passages_of(view: ContextView, task: Task) -> list[Passage]:
    """Return the passages of a view, the best of each index first; only of one document, where the task names it."""
    indexes: dict[str, list[Passage]] = {}
    for entry in view.entries:
        if isinstance(entry.content, Passage):
            indexes.setdefault(entry.content.index, []).append(entry.content)
    passages = [passage for passage in chain.from_iterable(zip_longest(*indexes.values())) if passage is not None]
    named = (task.columns or {}).get(DOCUMENT_COLUMN)
    return passages if named is None else [passage for passage in passages if passage.document == str(named)]


def _places(citations: Sequence[Citation]) -> str:
    return ", ".join(dict.fromkeys(repr(citation.document) for citation in citations))


def load_answer(
    card: SpecialistCard,
    described: Mapping[str, Any],
    files: Mapping[str, bytes],
    encoder: Engine,
    *,
    writer: AnswerWriter | None = None,
    chooser: tuple[SentenceChooser, Acceptance, Acceptance] | None = None,
) -> AnswerSpecialist:
    """Load the specialist of a stored version. Raises `LookupError`, `TypeError` or `ValueError` if it is invalid."""
    arrays = load_arrays(files[ARRAYS_FILE]) if ARRAYS_FILE in files else {}
    reader = AnswerReader.restore(described["reader"], arrays)
    again = from_json(dict[str, Acceptance], described.get("again", {}))
    both = {name: from_json(Acceptance, described[name]) for name in ("answering", "silence")}
    rereading = Rereading.restore(described["rereading"]) if "rereading" in described else None
    model = None if rereading is None else bundled_reader()
    if rereading is not None and model is not None and rereading.model != model.sha256:
        rereading, both = _as_shipped(both)
        chooser = None  # its lines weigh what another reading model said
    return AnswerSpecialist(
        card=card,
        reader=reader,
        answering=both["answering"],
        silence=both["silence"],
        again=Thresholds(**again) if again else None,
        encoder=encoder if reader.encodes else None,
        writer=writer,
        rereading=rereading,
        model=model,
        chooser=None if chooser is None or rereading is None else chooser[0],
        chosen=None if chooser is None else Thresholds(*chooser[1:]),
    )


def _as_shipped(both: Mapping[str, Acceptance]) -> tuple[Rereading, dict[str, Acceptance]]:
    """Return the weighting of the reading model that ships now, and thresholds that hold the same risks with it.

    Every stored weighting is the shipped one of its time: a version calibrated on the user's own questions has none.
    """
    defaults = load_defaults()
    if defaults.rereading is None:
        raise ValueError("it was made with a reading model, and nothing is known of the one that is here")
    steps = {name: proven_at(defaults.proven[name], shipped.target_risk) for name, shipped in both.items()}
    return defaults.rereading, {
        name: replace(both[name], threshold=step.confidence, target_risk=step.risk) for name, step in steps.items()
    }


def writer_of(card: SpecialistCard, section: AnswerSection, parts: Parts) -> AnswerWriter | None:
    """Return the writer of answers; None on the rungs that quote. Raises `ConfigError`."""
    if card.rung not in {"slm", "llm"}:
        return None
    defaults = load_defaults()
    return AnswerWriter(
        name=card.name,
        engine=model_of(card, section, parts.models),
        support=defaults.support,
        least=defaults.supported,
        window=parts.windows.get(section.model or "", _WINDOW),
        instruction=section.instruction or INSTRUCTION,
        max_tokens=section.max_tokens,
    )


def chooser_of(
    card: SpecialistCard, section: AnswerSection, parts: Parts, described: Mapping[str, Any]
) -> tuple[SentenceChooser, Acceptance, Acceptance] | None:
    """Return the chooser among the likeliest sentences with its thresholds; None if there is none.

    The choosing of a version is dropped if it was fitted with another model than the section names now.

    Raises:
        ConfigError: the model is not there.
        LookupError, TypeError, ValueError: the version is invalid.
    """
    stored = described.get("choosing")
    if stored is None or stored["model"] != section.model:
        return None
    answering, silence = (from_json(Acceptance, stored[name]) for name in ("answering", "silence"))
    engine = model_of(card, section, parts.models)
    chooser = SentenceChooser(name=card.name, engine=engine, choosing=Choosing.restore(stored["lines"]))
    return chooser, answering, silence
