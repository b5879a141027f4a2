"""OpenAI <-> core as functions of values."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from coterie.gateway.errors import WireError
from coterie.gateway.openai.translation import model_names, pinned_specialist, read_request
from coterie.gateway.wire import ChatRequest
from coterie.types import Label, Message

SPECIALISTS = {"triage": object(), "reply": object()}


def _read(messages, model="coterie", **more):
    wire = ChatRequest.model_validate({"model": model, "messages": messages, **more})
    return read_request(wire, specialists=SPECIALISTS, tenant="default").request


def _user(content):
    return {"role": "user", "content": content}


def _tool(name, **more):
    return {"type": "function", "function": {"name": name, **more}}


def test_the_last_user_message_is_asked_and_the_rest_is_history():
    """Every role keeps its turn; developer is system, and a tool's result is the caller's."""
    request = _read(
        [
            {"role": "developer", "content": "Be brief."},
            _user("Hi"),
            {"role": "assistant", "content": "Hello"},
            {"role": "tool", "content": "42", "tool_call_id": "x"},
            _user("I lost my card"),
            {"role": "system", "content": "Stay polite."},
        ]
    )
    assert request.text == "I lost my card"
    assert request.history == (
        Message(role="system", text="Be brief."),
        Message(role="user", text="Hi"),
        Message(role="assistant", text="Hello"),
        Message(role="user", text="42"),
        Message(role="system", text="Stay polite."),
    )


def test_text_parts_are_one_text():
    """Content may be an array of text parts."""
    assert _read([_user([{"type": "text", "text": "I lost"}, {"type": "text", "text": "my card"}])]).text == (
        "I lost\nmy card"
    )


def test_turns_without_a_text_are_left_out():
    """An assistant's message that only called tools has nothing to remember."""
    messages = [{"role": "assistant", "content": None, "tool_calls": []}, _user("Hi")]
    assert _read(messages).history == ()


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "x" * 10_000])
def test_only_text_can_be_read(kind):
    """An image is refused by name and place, not ignored."""
    with pytest.raises(WireError) as caught:
        _read([_user([{"type": "text", "text": "what is this?"}, {"type": kind, kind: {"url": "data:"}}])])
    assert (caught.value.code, caught.value.param) == ("unsupported_content", "messages[0].content[1]")
    assert len(caught.value.message) < 300


def test_a_text_part_needs_its_text():
    """A part of type text without one is the caller's mistake."""
    with pytest.raises(WireError, match="needs 'text'"):
        _read([_user([{"type": "text"}])])


@pytest.mark.parametrize("role", ["assistant", "tool"])
def test_a_conversation_ends_with_the_user(role):
    """A specialist cannot continue somebody's text, so it is not asked to."""
    with pytest.raises(WireError, match=f"ends with a message of role '{role}'"):
        _read([_user("Hi"), {"role": role, "content": "Hello, I"}])


def test_somebody_must_ask():
    """A system message alone asks nothing."""
    with pytest.raises(WireError, match="nothing is asked"):
        _read([{"role": "system", "content": "Hi"}])


@pytest.mark.parametrize(
    "parameters",
    [
        {"n": 2},
        {"n": 0},
        {"logprobs": True},
        {"modalities": ["text", "audio"]},
    ],
)
def test_what_would_be_missed_is_refused(parameters):
    """A parameter whose silent absence breaks a caller is refused by name."""
    with pytest.raises(WireError) as caught:
        _read([_user("Hi")], **parameters)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", next(iter(parameters)))


def test_what_has_no_effect_is_named():
    """What OpenAI clients send by habit is accepted; what may not act is named, what acts or says nothing is not."""
    wire = ChatRequest.model_validate(
        {
            "model": "coterie",
            "messages": [_user("Hi")],
            "n": 1,
            "temperature": 0.7,
            "stop": ["\n"],
            "seed": 1,
            "max_tokens": 9,
            "tools": [_tool("f")],
            "tool_choice": "auto",
            "response_format": {"type": "text"},
            "logprobs": False,
            "modalities": ["text"],
            "top_p": None,
            "something_of_next_year": {"a": [1]},
        }
    )
    reading = read_request(wire, specialists=SPECIALISTS, tenant="default")
    assert reading.set == {"temperature", "max_tokens", "stop", "seed", "tools", "something_of_next_year"}
    assert (reading.request.sampling.temperature, reading.request.sampling.stop) == (0.7, ("\n",))


