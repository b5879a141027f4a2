"""Models of the HTTP API: OpenAI's formats, with a `coterie` object.

Requests are checked with these models. Like on OpenAI's servers, unknown parameters are accepted without effect;
parameters that are only defined to be refused are those whose silent absence would break a caller. The
`coterie` object is Coterie's own, so an unknown key in it is an error. Responses are built as plain dicts
(`translation.py`) and described by these models in `/openapi.json`; a test compares the two.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from coterie.config.section import Money
from coterie.gateway.errors import WireError
from coterie.runtime.codec import strict_json
from coterie.types import Label

_INT64 = 2**63


class Wire(BaseModel):
    """Part of a request in OpenAI's format; unknown fields are accepted."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class _ResponsePart(BaseModel):
    """Part of a response."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, extra="forbid")


# --- Bodies --------------------------------------------------------------------------------------

W = TypeVar("W", bound=BaseModel)


def read_wire(kind: type[W], body: bytes) -> W:
    """Validate the body of an endpoint. Raises `WireError` for invalid JSON, else pydantic's `ValidationError`."""
    read_strict(body)
    return kind.model_validate_json(body)


def read_strict(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON of a body. Raises `WireError` for invalid or ambiguous JSON."""
    try:
        return strict_json(body)
    except ValueError as error:
        raise WireError("invalid_json", f"The body is not valid JSON: {str(error)[:200]}.") from None


# --- Requests ------------------------------------------------------------------------------------


def _check_cell(value: object, check: ValidatorFunctionWrapHandler) -> object:
    """Check a cell with one error message instead of one per type."""
    try:
        return check(value)
    except ValidationError:
        message = "a column holds a text of at most 10000 characters, a finite number, true, false or null"
        raise PydanticCustomError("cell", message) from None


Cell = Annotated[
    StrictBool
    | Annotated[StrictInt, Field(ge=-_INT64, lt=_INT64)]
    | Annotated[StrictFloat, Field(allow_inf_nan=False)]
    | Annotated[StrictStr, Field(max_length=10_000)]
    | None,
    WrapValidator(_check_cell),
]
"""A value of one column. A whole number of more than 64 bits becomes a float."""


class DocumentWire(Wire):
    """A long text that the question is about."""

    model_config = ConfigDict(extra="forbid")

    text: str = ""
    """The text; left out for a document of an index."""
    name: Annotated[str, Field(min_length=1, max_length=500)] = "document"
    """Name for citations; for a document of an index, its name there."""
    label: Label | None = None
    """Sensitivity of the document, where it is above the request's."""
    index: Annotated[str, Field(validation_alias=AliasChoices("index", "shelf"))] = ""
    """The index with the document, a `[knowledge]` key that a specialist reads."""


class ReleaseWire(Wire):
    """An order to lower the label of the request in spite of personal data in it. It needs an `admin` key."""

    model_config = ConfigDict(extra="forbid")

    to: Label
    """The new label. Content with a secret is not released."""
    because: Annotated[str, Field(min_length=1, max_length=300)]
    """The reason; it is stored in the trace and in the audit log, so it must not contain personal data."""


class Extension(Wire):
    """The `coterie` object of a request (`extra_body={"coterie": {...}}` in the openai client)."""

    model_config = ConfigDict(extra="forbid")

    session: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    """Name of a conversation that is remembered."""
    label: Label | None = None
    """Sensitivity of the request: `public`, `internal`, `confidential` or `restricted`."""
    release: ReleaseWire | None = None
    """Lowers the label of text, columns, messages and a sent document; it is recorded in the audit log."""
    clearance: Label | None = None
    """The most sensitive label whose documents may be read for it; at most the network's default label."""
    columns: Annotated[dict[Annotated[str, Field(max_length=200)], Cell], Field(max_length=1000)] | None = None
    """Structured input, by column name; without it, a JSON object in the user's message is used."""
    document: str | DocumentWire | None = None
    """A long text that the question is about, or an object with `text` or `index`, `name`, `label`.

    The document is read on this machine.
    """
    language: Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")] | None = None
    """Language of the last user message, such as `de` or `en-GB`; by default, it is detected."""
    abstain: Literal["refusal", "content_filter", "text", "status"] | None = None
    """Form of an abstention, instead of `[gateway] abstain`; `content_filter`: a refusal with that finish reason."""
    quality: Annotated[StrictFloat, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """Share of the generalist's quality to keep, at the least cost, instead of the network's."""
    budget: Money | None = None
    """Money per 1,000 such requests, instead of a quality: this one may cost a thousandth of it."""


class ContentPart(Wire):
    """One part of a message's content; only text is supported."""

    type: str
    """Type of the part: `text`; also `refusal` in an assistant's message."""
    text: str | None = None
    refusal: str | None = None


class ChatMessage(Wire):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    """Calls in an earlier answer."""
    tool_call_id: str | None = None
    """For a result: id of its call."""


class StreamOptions(Wire):
    """Options of streaming."""

    model_config = ConfigDict(extra="allow")

    include_usage: StrictBool = False
    """Send a last chunk with the token counts."""


Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] | None
Stop = Annotated[str, Field(min_length=1, max_length=500)]


class SamplingWire(Wire):
    """Sampling options. They affect generating models; where there is none, `x-coterie-ignored` names them."""

    model_config = ConfigDict(extra="allow")

    temperature: Annotated[StrictFloat, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[StrictFloat, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    seed: Annotated[StrictInt, Field(ge=-_INT64, lt=_INT64)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    frequency_penalty: Penalty = None
    presence_penalty: Penalty = None


class FunctionWire(Wire):
    """A function that may be called."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """JSON schema of its arguments."""


class ToolWire(Wire):
    """A tool; for chat, one of the type `function`."""

    type: Literal["function"]
    function: FunctionWire


class NamedFunction(Wire):
    """The function that must be called."""

    name: str


class NamedTool(Wire):
    """Forces a call."""

    type: Literal["function"]
    function: NamedFunction


class AllowedSet(Wire):
    """A subset of the tools."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(max_length=128)]


class AllowedTools(Wire):
    """Restricts the tools to a subset."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedSet


class NamedSchema(Wire):
    """The schema of an answer."""

    name: str = "answer"
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: StrictBool | None = None


class ChatResponseFormat(Wire):
    """The format of an answer: plain text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


def _kind_of(choice: object) -> str | None:
    if not isinstance(choice, dict):
        return None
    return "AllowedTools" if choice.get("type") == "allowed_tools" else "NamedTool"


ToolChoice = (
    Literal["none", "auto", "required"]
    | Annotated[
        Annotated[NamedTool, Tag("NamedTool")] | Annotated[AllowedTools, Tag("AllowedTools")],
        Discriminator(
            _kind_of,
            custom_error_type="tool_choice",
            custom_error_message="an object of the type 'function' or 'allowed_tools'",
        ),
    ]
    | None
)


class ChatRequest(SamplingWire):
    """`POST /v1/chat/completions`."""

    model: str
    """Name of the model: `coterie` lets the router choose; `coterie/NAME` asks that specialist."""
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    """The conversation. The last user message is the question; the others are its history."""
    stream: StrictBool | None = None
    """Send the answer as server-sent events."""
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    """Longest generated text in tokens; the older name of `max_completion_tokens`."""
    max_completion_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    """Longest generated text in tokens."""
    n: StrictInt | None = None
    """Number of answers; only 1 is supported."""
    tools: Annotated[list[ToolWire], Field(max_length=128)] | None = None
    """Functions that a model may call. A forced call is also made by specialists whose answers are its arguments."""
    tool_choice: ToolChoice = None
    response_format: ChatResponseFormat | None = None
    """Format of the answer.

    `json_schema` is answered by the specialists whose labels or fields it asks for, else by the generalist.
    """
    logprobs: StrictBool | None = None
    """Only false is supported: the calibrated confidence is in the `coterie` object."""
    modalities: list[str] | None = None
    """Only `["text"]` is supported."""
    coterie: Extension | None = None


class FeedbackRequest(Wire):
    """`POST /api/feedback`: a thumb, the right value, a comment; at least one of them."""

    model_config = ConfigDict(extra="forbid")

    trace_id: Annotated[str, Field(min_length=1, max_length=200)]
    """Id of the answer's trace, from its `coterie` object or the `x-coterie-trace` header."""
    thumb: Literal["up", "down"] | None = None
    value: Cell | Annotated[list[Annotated[StrictStr, Field(max_length=1000)]], Field(min_length=1, max_length=100)] = (
        None
    )
    """The right value: a label, several, a number or a text."""
    comment: Annotated[str, Field(max_length=10_000)] = ""
    specialist: Annotated[str, Field(max_length=100)] = ""
    """The specialist whose finding is meant; by default, the whole answer."""


class EmbeddingsRequest(Wire):
    """`POST /v1/embeddings`."""

    model_config = ConfigDict(extra="allow")

    model: str
    """Name of the model: `coterie`, the encoder that router and specialists share."""
    input: str | list[str] | list[int] | list[list[int]]
    """A text or a list of texts. Token ids are refused, since they belong to another model's vocabulary."""
    encoding_format: Literal["float", "base64"] = "float"
    """Encoding of the vectors; `base64` is little-endian float32."""
    dimensions: StrictInt | None = None
    """Length of the vectors; only the encoder's own is supported."""


# --- Responses -----------------------------------------------------------------------------------


class ReasonView(_ResponsePart):
    """The reason for a decision: in words, with a stable code and the values in the words."""

    reason: str
    """The reason in words, which may change."""
    reason_code: str
    """Stable code of the reason, such as `abstain.below_threshold`."""
    reason_values: dict[str, str | int | float | bool | ReasonView | None]
    reason_notes: list[ReasonView] | None = None
    """Additional remarks."""


class RouteView(ReasonView):
    """The specialists that the router chose, and why."""

    specialists: list[str]
    scores: dict[str, float | None]


class EvidenceView(_ResponsePart):
    """Evidence for a finding."""

    kind: Literal["reason", "alternative", "quote"]
    name: str
    text: str
    weight: float | None
    start: int | None = None
    """For a quote from the request: its start there, in characters."""
    end: int | None = None


class FieldView(ReasonView):
    """One value of one field, or the statement that the field is absent."""

    name: str
    value: str | int | float | bool | None
    text: str
    """The quote; empty if the text does not state the field."""
    start: int | None
    """Start of the quote in the request's text, in characters."""
    end: int | None
    confidence: float | None
    accepted: bool


class CitationView(_ResponsePart):
    """A quote from a document on which an answer rests."""

    number: int
    """Number by which the answer's text refers to it: `[1]`."""
    document: str
    start: int
    """Start of the quote in the document's text, in characters."""
    end: int
    text: str
    """The quote, word for word."""
    index: str
    heading: str
    page: int | None
    label: Label


class ContradictionView(_ResponsePart):
    """One of several citations that answer the same question differently."""

    citation: int
    """Number of the citation."""
    dated: str | None
    """Date of its document: a year, a month or a day (ISO 8601); null where it is unknown."""
    newest: bool
    """Whether its document is known to be the newest of the contradicting ones."""


class FindingView(ReasonView):
    """One specialist's result."""

    specialist: str
    value: str | int | float | bool | list[str] | None
    text: str
    confidence: float | None
    accepted: bool
    evidence: list[EvidenceView]
    fields: list[FieldView] | None = None
    """For an `extract` specialist: the fields that it looked for."""
    citations: list[CitationView] | None = None
    """For an `answer` specialist: the citations of its answer."""
    contradictions: list[ContradictionView] | None = None
    """For an `answer` specialist: citations that contradict each other."""


class GuessView(_ResponsePart):
    """The most likely answer of an abstention: it is no answer, and not accepted."""

    specialist: str
    value: str | int | float | bool | list[str] | None
    confidence: float | None
    """Probability that it is right."""


class UsageView(_ResponsePart):
    """Usage of the answer; unknown is null."""

    milliseconds: float | None
    joules: float | None
    joules_kind: Literal["measured", "estimated"]
    cost: float | None
    counterfactual_cost: float | None
    """Cost of the same request with the configured generalist."""


class EgressPromptView(_ResponsePart):
    """One prompt that was sent off the machine for an answer, or was about to be."""

    id: str
    engine: str
    label: Label
    """Sensitivity of the prompt."""
    pseudonymised: bool
    characters: int
    outcome: str
    """Outcome: `answered`, `cancelled`, `not_sent`, or the code of an error."""


class EgressView(_ResponsePart):
    """Data that was sent off the machine for an answer."""

    summary: str
    """Summary as in the header `x-coterie-egress`: `none` for nothing."""
    prompts: list[EgressPromptView]


class CoterieView(_ResponsePart):
    """The `coterie` object of a response, which ordinary clients ignore."""

    trace_id: str
    status: Literal["accepted", "abstained", "escalated"]
    accepted: bool
    route: RouteView
    rewritten: str | None = None
    """The question as a standalone question, where it depended on earlier turns."""
    degraded: str | None = None
    """What the generalist failed to do, and why, where the answer does without it."""
    degraded_code: str | None = None
    degraded_values: dict[str, str | int | float | bool | ReasonView | None] | None = None
    degraded_notes: list[ReasonView] | None = None
    guess: GuessView | None = None
    egress: EgressView
    findings: list[FindingView]
    usage: UsageView


class TokenUsage(_ResponsePart):
    """Token counts with OpenAI's names."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(_ResponsePart):
    """The answer."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    """Why there is no answer: no specialist was sure enough, or the question is out of scope."""
    tool_calls: list[ToolCallView] | None = None


class FunctionCallView(_ResponsePart):
    """The function of a call and its arguments as JSON."""

    name: str
    arguments: str


class ToolCallView(_ResponsePart):
    """One call of a tool."""

    index: int | None = None
    """Index of the call in a stream."""
    id: str
    type: Literal["function"]
    function: FunctionCallView


class ChatChoice(_ResponsePart):
    """The only choice."""

    index: Literal[0]
    message: AnswerMessage
    logprobs: None
    finish_reason: Literal["stop", "length", "content_filter", "tool_calls"]


class ChatCompletion(_ResponsePart):
    """Response of `POST /v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage
    coterie: CoterieView


class ChoiceDelta(_ResponsePart):
    """A piece of the answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallView] | None = None


class ChunkChoice(_ResponsePart):
    """The only choice, in a stream."""

    index: Literal[0]
    delta: ChoiceDelta
    logprobs: None
    finish_reason: Literal["stop", "length", "content_filter", "tool_calls"] | None


class ChatChunk(_ResponsePart):
    """One `data:` line of a stream; the `coterie` object comes with the one that has a `finish_reason`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: TokenUsage | None = None
    coterie: CoterieView | None = None


class EmbeddingView(_ResponsePart):
    """One vector."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(_ResponsePart):
    """Tokens that the encoder read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(_ResponsePart):
    """Response of `POST /v1/embeddings`."""

    object: Literal["list"]
    data: list[EmbeddingView]
    model: str
    usage: EmbeddingUsage


class ModelCard(_ResponsePart):
    """The specialist of a model's name; empty for the router."""

    task: str
    description: str
    rung: str
    version: str
    columns: list[str]


class ModelView(_ResponsePart):
    """Response of `GET /v1/models/{id}`."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    coterie: ModelCard | None = None


class Models(_ResponsePart):
    """Response of `GET /v1/models`."""

    object: Literal["list"]
    data: list[ModelView]
    models: list[dict[str, str]]
    """The same list for clients of System One: `name`, `description`, `release_date`."""


class FeedbackKept(_ResponsePart):
    """Confirmation that the feedback was stored."""

    trace_id: str
    status: Literal["kept"] = "kept"


class Health(_ResponsePart):
    """Response of `GET /healthz` and `GET /readyz`."""

    status: Literal["ok", "draining"]


class ErrorBody(_ResponsePart):
    """Details of an error in OpenAI's format."""

    message: str
    type: str
    param: str | None
    code: str
    """Stable code, on which programs may depend."""


class Error(_ResponsePart):
    """Body of every response with a status of 400 or more."""

    error: ErrorBody


class MCPMessage(Wire):
    """`POST /mcp`: one JSON-RPC message of the Model Context Protocol."""

    jsonrpc: Literal["2.0"]
    id: StrictStr | StrictInt | None = None
    """Id of the message; left out in a notification."""
    method: StrictStr
    """Method, such as `tools/list`, `tools/call`, `resources/read`."""
    params: dict[str, object] | None = None


class MCPFailure(_ResponsePart):
    """Body of an error in JSON-RPC's format."""

    jsonrpc: Literal["2.0"]
    id: str | int | None
    error: dict[str, object]
    """The error: `code` is a number, `message` the text; `data.code` is the gateway's code, if the gateway refused."""
