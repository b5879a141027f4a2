"""Log files as exchanges: a question to a model and its answer, whatever tool logged them.

A file is JSON lines, a JSON array, concatenated objects or CSV, plain or gzipped. Unreadable records are counted and
skipped: one broken line in a million is no reason to stop.

The shape of each record decides its format, so files may be mixed:

- OpenAI: request and response side by side under any usual pair of names, chat completions, Responses, completions,
  streamed chunks, stored completions, and the two files of a batch, joined by `custom_id`
- fine-tuning files: `messages`, `prompt` with `completion`, preferences, ShareGPT, Gemini `contents`, instructions
- LiteLLM's standard logging payload and spend logs
- Langfuse observations, traces and dataset items
- OpenTelemetry GenAI: OTLP JSON (spans and log records) and single spans, in the present and the older conventions,
  those of OpenLLMetry and OpenInference
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from coterie.errors import DataError
from coterie.learning.reading import as_utf8, head, sniff_delimiter

LONGEST = 64 * 1024 * 1024
"""Most bytes of one line, or characters of one object that spans lines."""
_CHUNK = 1 << 20
_BETWEEN = " \t\r\n,[]"
_FOREIGN = {b"PAR1": "a Parquet file", b"PK\x03\x04": "a zip archive", b"SQLite format 3": "an SQLite database"}

Json = Mapping[str, Any]


class LogRecord(NamedTuple):
    """One object of a log and its position."""

    line: int
    """Line of the object, or its number in an array; from 1."""
    value: Json


def read_log(
    path: Path, skipped: Counter[str], progress: Callable[[int], None] = lambda _: None
) -> Iterator[LogRecord]:
    """Yield the objects of a file in order. Skipped records are counted by their reason.

    Raises:
        DataError: the file cannot be read, or is not text.
    """
    try:
        with io.BufferedReader(path.open("rb", buffering=0), _CHUNK) as raw:
            start = raw.peek(16)[:16]
            for magic, what in _FOREIGN.items():
                if start.startswith(magic):
                    raise DataError(f"{path.name} is {what}, no log.", hint="Export it as JSON lines (JSONL) or CSV.")
            with gzip.open(raw) if start.startswith(b"\x1f\x8b") else nullcontext(raw) as stream:
                for record in _records(cast("io.BufferedReader", stream), skipped):
                    progress(raw.tell())
                    yield record
    except (OSError, EOFError) as error:
        raise DataError(f"Cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}.") from error


_BETWEEN_CELLS = frozenset(b",;\t")


def _records(stream: BinaryIO, skipped: Counter[str]) -> Iterator[LogRecord]:
    stream = as_utf8(stream, errors="replace")
    start = head(stream)
    first = next((line for line in start.removeprefix(codecs.BOM_UTF8).splitlines() if line.strip()), b"").strip()
    if first[:1] == b"[" or first == b"{":  # an array, or objects over several lines
        yield from _concatenated(stream, skipped)
    elif first[:1] in {b"{", b""} or not set(first) & _BETWEEN_CELLS:
        yield from _lines(stream, skipped)
    else:
        yield from _table(stream)


def _lines(stream: BinaryIO, skipped: Counter[str]) -> Iterator[LogRecord]:
    number = 0
    while raw := stream.readline(LONGEST):
        number += 1
        if len(raw) == LONGEST and not raw.endswith(b"\n"):
            skipped["too_long"] += 1
            while (rest := stream.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
            continue
        line = _decoded(raw.removeprefix(codecs.BOM_UTF8), skipped).strip()
        if line:
            yield from _object(number, _loaded(line), skipped)


def _decoded(raw: bytes, skipped: Counter[str]) -> str:
    """Return a line as text: UTF-8, or else Windows-1252, which logs of mixed encodings mostly hold."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        skipped["not_utf8"] += 1
        return raw.decode("cp1252", "replace")


