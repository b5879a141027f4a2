"""Words an answer from passages with a generative model, and checks each sentence against what the model saw.

The passages come first in the prompt and the instruction last, so that specialists on one model share that prefix. A
sentence that the passages do not support is dropped, and so is one that rests on other sentences than those found to
answer: the confidence belongs to them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from coterie.errors import EngineError, Overloaded, PolicyError, TooLong
from coterie.protocols import Engine
from coterie.tasks.answer.reader import AnswerReading, SentenceSurvey, borne_by, cite
from coterie.tasks.answer.sentences import Sentence
from coterie.tasks.answer.support import Support, SupportVerdict, value_astray
from coterie.text.folding import estimate_tokens
from coterie.text.language import is_english, language_of
from coterie.text.segmentation import asks, split_sentences
from coterie.text.words import count_negations, terms
from coterie.types import CallContext, Citation, Label, Message, Passage, Prompt, Reason, Step, Task, Verdict

INSTRUCTION = (
    "Answer the question from the passages above and from nothing else, in one to three short sentences, in the "
    "passages' own words where you can. If they do not answer it, write only: not stated."
)
_SILENT = re.compile(r"\W*not (?:stated|in the (?:documents|passages))\b", re.IGNORECASE)
_MARK = re.compile(r"\s*\[\d+(?:,\s*\d+)*\]")
_ASSENT = frozenset(terms("yes no correct right indeed"))
"""Words that say nothing by themselves: a model tends to affirm whatever it is asked."""
_FRAME = 40  # tokens of what frames passages and question


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a model wrote from the passages."""

    reason: Reason
    sentences: tuple[str, ...] = ()
    """The sentences; none where there is no supported answer."""
    text: str = ""
    """The sentences, each followed by the numbers of its citations."""
    support: float = 0.0
    """The lowest support of a sentence."""
    citations: tuple[Citation, ...] = ()
    steps: tuple[Step, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AnswerWriter:
    """A model that words answers, and the check of what it writes."""

    name: str
    """Name of the specialist that it writes for."""
    engine: Engine
    support: Support
    least: float
    """Least support that each sentence needs."""
    window: int
    """Tokens of prompt and answer together."""
    instruction: str = INSTRUCTION
    max_tokens: int = 160

    async def write(
        self,
        task: Task,
        reading: AnswerReading,
        seen: SentenceSurvey,
        label: Label,
        label_without_pii: Label,
        *,
        call: CallContext,
    ) -> Written:
        """Return an answer of supported sentences, or the reason why there is none.

        Limits of its engine are such a reason.

        Args:
            task: The question.
            reading: How likely each sentence answers it.
            seen: The sentences.
            label: The label of the most sensitive among task and passages.
            label_without_pii: The same without personal data.
            call: The call on whose behalf the answer is written.
        """
        longest = min(task.max_tokens or self.max_tokens, self.max_tokens)
        shown = self._shown(reading, self.window - longest - estimate_tokens(task.text))
        if not shown:
            return Written(reason=Reason("answer.no_room"))
        try:
            prompt = replace(self._prompt(task, shown, longest), label=label, label_without_pii=label_without_pii)
            (output,) = await self.engine.run([prompt], call=call)
        except PolicyError as refusal:
            return Written(reason=Reason("answer.not_worded", why=refusal.verdict.reason), verdicts=(refusal.verdict,))
        except (EngineError, TooLong, Overloaded) as error:
            return Written(reason=Reason("answer.not_worded", why=error.reason))
        steps = (Step(producer=self.name, engine=self.engine.name, usage=output.usage),)
        verdicts = () if output.verdict is None else (output.verdict,)
        sources = [sentence for sentence in seen.sentences if any(sentence.passage is passage for passage in shown)]
        texts = [borne_by(source) for source in sources]
        language = language_of(" ".join(texts), task.language or "en")
        sentences = list(_sentences(output.text, language, cut=output.finish != "stop"))
        judged = await asyncio.to_thread(self._judged, task.text, sentences, texts, language)
        used = [
            sources[number] for number in dict.fromkeys(number for judgement in judged for number in judgement.sources)
        ]
        is_cited = any(sentence in reading.cited for sentence in used)
        if objection := self._objection(task.text, sentences, judged, language, supported=is_cited):
            return Written(reason=objection, steps=steps, verdicts=verdicts)
        citations = cite(used)
        marks = [_marks(citations, [sources[number] for number in judgement.sources]) for judgement in judged]
        return Written(
            reason=Reason("answer.worded", model=self.engine.name),
            sentences=tuple(sentences),
            text=" ".join(f"{sentence} {mark}" for sentence, mark in zip(sentences, marks, strict=True)),
            support=min(judgement.support for judgement in judged),
            citations=citations,
            steps=steps,
            verdicts=verdicts,
        )

    def _judged(
        self, question: str, sentences: Sequence[str], sources: Sequence[str], language: str
    ) -> list[SupportVerdict]:
        """What bears out each sentence."""
        return [self._judge(question, sentence, sources, language) for sentence in sentences]

    def _judge(self, question: str, sentence: str, sources: Sequence[str], language: str) -> SupportVerdict:
        """Return the support of a sentence; a bare value must be a value of what was asked."""
        verdict = self.support.judge(sentence, sources, language)
        if is_english(language) and value_astray(question, sentence, [sources[number] for number in verdict.sources]):
            return replace(verdict, support=0.0)
        return verdict

    def _objection(
        self,
        question: str,
        sentences: Sequence[str],
        judged: Sequence[SupportVerdict],
        language: str,
        *,
        supported: bool,
    ) -> Reason | None:
        """Why what was written is not said; None if it is.

        Args:
            question: What was asked.
            sentences: The sentences written.
            judged: What bears each out.
            language: Of what was written.
            supported: Whether one of them rests on a sentence that was found to answer.
        """
        model = self.engine.name
        if not sentences or _SILENT.match(sentences[0]):
            return Reason("answer.none_written", model=model)
        if len(set(sentences)) < len(sentences) or any(map(asks, sentences)):
            # A small model goes round in circles, or asks in its turn.
            return Reason("answer.no_answer_written", model=model, sentence=sentences[0])
        weakest = min(range(len(sentences)), key=lambda number: judged[number].support)
        if judged[weakest].support < self.least:
            return Reason(
                "answer.unsupported",
                model=model,
                sentence=sentences[weakest],
                support=judged[weakest].support,
                needed=self.least,
            )
        if not supported:
            return Reason("answer.other_sentences", model=model, sentence=sentences[0])
        denied = len(sentences) == 1 and count_negations(sentences[0], language) != count_negations(question, language)
        if not denied and not set(terms(" ".join(sentences), language)) - set(terms(question, language)) - _ASSENT:
            return Reason("answer.question_repeated", model=model, sentence=sentences[0])
        return None

    def _shown(self, reading: AnswerReading, room: int) -> list[Passage]:
        """Return the passages of the cited sentences, as many as fit: sentences from others would be dropped."""
        room -= estimate_tokens(self.instruction) + _FRAME
        shown: list[Passage] = []
        for passage in [sentence.passage for sentence in reading.cited]:
            if any(passage is sentence for sentence in shown):
                continue
            room -= estimate_tokens(passage.text) + estimate_tokens(_title(passage)) + 8
            if room < 0:
                break
            shown.append(passage)
        return shown

    def _prompt(self, task: Task, shown: Sequence[Passage], longest: int) -> Prompt:
        context = "\n\n".join(
            f"[{number}] {_title(passage)}\n{passage.text.strip()}" for number, passage in enumerate(shown, start=1)
        )
        question_text = f"{self.instruction}\n\nQuestion: {task.text.strip()}"
        messages = (Message(role="system", text=f"Passages:\n\n{context}"), Message(role="user", text=question_text))
        return Prompt(messages=messages, max_tokens=longest)


def _title(passage: Passage) -> str:
    return f"{passage.document}: {passage.heading}" if passage.heading else passage.document


def _sentences(text: str, language: str, *, cut: bool) -> Iterator[str]:
    """Yield the model's text sentence by sentence, without its own marks; an unfinished sentence is dropped."""
    sentences = [
        stripped for sentence in split_sentences(text, language) if (stripped := _MARK.sub("", sentence).strip())
    ]
    sentences = sentences[:-1] if cut and len(sentences) > 1 else sentences
    yield from (sentence for sentence in sentences if not sentence.endswith(":"))  # "The answer is:" says nothing


def _marks(citations: Sequence[Citation], sources: Sequence[Sentence]) -> str:
    """Return the numbers of the citations that contain some sentences."""
    numbers = [
        number
        for number, citation in enumerate(citations, start=1)
        if any(
            citation.document == source.passage.document
            and citation.start <= source.start
            and source.end <= citation.end
            for source in sources
        )
    ]
    return "".join(f"[{number}]" for number in numbers)
