"""Every error as a response in OpenAI's format with a stable code.

A `CoterieError` keeps its own code; the words of a `SetupError`, which may name files of this machine, go to the log.
An HTTP-specific error (a path, a method, a body) is a `WireError`. Anything else is a bug: the response says only that,
and the log gets the position in the code, without the exception's message, since that may repeat the request.
"""

from __future__ import annotations

import json
import logging
import math
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Literal

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from coterie.errors import (
    BudgetExceeded,
    CoterieError,
    EngineError,
    EngineTimeout,
    EngineUnavailable,
    InputError,
    Overloaded,
    PolicyError,
    SetupError,
    UnknownSpecialist,
)
from coterie.observe.plain import EGRESS_HEADER, TRACE_HEADER
from coterie.types import noted_egress, noted_trace

_log = logging.getLogger("coterie.gateway")

WireCode = Literal[
    "abstained",
    "body_timeout",
    "body_too_large",
    "forbidden",
    "forbidden_host",
    "forbidden_origin",
    "internal_error",
    "invalid_json",
    "invalid_request",
    "invalid_schema",
    "key_missing",
    "key_refused",
    "keys_unreadable",
    "method_not_allowed",
    "model_not_found",
    "conflict",
    "not_found",
    "response_not_found",
    "shutting_down",
    "trace_not_found",
    "unsupported_content",
    "unsupported_encoding",
    "unsupported_parameter",
]

STATUSES: Mapping[WireCode, int] = {
    "abstained": 422,
    "body_timeout": 408,
    "conflict": 409,
    "body_too_large": 413,
    "forbidden": 403,
    "forbidden_host": 403,
    "forbidden_origin": 403,
    "internal_error": 500,
    "invalid_json": 400,
    "invalid_request": 400,
    "invalid_schema": 400,
    "key_missing": 401,
    "key_refused": 401,
    "keys_unreadable": 503,
    "method_not_allowed": 405,
    "model_not_found": 404,
    "not_found": 404,
    "response_not_found": 404,
    "shutting_down": 503,
    "trace_not_found": 404,
    "unsupported_content": 400,
    "unsupported_encoding": 415,
    "unsupported_parameter": 400,
}
"""HTTP status of each of the gateway's own codes."""

_CORE_STATUSES: Sequence[tuple[type[CoterieError], int]] = (
    (UnknownSpecialist, 404),
    (InputError, 400),
    (BudgetExceeded, 429),
    (PolicyError, 403),
    (Overloaded, 429),
    (SetupError, 503),
    (EngineTimeout, 504),
    (EngineError, 502),
)
"""HTTP status by error class. The first match is used."""

_CLOSING = {"connection": "close"}
"""Header of a response that is sent before the body was read, since its rest will not be read."""
_LONGEST = 300
"""Most characters of a caller's text that an error repeats."""

