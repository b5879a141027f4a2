"""What goes over the wire: the OpenAI API's shapes, with a `coterie` object beside them.

Requests are checked with these models. As OpenAI servers do, parameters not named here are accepted and
have no effect; those named only to be refused are the ones whose silent absence would break a caller. The
`coterie` object is ours alone, so an unknown key in it is an error. Responses are built as plain dicts
(`_translate.py`) and described by these models in `/openapi.json`; a test holds the two together.
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
    """Part of a request in OpenAI's shape: what we do not know is not an error."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class _ResponsePart(BaseModel):
    """Part of a response."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, extra="forbid")


# --- Bodies --------------------------------------------------------------------------------------

W = TypeVar("W", bound=BaseModel)


def read_wire(kind: type[W], body: bytes) -> W:
    """Check a body of an endpoint. Raises `WireError` for what is no strict JSON, else pydantic's `ValidationError`."""
    read_strict(body)
    return kind.model_validate_json(body)


def read_strict(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON of a body. Raises `WireError` for what is none, or may be read in two ways."""
    try:
        return strict_json(body)
    except ValueError as error:
        raise WireError("invalid_json", f"The body is not valid JSON: {str(error)[:200]}.") from None


# --- Requests ------------------------------------------------------------------------------------


def _check_cell(value: object, check: ValidatorFunctionWrapHandler) -> object:
    """One sentence instead of one for each kind of value it is not."""
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
    """Left out where it is in an index."""
    name: Annotated[str, Field(min_length=1, max_length=500)] = "document"
    """By which citations refer to it; of a document in an index, its name there."""
    label: Label | None = None
    """Its sensitivity, where it is above the request's."""
    index: Annotated[str, Field(validation_alias=AliasChoices("index", "shelf"))] = ""
    """The index that has it, a `[knowledge]` key that a specialist reads."""


class ReleaseWire(Wire):
    """An order to lower the label of what is asked, in spite of the personal data in it. Only an `admin` key may."""

    model_config = ConfigDict(extra="forbid")

    to: Label
    """The label that it has from then on. What holds a secret is not released."""
    because: Annotated[str, Field(min_length=1, max_length=300)]
    """Why; it is kept in the trace and in the audit log, so it holds no personal data."""


class Extension(Wire):
    """The `coterie` object of a request (`extra_body={"coterie": {...}}` in the openai client)."""

    model_config = ConfigDict(extra="forbid")

    session: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    """Names a remembered conversation."""
    label: Label | None = None
    """Sensitivity of the request: `public`, `internal`, `confidential` or `restricted`."""
    release: ReleaseWire | None = None
    """Lowers the label of text, columns, messages and a document that is sent along, which is written down."""
    clearance: Label | None = None
    """The most sensitive label whose documents may be read for it. It may only be below the network's default label."""
    columns: Annotated[dict[Annotated[str, Field(max_length=200)], Cell], Field(max_length=1000)] | None = None
    """Structured input, by column name; without it, a JSON object in the user's message is taken."""
    document: str | DocumentWire | None = None
    """A long text that the question is about, or an object with `text` or `index`, `name`, `label`. It is read here."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")] | None = None
    """Language of the last user message, such as `de` or `en-GB`; without it, it is detected."""
    abstain: Literal["refusal", "content_filter", "text", "status"] | None = None
    """How an abstention looks, in place of `[gateway] abstain`; `content_filter`: a refusal with that finish reason."""
    quality: Annotated[StrictFloat, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """Share of the generalist's quality to keep at the least cost, in place of the network's."""
    budget: Money | None = None
    """Money per 1,000 such requests, in place of a quality: this one may cost a thousandth of it."""


class ContentPart(Wire):
    """One part of a message's content; only text can be read."""

    type: str
    """`text`; also `refusal` in an assistant's message."""
    text: str | None = None
    refusal: str | None = None


class ChatMessage(Wire):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    """Calls that an earlier answer made."""
    tool_call_id: str | None = None
    """Of a result: the call that it is of."""


class StreamOptions(Wire):
    """How to stream."""

    model_config = ConfigDict(extra="allow")

    include_usage: StrictBool = False
    """Send a last chunk with the token counts."""


Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] | None
Stop = Annotated[str, Field(min_length=1, max_length=500)]


class SamplingWire(Wire):
    """How words are chosen. It acts where a model writes; where none does, `x-coterie-ignored` names it."""

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
    """A tool; of the type `function` for chat."""

    type: Literal["function"]
    function: FunctionWire


