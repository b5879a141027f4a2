"""`POST /v1/embeddings`: the encoder that router and specialists share."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.errors import EngineBroken
from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody, encode
from coterie.gateway.errors import WireError
from coterie.gateway.exchange import ignored_header
from coterie.gateway.openai.translation import ROUTED, unread_options
from coterie.gateway.wire import EmbeddingsRequest
from coterie.gateway.work import Gateway
from coterie.observe.plain import EGRESS_HEADER
from coterie.types import AuditEvent, CallContext, Output, Principal, Step, Usage, total_usage

T = TypeVar("T")

MOST_INPUTS = 2048
"""Texts of one request, as at OpenAI."""

_SLICE = 32
"""Texts encoded at once, so that a long list leaves room for others' requests between."""


def embed(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """What answers an embeddings request. Raises `WireError` or pydantic's `ValidationError`."""
    wire = EmbeddingsRequest.model_validate_json(body)
    if wire.model != ROUTED:
        raise WireError(
            "model_not_found", f"Asked for model {wire.model[:100]!r}; embeddings come from {ROUTED!r}.", param="model"
        )
    return Embedding(
        gateway=gateway,
        principal=Principal(tenant=caller.tenant, key=caller.key_id),
        texts=read_inputs(wire.input),
        ignored=unread_options(wire.model_extra),
        as_base64=wire.encoding_format == "base64",
        dimensions=wire.dimensions,
    )


def read_inputs(given: str | list[str] | list[int] | list[list[int]]) -> list[str]:
    """The texts to encode. Raises `WireError` when there are none, too many, or any is empty or not a text."""
    texts = [given] if isinstance(given, str) else given
    if not 0 < len(texts) <= MOST_INPUTS:
        raise WireError("invalid_request", f"Found {len(texts)} inputs; 1 to {MOST_INPUTS} can be sent.", param="input")
    checked = []
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise WireError(
                "unsupported_content",
                "The input holds token ids, which belong to another model's vocabulary; send texts "
                "(in LangChain: check_embedding_ctx_length=False).",
                param="input",
            )
        if not text.strip():
            raise WireError("invalid_request", f"Input {place} is empty.", param=f"input[{place}]")
        checked.append(text)
    return checked


@dataclass(frozen=True, kw_only=True)
class EncoderRequest:
    """A request that the encoder alone answers: budgeted, priced, and written into the audit log."""

    gateway: Gateway
    principal: Principal
    """Who pays."""
    texts: Sequence[str]
    ignored: frozenset[str]
    """What the request asked for and nobody does here."""
    kind: ClassVar[str] = "embed"
    """Of the audit entry."""
    producer: ClassVar[str] = "embeddings"
    """In ledger and counters."""

    async def _encoded(self, write: Callable[[Output], T], *, states: bool = False) -> tuple[list[T], int]:
        """What `write` makes of each text's output, and the tokens that were read."""
        made: list[T] = []
        took: list[Usage] = []
        network = self.gateway.network
        began, call = network.clock(), CallContext(principal=self.principal)
        async with self._paid(took):
            for start in range(0, len(self.texts), _SLICE):
                for output in await network.embed(self.texts[start : start + _SLICE], states=states, call=call):
                    took.append(output.usage)
                    made.append(write(output))
                    await asyncio.sleep(0)  # a vector at a time: to write them all takes half a second
        steps = self._steps(took)
        if network.audit is not None:
            await network.audit.append(self._entry(began, steps, network.audit.digest))
        self.gateway.metrics.count_steps(steps)
        return made, sum(usage.tokens_in for usage in took)

    @asynccontextmanager
    async def _paid(self, took: Sequence[Usage]) -> AsyncIterator[None]:
        """Counted by the budgets as one request, with what it took by its end. Raises `BudgetExceeded`."""
        network = self.gateway.network
        if network.limits is None:
            yield
            return
        reserved = await network.limits.admit(self.principal, earns=False)
        try:
            yield
        finally:
            await network.limits.settle(reserved, total_usage(step.usage for step in self._steps(took)))

    def _steps(self, took: Sequence[Usage]) -> list[Step]:
        """What was done, priced."""
        network = self.gateway.network
        steps = (Step(producer=self.producer, engine=network.encoder.name, usage=usage) for usage in took)
        return [network.meter.price(step) for step in steps]

    def _entry(self, began: float, steps: Sequence[Step], digest: Callable[[str], str]) -> AuditEvent:
        """The entry of the audit log: who had how many texts encoded, and a hash of them."""
        cost = total_usage(step.usage for step in steps).cost
        about = {
            "key": self.principal.key,
            "texts": len(self.texts),
            "asked": digest("\n".join(self.texts)),
            "encoder": self.gateway.network.encoder.name,
            "cost": None if cost is None else str(cost),
        }
        return AuditEvent(kind=self.kind, time=began, tenant=self.principal.tenant, about=about)


@dataclass(frozen=True, kw_only=True)
class Embedding(EncoderRequest):
    """The vectors of some texts."""

    as_base64: bool
    dimensions: int | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Encode and answer."""
        vectors, tokens = await self._encoded(lambda output: encode(self._write(output)))
        data = [
            b'{"object":"embedding","index":%d,"embedding":%b}' % (index, vector)
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        rest = encode({"object": "list", "model": ROUTED, "usage": usage})
        body = b'{"data":[' + b",".join(data) + b"]," + rest[1:]
        headers = {EGRESS_HEADER: "none", **ignored_header(self.ignored)}
        await Response(body, headers=headers, media_type=JSONBody.media_type)(scope, receive, send)

    def _write(self, output: Output) -> str | list[float]:
        """One vector as asked for. Raises `WireError` for a number of dimensions the encoder does not have."""
        vector = output.vector
        if vector is None:
            raise EngineBroken("The encoder gave no vector.", engine=self.gateway.network.encoder.name)
        if self.dimensions not in {None, len(vector)}:
            message = f"Asked for {self.dimensions} dimensions; this encoder has {len(vector)}."
            raise WireError("unsupported_parameter", message, param="dimensions")
        if self.as_base64:
            return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
        return [float(number) for number in vector]
