"""Questions over a long document: the large model plans, small ones read, the large one concludes from their quotes.

The document itself is never sent. The plan is made from the question alone; only quotes go back to the large model.
They are as sensitive as the document, so they are sent only where the model may see them, and never more than a quarter
of the text. Without a large model, or where it may not see the quotes or fails, the question is its own plan and the
quotes are the answer. After MinionS (Narayan et al., 2025, arXiv:2502.15964), whose local model writes freely where
Coterie's quotes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

from coterie.generalist.generalist import NAME, Asking
from coterie.generalist.reading import DocumentReader, Extract, hallucinated
from coterie.protocols import Specialist
from coterie.routing.splitting import split_parts
from coterie.runtime.concurrency import side_by_side
from coterie.tasks.answer.model import NOT_STATED
from coterie.text.language import language_of
from coterie.types import (
    SYSTEM,
    CallContext,
    Citation,
    Document,
    DocumentAnswer,
    Finding,
    Label,
    Labelled,
    Reason,
    Stage,
    Step,
    Task,
    Verdict,
    all_of,
    label_without_pii,
)

PLAN = (
    "A question about a document is to be answered. You do not see the document: small models read all of it and quote "
    "what answers a short question. Write the short questions that they are to look for, each about one thing, "
    "standing on its own, in words that the document may use. Write at most {most}."
)
CONCLUDE = (
    "Small models read a document for you; you see what they quoted, and where they found nothing. Answer the question "
    "from the quotes alone, each statement with the number of its quote in brackets, such as [1]; repeat figures "
    "exactly. If the quotes do not answer it, leave `answer` empty and write into `questions` what else they should "
    "look for."
)
_LONGEST_QUESTION = 300  # characters
_SHARE = 4
"""Divisor of a document's characters: the largest part that is quoted to the large model."""


class DocumentReading:
    """Answers questions about documents with a reader, and with a `Generalist` that plans and concludes."""

    def __init__(self, reader: Specialist) -> None:
        self._reader = reader

    @property
    def name(self) -> str:
        """Name of the reader."""
        return self._reader.card.name

    async def answer(
        self, task: Task, document: Document, *, large: Specialist | None, call: CallContext
    ) -> DocumentAnswer:
        """Plan, read and conclude, for as many rounds as allowed."""
        asking = large if isinstance(large, Asking) else None
        return await Collaboration(task=task, document=document, reader=self._reader, large=asking, call=call).run()


