"""How a prompt with a context is laid out: what is known first, what to do with it last.

Engines remember what they read last: of two prompts that begin alike they read the beginning once. Specialists of one
base model that are shown the same context so read it once between them, if nothing of their own comes before it. What
one adapter read is of no use to another: there is nothing to share between two of those.
"""

from __future__ import annotations

from collections.abc import Sequence

from coterie.types import Entry, Fact, FindingSummary, Message, Passage

KNOWN = "What is known:"


def context_first(entries: Sequence[Entry], *, instruction: str, asked: str) -> tuple[Message, ...]:
    """The messages of a prompt: passages, facts and earlier findings; the conversation; then what to do, and with what.

    Args:
        entries: What a view holds, in its order.
        instruction: What is to be done; of the specialist.
        asked: What is asked now.
    """
    passages = [_passage(entry.content) for entry in entries if isinstance(entry.content, Passage)]
    facts = [_fact(entry.content) for entry in entries if isinstance(entry.content, Fact | FindingSummary)]
    known = "\n".join([*passages, *facts])
    said = [entry.content for entry in entries if isinstance(entry.content, Message)]
    last = Message(role="user", text="\n\n".join(part for part in (instruction, asked) if part))
    first = (Message(role="system", text=f"{KNOWN}\n{known}"),) if known else ()
    return (*first, *said, last)


def _passage(passage: Passage) -> str:
    where = " > ".join(part for part in (passage.document, passage.heading) if part)
    return f"[{where}]\n{passage.text}\n"


def _fact(known: Fact | FindingSummary) -> str:
    if isinstance(known, Fact):
        return f"{known.name} = {known.value} ({known.confidence:.2f})"
    return f"{known.specialist}{'' if known.accepted else ' abstained'}: {known.text}"
