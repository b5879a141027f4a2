"""A layout of prompts that shares a prefix: the context first, the instruction last.

Engines keep what they read last in a cache: of two prompts with the same beginning the beginning is read once. So
specialists of one base model that are shown the same context share it, if their own instruction comes after it.
Specialists with an adapter of their own share nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from coterie.types import Entry, Fact, FindingSummary, Message, Passage

KNOWN = "What is known:"


def context_first(entries: Sequence[Entry], *, instruction: str, asked: str) -> tuple[Message, ...]:
    """Return the messages of a prompt: passages, facts and earlier findings; the conversation; then the instruction.

    Args:
        entries: What a view holds, in its order.
        instruction: Of the specialist.
        asked: The question.
    """
    passages = [_passage(entry.content) for entry in entries if isinstance(entry.content, Passage)]
    facts = [_fact(entry.content) for entry in entries if isinstance(entry.content, Fact | FindingSummary)]
    context = "\n".join([*passages, *facts])
    messages = [entry.content for entry in entries if isinstance(entry.content, Message)]
    last = Message(role="user", text="\n\n".join(part for part in (instruction, asked) if part))
    first = (Message(role="system", text=f"{KNOWN}\n{context}"),) if context else ()
    return (*first, *messages, last)


def _passage(passage: Passage) -> str:
    where = " > ".join(part for part in (passage.document, passage.heading) if part)
    return f"[{where}]\n{passage.text}\n"


def _fact(fact: Fact | FindingSummary) -> str:
    if isinstance(fact, Fact):
        return f"{fact.name} = {fact.value} ({fact.confidence:.2f})"
    return f"{fact.specialist}{'' if fact.accepted else ' abstained'}: {fact.text}"
