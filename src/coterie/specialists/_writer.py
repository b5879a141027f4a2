"""Wording an answer from passages with a generative model, each sentence checked against what it was shown.

The passages stand first in the prompt and the instruction last, so that specialists on one model share what they show
it. What the passages do not bear out is not said, nor what rests on other sentences than those that were found to
answer: the confidence is theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from coterie.answering import Borne, Reading, Sentence, Support, Survey, borne_by, cite, denials, terms, value_astray
from coterie.engines import estimate_tokens
from coterie.errors import EngineError, Overloaded, PolicyError, TooLong
from coterie.protocols import Engine
from coterie.types import Citation, Label, Message, Passage, Prompt, Step, Task, Verdict

from ._assent import is_settled, without_assent
from ._sentences import split_sentences

INSTRUCTION = (
    "Answer the question from the passages above and from nothing else, in one to three short sentences, in the "
    "passages' own words where you can. If they do not answer it, write only: not stated."
)
_SILENT = re.compile(r"\W*not (?:stated|in the (?:documents|passages))\b", re.IGNORECASE)
_MARK = re.compile(r"\s*\[\d+(?:,\s*\d+)*\]")
_ASSENT = frozenset(terms("yes no correct right indeed"))
"""Words that say nothing by themselves: whoever is asked whether it is so is soon heard to say that it is."""
_ALONE = re.compile(r"(?:yes|no)\W*", re.IGNORECASE)
_MOST_SHOWN = 4
"""Passages that the model is shown: those with the likeliest sentences. A small model reads 50 tokens a second."""
_FRAME = 40  # tokens of what frames passages and question


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a model made of the passages."""

    reason: str
    sentences: tuple[str, ...] = ()
    """None where nothing may be said."""
    text: str = ""
    """The sentences, each with the numbers of its citations."""
    support: float = 0.0
    """The lowest support of a sentence."""
    citations: tuple[Citation, ...] = ()
    steps: tuple[Step, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A model that words answers, and the check of what it writes."""

    name: str
    """The specialist that it writes for."""
    engine: Engine
    support: Support
    least: float
    """Support that each sentence needs."""
    window: int
    """Tokens of prompt and answer together."""
    instruction: str = INSTRUCTION
    max_tokens: int = 160

    async def write(self, task: Task, reading: Reading, seen: Survey, label: Label, impersonal: Label) -> Written:
        """An answer of supported sentences, or why there is none. What its engine cannot do is such a reason.

        Args:
            task: What is asked.
            reading: How likely each sentence answers it.
            seen: The sentences.
            label: Of the most sensitive of task and passages.
            impersonal: The same without personal data.
        """
        longest = min(task.max_tokens or self.max_tokens, self.max_tokens)
        shown = self._shown(reading, seen, self.window - longest - estimate_tokens(task.text))
        if not shown:
            return Written(reason="no passage fits the model's window")
        try:
            prompt = replace(self._prompt(task, shown, longest), label=label, impersonal=impersonal)
            (output,) = await self.engine.run([prompt])
        except PolicyError as refusal:
            return Written(reason=f"no model worded it: {refusal.message}", verdicts=(refusal.verdict,))
        except (EngineError, TooLong, Overloaded) as error:
            return Written(reason=f"no model worded it: {error.message}")
        steps = (Step(producer=self.name, engine=self.engine.name, usage=output.usage),)
        verdicts = () if output.verdict is None else (output.verdict,)
        sources = [each for each in seen.sentences if any(each.passage is passage for passage in shown)]
        told = list(_sentences(output.text, cut=output.finish != "stop"))
        texts = [borne_by(each) for each in sources]
        judged = [self._judge(task.text, sentence, texts) for sentence in told]
        settled = self._settled(task.text, told[0], texts) if told else None
        if settled is not None:
            judged[0] = settled
        used = [sources[number] for number in dict.fromkeys(number for each in judged for number in each.sources)]
        found = any(each in reading.cited for each in used)
        if objection := self._objection(task.text, told, judged, found=found, settled=settled is not None):
            return Written(reason=f"{self.engine.name!r} {objection}", steps=steps, verdicts=verdicts)
        citations = cite(used)
        marks = [_marks(citations, [sources[number] for number in each.sources]) for each in judged]
        return Written(
            reason=f"worded by {self.engine.name!r}, every sentence supported",
            sentences=tuple(told),
            text=" ".join(f"{sentence} {mark}" for sentence, mark in zip(told, marks, strict=True)),
            support=min(each.support for each in judged),
            citations=citations,
            steps=steps,
            verdicts=verdicts,
        )

    def _judge(self, question: str, sentence: str, sources: Sequence[str]) -> Borne:
        """What bears out a sentence; a value alone is one of what was asked."""
        borne = self.support.judge(sentence, sources)
        if value_astray(question, sentence, [sources[number] for number in borne.sources]):
            return replace(borne, support=0.0)
        return borne

    def _settled(self, question: str, sentence: str, sources: Sequence[str]) -> Borne | None:
        """What bears out a sentence behind its "Yes" or "No", where that may be said; else None."""
        rest = without_assent(sentence)
        if rest == sentence:
            return None
        borne = self.support.judge(rest, sources)
        nearest = [sources[number] for number in borne.sources]
        return borne if is_settled(question, sentence, nearest) else None

    def _objection(
        self, question: str, told: Sequence[str], judged: Sequence[Borne], *, found: bool, settled: bool
    ) -> str:
        """Why what was written is not said; nothing if it is.

        Args:
            question: What was asked.
            told: The sentences written.
            judged: What bears each out.
            found: Whether one of them rests on a sentence that was found to answer.
            settled: Whether the first one begins with a "Yes" or "No" that may be said.
        """
        if not told or _SILENT.match(told[0]):
            return "found no answer"
        if len(set(told)) < len(told) or any(each.endswith("?") for each in told):
            return f"wrote no answer ({told[0]!r})"  # a small model goes round in circles, or asks in its turn
        weakest = min(range(len(told)), key=lambda number: judged[number].support)
        if judged[weakest].support < self.least:
            support = f"support {judged[weakest].support:.2f}, needs {self.least:.2f}"
            return f"wrote what the passages do not say ({told[weakest]!r}: {support})"
        if not found:
            return f"answered from other sentences than those found ({told[0]!r})"
        denied = len(told) == 1 and denials(told[0]) != denials(question)
        if not settled and not denied and not set(terms(" ".join(told))) - set(terms(question)) - _ASSENT:
            return f"only said the question again ({told[0]!r})"
        return ""

    def _shown(self, reading: Reading, seen: Survey, room: int) -> list[Passage]:
        """Passages by their best sentence, as many as fit."""
        best: dict[int, float] = {}
        for sentence, score in zip(seen.sentences, reading.scores.tolist(), strict=True):
            best[sentence.rank] = max(best.get(sentence.rank, -99.0), score)
        passages = {sentence.rank: sentence.passage for sentence in seen.sentences}
        room -= estimate_tokens(self.instruction) + _FRAME
        shown = []
        for rank in sorted(best, key=best.__getitem__, reverse=True)[:_MOST_SHOWN]:
            room -= estimate_tokens(passages[rank].text) + estimate_tokens(_title(passages[rank])) + 8
            if room < 0:
                break
            shown.append(passages[rank])
        return shown

    def _prompt(self, task: Task, shown: Sequence[Passage], longest: int) -> Prompt:
        context = "\n\n".join(
            f"[{number}] {_title(passage)}\n{passage.text.strip()}" for number, passage in enumerate(shown, start=1)
        )
        asked = f"{self.instruction}\n\nQuestion: {task.text.strip()}"
        messages = (Message(role="system", text=f"Passages:\n\n{context}"), Message(role="user", text=asked))
        return Prompt(messages=messages, max_tokens=longest)


def _title(passage: Passage) -> str:
    return f"{passage.document}: {passage.heading}" if passage.heading else passage.document


def _sentences(text: str, *, cut: bool) -> Iterator[str]:
    """What the model wrote, sentence by sentence, without its own marks; one that broke off is dropped."""
    found = [stripped for each in split_sentences(text) if (stripped := _MARK.sub("", each).strip())]
    if len(found) > 1 and _ALONE.fullmatch(found[0]):
        found[:2] = [f"{found[0]} {found[1]}"]  # "Yes. Dogs are allowed."
    found = found[:-1] if cut and len(found) > 1 else found
    yield from (each for each in found if not each.endswith(":"))  # "The answer is:" says nothing


def _marks(citations: Sequence[Citation], sources: Sequence[Sentence]) -> str:
    """The numbers of the citations that hold some sentences."""
    numbers = [
        number
        for number, citation in enumerate(citations, start=1)
        if any(
            citation.document == each.passage.document and citation.start <= each.start and each.end <= citation.end
            for each in sources
        )
    ]
    return "".join(f"[{number}]" for number in numbers)
