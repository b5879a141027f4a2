"""Every shape of a logged call gives the same exchange: what was asked, what was answered."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.flywheel.live import _is_plain, _user_of
from coterie.logs.exchanges import CallReader, read_answer, read_question

TEXT, ANSWER, SYSTEM = "Where is my parcel?", '{"intent": "delivery"}', "Name the intent."
MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": TEXT}]
REPLY = {"role": "assistant", "content": ANSWER}
REQUEST = {"model": "gpt", "messages": MESSAGES}
RESPONSE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-5",
    "choices": [{"index": 0, "message": {**REPLY, "refusal": None}, "finish_reason": "stop"}],
}
CALLED = {
    "choices": [
        {
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"type": "function", "function": {"name": "answer", "arguments": ANSWER}}],
            },
            "finish_reason": "tool_calls",
        }
    ]
}
RESPONSES = {
    "object": "response",
    "status": "completed",
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ANSWER}]},
    ],
}
PARTS = [{"role": "user", "parts": [{"type": "text", "content": TEXT}]}]
SAID = [{"role": "assistant", "parts": [{"type": "text", "content": ANSWER}], "finish_reason": "stop"}]


def attributes(**values):
    """OTLP's list of keys and values."""
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def otlp(*spans):
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}]}


GUIDE = json.dumps([{"type": "text", "content": SYSTEM}])
HALVES = ('{"intent": ', '"delivery"}')
CHUNKS = [{"choices": [{"delta": {"content": piece}}]} for piece in HALVES]


def stream(*events):
    """Server-sent events with their names, as two APIs write them."""
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


