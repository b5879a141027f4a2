"""What was stored, sent or typed under a former name still loads: one of each."""

import json

import pytest
import typer.main

from coterie.cli.app import app
from coterie.gateway.wire import DocumentWire
from coterie.observe.plain import summarise
from coterie.runtime.codec import from_json, loads, to_json
from coterie.testing import make_trace
from coterie.types import Citation, Document, Finding, Label, Part, Passage, Reason, Request, Trace

SPAN = {"document": "help.md", "start": 0, "end": 4, "text": "Fees", "label": "public", "shelf": "help"}
FINDING = {
    "specialist": "triage",
    "value": "card_lost",
    "text": "card_lost",
    "confidence": 0.9,
    "accepted": True,
    "reason": {"code": "abstain.shelf_not_searched", "values": {"shelf": "help", "why": "it is away"}},
    "label": "confidential",
    "impersonal": "internal",
}
FORMER = {"waves", "shelf", "shelves", "impersonal", "restated", "keep"}


@pytest.mark.parametrize(
    ("kind", "former", "field", "value"),
    [
        (Part, {"text": "Hi", "waves": [["triage"], ["reply"]], "score": 0.5}, "stages", (("triage",), ("reply",))),
        (Passage, SPAN | {"score": 0.5}, "index", "help"),
        (Citation, SPAN, "index", "help"),
        (Document, {"name": "help.md", "shelf": "help", "impersonal": "public"}, "index", "help"),
        (
            Request,
            {"text": "Hi", "label": "confidential", "impersonal": "internal"},
            "label_without_pii",
            Label.INTERNAL,
        ),
        (Finding, FINDING, "label_without_pii", Label.INTERNAL),
    ],
)
def test_keys_of_stored_values(kind, former, field, value):
    """A key of before is read, and the value is written under its present key."""
    read = from_json(kind, former)
    assert getattr(read, field) == value
    assert not to_json(read).keys() & FORMER
    assert from_json(kind, to_json(read)) == read


def test_a_stored_trace():
    """A trace of before has its rewritten query and its parts, and its summary says them by their present names."""
    stored = to_json(make_trace())
    stored["restated"] = stored.pop("rewritten") + "What does a lost card cost?"
    stored["route"]["parts"] = [{"text": "Hi", "waves": [["triage"]], "score": 0.5}]
    trace = loads(Trace, json.dumps(stored))
    assert (trace.rewritten, trace.route.parts[0].stages) == ("What does a lost card cost?", (("triage",),))
    shown = summarise(trace)
    assert shown["rewritten"] == trace.rewritten
    assert not shown.keys() & FORMER


@pytest.mark.parametrize(
    ("code", "values", "now"),
    [
        ("abstain.shelf_not_searched", {"shelf": "help", "why": "away"}, {"index": "help", "why": "away"}),
        ("abstain.not_searched", {"shelves": "'help'"}, {"indexes": "'help'"}),
    ],
)
def test_codes_of_reasons(code, values, now):
    """A stored reason has its present code, its values and therefore its words."""
    reason = Reason.from_json({"code": code, "values": values})
    assert reason == Reason(code.replace("shelf", "index"), **now)
    assert code not in str(reason)


def test_the_wire():
    """A client that names the index of a document as before is served."""
    assert DocumentWire.model_validate({"name": "help.md", "shelf": "help"}).index == "help"
    assert DocumentWire.model_validate({"name": "help.md", "index": "help"}).index == "help"


@pytest.mark.parametrize(
    ("command", "option", "former"), [("ask", "--index", "--shelf"), ("discover", "--callers", "--askers")]
)
def test_options(command, option, former):
    """An option of before is another spelling of the present one."""
    parameters = typer.main.get_command(app).commands[command].params
    assert [former in parameter.opts for parameter in parameters if option in parameter.opts] == [True]
