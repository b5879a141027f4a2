"""Admission of a request: checked, labelled, with its session's context. Nothing is asked here."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from coterie.context.sharing import rewrite_query, visible
from coterie.errors import InputError, NotTrained, ReleaseRefused, UnknownSpecialist
from coterie.generalist.reading import READER
from coterie.governance.audit import refusals_noted
from coterie.governance.disguise import Look, Sighting, sight, worth_a_thread
from coterie.governance.injection import suspect
from coterie.governance.pseudonyms import own_texts, texts_of
from coterie.limits.memory import request_allowance
from coterie.network.gathering import fetch, hidden
from coterie.network.outcomes import LONGEST_DOCUMENT, check_document, label_of
from coterie.privacy.detection import Detector, PersonalData
from coterie.protocols import (
    AcceptancePolicy,
    Audit,
    Engine,
    PseudonymSessions,
    Retriever,
    Specialist,
    Store,
    TurnModel,
)
from coterie.routing.plan import check_columns, split_columns
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import AT_ONCE, aside
from coterie.text.language import language_of
from coterie.types import (
    CallContext,
    Context,
    Document,
    Entry,
    Label,
    Message,
    Output,
    Principal,
    Prompt,
    Reason,
    Release,
    Request,
    Step,
    Usage,
    Verdict,
    label_without_pii,
    total_usage,
)

RAISED, RELEASED = "label.raised", "label.released"
_LONGEST_REASON = 300
_LONGEST_KNOWN = 2_000
"""Longest text, in characters, whose findings are cached."""
_MOST_TURNS = 1_000
"""Most earlier turns of a caller that are shown to a specialist: the last ones. All of them are labelled."""


class Inspected(NamedTuple):
    """The findings in a request's own texts. It holds none of the texts."""

    seen: Sighting
    """Personal data and secrets, by kind."""
    found: tuple[tuple[PersonalData, ...], ...]
    """The same by their places, in the distinct texts that were searched."""
    suspected: tuple[Verdict, ...]
    """Orders to a model, as verdicts."""


