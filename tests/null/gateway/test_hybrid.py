"""A large model above the specialists, and documents, as the gateway's callers meet them."""

import pytest

from coterie.config.file import OpenAIModel
from coterie.config.operation import GeneralistSection
from coterie.errors import StoreError
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.specialists.parts import Acceptance
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.model import AnswerSpecialist
from coterie.testing import FakeOpenAIServer, ServerReply
from coterie.types import Label, SpecialistCard

FEE = "The late fee for a personal loan is 12 pounds."
TERMS = f"{FEE} We are open on Sundays. The bank keeps silver in York and paper in Leeds."
FAILURES = [
    ServerReply.refused(503),
    ServerReply.refused(429, retry_after="60"),
    ServerReply(body=b"rubbish"),
    ServerReply(cut_after=0),
]


@pytest.fixture
async def above(network):
    """The server of a large model above the network; it does as it is told."""
    async with FakeOpenAIServer(default=ServerReply(text="Bring an umbrella.")) as server:
        model = OpenAIModel(engine="openai", base_url=server.base_url, name="big", clearance=Label.INTERNAL, retries=0)
        engine = Gate(ClearancePolicy()).open("large", model)
        network.generalist = PromptedGeneralist([(engine, model)], GeneralistSection(model="large", deadline=30))
        network.escalate_out_of_scope = True
        yield server
        await engine.close()


async def test_an_error_says_what_had_left(client, above, chat_body, network):
    """A failure after the large model was asked names it; one before anything was asked says `none`."""

    def full():
        raise StoreError("The disk is full.")

    network.store.trouble = full
    failed = await client().post("/v1/chat/completions", json=chat_body("weather?"))
    assert (failed.status_code, failed.headers["x-coterie-egress"]) == (
        503,
        "large;label=internal;pseudonymised=no;outcome=answered;prompts=1",
    )
    messages = {"model": "coterie", "max_tokens": 9, "messages": [{"role": "user", "content": "weather?"}]}
    assert "large;" in (await client().post("/v1/messages", json=messages)).headers["x-coterie-egress"]
    refused = await client().post("/v1/chat/completions", json={"model": "coterie"})
    assert (refused.status_code, refused.headers["x-coterie-egress"]) == (400, "none")
    state = {"model": "coterie", "state": "x", "questions": {}}
    assert (await client().post("/v1/systemone", json=state)).headers["x-coterie-egress"] == "none"


@pytest.mark.parametrize("failure", FAILURES, ids=["503", "429", "rubbish", "cut"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_large_model_is_no_error(client, above, chat_body, failure, stream):
    """The answer has status 200, says why it is none, and `degraded` says what was missed."""
    above.default = failure
    response = await client().post("/v1/chat/completions", json=chat_body("what is the weather", stream=stream))

    assert response.status_code == 200
    assert "Not answered: " in response.text
    assert '"degraded":"Engine ' in response.text
    assert len(above.requests) == 1


async def test_words_of_a_large_model_are_streamed(client, above, chat_body, read_events):
    """Each piece of the server is a chunk of the gateway's stream."""
    above.default = ServerReply(pieces=("Bring ", "an ", "umbrella."))
    response = await client().post("/v1/chat/completions", json=chat_body("what is the weather", stream=True))
    words = [c["choices"][0]["delta"].get("content") for c in read_events(response.text)]

    assert words == ["", "Bring", " an", " umbrella.", None]


@pytest.mark.parametrize("wire", [TERMS, {"text": TERMS, "name": "fees.txt"}])
async def test_a_document_is_read(client, network, chat_body, wire):
    """A text, or an object with a name, in the `coterie` object is what the question is about."""
    sure = Acceptance(temperature=1.0, threshold=0.0, target_risk=0.4, scope_threshold=None)
    card = SpecialistCard(name="reader", task="answer", description="", rung="lexical", version="0")
    readers = load_defaults().readers
    network.reader = AnswerSpecialist(card=card, reader=readers["lexical"], answering=sure, silence=sure)
    body = chat_body("What is the late fee for a personal loan?", coterie={"document": wire})
    completion = (await client().post("/v1/chat/completions", json=body)).json()

    assert completion["choices"][0]["message"]["content"] == f"{FEE} [1]"
    (citation,) = completion["coterie"]["findings"][0]["citations"]
    assert (citation["document"], citation["start"], citation["end"]) == (
        "document" if isinstance(wire, str) else "fees.txt",
        0,
        len(FEE),
    )


@pytest.mark.parametrize("wire", [{"name": ""}, {"text": "x", "size": 1}, {"text": "x", "label": "hidden"}, 3])
async def test_documents_that_are_none(client, chat_body, wire):
    """A document without a name, with a key that nobody knows, or of another type is refused."""
    response = await client().post("/v1/chat/completions", json=chat_body("x", coterie={"document": wire}))

    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")


async def test_what_left_is_in_header_body_and_trace(client, above, network, chat_body, read_events):
    """Header, `coterie` object and trace say the same of what left; the text is in the trace for who asks for it."""
    network.language = "en"
    for stream in (False, True):
        response = await client().post("/v1/chat/completions", json=chat_body("what is the weather", stream=stream))
        extension = read_events(response.text)[-1]["coterie"] if stream else response.json()["coterie"]
        line = "large;label=internal;pseudonymised=no;outcome=answered;prompts=1"
        assert extension["egress"]["summary"] == line
        assert response.headers["x-coterie-egress"] == ("in-stream" if stream else line)
        (prompt,) = extension["egress"]["prompts"]
        assert (prompt["engine"], prompt["label"], prompt["outcome"]) == ("large", "internal", "answered")
        assert "weather" not in str(extension["egress"])
        address = f"/api/traces/{extension['trace_id']}"
        plain, shown = [(await client().get(address + query)).json()["egress"] for query in ("", "?show_egress=true")]
        assert plain[0]["id"] == prompt["id"]
        assert (plain[0]["text"], "weather" in shown[0]["text"]) == ("", True)


async def test_nothing_left(client, chat_body):
    """An answer of this machine says `none`."""
    response = await client().post("/v1/chat/completions", json=chat_body("what is the weather"))

    assert response.headers["x-coterie-egress"] == "none"
    assert response.json()["coterie"]["egress"] == {"summary": "none", "prompts": []}
