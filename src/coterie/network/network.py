"""A network: the pipeline with the parts that have a default, and what is asked of it beside requests."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from time import time as wall_clock

from coterie.config.decisions import DecisionsSection
from coterie.decisions.deciding import Decider
from coterie.decisions.zero_shot import ZeroShot
from coterie.generalist.collaboration import DocumentReading
from coterie.generalist.reading import default_reader
from coterie.governance.pseudonyms import PseudonymBook
from coterie.network.admission import Admission, Inspected
from coterie.network.gathering import SecretFinder
from coterie.network.pipeline import Pipeline
from coterie.network.relaying import RelayAnswer, Relayed, RelayModel, relay
from coterie.policy.cost_quality import CostQualityPolicy
from coterie.privacy.detection import Detector
from coterie.privacy.patterns import PatternDetector
from coterie.protocols import Audit, Engine, Flywheel, Limits, Overhead, Retriever, Specialist, TurnModel
from coterie.runtime.known import KnownTexts
from coterie.types import Answer, CallContext, Context, Label, Output, Prompt, RelayHead, Request

_BYTES, _BLOCK = 10, 256
"""Random ones of one id, and ids that the system is asked for at once."""
_TIMES = (1 << 48) - 1


class RandomIds:
    """Makes ids of 32 hexadecimal digits: milliseconds since the epoch, and 80 random bits.

    Ids of one moment begin alike, so their rows lie side by side in every tree of the store: sixteen requests of one
    commit change 46 pages, and with ids in no order 134. Each call of the system gives the interpreter's lock away,
    which an event loop then waits for: so it is asked for many ids at once. A forked process makes others than its
    parent.
    """

    def __init__(self, clock: Callable[[], float] = wall_clock) -> None:
        self._clock = clock
        self._lock, self._left, self._process = Lock(), b"", 0

    def new(self) -> str:
        """A new id."""
        with self._lock:
            if not self._left or self._process != os.getpid():
                self._left, self._process = os.urandom(_BYTES * _BLOCK), os.getpid()
            found, self._left = self._left[:_BYTES], self._left[_BYTES:]
        return f"{int(self._clock() * 1000) & _TIMES:012x}{found.hex()}"


_MOST_LOOKED = 8192
"""Texts of all tenants together of which it is remembered what was found in them."""


@dataclass(kw_only=True)
class Network(Pipeline):
    """Specialists with a router before them, a store behind them and, perhaps, a generalist above them.

    Build one with `coterie.open_network(folder)`, or from your own implementations of the protocols.
    """

    encoder: Engine
    knowledge: Mapping[str, Retriever] = field(default_factory=dict)
    """Indexes by their `[knowledge]` key; closed with the network."""
    generalist: Specialist | None = None
    reader: Specialist | None = None
    """Reads the documents that requests bring; None for the one that comes with Coterie."""
    untrained: Sequence[str] = ()
    """Specialists of the file without a version: the others answer, and a request that names one of these fails."""
    escalate_out_of_scope: bool = False
    default_label: Label = Label.INTERNAL
    language: str = "en"
    """Of a request whose own cannot be told."""
    name: str = "network"
    engines: Sequence[Engine] = ()
    """Closed with the network."""
    models: Mapping[str, RelayModel] = field(default_factory=dict)
    """What can be asked alone, by `[models]` key."""
    audit: Audit | None = None
    """Where each request is written down; closed with the network."""
    limits: Limits | None = None
    """How much may be asked; closed with the network."""
    detector: Detector = field(default_factory=PatternDetector)
    """Finds the personal data and the secrets that raise a request's label."""
    pseudonyms: PseudonymBook = field(default_factory=PseudonymBook)
    """What stands for what in which session, at the engines that see pseudonyms only."""
    overhead: Overhead | None = None
    deciding: DecisionsSection = field(default_factory=DecisionsSection)
    """Who answers typed questions."""
    zero_shot: Mapping[str, ZeroShot] = field(default_factory=dict)
    """What answers them without training, by `[models]` key, beside the encoder."""
    deciding_encoders: tuple[Engine, ...] = ()
    """The encoders that weigh choices without training; none means the network's own alone."""
    turns: TurnModel | None = None
    """Tells follow-ups from questions that stand alone, for the encoder; None where the package has none for it."""
    policy: CostQualityPolicy = field(default_factory=CostQualityPolicy)
    flywheel: Flywheel | None = None
    """Captures calls, and answers for deployments; closed with the network. None does neither."""
    clock: Callable[[], float] = wall_clock
    new_id: Callable[[], str] = field(default_factory=lambda: RandomIds().new)

    async def ask(self, request: Request, *, trace_id: str | None = None) -> Answer:
        """The whole answer at once. Raises what `stream` raises."""
        return (await self.whole(request, trace_id=trace_id)).answer

    async def prepare(self, request: Request) -> tuple[Request, Context]:
        """A request as the router gets it, self-contained, and what is known beside it.

        Nothing is asked and nothing is written down. Raises `InputError` where the request cannot be served.
        """
        admitted = await self.admission.prepare(request, now=self.clock())
        question, _, _ = await self.admission.rewrite(admitted.request, admitted.context, call=admitted.call)
        return question, admitted.context

    async def embed(self, texts: Sequence[str], *, states: bool = False, call: CallContext) -> Sequence[Output]:
        """One vector a text, from the encoder that router and specialists share; its tokens' `states` on request."""
        return await self.encoder.run([Prompt(text=text, states=states) for text in texts], call=call)

    def relay(
        self, relayed: Relayed, *, trace_id: str | None = None
    ) -> AsyncGenerator[RelayHead | RelayAnswer | bytes]:
        """Ask one model verbatim; what it says, as it comes. See `network.relaying.relay`."""
        return relay(self, self.models[relayed.model], relayed, trace_id=trace_id or self.new_id())

    async def close(self) -> None:
        """Finish what is queued in the store and free engines and files, each even if another one fails."""
        async with AsyncExitStack() as last_first:
            if self.audit is not None:
                last_first.push_async_callback(self.audit.close)  # what the store's thread wrote there is in it
            last_first.push_async_callback(self.store.close)
            if self.flywheel is not None:
                last_first.push_async_callback(self.flywheel.close)
            if self.limits is not None:
                last_first.push_async_callback(self.limits.close)
            for engine in reversed(self.engines):
                last_first.push_async_callback(engine.close)
            for index in self.knowledge.values():
                last_first.push_async_callback(index.close)

    @property
    def admission(self) -> Admission:
        """What requests are let in with."""
        return Admission(
            specialists=self.specialists,
            untrained=self.untrained,
            knowledge=self.knowledge,
            store=self.store,
            default_label=self.default_label,
            language=self.language,
            detector=self.detector,
            pseudonyms=self.pseudonyms,
            policy=self.policy,
            encoder=self.encoder,
            turns=self.turns,
            audit=self.audit,
            looked=self.looked,
        )

    @cached_property
    def looked(self) -> KnownTexts[Inspected]:
        """What the detector found in texts that were asked before, apart for each tenant."""
        return KnownTexts(_MOST_LOOKED)

    @cached_property
    def secrets(self) -> SecretFinder:
        """Finds secrets in passages, and remembers where there was one."""
        return SecretFinder(self.detector)

    @cached_property
    def decider(self) -> Decider:
        """Answers typed questions, and remembers the options that it has encoded."""
        return Decider(
            specialists=self.specialists,
            encoder=self.encoder,
            section=self.deciding,
            models=self.zero_shot,
            choosing=self.deciding_encoders,
            flywheel=self.flywheel,
        )

    def inherit(self, before: Network) -> None:
        """Go on with what a network whose place this one takes has learnt from requests, and holds in memory alone."""
        if self.deciding.adapt and before.deciding.adapt:
            self.decider.inherit(before.decider)

    @property
    def documents(self) -> DocumentReading:
        """Who reads the documents that requests bring."""
        return DocumentReading(self.reader or self._own_reader)

    @cached_property
    def _own_reader(self) -> Specialist:
        return default_reader(self.encoder)