_TYPES: Mapping[int, str] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class WireError(Exception):
    """An HTTP-specific error. It never leaves this package: it becomes a response."""

    def __init__(self, code: WireCode, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def no_trace(trace_id: str) -> WireError:
    """Return the error of an unknown trace; another tenant's trace gets the same message."""
    return WireError("trace_not_found", f"There is no trace {trace_id[:100]!r}.", param="trace_id")


class ErrorResponse(Response):
    """An error in OpenAI's format; `for_path` converts it to the format of the requested API."""

    media_type = "application/json"

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self.error = {"message": message, "type": _type(status), "param": param, "code": code}
        super().__init__(json.dumps({"error": self.error}), status_code=status, headers=headers)

    def for_path(self, path: str) -> Response:
        """Return the response in the format of the API at this path, with its parameter names."""
        if (param := self.error["param"]) is not None and (own := _own_name(param, path)) != param:
            message = str(self.error["message"])
            message = own + message.removeprefix(param) if message.startswith(f"{param}:") else message
            kept = {name: value for name, value in self.headers.items() if not name.startswith("content-")}
            renamed = ErrorResponse(self.status_code, str(self.error["code"]), message, param=own, headers=kept)
            return renamed.for_path(path)
        shape = next((shape for begin, shape in _SHAPES.items() if path.startswith(begin)), None)
        return self if shape is None else shape(self)


def _own_name(param: str, path: str) -> str:
    """Return the name of a chat parameter in the API at a path, whose requests are read as chat requests."""
    names = next((names for begin, names in _NAMES.items() if path.startswith(begin)), {})
    return next((re.sub(chat, own, param, count=1) for chat, own in names.items() if re.match(chat, param)), param)


_NAMES: Mapping[str, Mapping[str, str]] = {
    "/v1/responses": {
        r"messages(\[.*)?$": "input",
        r"(tools\[\d+\])\.function\.": r"\1.",
        r"response_format\.json_schema": "text.format",
        r"response_format": "text.format",
        r"tool_choice\.allowed_tools.*": "tool_choice",
        r"max_(completion_)?tokens$": "max_output_tokens",
    },
    "/v1/messages": {
        r"(tools\[\d+\])\.function\.parameters": r"\1.input_schema",
        r"tool_choice\.function\.": "tool_choice.",
        r"(tools\[\d+\])\.function\.": r"\1.",
        r"response_format\.json_schema": "output_config.format",
        r"response_format": "output_config.format",
        r"stop(\[\d+\])?$": r"stop_sequences\1",
    },
    "/v1/decisions": {r"(questions\[\d+\])\.(predicate|choice|score)\.": r"\1."},
}


def as_anthropic(error: Mapping[str, object], status: int) -> dict[str, object]:
    """Return an error in Anthropic's format, with Coterie's code and the parameter in addition."""
    kind = _ANTHROPIC.get(status, "invalid_request_error" if status < 500 else "api_error")
    details = {"type": kind, "message": error["message"], "code": error["code"], "param": error["param"]}
    return {"type": "error", "error": details}


_ANTHROPIC: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def _anthropic(response: ErrorResponse) -> Response:
    return _reshaped(response, as_anthropic(response.error, response.status_code))


def _json_rpc(response: ErrorResponse) -> Response:
    """Return a JSON-RPC error with the same status, for a message whose id was not read."""
    number = _JSON_RPC.get(response.error["code"], REFUSED)
    about = {"code": number, "message": response.error["message"], "data": {"code": response.error["code"]}}
    return _reshaped(response, {"jsonrpc": "2.0", "id": None, "error": about})


def _reshaped(response: ErrorResponse, document: object) -> Response:
    headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    return Response(json.dumps(document), response.status_code, headers, "application/json")


_SHAPES: Mapping[str, Callable[[ErrorResponse], Response]] = {"/v1/messages": _anthropic, "/mcp": _json_rpc}
"""Format of errors by the beginning of the path, where it is not OpenAI's."""
REFUSED = -32010
"""JSON-RPC code of requests that the gateway refuses before MCP handles them; `data.code` has the reason."""
_JSON_RPC: Mapping[object, int] = {"invalid_json": -32700, "invalid_request": -32600}
"""JSON-RPC's own codes."""


def error_response(error: Exception) -> ErrorResponse:
    """Return the response to any error raised while serving a request, with a record of what was sent by then."""
    response = _response_to(error)
    response.headers[EGRESS_HEADER] = noted_egress(error)
    if trace := noted_trace(error):
        response.headers[TRACE_HEADER] = trace
    return response


def _response_to(error: Exception) -> ErrorResponse:
    if isinstance(error, CoterieError):
        return _core_error(error)
    if isinstance(error, WireError):
        status = STATUSES[error.code]
        headers = {401: {"www-authenticate": "Bearer"}, 408: _CLOSING, 413: _CLOSING}.get(status)
        return ErrorResponse(status, error.code, error.message, param=error.param, headers=headers)
    if isinstance(error, ValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _http_error(error)
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("Internal error: %s at\n%s", type(error).__qualname__, frames)
    return ErrorResponse(500, "internal_error", "Something went wrong inside the gateway; its log says where.")


def _core_error(error: CoterieError) -> ErrorResponse:
    status = next((status for kind, status in _CORE_STATUSES if isinstance(error, kind)), 500)
    headers = {}
    if isinstance(error, SetupError):
        _log.error("%s: %s", error.code, " ".join(str(error).split()))
    if isinstance(error, Overloaded | EngineUnavailable | BudgetExceeded) and error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    return ErrorResponse(status, error.code, error.public, headers=headers)


def _http_error(error: HTTPException) -> ErrorResponse:
    """Convert Starlette's own errors: an unknown path or a wrong method."""
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = headers.get("Allow", "")
        return ErrorResponse(405, "method_not_allowed", f"This path answers {allowed} only.", headers=headers)
    if error.status_code == 404:
        return ErrorResponse(404, "not_found", "There is no such path; GET /openapi.json lists those there are.")
    return ErrorResponse(error.status_code, "invalid_request", error.detail, headers=headers)


def _invalid(error: ValidationError) -> ErrorResponse:
    """Describe pydantic's findings in one sentence: the most specific problems, those deepest in the body."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if problems[0]["type"] == "json_invalid":
        return ErrorResponse(400, "invalid_json", f"The body is not valid JSON: {problems[0]['msg']}.")
    depth = max(len(problem["loc"]) for problem in problems)
    deepest = [problem for problem in problems if len(problem["loc"]) == depth]
    param = _param(deepest[0]["loc"])
    details = " or ".join(
        dict.fromkeys(
            _sentence(problem["type"], problem["msg"]) for problem in deepest if _param(problem["loc"]) == param
        )
    )
    message = f"{param}: {details}." if param else f"{details}."
    return ErrorResponse(400, "invalid_request", message, param=param)


def _param(location: tuple[str | int, ...]) -> str | None:
    """Return a pydantic location in OpenAI's form: `messages[0].content`, without members of a union."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part not in _members():
            path += f".{part}" if path else part
    return path[:_LONGEST] or None


@cache
def _members() -> frozenset[str]:
    """Return the names of union members in pydantic locations: those of simple types and of Coterie's models."""
    models, names = [BaseModel], {"bool", "int", "float", "str"}
    while models:
        models += (model := models.pop()).__subclasses__()
        names |= {model.__name__} if model.__module__.startswith("coterie.gateway.") else set()
    return frozenset(names)


def _sentence(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "There is no such key; GET /openapi.json lists those there are"
    return message.removeprefix("Value error, ").rstrip(".")


def _type(status: int) -> str:
    if status in _TYPES:
        return _TYPES[status]
    return "invalid_request_error" if status < 500 else "api_error"