class NamedFunction(Wire):
    """The function that is to be called."""

    name: str


class NamedTool(Wire):
    """Forces a call."""

    type: Literal["function"]
    function: NamedFunction


class AllowedSet(Wire):
    """Some of the tools."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(max_length=128)]


class AllowedTools(Wire):
    """Leaves the other tools out."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedSet


class NamedSchema(Wire):
    """The schema of an answer."""

    name: str = "answer"
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: StrictBool | None = None


class ChatResponseFormat(Wire):
    """The form of an answer: words, any JSON object, or JSON of a schema."""

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
    """`coterie` lets the router choose; `coterie/NAME` asks that specialist."""
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    """The last user message is what is asked; the others are its history."""
    stream: StrictBool | None = None
    """Answer as server-sent events."""
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    """Longest generated text in tokens; the older name of `max_completion_tokens`."""
    max_completion_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    """Longest generated text in tokens."""
    n: StrictInt | None = None
    """Only 1: there is one answer."""
    tools: Annotated[list[ToolWire], Field(max_length=128)] | None = None
    """Functions that a model may call. A forced call is also made by specialists whose answers are its arguments."""
    tool_choice: ToolChoice = None
    response_format: ChatResponseFormat | None = None
    """`json_schema` is answered by the specialists whose labels or fields it asks for, else by the generalist."""
    logprobs: StrictBool | None = None
    """Only false: confidence is in the `coterie` object, calibrated."""
    modalities: list[str] | None = None
    """Only `["text"]`."""
    coterie: Extension | None = None


class FeedbackRequest(Wire):
    """`POST /api/feedback`: a thumb, the value that would have been right, a comment; at least one of them."""

    model_config = ConfigDict(extra="forbid")

    trace_id: Annotated[str, Field(min_length=1, max_length=200)]
    """The answer's, from its `coterie` object or the `x-coterie-trace` header."""
    thumb: Literal["up", "down"] | None = None
    value: Cell | Annotated[list[Annotated[StrictStr, Field(max_length=1000)]], Field(min_length=1, max_length=100)] = (
        None
    )
    """What would have been right: a label, several, a number or a text."""
    comment: Annotated[str, Field(max_length=10_000)] = ""
    specialist: Annotated[str, Field(max_length=100)] = ""
    """Whose finding is meant; left out, the whole answer."""


class EmbeddingsRequest(Wire):
    """`POST /v1/embeddings`."""

    model_config = ConfigDict(extra="allow")

    model: str
    """`coterie`: the encoder that router and specialists share."""
    input: str | list[str] | list[int] | list[list[int]]
    """A text or a list of texts. Token ids are refused: they belong to another model's vocabulary."""
    encoding_format: Literal["float", "base64"] = "float"
    """`base64` is little-endian float32."""
    dimensions: StrictInt | None = None
    """Only the encoder's own number."""


# --- Responses -----------------------------------------------------------------------------------


class ReasonView(_ResponsePart):
    """Why something was decided: in words, and beside them a stable code and the values of the words."""

    reason: str
    """In words, which may change."""
    reason_code: str
    """Such as `abstain.below_threshold`."""
    reason_values: dict[str, str | int | float | bool | ReasonView | None]
    reason_notes: list[ReasonView] | None = None
    """What is said behind it."""


class RouteView(ReasonView):
    """Whom the router asked, and why."""

    specialists: list[str]
    scores: dict[str, float | None]


class EvidenceView(_ResponsePart):
    """Why a finding says what it says."""

    kind: Literal["reason", "alternative", "quote"]
    name: str
    text: str
    weight: float | None
    start: int | None = None
    """Of a quote from what was asked: its place there, in characters."""
    end: int | None = None


class FieldView(ReasonView):
    """One value of one field, or that it is not stated."""

    name: str
    value: str | int | float | bool | None
    text: str
    """The quote; empty if the field is not stated."""
    start: int | None
    """Where the quote begins in what was asked, in characters."""
    end: int | None
    confidence: float | None
    accepted: bool


class CitationView(_ResponsePart):
    """Words of a document that an answer rests on."""

    number: int
    """By which the answer's text refers to it: `[1]`."""
    document: str
    start: int
    """Where the quote begins in the document's text, in characters."""
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
    """Its number."""
    dated: str | None
    """When its document is from: a year, a month or a day (ISO 8601); null where that is unknown."""
    newest: bool
    """Whether its document is known to be the newest of them."""