SHAPES = {
    "request and response": {"request": REQUEST, "response": RESPONSE},
    "as JSON texts": {"request_body": json.dumps(REQUEST), "response_body": json.dumps(RESPONSE), "status_code": 200},
    "payloads": {"reqPayload": REQUEST, "respPayload": RESPONSE, "statusCode": 200},
    "with status and body": {"request": {"body": REQUEST}, "response": {"status_code": 200, "body": RESPONSE}},
    "one tool call": {"request": REQUEST, "response": CALLED},
    "streamed": {"request": REQUEST, "response": CHUNKS},
    "server-sent events": {
        "request": REQUEST,
        "response": "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS) + "data: [DONE]\n\n",
    },
    "events of Responses": {
        "request": {"instructions": SYSTEM, "input": TEXT},
        "response": stream(
            {"type": "response.created", "response": {"status": "in_progress", "output": []}},
            {"type": "response.output_text.delta", "delta": ANSWER},
            {"type": "response.completed", "response": RESPONSES},
        ),
    },
    "events of Messages": {
        "request": {"system": SYSTEM, "messages": MESSAGES[1:]},
        "response": stream(
            {"type": "message_start", "message": {"role": "assistant", "content": []}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": ANSWER[:9]}},
            {"type": "ping"},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": ANSWER[9:]}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
            {"type": "message_stop"},
        ),
    },
    "a call in chunks": {
        "request": REQUEST,
        "response": [
            *(
                {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]}
                for piece in HALVES
            ),
            {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        ],
    },
    "a call in Anthropic's events": {
        "request": {"system": SYSTEM, "messages": MESSAGES[1:]},
        "response": stream(
            {"type": "message_start"},
            *({"type": "content_block_delta", "index": 0, "delta": {"partial_json": piece}} for piece in HALVES),
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        ),
    },
    "a page of an API": {
        "data": [{"id": "o", "traceId": "t", "input": MESSAGES, "output": REPLY}],
        "meta": {"page": 1},
    },
    "a trace with its observations": {
        "id": "t",
        "observations": [{"type": "GENERATION", "traceId": "t", "input": MESSAGES, "output": REPLY}],
    },
    "a span without ids": {
        "attributes": {
            "gen_ai.system_instructions": GUIDE,
            "gen_ai.input.messages": json.dumps(PARTS),
            "gen_ai.output.messages": SAID,
        }
    },
    "stored completion": {**RESPONSE, "messages": MESSAGES},
    "Responses": {"request": {"instructions": SYSTEM, "input": TEXT}, "response": RESPONSES},
    "Responses, items": {
        "request": {
            "instructions": SYSTEM,
            "input": [{"role": "user", "content": [{"type": "input_text", "text": TEXT}]}],
        },
        "response": RESPONSES,
    },
    "Anthropic": {
        "request": {"system": SYSTEM, "messages": MESSAGES[1:]},
        "response": {"type": "message", "role": "assistant", "content": [{"type": "text", "text": ANSWER}]},
    },
    "messages": {"messages": [*MESSAGES, REPLY]},
    "messages of several turns": {
        "messages": [
            MESSAGES[0],
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hi"},
            MESSAGES[1],
            REPLY,
        ]
    },
    "preferences": {
        "input": REQUEST,
        "preferred_output": [REPLY],
        "non_preferred_output": [{**REPLY, "content": "no"}],
    },
    "ShareGPT": {
        "system": SYSTEM,
        "conversations": [{"from": "human", "value": TEXT}, {"from": "gpt", "value": ANSWER}],
    },
    "Gemini": {
        "systemInstruction": {"parts": [{"text": SYSTEM}]},
        "contents": [
            {"role": "user", "parts": [{"text": TEXT}]},
            {"role": "model", "parts": [{"text": ANSWER}]},
        ],
    },
    "LiteLLM": {
        "id": "1",
        "call_type": "acompletion",
        "status": "success",
        "messages": MESSAGES,
        "response": RESPONSE,
        "error_str": None,
        "model_group": "gpt",
    },
    "LiteLLM's spend logs": {
        "request_id": "1",
        "call_type": "acompletion",
        "messages": "{}",
        "proxy_server_request": json.dumps(REQUEST),
        "response": json.dumps(RESPONSE),
        "status": "success",
    },
    "Langfuse": {
        "id": "o",
        "traceId": "t",
        "type": "GENERATION",
        "level": "DEFAULT",
        "startTime": "2026-01-01",
        "input": MESSAGES,
        "output": REPLY,
    },
    "Langfuse's blob export": {
        "id": "o",
        "trace_id": "t",
        "type": "GENERATION",
        "start_time": "2026-01-01",
        "input": json.dumps({"messages": MESSAGES}),
        "output": json.dumps(REPLY),
        "provided_model_name": "gpt",
    },
    "Langfuse, parsed": {"traceId": "t", "type": "GENERATION", "input": MESSAGES, "output": {"intent": "delivery"}},
    "OTLP": otlp(
        {
            "spanId": "s",
            "status": {},
            "attributes": attributes(
                **{
                    "gen_ai.operation.name": "chat",
                    "gen_ai.system_instructions": GUIDE,
                    "gen_ai.input.messages": json.dumps(PARTS),
                    "gen_ai.output.messages": json.dumps(SAID),
                }
            ),
        }
    ),
    "an event of a span": otlp(
        {
            "attributes": attributes(**{"gen_ai.operation.name": "chat"}),
            "events": [
                {
                    "name": "gen_ai.client.inference.operation.details",
                    "attributes": attributes(
                        **{
                            "gen_ai.system_instructions": GUIDE,
                            "gen_ai.input.messages": json.dumps(PARTS),
                            "gen_ai.output.messages": json.dumps(SAID),
                        }
                    ),
                }
            ],
        }
    ),
    "a span of its own": {
        "name": "chat gpt",
        "context": {"span_id": "s"},
        "status": {"status_code": "UNSET"},
        "attributes": {
            "gen_ai.system_instructions": GUIDE,
            "gen_ai.input.messages": json.dumps(PARTS),
            "gen_ai.output.messages": json.dumps(SAID),
        },
    },
    "OpenLLMetry": otlp(
        {
            "attributes": attributes(
                **{
                    "gen_ai.prompt.0.role": "system",
                    "gen_ai.prompt.0.content": SYSTEM,
                    "gen_ai.prompt.1.role": "user",
                    "gen_ai.prompt.1.content": TEXT,
                    "gen_ai.completion.0.role": "assistant",
                    "gen_ai.completion.0.content": ANSWER,
                }
            )
        }
    ),
    "OpenInference": otlp(
        {
            "attributes": attributes(
                **{
                    "llm.input_messages.0.message.role": "system",
                    "llm.input_messages.0.message.content": SYSTEM,
                    "llm.input_messages.1.message.role": "user",
                    "llm.input_messages.1.message.content": TEXT,
                    "llm.output_messages.0.message.role": "assistant",
                    "llm.output_messages.0.message.content": ANSWER,
                }
            )
        }
    ),
    "log records of messages": {
        "resourceLogs": [
            {
                "scopeLogs": [
                    {
                        "logRecords": [
                            {
                                "traceId": "t",
                                "spanId": "s",
                                "eventName": name,
                                "body": {"kvlistValue": {"values": body}},
                            }
                            for name, body in (
                                ("gen_ai.system.message", attributes(content=SYSTEM)),
                                ("gen_ai.user.message", attributes(content=TEXT)),
                                (
                                    "gen_ai.choice",
                                    [
                                        {
                                            "key": "message",
                                            "value": {"kvlistValue": {"values": attributes(content=ANSWER)}},
                                        }
                                    ],
                                ),
                            )
                        ]
                    }
                ]
            }
        ]
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_read(shape):
    """The question, the instructions and the answer of every shape are the same."""
    reader = CallReader()
    (exchange,) = reader.read(SHAPES[shape])

    assert not reader.skipped
    assert (exchange.text, exchange.system) == (TEXT, SYSTEM)
    assert exchange.answer in (ANSWER, json.loads(ANSWER))


@pytest.mark.parametrize(
    ("record", "text", "answer"),
    [
        ({"prompt": "Hi", "completion": "Ho"}, "Hi", "Ho"),
        ({"request": {"prompt": "Hi"}, "response": {"choices": [{"text": "Ho", "finish_reason": "stop"}]}}, "Hi", "Ho"),
        ({"instruction": "Say", "input": "Hi", "output": "Ho"}, "Say\n\nHi", "Ho"),
        ({"input": {"question": "Hi"}, "expectedOutput": "Ho", "id": "1"}, "Hi", "Ho"),
        ({"input": {"age": 4, "name": "Ann"}, "output": "yes", "traceId": "t"}, '{"age": 4, "name": "Ann"}', "yes"),
        ({"input": "Hi", "output": '{"a": 1}', "traceId": "t"}, "Hi", '{"a": 1}'),
    ],
)
def test_plain_shapes(record, text, answer):
    """Records without roles."""
    (exchange,) = CallReader().read(record)

    assert (exchange.text, exchange.answer) == (text, answer)


def choice(reason="stop", **message):
    return {"choices": [{"message": {"role": "assistant", **message}, "finish_reason": reason}]}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"request": REQUEST, "response": None, "error": {"message": "rate limit"}}, "error"),
        ({"request": REQUEST, "response": {"error": {"message": "no"}}}, "error"),
        ({"request": REQUEST, "response": {"status_code": 429, "body": {"error": {}}}}, "error"),
        ({"call_type": "completion", "messages": MESSAGES, "response": None, "status": "failure"}, "error"),
        ({"call_type": "aembedding", "messages": "x", "response": {}, "status": "success"}, "not_a_call"),
        ({"traceId": "t", "type": "GENERATION", "level": "ERROR", "input": "a", "output": "b"}, "error"),
        ({"traceId": "t", "type": "SPAN", "input": "a", "output": "b"}, "not_a_call"),
        (otlp({"status": {"code": 2}, "attributes": attributes(**{"gen_ai.prompt.0.content": "x"})}), "error"),
        (otlp({"attributes": attributes(**{"http.method": "GET"})}), "not_a_call"),
        ({"request": REQUEST, "response": choice("length", content="{")}, "cut"),
        ({"request": REQUEST, "response": choice("content_filter", content="")}, "refused"),
        ({"request": REQUEST, "response": [*CHUNKS, {"choices": [{"delta": {}, "finish_reason": "length"}]}]}, "cut"),
        ({"request": REQUEST, "response": [{"choices": [{"delta": {"refusal": "No"}}]}]}, "refused"),
        ({"request": REQUEST, "response": [*CHUNKS, {"error": {"message": "overloaded"}}]}, "error"),
        ({"request": REQUEST, "response": f"data: {json.dumps(CHUNKS[0])}\n\ndata: {{"}, "cut"),
        ({"request": REQUEST, "response": [{"choices": [{"index": 1, "delta": {"content": "b"}}]}]}, "no_answer"),
        ({"request": REQUEST, "response": choice(refusal="I cannot.")}, "refused"),
        ({"request": REQUEST, "response": choice(content="")}, "no_answer"),
        ({"request": REQUEST, "response": choice(content=None, tool_calls=[{"function": {}}] * 2)}, "several_calls"),
        ({"request": {"messages": MESSAGES[:1]}, "response": RESPONSE}, "no_question"),
        ({"messages": MESSAGES}, "no_answer"),
        ({"messages": [None, 1, "x"]}, "unknown"),
        ({"request": REQUEST, "response": choice(tool_calls=[{"function": {"arguments": "{bad"}}])}, "no_answer"),
        ({"messages": [MESSAGES[1], {**REPLY, "weight": 0}]}, "no_answer"),
        ({"hello": "world"}, "unknown"),
        ({"request": [[[]]], "response": [[1]]}, "no_question"),
        ({"messages": "x", "response": {"choices": "x"}}, "no_answer"),
        ({"messages": 5, "choices": [5]}, "no_answer"),
    ],
)
def test_what_gives_no_row_is_counted(record, reason):
    """By its reason, and nothing is raised."""
    reader = CallReader()

    assert list(reader.read(record)) == []
    assert dict(reader.skipped) == {reason: 1}