def _loaded(text: str) -> object:
    """Return a JSON value; None if the text is not JSON."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def _object(number: int, value: object, skipped: Counter[str]) -> Iterator[LogRecord]:
    if isinstance(value, dict):
        yield LogRecord(number, value)
    else:
        skipped["broken"] += 1


def _concatenated(stream: BinaryIO, skipped: Counter[str]) -> Iterator[LogRecord]:
    """Yield the objects of an array, or concatenated objects over several lines, up to the first unreadable one."""
    decoder = json.JSONDecoder(parse_constant=lambda _: None)
    rest, number, wanted, chunk = "", 0, _CHUNK, " "
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace") as text:
        while chunk and len(rest) <= LONGEST:
            chunk = text.read(wanted)
            rest = (rest + chunk).lstrip(_BETWEEN)
            wanted = max(_CHUNK, len(rest))  # a long object is tried again each time the text has doubled
            while rest:
                try:
                    value, end = decoder.raw_decode(rest)
                except (ValueError, RecursionError):
                    break
                if end == len(rest) and chunk and not isinstance(value, dict):
                    break  # a number may go on
                number, rest = number + 1, rest[end:].lstrip(_BETWEEN)
                yield from _object(number, value, skipped)
    if rest:
        skipped["broken"] += 1


def _table(stream: BinaryIO) -> Iterator[LogRecord]:
    """Yield the rows of a CSV, as objects of strings."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    delimiter = sniff_delimiter(head(stream).removeprefix(codecs.BOM_UTF8), ())
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="") as text:
        rows = csv.DictReader(text, delimiter=delimiter)
        for row in rows:
            yield LogRecord(rows.line_num, {key: value for key, value in row.items() if key is not None})


# --- Records of logs as exchanges: a question to a model and its answer, whatever tool logged them.