def test_a_forced_call_asks_for_its_parameters():
    """The arguments of the one function that must be called are the schema of the answer."""
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    for choice in ("required", {"type": "function", "function": {"name": "f"}}):
        wire = {"model": "coterie", "messages": [_user("Hi")], "tools": [_tool("f", parameters=schema)]}
        reading = read_request(
            ChatRequest.model_validate({**wire, "tool_choice": choice}), specialists=SPECIALISTS, tenant="default"
        )
        assert (reading.function, reading.request.schema["required"], reading.set) == ("f", ["a"], frozenset())


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, ".properties.a"),
        (
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 2}}, "required": ["a"]},
            ".properties.a",
        ),
        ({"type": "object", "not": {}}, ""),
        ({"type": "object", "required": ["b"], "additionalProperties": False}, ""),
        ({"type": "string", "pattern": "(?=a)b"}, ""),
        ({"type": "colour"}, ""),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_by_place(schema, place):
    """Recursive, contradictory, unknown: each with the part of the body where it is."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(WireError) as caught:
        _read([_user("Hi")], response_format=form)
    assert caught.value.code == "invalid_schema"
    assert caught.value.param == f"response_format.json_schema.schema{place}"


def test_max_tokens_has_two_names_and_an_end():
    """The newer name wins, and a wish beyond every window is cut to one."""
    assert _read([_user("Hi")], max_tokens=7).max_tokens == 7
    assert _read([_user("Hi")], max_tokens=7, max_completion_tokens=9).max_tokens == 9
    assert _read([_user("Hi")], max_tokens=10**30).max_tokens == 1_048_576
    with pytest.raises(ValidationError):
        _read([_user("Hi")], max_tokens=0)


def test_the_extension_reaches_the_request():
    """Session, label and columns come from the `coterie` object."""
    columns = {"amount": 2500, "rate": 1.5, "purpose": "car", "owner": True, "other": None}
    request = _read([_user("Hi")], coterie={"session": "s-1", "label": "restricted", "columns": columns})
    assert (request.session, request.label) == ("s-1", Label.RESTRICTED)
    assert request.columns == columns
    assert [type(v) for v in request.columns.values()] == [int, float, str, bool, type(None)]


@pytest.mark.parametrize(
    "extension",
    [
        {"sesion": "s"},
        {"session": ""},
        {"session": "a\x00b"},
        {"session": "s" * 201},
        {"label": "secret"},
        {"columns": {"a": [1]}},
        {"columns": {"a": float("nan")}},
        {"columns": {"a": float("inf")}},
        {"columns": {"a": 10**400}},
        {"columns": {"a": "x" * 10_001}},
        {"columns": {f"c{i}": i for i in range(1001)}},
    ],
)
def test_the_extension_is_ours_and_strict(extension):
    """An unknown key or a value that no model can take is an error."""
    with pytest.raises(ValidationError):
        _read([_user("Hi")], coterie=extension)


def test_a_refused_column_is_explained_in_one_sentence():
    """Not once for each kind of value it is not."""
    with pytest.raises(ValidationError) as caught:
        _read([_user("Hi")], coterie={"columns": {"age": [1]}})
    (problem,) = caught.value.errors()
    assert problem["loc"] == ("coterie", "columns", "age")
    assert "a finite number, true, false or null" in problem["msg"]


def test_models_are_the_router_and_each_specialist():
    """`coterie` routes, `coterie/NAME` pins, and nothing else is a model."""
    assert model_names(SPECIALISTS) == ["coterie", "coterie/reply", "coterie/triage"]
    assert pinned_specialist("coterie", SPECIALISTS) is None
    assert pinned_specialist("coterie/triage", SPECIALISTS) == "triage"


@pytest.mark.parametrize(
    "model", ["gpt-4o", "triage", "coterie/", "coterie/nobody", "coterie/coterie/triage", "", "\x00"]
)
def test_an_unknown_model_is_not_found(model):
    """The error names those there are."""
    with pytest.raises(WireError, match="'coterie/triage'") as caught:
        pinned_specialist(model, SPECIALISTS)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_clearance_can_only_be_lowered():
    """What is asked with a lower clearance is asked so; a higher one is refused and named."""
    wire = {"model": "coterie", "messages": [_user("Hi")]}

    def read(clearance):
        chat_request = ChatRequest.model_validate(wire | {"coterie": {"clearance": clearance}})
        return read_request(chat_request, specialists=SPECIALISTS, tenant="default", clearance=Label.INTERNAL).request

    assert read("public").clearance is Label.PUBLIC
    assert read("internal").clearance is Label.INTERNAL
    with pytest.raises(WireError, match="'restricted'") as caught:
        read("restricted")
    assert caught.value.param == "coterie.clearance"


def test_the_policy_is_read_from_the_coterie_object():
    """`quality` and `budget` come with the request; a share above 1 is refused before anybody is asked."""
    wire = {"model": "coterie", "messages": [_user("Hi")]}

    def read(**policy):
        return read_request(
            ChatRequest.model_validate(wire | {"coterie": policy}), specialists=SPECIALISTS, tenant="default"
        ).request

    assert read(quality=0.95).quality == 0.95
    assert read(budget="2.50").budget == Decimal("2.50")
    assert read().quality is None
    for wrong in ({"quality": 1.5}, {"budget": -1}, {"quality": "much"}):
        with pytest.raises(ValidationError):
            read(**wrong)
