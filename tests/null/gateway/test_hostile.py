"""Whatever is sent: an OpenAI-shaped error with a stable code, never a 500, and a gateway that goes on."""

import asyncio
import gzip
import json
import threading
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coterie.gateway.errors import STATUSES, WireCode
from coterie.gateway.wire import Error
from coterie.runtime.concurrency import still_wanted

CHAT = "/v1/chat/completions"
HEAD = b'{"model":"coterie","messages":[{"role":"user","content":'

BODIES = {
    "nothing": (b"", "invalid_json"),
    "not json": (b"hello", "invalid_json"),
    "half": (HEAD, "invalid_json"),
    "not utf-8": (HEAD + b'"\xff\xfe"}]}', "invalid_json"),
    "a lone surrogate": (HEAD + rb'"\ud800"}]}', "invalid_json"),
    "a raw null byte": (HEAD + b'"a\x00b"}]}', "invalid_json"),
    "deep arrays": (b"[" * 100_000, "invalid_json"),
    "deep objects": (b'{"a":' * 100_000, "invalid_json"),
    "deep extra": (HEAD + b'"Hi"}],"extra":' + b"[" * 5000 + b"]" * 5000 + b"}", "invalid_json"),
    "a number of 5000 digits": (HEAD + b'"Hi"}],"max_tokens":' + b"9" * 5000 + b"}", "invalid_json"),
    "something behind": (HEAD + b'"Hi"}]} {}', "invalid_json"),
    "null": (b"null", "invalid_request"),
    "an array": (b"[]", "invalid_request"),
    "a text": (b'"Hi"', "invalid_request"),
    "no model": (b'{"messages":[{"role":"user","content":"Hi"}]}', "invalid_request"),
    "no messages": (b'{"model":"coterie","messages":[]}', "invalid_request"),
    "a message that is none": (b'{"model":"coterie","messages":["Hi"]}', "invalid_request"),
    "an unknown role": (b'{"model":"coterie","messages":[{"role":"king","content":"Hi"}]}', "invalid_request"),
    "a number as content": (HEAD + b"5}]}", "invalid_request"),
    "a number as a part": (HEAD + b"[5]}]}", "invalid_request"),
    "NaN where a number is wanted": (HEAD + b'"Hi"}],"max_tokens":NaN}', "invalid_json"),
    "a NaN column": (HEAD + b'"Hi"}],"coterie":{"columns":{"a":NaN}}}', "invalid_json"),
    "an unknown key of ours": (HEAD + b'"Hi"}],"coterie":{"sesion":"s"}}', "invalid_request"),
    "a long unknown key of ours": (HEAD + b'"Hi"}],"coterie":{"' + b"k" * 100_000 + b'":"s"}}', "invalid_request"),
    "an empty text": (HEAD + b'" \\n"}]}', "input_error"),
    "an empty object as text": (HEAD + b'""}]}', "input_error"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_cannot_be_served(client, name, stream):
    """Each gets its 400, streamed or not."""
    body, code = BODIES[name]
    if stream:
        body = body.replace(b'{"model"', b'{"stream":true,"model"', 1)
    response = await client().post(CHAT, content=body)
    error = response.json()["error"]
    Error.model_validate(response.json())
    assert (response.status_code, error["code"]) == (400, code)
    assert len(response.content) < 2000


@pytest.mark.parametrize(
    "content",
    [
        r'"a\u0000b"',
        r'"\ud83d\ude00 \u202e"',
        '"{"',
        r'"{\"a\": NaN}"',
        r'"{\"a\": 1e999}"',
        r'"{\"a\": \"\\ud800\"}"',
        r'"{\"\\ud800\": 1}"',
        json.dumps("x" * 500_000),
        json.dumps("{" * 100_000 + "}"),
        json.dumps('{"a": ' + "9" * 4000 + "}"),
        json.dumps('{"a": ' + "9" * 5000 + "}"),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_strange_text_is_only_a_text(client, content, stream):
    """Null bytes, numbers that are none and broken Unicode inside the text break nothing, in answer or trace."""
    http = client()
    more = ',"stream":true' if stream else ""
    response = await http.post(CHAT, content=HEAD + content.encode() + b"}]" + more.encode() + b"}")
    assert response.status_code in {200, 400}, response.text
    if response.status_code == 200:
        trace = await http.get(f"/api/traces/{response.headers['x-coterie-trace']}")
        assert trace.status_code == 200


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 400])
async def test_a_number_that_is_none_makes_no_column(client, network, number):
    """JSON in the text that holds one stays text: no model is given what it cannot count with."""
    await client().post(
        CHAT, json={"model": "coterie", "messages": [{"role": "user", "content": f'{{"a": {number}}}'}]}
    )
    assert network.specialists["triage"].asked[0].columns is None


async def test_a_compressed_body_is_refused(client, network):
    """By its header, before it is taken for broken JSON."""
    response = await client().post(CHAT, content=gzip.compress(b"{}"), headers={"content-encoding": "gzip"})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_encoding")


async def test_a_large_body_is_refused_before_it_is_read(client, call):
    """By its declared length, or as soon as it is longer than it may be."""
    http = client(max_body=1024)
    response = await http.post(CHAT, content=b"x" * 1025)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")

    async def pieces():
        for _ in range(100):
            yield b"x" * 100

    response = await http.post(CHAT, content=pieces())
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
    assert http.app.state.gateway.admission.admitted == 0


async def test_a_body_that_does_not_come_is_not_waited_for(client, call):
    """The connection is closed after a while, since nobody reads what may still come."""
    http = client(body_seconds=0.01)
    caller = call(http.app, CHAT, body_sent=True)
    await caller.run()
    assert caller.status == 408
    assert (b"connection", b"close") in caller.sent[0]["headers"]
    assert json.loads(caller.text)["error"]["code"] == "body_timeout"
    assert http.app.state.gateway.admission.admitted == 0


async def test_bodies_that_do_not_come_keep_nobody_out(client, call, chat_body):
    """They hold no admission, and the slowest makes room for one more."""
    http = client(concurrency=1, queue=1, body_seconds=3600)
    silent = [call(http.app, CHAT, body_sent=True) for _ in range(3)]
    tasks = []
    for silent_call in silent:
        tasks.append(asyncio.create_task(silent_call.run()))
        await asyncio.sleep(0)
    assert (await http.post(CHAT, json=chat_body("Where is my card?"))).status_code == 200
    assert [silent_call.status for silent_call in silent] == [408, 408, None]
    assert "the slowest" in silent[0].text
    silent[2].gone.set()
    await asyncio.gather(*tasks)


async def test_a_caller_who_leaves_in_the_middle_of_its_body(client, call):
    """Nobody is answered, nothing is held."""
    http = client()
    caller = call(http.app, CHAT, body_sent=True)
    caller.gone.set()
    await caller.run()
    assert caller.sent == []
    assert http.app.state.gateway.admission.admitted == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("BREW", "/healthz", 405, "method_not_allowed"),
        ("POST", "/v1/threads", 404, "not_found"),
        ("POST", "/v1/audio/speech", 404, "not_found"),
        ("POST", CHAT + "/", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/../../etc/passwd", 404, "not_found"),
        ("GET", "/%00", 404, "not_found"),
        ("GET", "/v1/models/nobody", 404, "model_not_found"),
        ("GET", "/v1/models/", 404, "model_not_found"),
        ("GET", "/v1/models/coterie%2Fnobody", 404, "model_not_found"),
        ("GET", "/api/traces/nobody", 404, "trace_not_found"),
        ("GET", "/api/traces/%00%ff", 404, "trace_not_found"),
        ("GET", "/api/traces/" + "x" * 10_000, 404, "trace_not_found"),
    ],
)
async def test_wrong_paths_and_methods(client, method, path, status, code):
    """Also these are errors in OpenAI's shape."""
    response = await client().request(method, path)
    Error.model_validate(response.json())
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert len(response.content) < 1000
    if status == 405:
        assert response.headers["allow"]


async def test_every_method_of_a_path_is_named(client):
    """Where a path has several, each of its own route."""
    response = await client().put("/v1/responses/resp_1")
    assert (response.status_code, response.headers["allow"]) == (405, "DELETE, GET, HEAD")


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/metrics", "/nothing"])
async def test_foreign_hosts_and_origins_are_refused_everywhere(client, path):
    """Whatever the path, before anything is done."""
    http = client()
    response = await http.get(path, headers={"host": "evil.com"})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden_host")
    response = await http.get(path, headers={"origin": "https://evil.com"})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden_origin")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
FIELDS = ["model", "messages", "stream", "stream_options", "max_tokens", "n", "tool_choice", "response_format"]
FIELDS += ["modalities", "logprobs", "coterie", "input", "encoding_format", "dimensions"]
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "assistant", "tool"]) | JSON, "content": JSON}),
    max_size=3,
)
OBJECTS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8)
NEARLY = st.builds(lambda base, more: more | base, st.fixed_dictionaries({"messages": MESSAGES}), OBJECTS)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=NEARLY | OBJECTS | JSON, named=st.booleans(), path=st.sampled_from([CHAT, "/v1/embeddings"]))
def test_no_json_at_all_makes_a_500(client, body, named, path):
    """Random JSON, mostly of the right fields with wrong values."""
    if named and isinstance(body, dict):
        body = body | {"model": "coterie"}

    async def send():
        return await client().post(path, content=json.dumps(body).encode())

    response = asyncio.run(send())
    assert response.status_code in {200, 400, 404}, response.text
    if response.status_code != 200:
        Error.model_validate(response.json())


def test_every_code_has_a_status():
    """The closed set of codes and their statuses name the same."""
    assert set(get_args(WireCode)) == set(STATUSES)


async def test_a_caller_who_leaves_stops_the_work_in_threads(client, network, call, chat_body):
    """What reads their text for personal data ends at its next step."""
    begun, ended = threading.Event(), threading.Event()

    class Endless:
        quick = 0

        def find(self, text):
            begun.set()
            try:
                while True:
                    still_wanted()
            finally:
                ended.set()

    network.detector = Endless()
    caller = call(client().app, CHAT, json.dumps(chat_body("Where is my card?")).encode())
    asking = asyncio.create_task(caller.run())
    assert await asyncio.to_thread(begun.wait, 60)
    caller.gone.set()
    assert await asyncio.to_thread(ended.wait, 60)
    await asking
    assert caller.sent == []
