"""`POST /v1/embeddings`, `/v1/rerank` and `/v1/score`, by the encoder that router and specialists share.

The score is the mean of two similarities, both from 0 to 1: that of the whole texts, and how well each token of the
query is matched by some token of the text (late interaction, Khattab and Zaharia 2020). It is for ranking and no
probability.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import ConfigDict, Field, StrictBool, StrictInt
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.errors import EngineBroken
from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody, encode
from coterie.gateway.errors import WireError
from coterie.gateway.openai.translation import ROUTED, unread_options
from coterie.gateway.wire import EmbeddingsRequest, Wire, read_wire
from coterie.gateway.work import Gateway, ignored_header
from coterie.observe.plain import EGRESS_HEADER
from coterie.runtime.concurrency import aside
from coterie.types import AuditEvent, CallContext, Output, Principal, Step, Usage, total_usage

T = TypeVar("T")

MOST_INPUTS = 2048
"""Most texts of one request, as in OpenAI's API."""

_SLICE = 32
"""Texts encoded at once, so that a long list lets other requests run in between."""


def embed(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """Return the ASGI app for an embeddings request. Raises `WireError` or pydantic's `ValidationError`."""
    wire = read_wire(EmbeddingsRequest, body)
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
    """Return the texts to encode. Raises `WireError` when there are none, too many, or one is empty or no text."""
    texts = [given] if isinstance(given, str) else given
    if not 0 < len(texts) <= MOST_INPUTS:
        raise WireError("invalid_request", f"Found {len(texts)} inputs; 1 to {MOST_INPUTS} can be sent.", param="input")
    checked = []
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise WireError(
                "unsupported_content",
                "The input holds token ids, which belong to another model's vocabulary; send texts "
                "(in LangChain: check_embedding_ctx_length=False).",
                param="input",
            )
        if not text.strip():
            raise WireError("invalid_request", f"Input {index} is empty.", param=f"input[{index}]")
        checked.append(text)
    return checked


@dataclass(frozen=True, kw_only=True)
class EncoderRequest:
    """A request that the encoder alone answers: budgeted, priced, and recorded in the audit log."""

    gateway: Gateway
    principal: Principal
    """The principal that pays."""
    texts: Sequence[str]
    ignored: frozenset[str]
    """Options of the request that have no effect here."""
    kind: ClassVar[str] = "embed"
    """Kind of the audit entry."""
    producer: ClassVar[str] = "embeddings"
    """Producer in ledger and counters."""

    async def _encoded(self, write: Callable[[Output], T], *, states: bool = False) -> tuple[list[T], int]:
        """Encode the texts; return `write` of each output, and the tokens that were read."""
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
        """Count the block as one request in the budgets, with its usage at the end. Raises `BudgetExceeded`."""
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
        """Return the steps with their prices."""
        network = self.gateway.network
        steps = (Step(producer=self.producer, engine=network.encoder.name, usage=usage) for usage in took)
        return [network.meter.price(step) for step in steps]

    def _entry(self, began: float, steps: Sequence[Step], digest: Callable[[str], str]) -> AuditEvent:
        """Return the entry of the audit log: caller, number of texts, and their hash."""
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
        """Return one vector in the requested form. Raises `WireError` for an unsupported number of dimensions."""
        vector = output.vector
        if vector is None:
            raise EngineBroken("The encoder gave no vector.", engine=self.gateway.network.encoder.name)
        if self.dimensions not in {None, len(vector)}:
            message = f"Asked for {self.dimensions} dimensions; this encoder has {len(vector)}."
            raise WireError("unsupported_parameter", message, param="dimensions")
        if self.as_base64:
            return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
        return [float(number) for number in vector]


Text = Annotated[str, Field(max_length=200_000)]


class RerankDocument(Wire):
    """A document as an object."""

    text: Text


class RerankRequest(Wire):
    """`POST /v1/rerank`, in the format of Cohere, Jina and vLLM."""

    model_config = ConfigDict(extra="allow")

    model: str
    """Name of the model: `coterie`, the encoder that router and specialists share."""
    query: Text
    documents: Annotated[list[Text | RerankDocument], Field(min_length=1, max_length=MOST_INPUTS - 1)]
    top_n: Annotated[StrictInt, Field(ge=1)] | None = None
    """Number of best documents to return; by default, all."""
    return_documents: StrictBool = True


class RerankUsage(Wire):
    """Tokens that the encoder read."""

    total_tokens: int


class RerankResult(Wire):
    """Rank and score of one document."""

    index: int
    """Position of the document in the request."""
    relevance_score: float
    """Score from 0 to 1, higher is better; no probability."""
    document: RerankDocument | None = None


class RerankResponse(Wire):
    """Response of `POST /v1/rerank`, the best document first."""

    id: str
    model: str
    results: list[RerankResult]
    usage: RerankUsage


class ScoreRequest(Wire):
    """`POST /v1/score`, in vLLM's format."""

    model_config = ConfigDict(extra="allow")

    model: str
    """Name of the model: `coterie`."""
    text_1: Text | Annotated[list[Text], Field(min_length=1, max_length=MOST_INPUTS // 2)]
    """A text, or one per text of `text_2`."""
    text_2: Text | Annotated[list[Text], Field(min_length=1, max_length=MOST_INPUTS // 2)]


class ScoreView(Wire):
    """One pair's score."""

    index: int
    object: Literal["score"]
    score: float


class ScoreResponse(Wire):
    """Response of `POST /v1/score`, in the order of the pairs."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[ScoreView]
    usage: RerankUsage


def rerank(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """Return the ASGI app for a rerank request. Raises `WireError` or pydantic's `ValidationError`."""
    wire = read_wire(RerankRequest, body)
    _check(wire.model)
    documents = [document if isinstance(document, str) else document.text for document in wire.documents]
    _check_texts([("query", wire.query), *((f"documents[{i}]", text) for i, text in enumerate(documents))])
    return Reranking(
        gateway=gateway,
        principal=Principal(tenant=caller.tenant, key=caller.key_id),
        texts=[wire.query, *documents],
        pairs=[(0, i + 1) for i in range(len(documents))],
        wire=wire,
        ignored=unread_options(wire.model_extra),
    )


def score(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """Return the ASGI app for a score request. Raises `WireError` or pydantic's `ValidationError`."""
    wire = read_wire(ScoreRequest, body)
    _check(wire.model)
    firsts, seconds = ([value] if isinstance(value, str) else value for value in (wire.text_1, wire.text_2))
    if len(firsts) not in {1, len(seconds)}:
        problem = f"text_1 has {len(firsts)} texts and text_2 has {len(seconds)}; one, or as many."
        raise WireError("invalid_request", problem, param="text_1")
    named = [("text_1", text) for text in firsts] + [("text_2", text) for text in seconds]
    _check_texts(named)
    return Reranking(
        gateway=gateway,
        principal=Principal(tenant=caller.tenant, key=caller.key_id),
        texts=[*firsts, *seconds],
        pairs=[(min(i, len(firsts) - 1), len(firsts) + i) for i in range(len(seconds))],
        wire=None,
        ignored=unread_options(wire.model_extra),
    )


def _check(model: str) -> None:
    if model != ROUTED:
        problem = f"Asked for model {model[:100]!r}; scores come from {ROUTED!r}."
        raise WireError("model_not_found", problem, param="model")


def _check_texts(named: Sequence[tuple[str, str]]) -> None:
    for name, text in named:
        if not text.strip():
            raise WireError("invalid_request", f"{name} is empty.", param=name)


@dataclass(frozen=True, kw_only=True)
class Reranking(EncoderRequest):
    """Scores of pairs of texts."""

    kind: ClassVar[str] = "rerank"
    producer: ClassVar[str] = "rerank"
    pairs: Sequence[tuple[int, int]]
    """Positions of query and text in `texts`."""
    wire: RerankRequest | None
    """The rerank request; None where scores in the order of the pairs are requested."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Encode, compare and answer."""
        encoded, tokens = await self._encoded(lambda output: output, states=True)
        size = sum(map(len, self.texts)) * 8  # comparing tokens costs more than reading characters
        scores: list[float] = await aside(size, lambda: [likeness(encoded[a], encoded[b]) for a, b in self.pairs])
        network = self.gateway.network
        head: dict[str, Any] = {"model": ROUTED, "usage": {"total_tokens": tokens}}
        if self.wire is None:
            data = [{"index": i, "object": "score", "score": value} for i, value in enumerate(scores)]
            head |= {"id": f"score-{network.new_id()}", "object": "list", "created": int(network.clock()), "data": data}
        else:
            head |= {"id": f"rerank-{network.new_id()}", "results": self._ordered(scores, self.wire)}
        await JSONBody(head, headers={EGRESS_HEADER: "none", **ignored_header(self.ignored)})(scope, receive, send)

    def _ordered(self, scores: Sequence[float], wire: RerankRequest) -> list[dict[str, Any]]:
        """Return the results, best first; equal ones in the order of the request."""
        order = sorted(range(len(scores)), key=lambda i: -scores[i])[: wire.top_n]
        results: list[dict[str, Any]] = [{"index": i, "relevance_score": scores[i]} for i in order]
        if wire.return_documents:
            for result in results:
                result["document"] = {"text": self.texts[result["index"] + 1]}
        return results


def likeness(query: Output, text: Output) -> float:
    """Return the score of a text for a query, from 0 to 1."""
    signs = [_cosine(np.asarray(query.vector), np.asarray(text.vector))]
    if query.states is not None and text.states is not None and len(query.states) and len(text.states):
        matches = _unit(query.states) @ _unit(text.states).T  # (Q, T)
        signs.append(float(matches.max(axis=1).mean()))
    return round((sum(signs) / len(signs) + 1) / 2, 6)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), dtype=np.float32)