class InspectedTexts(Protocol):
    """A cache of the findings in texts, separate for each tenant; it keeps no text."""

    def get(self, tenant: str, text: str) -> Inspected | None:
        """Return the findings in a text that this tenant sent before; None if there are none."""
        ...

    def put(self, tenant: str, text: str, inspected: Inspected) -> None:
        """Keep the findings in a text."""
        ...


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A request that may be processed."""

    request: Request
    """The request, labelled, with structured input found and its document fetched."""
    context: Context
    """The session's context that the principal may see."""
    verdicts: tuple[Verdict, ...]
    """Verdicts that raised or lowered its label."""
    call: CallContext


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The components that a network admits requests with."""

    specialists: Mapping[str, Specialist]
    untrained: Collection[str]
    """Configured specialists that have no version yet."""
    knowledge: Mapping[str, Retriever]
    store: Store
    default_label: Label
    language: str
    """Language of a request whose own cannot be detected."""
    detector: Detector
    pseudonyms: PseudonymSessions
    policy: AcceptancePolicy
    encoder: Engine
    turns: TurnModel | None = None
    """Distinguishes follow-ups from self-contained questions; without it every question is self-contained."""
    audit: Audit | None = None
    looked: InspectedTexts | None = None
    """Cache of findings in earlier texts; None caches nothing."""

    async def admit(self, request: Request, *, now: float) -> Admitted:
        """Check and label a request, find structured input in its text, fetch its document and its session's context.

        Raises:
            InputError: the request cannot be served.
            NotTrained: the request names a specialist that has no version yet.
            ReleaseRefused: its label may not be lowered so; the refusal is in the audit log.
        """
        async with refusals_noted(self.audit, request, time=now):
            return await self.prepare(request, now=now)

    async def prepare(self, request: Request, *, now: float) -> Admitted:
        """Admit a request without writing anything down."""
        self.policy.aim_of(request)  # refuses one that is none
        check_specialist(request, self.specialists, self.untrained)
        if request.columns is None:
            text, columns = await aside(len(request.text), partial(split_columns, request.text))
            request = replace(request, text=text, columns=columns)
        if not request.text.strip() and not request.columns:
            raise InputError("The request is empty.", hint="Send a text, or columns as a JSON object.")
        check_columns(request.columns or {})
        clearance = request.clearance or self.default_label
        language = request.language or language_of(request.text, self.language)  # a millisecond at most
        request = replace(request, clearance=clearance, language=language)
        call = _call_for(request, clearance)
        if request.document is not None and request.document.index:
            if request.allowed and READER not in request.allowed:  # nor may they learn what stands there
                raise hidden(request.document)
            document = await fetch(self.knowledge, request.document, request, most=LONGEST_DOCUMENT, call=call)
            request = replace(request, document=document)
        check_document(request)
        sent = texts_of(request)
        looked = await self._look_at(request, sent)
        request, verdicts = await label_request(request, self.default_label, self.detector, seen=looked.seen)
        if request.document is not None and request.document.index and label_without_pii(request.document) > clearance:
            raise hidden(request.document)  # there is a secret in it
        brought = [] if request.document is None else [request.document.text]
        verdicts += looked.suspected if not brought else await _suspected(request, brought)
        whole = Context()
        if request.session is not None:
            whole = await self.store.context(request.session, request.tenant)
        if request.turns is not None:
            whole = Context(entries=tuple(entry for entry in whole.entries if entry.request in request.turns))
        context = visible(whole, clearance)
        call = replace(
            call,
            sent=own_texts((*sent, *brought), dict(zip(_distinct(sent), looked.found, strict=True)), self.detector),
            released=request.release is not None,
            pseudonyms=self.pseudonyms.of(request.tenant, request.session, begun=bool(whole.entries)),
        )
        context = context.append(*_history(request, context, now))
        return Admitted(request=request, context=context, verdicts=verdicts, call=call)

    async def _look_at(self, request: Request, sent: Sequence[str]) -> Inspected:
        """Return the findings in a request's own texts, from the cache if the same tenant sent the text before."""
        more = (request.history, request.tools, request.columns, request.schema, request.text[_LONGEST_KNOWN:])
        looked = None if any(more) else self.looked
        if looked is not None and (cached := looked.get(request.tenant, request.text)) is not None:
            return cached
        look = await _look(self.detector, _distinct(sent))
        inspected = Inspected(look.sighting(), tuple(look.found), await _suspected(request, ()))
        if looked is not None:
            looked.put(request.tenant, request.text, inspected)
        return inspected

    async def rewrite(
        self, request: Request, context: Context, *, call: CallContext
    ) -> tuple[Request, str, tuple[Step, ...]]:
        """Make a follow-up question self-contained, with the label of what was added; return the reason and the steps.

        Structured input never depends on earlier turns; the name of a document to search is not structured input.
        Follow-ups in languages that the models of `coterie.turns` do not know stay as they are.
        """
        structured = bool((request.columns or {}).keys() - {"document"})
        language = (request.language or "en").partition("-")[0]
        steps: list[Step] = []
        if structured or self.turns is None or language not in self.turns.languages:
            return request, "", ()

        async def encode(texts: Sequence[str]) -> Sequence[Output]:
            prompts = [Prompt(text=text, label=label_of(request), states=True) for text in texts]
            outputs = await self.encoder.run(prompts, call=call)
            usage = total_usage(output.usage for output in outputs)
            steps.append(Step(producer="rewrite", engine=self.encoder.name, usage=usage))
            return outputs

        def spent(usage: Usage) -> None:
            steps.append(Step(producer="rewrite", engine="follow-ups", usage=usage))

        rewritten = await rewrite_query(
            request.text, context, turns=self.turns, encode=encode, language=language, spent=spent
        )
        if rewritten is None:
            return request, "", tuple(steps)
        label = max(label_of(request), rewritten.label)
        bare = max(label_without_pii(request), rewritten.label_without_pii)
        question = replace(request, text=rewritten.text, label=label, label_without_pii=bare)
        return question, rewritten.reason, tuple(steps)


def _call_for(request: Request, clearance: Label) -> CallContext:
    """Return the context of a request's calls: its principal, and what it may spend."""
    return CallContext(
        principal=Principal(tenant=request.tenant, key=request.key, clearance=clearance),
        egress=[],
        outgoing={},
        limits=() if request.budget is None else (request_allowance(request.budget),),
        release_slot=request.release_slot,
    )


def check_specialist(request: Request, specialists: Mapping[str, Specialist], untrained: Collection[str] = ()) -> None:
    """Check a pinned specialist. Raises `UnknownSpecialist` if it does not exist, `NotTrained` if it has no version."""
    name = request.specialist
    if name in untrained and (not request.allowed or name in request.allowed):
        raise NotTrained(f"Specialist {name!r} is not trained yet.", hint=f"Train it: coterie train {name}")
    if request.specialist is not None and request.specialist not in specialists:
        raise UnknownSpecialist(
            f"Asked for specialist {request.specialist!r}; this network has {sorted(specialists)}.",
            hint="Use one of these names, or leave it out to let the router choose.",
        )