class FindingView(ReasonView):
    """One specialist's result."""

    specialist: str
    value: str | int | float | bool | list[str] | None
    text: str
    confidence: float | None
    accepted: bool
    evidence: list[EvidenceView]
    fields: list[FieldView] | None = None
    """Of an `extract` specialist: what it looked for."""
    citations: list[CitationView] | None = None
    """Of an `answer` specialist: what its answer rests on."""
    contradictions: list[ContradictionView] | None = None
    """Of an `answer` specialist: those of its citations that contradict each other."""


class GuessView(_ResponsePart):
    """What an abstention would most likely have been: no answer, and not accepted."""

    specialist: str
    value: str | int | float | bool | list[str] | None
    confidence: float | None
    """The probability that it is right."""


class UsageView(_ResponsePart):
    """What the answer took; unknown is null."""

    milliseconds: float | None
    joules: float | None
    joules_kind: Literal["measured", "estimated"]
    cost: float | None
    counterfactual_cost: float | None
    """What the configured generalist would have cost."""


class EgressPromptView(_ResponsePart):
    """One prompt that left the machine for an answer, or was about to."""

    id: str
    engine: str
    label: Label
    """Of what left."""
    pseudonymised: bool
    characters: int
    outcome: str
    """`answered`, `cancelled`, `not_sent`, or the code of an error."""


class EgressView(_ResponsePart):
    """What left the machine for an answer."""

    summary: str
    """As in the header `x-coterie-egress`: `none` for nothing."""
    prompts: list[EgressPromptView]


class CoterieView(_ResponsePart):
    """The `coterie` object of a response, which ordinary clients ignore."""

    trace_id: str
    status: Literal["accepted", "abstained", "escalated"]
    accepted: bool
    route: RouteView
    rewritten: str | None = None
    """What was asked, standing on its own, where it depended on earlier turns."""
    degraded: str | None = None
    """What the generalist failed to do, and why, where the answer had to do without."""
    degraded_code: str | None = None
    degraded_values: dict[str, str | int | float | bool | ReasonView | None] | None = None
    degraded_notes: list[ReasonView] | None = None
    guess: GuessView | None = None
    egress: EgressView
    findings: list[FindingView]
    usage: UsageView


class TokenUsage(_ResponsePart):
    """Token counts as OpenAI names them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(_ResponsePart):
    """The answer."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    """Why there is no answer: nobody was sure enough, or it is nobody's subject."""
    tool_calls: list[ToolCallView] | None = None


class FunctionCallView(_ResponsePart):
    """A call: the function and its arguments as JSON."""

    name: str
    arguments: str


class ToolCallView(_ResponsePart):
    """One call of a tool."""

    index: int | None = None
    """In a stream."""
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
    """Tokens the encoder read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(_ResponsePart):
    """Response of `POST /v1/embeddings`."""

    object: Literal["list"]
    data: list[EmbeddingView]
    model: str
    usage: EmbeddingUsage


class ModelCard(_ResponsePart):
    """What stands behind a model's name; empty for the router."""

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
    """The same for clients of System One: `name`, `description`, `release_date`."""


class FeedbackKept(_ResponsePart):
    """The feedback is in the store."""

    trace_id: str
    status: Literal["kept"] = "kept"


class Health(_ResponsePart):
    """Response of `GET /healthz` and `GET /readyz`."""

    status: Literal["ok", "draining"]


class ErrorBody(_ResponsePart):
    """What went wrong, in OpenAI's shape."""

    message: str
    type: str
    param: str | None
    code: str
    """Stable: programs may depend on it."""


class Error(_ResponsePart):
    """Every response with a status of 400 or more."""

    error: ErrorBody


class MCPMessage(Wire):
    """`POST /mcp`: one message of JSON-RPC, as the Model Context Protocol has them."""

    jsonrpc: Literal["2.0"]
    id: StrictStr | StrictInt | None = None
    """Left out of a notification."""
    method: StrictStr
    """Such as `tools/list`, `tools/call`, `resources/read`."""
    params: dict[str, object] | None = None


class MCPFailure(_ResponsePart):
    """What went wrong, in JSON-RPC's shape."""

    jsonrpc: Literal["2.0"]
    id: str | int | None
    error: dict[str, object]
    """`code` is a number, `message` the words; `data.code` is that of the gateway, where it refused."""
