"""Every request is in the audit log before its answer is given: who, what was decided, and nothing that was said."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from coterie.config.file import OpenAIModel
from coterie.config.operation import GeneralistSection
from coterie.errors import AuditError, ReleaseRefused
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.observe.plain import summarise
from coterie.store.content import without_content
from coterie.testing import FakeOpenAIServer, ServerReply
from coterie.types import Label, Release, Request, Verdict, worded
from tests._support.audit import Notes


def audited(bench, notes, *specialists):
    """A network that writes its requests down."""
    return replace(bench.network(*specialists), audit=notes)


async def test_a_request_is_written_down(bench):
    """Its trace, tenant, label, specialists with their versions, and hashes in place of texts."""
    notes = Notes()
    network = audited(bench, notes, bench.Says("triage", "card_lost"))
    answer = await network.ask(Request(text="triage", tenant="acme", session="anna"))
    await network.close()

    (event,) = notes.events
    assert (event.kind, event.tenant, event.time) == ("request", "acme", answer.trace.time)
    assert event.about["trace"] == answer.trace.id
    assert event.about["status"] == "accepted"
    assert event.about["specialists"] == {"triage": "0"}
    assert event.about["asked"] == "<6>"
    assert event.about["answered"] == f"<{len(answer.text)}>"
    assert "anna" not in str(event)
    assert notes.closed == 1


async def test_nobody_is_asked(bench):
    """A request that nobody answered is written down too."""
    notes = Notes()
    await audited(bench, notes, bench.Says("triage")).ask(Request(text="what is the weather"))

    assert notes.events[0].about["status"] == "abstained"


async def test_what_cannot_be_written_down_is_not_answered(bench):
    """A full disk under the log is the caller's error, and the ledger has what was spent."""
    network = audited(bench, Notes(AuditError("Cannot write the audit log.")), bench.Says("triage"))

    with pytest.raises(AuditError):
        await network.ask(Request(text="triage"))
    await asyncio.sleep(0)
    assert len(bench.store.settled) == 1


async def test_an_caller_who_leaves(bench):
    """What was spent for somebody who is gone is in the log as well."""
    notes = Notes()
    network = audited(bench, notes, bench.Says("triage", "a b c"))
    stream = network.stream(Request(text="triage"))
    async for _ in stream:
        break
    await stream.aclose()

    assert len(notes.events) == 1


async def test_every_crossing_is_in_it(bench):
    """What the gate let out or refused stands there with its reason, also where no finding has it."""
    notes = Notes()
    lost = Verdict(allowed=True, rule="egress.pseudonymised", reason=worded("pseudonymised: 1 value (1 EMAIL)"))

    triage = bench.Says("triage")
    triage.before = lambda: triage.calls[-1].decided(lost)
    network = audited(bench, notes, triage)
    await network.ask(Request(text="triage anna@example.org"))

    rules = [(verdict["rule"], verdict["reason_code"]) for verdict in notes.events[0].about["verdicts"]]
    assert rules == [
        ("label.raised", "label.raised"),
        ("egress.pseudonymised", lost.reason.code),
    ]
    assert "anna" not in str(notes.events)


async def test_what_left_is_told_at_every_door(bench):
    """Both entries, trace and answer name the same prompt, label and end; its text has only the trace."""
    notes = Notes()
    async with FakeOpenAIServer(default=ServerReply(text="It is <EMAIL_1>.")) as server:
        model = OpenAIModel(
            engine="openai", base_url=server.base_url, name="m", clearance=Label.INTERNAL, pseudonymise=True
        )
        engine = Gate(ClearancePolicy(), audit=notes).open("large", model)
        generalist = PromptedGeneralist([(engine, model)], GeneralistSection(model="large"))
        network = replace(bench.network(bench.Says("triage", accepted=False), generalist=generalist), audit=notes)
        answer = await network.ask(Request(text="who is ada@example.org?", specialist="triage"))
        quiet = await network.ask(Request(text="triage", allowed=("triage",)))
        await engine.close()
        (sent,) = server.requests

    left, request, second = notes.events
    (egress,) = answer.egress
    assert (left.kind, request.kind, second.kind) == ("egress", "request", "request")
    assert request.about["egress"] == {egress.id: "answered"} == {left.about["id"]: "answered"}
    assert "egress" not in second.about
    assert (egress.engine, egress.label, egress.pseudonymised) == ("large", "internal", True)
    assert answer.trace.egress_summary == "large;label=internal;pseudonymised=yes;outcome=answered;prompts=1"
    assert (quiet.egress, quiet.trace.egress_summary) == ((), "none")
    assert "ada" not in egress.text
    assert all(message["content"] in egress.text for message in sent.json["messages"])
    summary = summarise(answer.trace)["egress"]
    assert summary["summary"] == answer.trace.egress_summary
    assert [prompt["outcome"] for prompt in summary["prompts"]] == ["answered"]
    assert "EMAIL_1" not in str(summary) + str(without_content(answer.trace).egress)


async def test_a_log_that_fails_before_something_leaves(bench):
    """The request fails with the log's own error: no word is given, nothing is sent, and no abstention hides it."""
    async with FakeOpenAIServer() as server:
        model = OpenAIModel(engine="openai", base_url=server.base_url, name="m", clearance=Label.INTERNAL)
        engine = Gate(ClearancePolicy(), audit=Notes(AuditError("Cannot write."))).open("large", model)
        generalist = PromptedGeneralist([(engine, model)], GeneralistSection(model="large"))
        network = replace(bench.network(bench.Says("triage", accepted=False), generalist=generalist), audit=Notes())
        with pytest.raises(AuditError, match="Cannot write"):
            await anext(network.stream(Request(text="triage")))
        await engine.close()

        assert server.connections == 0
    (settled,) = bench.store.settled
    assert [prompt.outcome for prompt in settled.trace.egress] == ["not_sent"]
    assert settled.trace.egress_summary == "none"


async def test_a_refused_release(bench):
    """Who tried to lower a label, of what and why not stands there, and nothing of what was said."""
    notes = Notes()
    release = Release(to=Label.PUBLIC, because="for anna@example.org")
    request = Request(text="triage", tenant="acme", key="k1", session="anna", release=release)

    with pytest.raises(ReleaseRefused):
        await audited(bench, notes, bench.Says("triage")).ask(request)

    (event,) = notes.events
    assert (event.kind, event.tenant, event.about["key"]) == ("release_refused", "acme", "k1")
    assert event.about["to"] == "public"
    assert event.about["asked"] == "<6>"
    assert "EMAIL" in event.about["reason"]
    assert "anna" not in str(event)


async def test_stages_of_an_ordinary_request_are_kept_as_they_are(bench):
    """No note of an ordinary request's stages is looked through for content: each is a name or a note of our own."""
    network = bench.network(bench.Says("triage", "card_lost"))
    answer = await network.ask(Request(text="triage card lost since the morning"))
    await network.close()

    assert without_content(answer.trace, ["triage card lost since the morning"]).stages is answer.trace.stages
