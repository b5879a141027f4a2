"""The synchronous connection to a network."""

from __future__ import annotations

import pytest

import coterie
from coterie import Answer, Document, Label, Request
from coterie.api.network import request_of
from coterie.decisions.questions import check_questions
from coterie.errors import InputError, NotTrained
from coterie.observe.plain import summarise
from coterie.types import NO, YES, Message, Question


@pytest.fixture(scope="module")
def network(folder):
    with coterie.connect(folder) as network:
        yield network


def test_an_answer_has_what_the_gateway_shows(network):
    """Findings, route, usage and status are properties with the names of the JSON."""
    answer = network.ask("my card was stolen")
    shown = summarise(answer.trace)

    assert answer.status == shown["status"] == "accepted"
    assert list(answer.route.specialists) == shown["route"]["specialists"]
    assert (str(answer.route.reason), answer.route.reason.code) == (
        shown["route"]["reason"],
        shown["route"]["reason_code"],
    )
    assert [finding.value for finding in answer.findings] == [finding["value"] for finding in shown["findings"]]
    assert answer.usage.milliseconds == shown["usage"]["milliseconds"]
    assert answer.citations == ()


def test_a_stream_has_the_pieces_and_then_the_answer(network):
    """The pieces together are the text; the answer is also there when nobody read them."""
    stream = network.stream("my card was stolen")
    text = "".join(stream)

    assert stream.answer.text == text
    assert stream.answer is stream.answer
    assert network.stream("my card was stolen", specialist="triage").answer.text == text


def test_a_stream_may_be_closed_early(network):
    """What was closed has no answer, and the network goes on."""
    stream = network.stream("my card was stolen")
    next(iter(stream))
    stream.close()

    with pytest.raises(InputError, match="closed"):
        _ = stream.answer
    assert network.ask("my card was stolen").accepted


def test_a_session_is_remembered(network):
    """The same name continues the conversation."""
    network.ask("my card was stolen", session="ada")
    answer = network.ask("charged twice", session="ada")

    assert answer.trace.session == "ada"
    assert answer.trace.views


def test_a_network_introduces_itself(network, folder):
    """Its specialists are listed by name, with their cards."""
    assert network.specialists["triage"].task == "classify"
    assert repr(network) == f"SyncNetwork({str(folder)!r}, specialists=['triage'])"


async def test_it_works_where_an_event_loop_runs(folder):
    """As in a notebook."""
    with coterie.connect(folder) as network:
        assert network.ask("my card was stolen").accepted


def test_closing_twice_is_fine(folder):
    """And what is closed answers no more."""
    network = coterie.connect(folder)
    network.close()
    network.close()

    with pytest.raises(RuntimeError):
        network.ask("my card was stolen")


def test_what_cannot_be_opened_is_explained(tmp_path):
    """The error is the one of `open_network`, and no thread stays behind."""
    (tmp_path / "coterie.toml").write_text("[network]\n")
    with pytest.raises(NotTrained):
        coterie.connect(tmp_path)


def test_plain_values_become_a_request(tmp_path):
    """Labels, money, turns, columns and documents are given as what is at hand."""
    file = tmp_path / "note.txt"
    file.write_text("Hotels cost at most 120 euros.")
    request = request_of(
        "how much?",
        columns={"age": 41},
        document=file,
        history=[{"role": "user", "content": "hello"}, Message(role="assistant", text="hi")],
        label="confidential",
        clearance=Label.INTERNAL,
        budget=0.5,
    )

    assert request.columns == {"age": 41}
    assert request.document == Document(text="Hotels cost at most 120 euros.", name="note.txt")
    assert [turn.text for turn in request.history] == ["hello", "hi"]
    assert (request.label, request.clearance, str(request.budget)) == ("confidential", "internal", "0.5")
    assert request_of("x", document="a text").document == Document(text="a text")
    assert request_of(Request(text="x")) == Request(text="x")


@pytest.mark.parametrize(
    "options",
    [
        {"label": "secret"},
        {"history": [{"role": "robot", "content": "x"}]},
        {"columns": {"a": [1]}},
    ],
)
def test_what_is_no_request_is_explained(options):
    """A label, a turn or a cell that cannot be."""
    with pytest.raises(InputError):
        request_of("x", **options)


def test_a_document_that_cannot_be_read(tmp_path):
    """A path to nothing is an error, as is a Request beside options."""
    with pytest.raises(InputError, match="cannot be read"):
        request_of("x", document=tmp_path / "nothing.txt")
    with pytest.raises(InputError, match="session"):
        request_of(Request(text="x"), session="ada")


def test_an_answer_in_a_notebook_is_escaped(network):
    """What somebody asked may stand in the answer; it is never markup."""
    answer = network.ask("my card was stolen")
    marked = Answer(text="<script>alert(1)</script>", trace=answer.trace)

    assert repr(answer).startswith("Answer(")
    assert "<table>" in answer._repr_html_()
    assert "<script>" not in marked._repr_html_()


def test_typed_questions(network):
    """A mapping names the questions; each answer says who gave it, and a label that is none is refused."""
    labels = [label.name for label in network.specialists["triage"].options]
    answer = network.decide(
        "my card was stolen",
        {"topic": Question.choice(labels), "sure": Question.predicate("It is about a card.")},
        label="public",
    )

    assert answer["topic"].probability(answer["topic"].value) == max(answer["topic"].probabilities)
    assert answer["sure"].zero_shot
    assert [decision.question for decision in answer.decisions] == ["topic", "sure"]
    with pytest.raises(InputError, match="Unknown label"):
        network.decide("x", [Question.predicate("?")], label="loud")


def test_typed_questions_in_short(network):
    """Names are the options of a choice, a text is a statement; anything else is refused, at both doors."""
    labels = [label.name for label in network.specialists["triage"].options]
    answer = network.decide("my card was stolen", {"topic": labels, "sure": "It is about a card."})

    assert sorted(answer["topic"].options) == sorted(labels)
    assert answer["sure"].options == (NO, YES)
    for wrong in ({"kind": "choice"}, 3, [1, 2]):
        with pytest.raises(InputError, match="A question is a"):
            network.decide("x", [wrong])
    with pytest.raises(InputError, match="A question is a dict"):
        check_questions([{"kind": "choice"}])