def test_the_two_files_of_a_batch():
    """Requests and results find each other by `custom_id` in any order; what is alone is counted."""
    reader = CallReader()
    requests = [
        {"custom_id": str(i), "method": "POST", "url": "/v1/chat/completions", "body": REQUEST} for i in range(3)
    ]
    done = [{"custom_id": str(i), "response": {"status_code": 200, "body": RESPONSE}, "error": None} for i in (1, 0, 7)]
    exchanges = [exchange for record in [*requests[:1], *done, *requests[1:]] for exchange in reader.read(record)]
    reader.finish()

    assert [(exchange.text, exchange.about["id"]) for exchange in exchanges] == [(TEXT, "0"), (TEXT, "1")]
    assert {str(exchange.answer) for exchange in exchanges} == {RESPONSE["choices"][0]["message"]["content"]}
    assert dict(reader.skipped) == {"no_question": 1, "no_answer": 1}


def test_where_it_is_from():
    """Identity, model and time are kept, of the record first."""
    (exchange,) = CallReader().read({"id": "r", "request": REQUEST, "response": {**RESPONSE, "created": 17}})

    assert exchange.about == {"id": "r", "model": "gpt-5", "time": "17"}


@pytest.mark.parametrize(
    ("record", "caller"),
    [
        ({"request": {**REQUEST, "user": "ann"}, "response": RESPONSE}, "ann"),
        ({"request": json.dumps({**REQUEST, "safety_identifier": "ann"}), "response": RESPONSE}, "ann"),
        ({"request": {**REQUEST, "metadata": {"user_id": "ann"}}, "response": RESPONSE}, "ann"),
        ({"request": {**REQUEST, "user": "ann"}, "response": RESPONSE, "end_user": "bob"}, "bob"),
        ({"request": REQUEST, "response": RESPONSE}, ""),
    ],
)
def test_who_asked(record, caller):
    """The record says it, else the request's own body."""
    (call,) = CallReader().read(record)
    assert call.caller == caller