@dataclass
class Collaboration:
    """One running question about one document."""

    task: Task
    document: Document
    reader: Specialist
    large: Asking | None
    call: CallContext = SYSTEM
    """The caller's context."""
    _extracts: list[Extract] = field(default_factory=list, init=False)
    _stages: list[Stage] = field(default_factory=list, init=False)
    _since: float = field(default_factory=perf_counter, init=False)
    _steps: list[Step] = field(default_factory=list, init=False)
    _verdicts: list[Verdict] = field(default_factory=list, init=False)
    _failed: list[Reason] = field(default_factory=list, init=False)
    _seen: int = field(default=0, init=False)

    @property
    def label(self) -> Label:
        """The maximum of the labels of document and question."""
        return max(self.task.label, self.document.label or self.task.label)

    @property
    def label_without_pii(self) -> Label:
        """The label without personal data."""
        own = self.document.label is None
        return label_without_pii(self.task) if own else label_without_pii(self.task, self.document)

    async def run(self) -> DocumentAnswer:
        """Plan, read and conclude, for as many rounds as allowed."""
        reading = await asyncio.to_thread(
            DocumentReader, self.reader, self.document, self.label, self.label_without_pii
        )
        questions = await self._plan()
        concluded = None
        for last in self._rounds():
            start = asyncio.get_running_loop().time()  # the clock of the deadline
            self._extracts += await side_by_side(reading.read(question, self.task, self.call) for question in questions)
            if self.large is not None:
                self.large.idle(asyncio.get_running_loop().time() - start)
            self._note_read(questions)
            concluded, questions = await self._conclude(last=last)
            if concluded is not None or not questions:
                break
        finding = concluded or self._locally()
        return DocumentAnswer(
            finding=replace(finding, steps=tuple(self._steps), verdicts=tuple(self._verdicts)),
            read=tuple(extract.finding for extract in self._extracts),
            stages=tuple(self._stages),
            seen=self._seen,
            degraded=all_of(self._failed) if self._failed else None,
        )

    def _rounds(self) -> list[bool]:
        count = self.large.section.rounds if self.large is not None else 1
        return [number == count for number in range(1, count + 1)]

    # --- plan ------------------------------------------------------------------------------------

    async def _plan(self) -> list[str]:
        """Return the short questions: the caller's own, and the generalist's or else its parts."""
        own = list(dict.fromkeys([self.task.text, *split_parts(self.task.text)]))
        if self.large is None:
            self._note("plan", f"the question itself, in {len(own)} part(s)")
            return own
        most = self.large.section.jobs
        questions = await self._structured("plan", PLAN.format(most=most), [], self.task, _schema(questions=most))
        if questions is None:
            return own[:most]
        planned = _questions(questions.get("questions"), most - 1, earlier=own[:1])
        self._note("plan", f"the question itself and {len(planned)} short question(s) by the generalist")
        return [*own[:1], *planned] if planned else own[:most]

    def _note_read(self, questions: Sequence[str]) -> None:
        read = self._extracts[-len(questions) :]
        quotes = sum(len(extract.citations) for extract in read)
        silent = sum(extract.absent for extract in read)
        stretches = read[0].stretches if read else 0
        counts = f"{stretches} stretch(es) for {len(read)} question(s): {quotes} quote(s), {silent} not here"
        self._note("read", counts)

    # --- conclude --------------------------------------------------------------------------------

    async def _conclude(self, *, last: bool) -> tuple[Finding | None, list[str]]:
        """Return the generalist's answer, or further questions to read; neither where it may not or cannot answer."""
        quotes = list(
            {
                (citation.start, citation.end): citation for extract in self._extracts for citation in extract.citations
            }.values()
        )
        if self.large is None or not quotes:
            return None, []
        if sum(len(quote.text) for quote in quotes) * _SHARE > len(self.document.text):
            self._note("conclude", f"here, since the quotes are more than a {_SHARE}th of the document")
            return None, []
        left = 0 if last else self.large.section.jobs - len(self._extracts)
        notes = self._notes(quotes)
        schema = _schema(answer=True, questions=max(left, 0))
        conclusion = await self._structured("conclude", CONCLUDE, notes, self, schema)
        if conclusion is None:
            return None, []
        self._seen = len(quotes)
        answer = conclusion.get("answer")
        if not isinstance(answer, str) or not answer.strip():
            more = _questions(
                conclusion.get("questions"), max(left, 0), earlier=[extract.question for extract in self._extracts]
            )
            self._note(
                "conclude", f"the generalist asks for {len(more)} more" if more else "the generalist cannot tell"
            )
            return None, more
        return self._checked(answer.strip(), quotes, notes), []

    def _checked(self, answer: str, quotes: Sequence[Citation], notes: Sequence[str]) -> Finding | None:
        """Return the generalist's answer, if the citations contain all its figures and quotes."""
        language = language_of(answer, self.task.language or "en")
        if added := hallucinated(answer, [self.task.text, *notes], marks=len(quotes), language=language):
            self._fail("conclude", Reason("conclude.unsupported", added=", ".join(map(repr, added))))
            return None
        self._note("conclude", f"by the generalist from {len(quotes)} quote(s)")
        reason = Reason("accept.concluded", quotes=len(quotes), document=self.document.name)
        return self._finding(NAME, answer, reason, confidence=0.0, citations=tuple(quotes))

    async def _structured(
        self, stage: str, instruction: str, notes: Sequence[str], label: Labelled, schema: dict[str, object]
    ) -> dict[str, object] | None:
        """Return the generalist's JSON object; None, with the reason recorded, where there is none."""
        if self.large is None:
            return None
        if spent := self.large.spent:
            self._fail(stage, spent)
            return None
        heard, content = await self.large.structured(
            instruction, self.task.text, notes, label, schema=schema, call=self.call
        )
        self._steps += heard.steps
        self._verdicts += heard.verdicts
        if content is None and heard.verdicts and not heard.steps:
            self._note(stage, f"here, since {heard.reason}")  # refused, which is no failure
        elif content is None:
            self._fail(stage, heard.reason or Reason("attempt.wrong_form", model=heard.engine))
        return content

    def _fail(self, stage: str, reason: Reason) -> None:
        self._failed.append(Reason("degraded.stage", stage=stage, why=reason))
        self._note(stage, f"here, since {reason}")

    def _note(self, stage: str, note: str) -> None:
        began, self._since = self._since, perf_counter()
        self._stages.append(Stage(name=stage, milliseconds=(self._since - began) * 1000, note=note))

    def _notes(self, quotes: Sequence[Citation]) -> list[str]:
        """Return the notes for the generalist: each question with its quotes, by number, or that there is none."""
        number = {(quote.start, quote.end): index for index, quote in enumerate(quotes, start=1)}
        notes = []
        for extract in self._extracts:
            lines = [
                f"[{number[citation.start, citation.end]}] {_flat(citation.text)}" for citation in extract.citations
            ]
            doubt = "" if extract.sure or not lines else " (the reader is not sure that this answers it)"
            notes.append("\n".join([f"Looked for: {extract.question}{doubt}", *(lines or ["Not here."])]))
        return notes

    # --- here ------------------------------------------------------------------------------------

    def _locally(self) -> Finding:
        """Return the reader's accepted quotes, or that the document has no answer, or why that is undecided."""
        sure = [extract.finding for extract in self._extracts if extract.sure]
        own = next((extract for extract in self._extracts if extract.question == self.task.text), None)
        if sure:
            quotes = list(
                {
                    (citation.start, citation.end): citation for finding in sure for citation in finding.citations
                }.values()
            )
            lines = [f"{_flat(quote.text)} [{number}]" for number, quote in enumerate(quotes, start=1)]
            best = max(sure, key=lambda finding: finding.confidence)
            return self._finding(
                self.reader.card.name,
                "\n".join([*lines, *self._unanswered()]),
                best.reason,
                confidence=best.confidence,
                citations=tuple(quotes),
            )
        if self._extracts and all(extract.absent for extract in self._extracts):
            doubt = min(self._extracts, key=lambda extract: extract.finding.confidence).finding
            text = "Not in the document."
            finding = self._finding(self.reader.card.name, text, doubt.reason, confidence=doubt.confidence)
            return replace(finding, value=NOT_STATED)
        nearest = own or self._extracts[0]
        notes = [Reason("note.nearest", quote=_flat(nearest.citations[0].text))] if nearest.citations else []
        reason = nearest.finding.reason.noting(*notes)
        return replace(
            nearest.finding,
            accepted=False,
            reason=reason,
            facts=(),
            steps=(),
            label=self.label,
            label_without_pii=self.label_without_pii,
        )

    def _unanswered(self) -> list[str]:
        """Return a line for each part of the question without a quote, so that the answer is not taken as complete."""
        rest = [extract for extract in self._extracts if not extract.sure and extract.question != self.task.text]
        return [
            f"Not in the document: “{extract.question}”"
            if extract.absent
            else f"Nothing sure was found on “{extract.question}”"
            for extract in rest
        ]

    def _finding(
        self, name: str, text: str, reason: Reason, *, confidence: float, citations: tuple[Citation, ...] = ()
    ) -> Finding:
        return Finding(
            specialist=name,
            value=text,
            text=text,
            confidence=confidence,
            accepted=True,
            reason=reason,
            label=self.label,
            label_without_pii=self.label_without_pii,
            task="answer",
            citations=citations,
        )


def _schema(*, answer: bool = False, questions: int) -> dict[str, object]:
    """Return the schema of the generalist's response: optionally an answer, and at most so many questions."""
    listed = {"type": "array", "items": {"type": "string", "maxLength": _LONGEST_QUESTION}, "maxItems": questions}
    properties: dict[str, object] = (
        {"answer": {"type": "string"}, "questions": listed} if answer else {"questions": listed}
    )
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _questions(value: object, most: int, *, earlier: Sequence[str]) -> list[str]:
    """Return the valid questions of a response: texts, not too long, no repeats; a model may return anything."""
    texts = (
        [" ".join(item.split())[:_LONGEST_QUESTION] for item in value if isinstance(item, str)]
        if isinstance(value, list)
        else []
    )
    return [text for text in dict.fromkeys(texts) if text and text not in earlier][:most]


def _flat(text: str) -> str:
    return " ".join(text.split())