async def label_request(
    request: Request, default: Label, detector: Detector, *, seen: Sighting | None = None
) -> tuple[Request, tuple[Verdict, ...]]:
    """Return the request and its document with their labels: raised by the findings in them, or released.

    Args:
        request: The request; its label may be missing.
        default: Its label if it has none.
        detector: Finds personal data and secrets.
        seen: The findings in the request's texts.

    Raises:
        ReleaseRefused: it is to be released, and holds a secret, or is restricted; or the reason is not valid.
    """
    declared = request.label or default
    seen = (await _look(detector, texts_of(request))).sighting() if seen is None else seen
    if request.columns:  # a value may say what it is by the name beside it alone: a password, a date of birth
        seen |= (await _look(detector, [json.dumps(dict(request.columns), ensure_ascii=False)])).sighting()
    label, verdicts = max(declared, seen.label), []
    request = replace(request, label=label, label_without_pii=max(declared, seen.label_without_pii))
    if label > declared:
        verdicts.append(_raised(declared, label, seen, "what was asked"))
    if request.document is not None:
        document, raised = await _label_document(request.document, declared, detector)
        request = replace(request, document=document)
        verdicts += raised
    if request.release is not None:
        request, released = _release(request, request.release, detector)
        verdicts.append(released)
    return request, tuple(verdicts)


async def _label_document(document: Document, least: Label, detector: Detector) -> tuple[Document, Sequence[Verdict]]:
    declared = max(document.label or least, least)
    seen = (await _look(detector, [document.name, document.text])).sighting()
    label, bare = max(declared, seen.label), max(declared, seen.label_without_pii)
    verdicts = [_raised(declared, label, seen, "its document")] if label > declared else []
    return replace(document, label=label, label_without_pii=bare), verdicts


async def _suspected(request: Request, brought: Sequence[str]) -> tuple[Verdict, ...]:
    """Return orders to a model in a request and in its document; long texts are read in a thread."""

    def read() -> tuple[Verdict, ...]:
        return suspect(texts_of(request), "what was asked") + suspect(brought, "its document")

    return await aside(sum(map(len, texts_of(request))) + sum(map(len, brought)), read)


def _distinct(texts: Sequence[str]) -> list[str]:
    """Return the texts as they are searched: a prompt asks a question without the white space around it."""
    return list(filter(None, dict.fromkeys(map(str.strip, texts))))


async def _look(detector: Detector, texts: Sequence[str]) -> Look:
    size = AT_ONCE + 1 if worth_a_thread(detector, texts) else 0
    return await aside(size, partial(Look.at, detector, texts))


def _raised(declared: Label, label: Label, seen: Sighting, where: str) -> Verdict:
    reason = Reason("label.raised", declared=declared.value, label=label.value, found=str(seen), where=where)
    return Verdict(allowed=True, rule=RAISED, reason=reason)


# --- Release -------------------------------------------------------------------------------------


def _release(request: Request, release: Release, detector: Detector) -> tuple[Request, Verdict]:
    """Lower the label of the request and of a document that came with it; return the request and the verdict."""
    label = label_of(request)
    _check_release(request, release, detector)
    document = request.document
    if document is not None and not document.index:
        lowered = min(document.label or label, release.to)
        document = replace(document, label=lowered, label_without_pii=lowered)
    lowered = min(label, release.to)
    reason = Reason("label.released", label=label.value, lowered=lowered.value, because=release.because.strip())
    request = replace(request, label=lowered, label_without_pii=lowered, document=document)
    return request, Verdict(allowed=True, rule=RELEASED, reason=reason)


def _check_release(request: Request, release: Release, detector: Detector) -> None:
    """Check that a release is permitted. Raises `ReleaseRefused`."""
    inline = request.document if request.document is not None and not request.document.index else None
    labels = [label_of(request), *([inline.label] if inline is not None and inline.label is not None else [])]
    because = release.because.strip()
    if max(labels) == Label.RESTRICTED:
        raise _refusal(Reason("release.restricted"))
    if not because or len(because) > _LONGEST_REASON:
        raise _refusal(Reason("release.no_reason", given=len(because), most=_LONGEST_REASON))
    if (sighting := sight(detector, [because])).counts:
        raise _refusal(Reason("release.personal_data", found=str(sighting)))


def _refusal(reason: Reason) -> ReleaseRefused:
    return ReleaseRefused(
        Verdict(allowed=False, rule=RELEASED, reason=reason),
        hint="Send the request without the release: it is then worked on at its own label.",
    )


def _history(request: Request, context: Context, now: float) -> tuple[Entry, ...]:
    """Return earlier turns that the caller sent and the session does not remember; they are not stored again."""
    if not request.history:
        return ()
    label, bare = label_of(request), request.label_without_pii
    remembered = {entry.content for entry in context.entries if isinstance(entry.content, Message)}
    turns = (turn for turn in request.history[-_MOST_TURNS:] if turn not in remembered)
    return tuple(
        Entry(content=turn, producer=turn.role, label=label, label_without_pii=bare, time=now) for turn in turns
    )
