"""The generalist: a large model, asked when the specialists abstain.

It is the one specialist whose confidence means nothing: nobody has measured it on this network's requests. Its answers
say so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from coterie.config import LlamaModel, OpenAIModel
from coterie.engines import estimate_tokens
from coterie.models import CATALOGUE
from coterie.protocols import Engine
from coterie.types import ContextView, Entry, Finding, Label, Message, Output, Prompt, SpecialistCard, Step, Task

from ._abstention import abstention
from ._layout import context_first

NAME = "generalist"
INSTRUCTION = (
    "The narrow models of a network could not answer the message that follows. Answer it yourself, briefly and only as "
    "far as you know; say so when you do not know."
)
_LONGEST = 512  # tokens of an answer, unless the request says
_SHARE = 2  # an answer gets at most this part of the window: half


class GeneralistSpecialist:
    """Asks its engine with the conversation and the facts of its view, as far as they fit the window."""

    def __init__(self, engine: Engine, model: OpenAIModel | LlamaModel) -> None:
        self.engine = engine
        self.card = SpecialistCard(
            name=NAME,
            task="generate",
            description="A large model for what the specialists cannot do.",
            rung="llm",
            version=_version(model),
            reads=("messages",),
            clearance=engine.clearance,
            view_tokens=model.window // _SHARE,
        )
        self._window = model.window

    async def consult(self, task: Task, view: ContextView) -> Finding:
        """The model's answer. Raises what its engine raises, `EgressRefused` included."""
        if not task.text.strip() and not task.columns:
            return abstention(NAME, task, "there is nothing to answer")
        prompt, left_out = self._prompt(task, view)
        (output,) = await self.engine.run([prompt])
        finding = self._finding(output, prompt.label)
        older = "1 older entry" if left_out == 1 else f"{left_out:,} older entries"
        note = f"; {older} of the context did not fit its window" if left_out else ""
        step = Step(producer=NAME, engine=self.engine.name, usage=output.usage)
        return replace(finding, reason=finding.reason + note, steps=(step,))

    def _prompt(self, task: Task, view: ContextView) -> tuple[Prompt, int]:
        """What the model is told, as sensitive as the most sensitive entry in it, and how many entries did not fit."""
        longest = min(task.max_tokens or _LONGEST, self._window // _SHARE)
        asked = _in_words(task)
        room = self._window - longest - _tokens(context_first((), instruction=INSTRUCTION, asked=asked))
        used = _fitting(view.entries, room)
        label = max([task.label, *(entry.label for entry in used)])
        messages = context_first(used, instruction=INSTRUCTION, asked=asked)
        prompt = Prompt(messages=messages, label=label, max_tokens=longest)
        return prompt, len(view.entries) - len(used)

    def _finding(self, output: Output, label: Label) -> Finding:
        text = output.text.strip()
        reason = f"answered by {self.engine.name!r}; how sure it is is not known" if text else "its answer is empty"
        cut = "; its answer was cut at its longest length" if output.finish != "stop" else ""
        return Finding(
            specialist=NAME,
            value=text or None,
            text=text,
            confidence=0.0,  # not known, and the cautious number for that
            accepted=bool(text),
            reason=reason + cut,
            label=label,
            task="generate",
            verdicts=() if output.verdict is None else (output.verdict,),
        )


def _version(model: OpenAIModel | LlamaModel) -> str:
    """The model file's checksum; of a remote model only the name is known."""
    known = CATALOGUE.get(model.name) if isinstance(model, LlamaModel) else None
    checksum = model.sha256 if isinstance(model, LlamaModel) else None
    return (known.sha256 if known else checksum) or model.name


def _in_words(task: Task) -> str:
    """The text, with the columns as the JSON object they came as."""
    columns = json.dumps(dict(task.columns), ensure_ascii=False) if task.columns else ""
    return "\n".join(part for part in (task.text.strip(), columns) if part)


def _fitting(entries: Sequence[Entry], room: int) -> list[Entry]:
    """The newest entries that fit into so many tokens, in their order."""
    kept: list[Entry] = []
    for entry in reversed(entries):
        content = entry.content
        room -= _tokens([content if isinstance(content, Message) else Message(role="system", text=repr(content))])
        if room < 0:
            break
        kept.append(entry)
    return kept[::-1]


def _tokens(messages: Sequence[Message]) -> int:
    """Tokens of some messages, estimated, with what frames each."""
    return sum(estimate_tokens(message.text) + 4 for message in messages)