_REQUESTS = (
    *(
        "request",
        "request_body",
        "requestBody",
        "req",
        "reqPayload",
        "req_payload",
        "kwargs",
        "inputs",
        "input",
        "body",
    ),
    *("prompt", "question"),
)
_RESPONSES = (
    *("response", "response_body", "responseBody", "resp", "respPayload", "resp_payload", "outputs", "output"),
    *("completion", "result", "answer"),
)
_EXPECTED = ("expectedOutput", "expected_output", "preferred_output")
_PERSON = {"user", "human"}
_MODEL = {"assistant", "model", "gpt", "bot"}
_GUIDE = {"system", "developer"}
_CALLERS = (
    *("end_user", "user", "userId", "user_id", "enduser.id", "safety_identifier", "sessionId", "session_id"),
    *("api_key", "project"),
)
_COSTS = ("cost", "response_cost", "spend", "total_cost", "totalCost", "calculatedTotalCost", "gen_ai.usage.cost")
_TOKENS_IN = ("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "gen_ai.usage.input_tokens")
_TOKENS_OUT = ("completion_tokens", "output_tokens", "completionTokens", "outputTokens", "gen_ai.usage.output_tokens")
_USAGES = ("usage", "usageDetails", "usage_details", "token_usage")
_INDEXED = re.compile(r"^(gen_ai\.prompt|gen_ai\.completion|llm\.input_messages|llm\.output_messages)\.(\d+)\.(.+)$")
_CALLS = {"chat", "text_completion", "completion", "generate_content", "responses", ""}


@dataclass(frozen=True, kw_only=True)
class LoggedCall:
    """One question and its answer."""

    text: str
    """The last message of the user."""
    answer: Any
    """The answer: a text, or a JSON object or list if the answer was one."""
    format: str
    system: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    """Provenance: `id`, `model`, `time`, as far as the record states them."""
    caller: str = ""
    """The caller: a user, else a key, as far as the record states it."""
    cost: float | None = None
    """Cost in the log's currency; None for unknown."""
    tokens: tuple[int, int] | None = None
    """Tokens of the prompt and of the answer, as the log counts them; None if it does not."""


class _Passed(Exception):
    """A record that yields no row; the reason is the argument."""


def read_question(request: object) -> tuple[str, str] | None:
    """Return the system's instructions and the user's last message of a request's body; None if it asks nothing."""
    try:
        return _question_of(request)
    except (_Passed, RecursionError):
        return None


def read_answer(response: str) -> Any:  # noqa: ANN401 - text, or any JSON value
    """Return the answer in a response's body, streamed or whole; None if there is none, or it is an error or cut."""
    try:
        return _answered(response)
    except (_Passed, RecursionError):
        return None


@dataclass
class CallReader:
    """Reads records as exchanges, and counts records without one by their reason."""

    skipped: Counter[str] = field(default_factory=Counter)
    batch: dict[str, Json] = field(default_factory=dict)
    """Halves of a batch that wait for the other half, by their `custom_id`."""

    def read(self, record: Json) -> Iterator[LoggedCall]:
        """Yield the exchanges that a record holds; a page of records, as APIs list them, holds those of each."""
        if page := _page(record):
            for item in page:
                yield from self.read(item)
            return
        for name, request, response, about in self._pairs(record):
            try:
                system, text = _question_of(request)
                yield LoggedCall(
                    text=text,
                    answer=_answered(response),
                    format=name,
                    system=system,
                    about=_provenance(about, response),
                    caller=_caller(about, request),
                    cost=next((float(about[key]) for key in _COSTS if _is_cost(about.get(key))), None),
                    tokens=_tokens(about, response),
                )
            except _Passed as reason:
                self.skipped[str(reason)] += 1
            except RecursionError:
                self.skipped["broken"] += 1

    def finish(self) -> None:
        """Count the halves of batches whose other half is missing."""
        for half in self.batch.values():
            self.skipped["no_question" if "response" in half else "no_answer"] += 1
        self.batch.clear()

    def _pairs(self, record: Json) -> Iterator[tuple[str, Any, Any, Json]]:
        """Yield (format, request, response, provenance) of each call in a record."""
        try:
            if spans := _spans(record):
                for span in spans:
                    try:
                        yield _span_pair(span)
                    except _Passed as reason:
                        self.skipped[str(reason)] += 1
                return
            if "custom_id" in record and ("body" in record) != ("response" in record):
                other = self.batch.pop(str(record["custom_id"]), None)
                if other is None or ("body" in other) == ("body" in record):
                    self.batch[str(record["custom_id"])] = record
                    return
                record = {**other, **record}
                answered = {key: record[key] for key in ("response", "error") if key in record}
                yield "openai_batch", record["body"], answered, record
                return
            yield _pair(record)
        except _Passed as reason:
            self.skipped[str(reason)] += 1


def _page(record: Json) -> list[Any]:
    """Return the records of a page (`{"data": [...], "meta": ...}`, a trace's observations); empty for others."""
    names = [name for name in ("data", "observations") if isinstance(record.get(name), list)]
    return _listed(record, *names) if names and {"messages", *_REQUESTS}.isdisjoint(record) else []


def _caller(about: Json, request: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the caller: from the record, else from the request's own body."""
    body = _parsed(request)
    own = body if isinstance(body, dict) else {}
    within = own.get("metadata")
    places = [about, own, within if isinstance(within, dict) else {}]
    return str(next((holder[key] for holder in places for key in _CALLERS if holder.get(key)), ""))


# --- Which format, and where request and response are in it ---------------------------------------


def _pair(record: Json) -> tuple[str, Any, Any, Json]:
    """Return format, request and response of a record that is not a span. Raises `_Passed`."""
    if _failed(record):
        raise _Passed("error")
    for shape in (_litellm, _expected, _turns, _observation, _instructions, _sides):
        if (shaped := shape(record)) is not None:
            return *shaped, record
    raise _Passed("unknown")


_Pair = tuple[str, Any, Any]


def _litellm(record: Json) -> _Pair | None:
    if {"call_type", "model_group", "proxy_server_request"}.isdisjoint(record):
        return None
    if "embedding" in str(record.get("call_type", "")):
        raise _Passed("not_a_call")
    request = _parsed(record.get("messages")) or _parsed(record.get("proxy_server_request"))
    return "litellm", request, record.get("response")


def _expected(record: Json) -> _Pair | None:
    """Return the exchange of a Langfuse dataset item or a preference, with its expected answer; None for others."""
    answer = next((record[key] for key in _EXPECTED if record.get(key)), None)
    if answer is None or "input" not in record:
        return None
    return "preferences" if "preferred_output" in record else "langfuse", record["input"], answer


def _turns(record: Json) -> _Pair | None:
    """Return a conversation whose last turn is the answer, unless there is a separate response; None for others."""
    if "messages" in record:
        answer = next((record[key] for key in _RESPONSES if key in record), record if "choices" in record else None)
        turns = _parsed(record["messages"])
        if answer is None and isinstance(turns, list) and not _is_turns(turns):
            raise _Passed("unknown")
        return ("messages", record, turns) if answer is None else ("openai", record, answer)
    name = next((key for key in ("conversations", "contents") if key in record), None)
    if name is None:
        return None
    turns = _parsed(record[name])
    guide = record.get("systemInstruction") or record.get("system_instruction") or record.get("system")
    request = {"messages": turns, "system": guide}
    return ("sharegpt" if name == "conversations" else "gemini"), request, record.get("response", turns)


def _observation(record: Json) -> _Pair | None:
    ours = {"traceId", "trace_id", "startTime", "start_time", "observationId", "statusMessage", "level", "projectId"}
    if "input" not in record or "output" not in record or ours.isdisjoint(record):
        return None
    if str(record.get("type", "GENERATION")).upper() not in {"GENERATION", "TRACE"}:
        raise _Passed("not_a_call")
    return "langfuse", record["input"], record["output"]


def _instructions(record: Json) -> _Pair | None:
    if "instruction" not in record or "output" not in record:
        return None
    text = "\n\n".join(str(record[key]) for key in ("instruction", "input") if record.get(key))
    return "instructions", text, record["output"]


def _sides(record: Json) -> _Pair | None:
    """Return a request and a response under any usual pair of names; None without them."""
    request_key = next((key for key in _REQUESTS if key in record), None)
    answered = next((key for key in _RESPONSES if key in record), None)
    if request_key is None or answered is None:
        return None
    name = "prompt_completion" if (request_key, answered) == ("prompt", "completion") else "openai"
    return name, record[request_key], record[answered]


def _failed(record: Json) -> bool:
    code = record.get("status_code") or record.get("statusCode")
    return bool(
        record.get("error")
        or record.get("error_str")
        or record.get("status") in ("failure", "failed", "error")
        or str(record.get("level", "")).upper() == "ERROR"
        or (str(code).isdigit() and int(str(code)) >= 400)
    )


def _parsed(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value, parsed if it is a JSON text."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "[", '"'}:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _is_cost(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _tokens(record: Json, response: object) -> tuple[int, int] | None:
    """Return the tokens of prompt and answer, if the record or the response's body states both; else None."""
    inner = _parsed(response)
    body = inner.get("body", inner) if isinstance(inner, dict) else {}
    for holder in (record, body):
        if not isinstance(holder, dict):
            continue
        for usage in (*(_parsed(holder.get(name)) for name in _USAGES), holder):
            if not isinstance(usage, dict):
                continue
            counts = [
                next((int(usage[key]) for key in names if _is_cost(usage.get(key))), None)
                for names in (_TOKENS_IN, _TOKENS_OUT)
            ]
            if counts[0] is not None and counts[1] is not None:
                return counts[0], counts[1]
    return None


def _provenance(record: Json, response: object) -> dict[str, str]:
    inner = _parsed(response)
    places = [record, inner if isinstance(inner, dict) else {}]
    names = {
        "id": ("id", "request_id", "custom_id", "spanId", "trace_id"),
        "model": ("model", "provided_model_name", "gen_ai.response.model", "gen_ai.request.model"),
        "time": ("startTime", "start_time", "timestamp", "created", "startTimeUnixNano"),
    }
    provenance = {
        key: next((holder[name] for holder in places for name in some if isinstance(holder.get(name), str | int)), None)
        for key, some in names.items()
    }
    return {key: str(value) for key, value in provenance.items() if value is not None}


# --- OpenTelemetry -------------------------------------------------------------------------------


def _spans(record: Json) -> list[dict[str, Any]]:
    """Return the spans of an OTLP export or a single span, with flat attributes, including those of events."""
    spans: list[dict[str, Any]] = []
    for outer in _listed(record, "resourceSpans", "resource_spans"):
        for scope in _listed(outer, "scopeSpans", "scope_spans", "instrumentationLibrarySpans"):
            spans += [_flat(span) for span in _listed(scope, "spans")]
    calls: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for outer in _listed(record, "resourceLogs", "resource_logs"):
        for scope in _listed(outer, "scopeLogs", "scope_logs"):
            for log in _listed(scope, "logRecords", "log_records"):
                call = calls[str(log.get("traceId", "")), str(log.get("spanId", ""))]
                _add_event(call, {"name": log.get("eventName"), **log})
    spans += calls.values()
    if not spans and (attributes := _attributes(record.get("attributes"))):
        named = any(name.startswith(("gen_ai.", "llm.")) for name in attributes)
        spans = [_flat(record)] if named or "context" in record or "spanId" in record else []
    return spans


def _listed(record: Json, *names: str) -> list[Any]:
    value: list[Any] = next((record[name] for name in names if isinstance(record.get(name), list)), [])
    return [item for item in value if isinstance(item, dict)]


def _flat(span: Json) -> dict[str, Any]:
    status = span.get("status")
    code = status.get("code", status.get("status_code")) if isinstance(status, dict) else None
    flat = {**_attributes(span.get("attributes")), "failed": str(code).rpartition("_")[2].upper() in {"2", "ERROR"}}
    flat |= {key: span[key] for key in ("spanId", "startTimeUnixNano", "start_time") if key in span}
    for event in _listed(span, "events"):
        _add_event(flat, event)
    return flat


def _add_event(call: dict[str, Any], event: Json) -> None:
    """Put an event's messages into the call that it belongs to."""
    attributes = _attributes(event.get("attributes"))
    name = str(event.get("name") or attributes.get("event.name") or "")
    body = _any_value(event["body"]) if "body" in event else {}
    body = body if isinstance(body, dict) else {"content": body}
    role = re.fullmatch(r"gen_ai\.(system|user|assistant|tool)\.message", name)
    if role:
        call.setdefault("events", []).append({"role": role[1], **attributes, **body})
    elif name == "gen_ai.choice":
        call["choice"] = {**attributes, **body}
    else:
        call |= {key: value for key, value in attributes.items() if key not in call}


def _attributes(given: object) -> dict[str, Any]:
    if isinstance(given, dict):
        return dict(given)
    pairs = given if isinstance(given, list) else []
    return {str(pair.get("key")): _any_value(pair.get("value")) for pair in pairs if isinstance(pair, dict)}


def _any_value(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return OTLP's `AnyValue` as plain JSON."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    ((kind, inner),) = value.items()
    if kind == "arrayValue":
        return [_any_value(item) for item in _unlisted(inner)]
    if kind == "kvlistValue":
        return _attributes(_unlisted(inner))
    return inner if kind in {"stringValue", "boolValue", "intValue", "doubleValue"} else value


def _unlisted(inner: object) -> list[Any]:
    values = inner.get("values", []) if isinstance(inner, dict) else inner
    return values if isinstance(values, list) else []


def _span_pair(span: dict[str, Any]) -> tuple[str, Any, Any, Json]:
    """Return the request and response of a span. Raises `_Passed`."""
    if not any(key.startswith(("gen_ai.", "llm.")) or key in {"events", "choice"} for key in span):
        raise _Passed("not_a_call")
    of_calls = str(span.get("gen_ai.operation.name", "")) in _CALLS
    if not of_calls or span.get("llm.request.type") in ("embedding", "rerank"):
        raise _Passed("not_a_call")
    if span.get("failed") or span.get("error.type"):
        raise _Passed("error")
    turns: dict[str, dict[int, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for key, value in span.items():
        if match := _INDEXED.match(key):
            turns[match[1]][int(match[2])][match[3].removeprefix("message.")] = value

    def first(*names: str) -> Any:  # noqa: ANN401 - any JSON value
        indexed = ([turns[name][i] for i in sorted(turns[name])] for name in names if name in turns)
        plain = (_parsed(span[name]) for name in names if span.get(name))
        return next(indexed, None) or next(plain, None)

    request = first("gen_ai.input.messages", "gen_ai.prompt", "llm.input_messages", "input.value") or span.get("events")
    answered = first("gen_ai.output.messages", "gen_ai.completion", "llm.output_messages", "output.value")
    guide = _parsed(span.get("gen_ai.system_instructions"))
    messages = {"messages": request, "system": guide} if isinstance(request, list) else request
    return "opentelemetry", messages, answered or span.get("choice"), span


# --- What was asked ------------------------------------------------------------------------------


def _question_of(request: object) -> tuple[str, str]:
    """Return the system's instructions and the user's last message. Raises `_Passed`."""
    request = _parsed(request)
    system, turns = "", request
    if isinstance(request, dict):
        request = _parsed(request.get("body")) if isinstance(_parsed(request.get("body")), dict) else request
        guide = next((request[key] for key in ("instructions", "system", "systemInstruction") if request.get(key)), "")
        system = _text(_parsed(guide))
        key = next((key for key in ("messages", "input", "prompt", "contents") if request.get(key)), None)
        turns = _parsed(request[key]) if key else request
    if isinstance(turns, list):
        messages = [turn for turn in turns if isinstance(turn, dict)]
        guides = [_text(message) for message in messages if _role(message) in _GUIDE]
        system = "\n\n".join(filter(None, [system, *guides]))
        text = next((_text(message) for message in reversed(messages) if _role(message) in _PERSON), "")
        if not text and not any(map(_role, messages)):
            text = _text(turns)
    elif isinstance(turns, dict):
        texts = [turn for turn in turns.values() if isinstance(turn, str)]
        text = texts[0] if len(turns) == 1 and texts else json.dumps(turns, ensure_ascii=False) if turns else ""
    else:
        text = "" if turns is None else str(turns)
    if not text.strip():
        raise _Passed("no_question")
    return system.strip(), text.strip()


def _role(message: Json) -> str:
    return str(message.get("role") or message.get("from") or "").lower()


def _text(content: object) -> str:
    """Return the text of a message or of its parts; other parts are left out."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(filter(None, map(_text, content)))
    if isinstance(content, dict):
        if content.get("type") in (
            "image_url",
            "input_image",
            "input_audio",
            "tool_call",
            "tool_use",
            "reasoning",
        ):
            return ""
        keys = ("content", "parts", "text", "value", "contents")
        return next((_text(content[key]) for key in keys if content.get(key)), "")
    return ""


# --- What was answered ---------------------------------------------------------------------------


def _answered(response: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return the answer as text or JSON. Raises `_Passed` if there is none, or it is an error or cut."""
    answer = _answer(_parsed(response) if not isinstance(response, str) else _envelope(response))
    if answer is None or (isinstance(answer, str) and not answer.strip()):
        raise _Passed("no_answer")
    return answer


def _envelope(text: str) -> object:
    """Return a response that was logged as a text: JSON in the shape of a response, or server-sent events."""
    if text.lstrip().startswith(("data:", "event:")):
        data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        return [_parsed(line) for line in data if line != "[DONE]"]
    parsed = _parsed(text)
    if isinstance(parsed, str):
        return parsed
    shaped = isinstance(parsed, dict) and not {"choices", "candidates", "object", "role", "error"}.isdisjoint(parsed)
    return parsed if shaped or (isinstance(parsed, list) and _is_turns(parsed)) else text


def _is_turns(value: Sequence[object]) -> bool:
    return bool(value) and all(isinstance(turn, dict) and (_role(turn) or "choices" in turn) for turn in value)


def _answer(response: Any) -> Any:  # noqa: ANN401, PLR0911 - one return a shape
    if isinstance(response, list):
        return _of_list(response)
    if not isinstance(response, dict):
        return response
    if _failed(response) or response.get("type") == "error":
        raise _Passed("error")
    if "body" in response or ("response" in response and "choices" not in response):
        return _answered(response.get("body", response.get("response")))
    if response.get("status") in ("incomplete", "in_progress") or response.get("stop_reason") == "max_tokens":
        raise _Passed("cut")
    if "choices" in response or "candidates" in response:
        choices = response.get("choices") or response.get("candidates")
        return _choice(choices[0]) if isinstance(choices, list) and choices else None
    if isinstance(response.get("output"), list) and (response.get("object") == "response" or _is_items(response)):
        return _of_items(response["output"])
    if isinstance(response.get("message"), dict):
        return _choice(response)
    if _role(response) or {"tool_calls", "parts", "refusal"} & response.keys():
        return _message(response)
    return response or None


def _is_items(response: Json) -> bool:
    return all(isinstance(item, dict) and "type" in item for item in response["output"])


def _of_list(response: list[Any]) -> Any:  # noqa: ANN401
    if any(isinstance(item, dict) and "choices" in item for item in response):
        if any(isinstance(item, dict) and _failed(item) for item in response):
            raise _Passed("error")
        if not all(isinstance(item, dict) for item in response):
            raise _Passed("cut")
        return _of_chunks([c for item in response for c in _listed(item, "choices") if not c.get("index")])
    if response and all(isinstance(item, dict) and "type" in item for item in response) and _is_events(response):
        return _of_events(response)
    if _is_turns(response):
        last = response[-1]
        if _role(last) not in _MODEL:
            raise _Passed("no_answer")
        return _message(last)
    if response and all(isinstance(item, dict) and ("content" in item or "text" in item) for item in response):
        return _message(response[-1])
    return response


def _of_chunks(choices: Sequence[Json]) -> Any:  # noqa: ANN401
    """Return the answer of the chunks of a chat stream: its text, or the arguments of its single call."""
    inner = [choice.get("delta") or {"content": choice.get("text")} for choice in choices]
    deltas = [delta for delta in inner if isinstance(delta, dict)]
    parts = [part for delta in deltas for part in _listed(delta, "tool_calls")]
    reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    calls = [
        {"arguments": "".join(str(_function(part).get("arguments") or "") for part in parts if part.get("index") == at)}
        for at in dict.fromkeys(part.get("index") for part in parts)
    ]
    message = {name: "".join(str(delta.get(name) or "") for delta in deltas) for name in ("content", "refusal")}
    return _choice({"finish_reason": (reasons or [""])[-1], "message": {**message, "tool_calls": calls}})


def _function(part: Json) -> Json:
    inner = part.get("function")
    return inner if isinstance(inner, dict) else {}


def _is_events(events: Sequence[Json]) -> bool:
    return events[0]["type"] in {"response.created", "message_start", "error"}


def _of_events(events: Sequence[Json]) -> Any:  # noqa: ANN401
    """Return the answer of a stream of the Responses API, whose last event is complete, or of the Messages API."""
    if any(event["type"] in {"error", "response.failed"} for event in events):
        raise _Passed("error")
    if events[0]["type"] == "response.created":
        whole = next(
            (event.get("response") for event in reversed(events) if event["type"] == "response.completed"), None
        )
        if whole is None:
            raise _Passed("cut")
        return _answer(whole)
    deltas = [event.get("delta") or {} for event in events]
    if all((delta.get("stop_reason") or "max_tokens") == "max_tokens" for delta in deltas):
        raise _Passed("cut")
    pieces = [(event.get("index"), event["delta"]) for event in events if "partial_json" in (event.get("delta") or {})]
    calls = [
        {"input": "".join(str(delta["partial_json"]) for at, delta in pieces if at == index)}
        for index in dict.fromkeys(at for at, _ in pieces)
    ]
    if calls:
        return _call(calls)
    return "".join(delta["text"] for delta in deltas if isinstance(delta.get("text"), str))


def _of_items(items: Iterable[Any]) -> Any:  # noqa: ANN401
    calls = [item for item in items if isinstance(item, dict) and item.get("type") == "function_call"]
    texts = [_text(item.get("content")) for item in items if isinstance(item, dict) and item.get("type") == "message"]
    return _call(calls) if calls and not any(texts) else "\n".join(texts)


def _choice(choice: object) -> Any:  # noqa: ANN401
    if not isinstance(choice, dict):
        return None
    reason = str(choice.get("finish_reason") or choice.get("finishReason") or "").lower()
    if reason in {"length", "max_tokens"}:
        raise _Passed("cut")
    if reason in {"content_filter", "safety"}:
        raise _Passed("refused")
    inner = next((choice[key] for key in ("message", "content", "text", "delta") if choice.get(key)), None)
    return _message(inner) if isinstance(inner, dict) else inner


def _message(message: Json) -> Any:  # noqa: ANN401
    """Return the text of the model's message, or the arguments of its single tool call."""
    if message.get("refusal"):
        raise _Passed("refused")
    if message.get("finish_reason") in ("length", "content_filter"):
        raise _Passed("cut")
    if message.get("weight") == 0:
        raise _Passed("no_answer")
    content = message.get("content", message.get("parts", message.get("value", message.get("text"))))
    text = (
        content if isinstance(content, dict) and not {"parts", "text", "content"} & content.keys() else _text(content)
    )
    if text:
        return text
    parts = [*_listed({"all": content}, "all"), *_listed({"all": message.get("tool_calls")}, "all")]
    old = message.get("function_call")
    calls = [part for part in parts if (part.get("type") or "function") in ("tool_use", "tool_call", "function")]
    return _call([*calls, *([old] if isinstance(old, dict) else [])])


def _call(calls: Sequence[Json]) -> Any:  # noqa: ANN401
    if len(calls) > 1:
        raise _Passed("several_calls")
    if not calls:
        return None
    inner = calls[0].get("function")
    call = inner if isinstance(inner, dict) else calls[0]
    arguments = _parsed(call.get("arguments", call.get("input")))
    return None if isinstance(arguments, str) else arguments  # a text is no JSON