_NAMES = st.sampled_from(
    [
        "role",
        "from",
        "content",
        "parts",
        "text",
        "value",
        "type",
        "messages",
        "input",
        "prompt",
        "contents",
        "instructions",
        "system",
        "body",
        "request",
        "response",
        "choices",
        "message",
        "delta",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "status",
        "error",
        "finish_reason",
        "stop_reason",
        "candidates",
        "output",
        "n",
        "response_format",
        "metadata",
        "user",
        "id",
        "usage",
        "model",
    ]
)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from(["", "user", "system", "assistant", "text", "{}", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=25,
)


@given(st.dictionaries(_NAMES, _JSON, max_size=6))
def test_a_body_of_any_json(body):
    """Whatever a call that is passed on verbatim holds where a name or a kind should stand, nothing breaks."""
    question = read_question(body)
    assert question is None or all(isinstance(part, str) for part in question)
    read_answer(json.dumps(body))
    _is_plain(body)
    _is_plain(body, objects=True)
    _user_of(body)


def test_a_part_whose_kind_is_a_list():
    """Is read as any other part: with calls being captured it was a 500 of the relay."""
    content = [{"type": [None], "text": "What is due?"}]
    assert read_question({"messages": [{"role": "user", "content": content}]}) == ("", "What is due?")
