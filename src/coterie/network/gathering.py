"""Passages of the indexes for a task: indexes are searched side by side, and a failing one affects no other."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from coterie.context.sharing import build_view
from coterie.errors import EngineError, InputError, NotIndexed, PolicyError, SetupError
from coterie.governance.disguise import worth_a_thread
from coterie.knowledge.documents import DocumentIndex
from coterie.privacy.detection import Detector, Kind
from coterie.protocols import Retriever
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import side_by_side
from coterie.types import (
    Bill,
    CallContext,
    Context,
    ContextView,
    Document,
    Entry,
    Label,
    Passage,
    Reason,
    Request,
    SpecialistCard,
    Step,
    Task,
    Usage,
)

_REMEMBERED = 4096
_OWN_PASSAGES = 2
"""Passages of each index that a follow-up's original wording finds."""


class Gathered(NamedTuple):
    """The view of a specialist, and the steps that made it."""

    view: ContextView
    steps: tuple[Step, ...]


class SecretFinder:
    """Finds secrets in passages, and caches the result for some thousand recent passages."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._known: OrderedDict[str, bool] = OrderedDict()

    async def marked(self, passages: Sequence[Passage]) -> list[Passage]:
        """Return the passages, restricted if they contain a secret; many unknown ones are read in a thread."""
        texts = {passage.text for passage in passages}
        holds = {text: self._known[text] for text in texts if text in self._known}  # others may put these out meanwhile
        unknown = [text for text in texts if text not in holds]
        if worth_a_thread(self._detector, unknown):
            with_secrets = await asyncio.to_thread(self._read, unknown)
        else:
            with_secrets = self._read(unknown)
        holds |= with_secrets
        self._known |= with_secrets
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return [replace(passage, label=Label.RESTRICTED) if holds[passage.text] else passage for passage in passages]

    def _read(self, texts: Sequence[str]) -> dict[str, bool]:
        return {text: any(item.kind == Kind.SECRET for item in self._detector.find(text)) for text in texts}


async def gather(
    indexes: Mapping[str, Retriever],
    card: SpecialistCard,
    task: Task,
    context: Context,
    *,
    secrets: SecretFinder,
    call: CallContext,
    clock: Callable[[], float],
) -> Gathered:
    """Return what a specialist reads of the context, and the passages of its indexes for the task.

    Every index is searched up to the lower clearance of principal and specialist. A passage with a secret in it
    is restricted, whatever its index says.

    Raises:
        Overloaded: an engine's queue is full; the whole request may be retried.
    """
    if not card.knowledge:
        return Gathered(build_view(context, card), ())
    bill: Bill = []
    own = replace(call, bill=bill)
    tried = await side_by_side(_search(indexes[name], card, task, own) for name in card.knowledge)
    unsearched = {
        name: result for name, result in zip(card.knowledge, tried, strict=True) if isinstance(result, Reason)
    }
    all_passages = await secrets.marked(
        [passage for result in tried if not isinstance(result, Reason) for passage in result]
    )
    now = clock()
    passages = [
        Entry(content=passage, producer=passage.index, label=passage.label, time=now)
        for passage in all_passages
        if passage.label <= min(task.clearance, card.clearance)
    ]
    return Gathered(build_view(context, card, passages, unsearched), charged((), card.name, bill))


async def fetch(
    indexes: Mapping[str, Retriever], document: Document, request: Request, *, most: int, call: CallContext
) -> Document:
    """Return a document of an index, with its text (at most `most` characters and one) and its label.

    A missing index, one of another tenant and a document that may not be seen give the same error, after the same
    work: nothing is searched before the principal is known to be allowed to see the document.

    Raises:
        InputError: there is no such index, or no such document that the principal may see.
    """
    index, text = indexes.get(document.index), None
    passages: Sequence[Passage] = ()
    clearance, tenant = request.clearance or Label.PUBLIC, request.tenant
    with suppress(NotIndexed):
        if isinstance(index, DocumentIndex):
            text = await index.text(document.name, 0, most + 1, clearance=clearance, tenant=tenant)
        if isinstance(index, DocumentIndex) and text is not None:
            passages = await index.search(
                request.text, k=1, clearance=clearance, tenant=tenant, document=document.name, call=call
            )
    if text is None or not passages:
        raise hidden(document)
    return replace(document, text=text, label=max(passages[0].label, document.label or Label.PUBLIC))


def hidden(document: Document) -> InputError:
    """Return the error for a document that does not exist, and for one that may not be seen."""
    return InputError(
        f"No document {document.name!r} in an index {document.index!r} that may be seen.",
        hint="Check both names (`coterie search INDEX WORDS` shows documents), or send the document's text.",
    )


async def _search(index: Retriever, card: SpecialistCard, task: Task, call: CallContext) -> Sequence[Passage] | Reason:
    """Return the passages of one index, or the reason why it cannot be searched.

    For a follow-up also the best ones of its original wording, in place of the last: what is given back to a turn may
    have more words than the turn, and then only passages about the question before are found.
    """

    async def search(text: str, vector: np.ndarray | None, k: int) -> Sequence[Passage]:
        return await index.search(
            text,
            k=k,
            clearance=min(task.clearance, card.clearance),
            tenant=task.tenant,
            vector=vector,
            call=call,
            **_named_document(task),
        )

    try:
        passages = await search(task.text, task.vector, card.passages)
        if not task.rewritten or task.text == task.asked or not task.text.startswith(task.asked.strip() or "\0"):
            return passages  # it got no words behind it, or is one part of several
        own = await search(task.asked, None, _OWN_PASSAGES)
    except (EngineError, InputError, PolicyError, SetupError) as error:
        return error.reason
    here = {(passage.document, passage.start) for passage in passages}
    missing = [passage for passage in own if (passage.document, passage.start) not in here]
    return [*passages[: max(0, card.passages - len(missing))], *missing]


def _named_document(task: Task) -> dict[str, str]:
    """Return the document that the columns name, as an argument of `Retriever.search`; empty without one."""
    named = (task.columns or {}).get("document")
    return {} if named is None else {"document": str(named)}


def charged(steps: Sequence[Step], producer: str, bill: Sequence[tuple[str, Usage]]) -> tuple[Step, ...]:
    """Add the usage on a bill to the steps: to the last step of the same engine, or as a step of its own."""
    priced = list(steps)
    for engine, usage in bill:
        same = next((i for i in reversed(range(len(priced))) if priced[i].engine == engine), None)
        if same is None:
            priced.append(Step(producer=producer, engine=engine, usage=usage))
        else:
            priced[same] = replace(priced[same], usage=priced[same].usage + usage)
    return tuple(priced)
