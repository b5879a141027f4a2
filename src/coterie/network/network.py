"""A network: the pipeline with default components, and operations other than requests."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from time import time as wall_clock

from coterie.config.operation import DecisionsSection
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
from coterie.runtime.caches import KnownTexts
from coterie.types import Answer, CallContext, Context, Label, Output, Prompt, RelayHead, Request

_BYTES, _BLOCK = 10, 256
"""Random bytes of one id, and the number of ids whose bytes are requested from the system at once."""
_TIMES = (1 << 48) - 1


class RandomIds:
    """Makes ids of 32 hexadecimal digits: milliseconds since the epoch, and 80 random bits.

    Ids of one moment have the same prefix, so their rows lie side by side in every tree of the store: sixteen
    requests of one commit change 46 pages, and 134 with unordered ids. Each system call releases the
    interpreter's lock, for which an event loop then waits: so many ids are requested at once. A forked process
    makes other ids than its parent.
    """

    def __init__(self, clock: Callable[[], float] = wall_clock) -> None:
        self._clock = clock
        self._lock, self._left, self._process = Lock(), b"", 0

    def new(self) -> str:
        """Return a new id."""
        with self._lock:
            if not self._left or self._process != os.getpid():
                self._left, self._process = os.urandom(_BYTES * _BLOCK), os.getpid()
            random_bytes, self._left = self._left[:_BYTES], self._left[_BYTES:]
        return f"{int(self._clock() * 1000) & _TIMES:012x}{random_bytes.hex()}"


_MOST_LOOKED = 8192
"""Most texts, of all tenants together, whose findings are cached."""


@dataclass(kw_only=True)
class Network(Pipeline):
    """Specialists with a router before them, a store behind them and, optionally, a generalist above them.

    Build one with `coterie.open_network(folder)`, or from your own implementations of the protocols.
    """

    encoder: Engine
    knowledge: Mapping[str, Retriever] = field(default_factory=dict)
    """Indexes by their `[knowledge]` key; closed with the network."""
    generalist: Specialist | None = None
    reader: Specialist | None = None
    """Reads the documents that requests bring; None for the bundled reader."""
    untrained: Sequence[str] = ()
    """Configured specialists without a version: the others answer, and a request that names one of these fails."""
    escalate_out_of_scope: bool = False
    default_label: Label = Label.INTERNAL
    language: str = "en"
    """Language of a request whose own cannot be detected."""
    name: str = "network"
    engines: Sequence[Engine] = ()
    """Engines that are closed with the network."""
    models: Mapping[str, RelayModel] = field(default_factory=dict)
    """Models that can be called directly, by `[models]` key."""
    audit: Audit | None = None
    """Audit log of each request; closed with the network."""
    limits: Limits | None = None
    """Limits on spending; closed with the network."""
    detector: Detector = field(default_factory=PatternDetector)
    """Finds the personal data and the secrets that raise a request's label."""
    pseudonyms: PseudonymBook = field(default_factory=PseudonymBook)
    """Pseudonyms of each session, for engines that see pseudonyms only."""
    overhead: Overhead | None = None
    deciding: DecisionsSection = field(default_factory=DecisionsSection)
    """Settings of typed questions."""
    zero_shot: Mapping[str, ZeroShot] = field(default_factory=dict)
    """Models that answer typed questions without training, by `[models]` key, beside the encoder."""
    deciding_encoders: tuple[Engine, ...] = ()
    """Encoders that score choices without training; empty for the network's own encoder alone."""
    turns: TurnModel | None = None
    """Distinguishes follow-ups from self-contained questions; None if the package has no model for the encoder."""
    policy: CostQualityPolicy = field(default_factory=CostQualityPolicy)
    flywheel: Flywheel | None = None
    """Captures calls, and answers for deployments; closed with the network. None does neither."""
    clock: Callable[[], float] = wall_clock
    new_id: Callable[[], str] = field(default_factory=lambda: RandomIds().new)

    async def ask(self, request: Request, *, trace_id: str | None = None) -> Answer:
        """Return the whole answer at once. Raises what `stream` raises."""
        return (await self.whole(request, trace_id=trace_id)).answer

    async def prepare(self, request: Request) -> tuple[Request, Context]:
        """Return a request in the self-contained form that the router gets, and its context.

        Nothing is asked and nothing is written down. Raises `InputError` if the request cannot be served.
        """
        admitted = await self.admission.prepare(request, now=self.clock())
        question, _, _ = await self.admission.rewrite(admitted.request, admitted.context, call=admitted.call)
        return question, admitted.context

    async def embed(self, texts: Sequence[str], *, states: bool = False, call: CallContext) -> Sequence[Output]:
        """Return one vector a text, from the encoder of router and specialists, with token `states` on request."""
        return await self.encoder.run([Prompt(text=text, states=states) for text in texts], call=call)

    def relay(
        self, relayed: Relayed, *, trace_id: str | None = None
    ) -> AsyncGenerator[RelayHead | RelayAnswer | bytes]:
        """Call one model verbatim and yield its output as it arrives. See `network.relaying.relay`."""
        return relay(self, self.models[relayed.model], relayed, trace_id=trace_id or self.new_id())

    async def close(self) -> None:
        """Finish the store's queue and free engines and files, each even if another one fails."""
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
        """The components that requests are admitted with."""
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
        """The cache of detector findings in earlier texts, separate for each tenant."""
        return KnownTexts(_MOST_LOOKED)

    @cached_property
    def secrets(self) -> SecretFinder:
        """Finds secrets in passages, and caches the result."""
        return SecretFinder(self.detector)

    @cached_property
    def decider(self) -> Decider:
        """Answers typed questions, and caches the options that it has encoded."""
        return Decider(
            specialists=self.specialists,
            encoder=self.encoder,
            section=self.deciding,
            models=self.zero_shot,
            choosing=self.deciding_encoders,
            flywheel=self.flywheel,
        )

    def inherit(self, before: Network) -> None:
        """Take over what the replaced network learnt from requests and holds in memory alone."""
        if self.deciding.adapt and before.deciding.adapt:
            self.decider.inherit(before.decider)

    @property
    def documents(self) -> DocumentReading:
        """The reader of documents that requests bring."""
        return DocumentReading(self.reader or self._own_reader)

    @cached_property
    def _own_reader(self) -> Specialist:
        return default_reader(self.encoder)
