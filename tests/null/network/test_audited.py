"""Every request is in the audit log before its answer is given: who, what was decided, and nothing that was said."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from coterie.errors import AuditError, ReleaseRefused
from coterie.types import Label, Release, Request, Verdict, worded


class Notes:
    """An audit log that remembers in memory, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events, self.closed, self.error = [], 0, error

    async def append(self, event) -> None:
        """Remember."""
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        self.events.append(event)

    def digest(self, text: str) -> str:
        """A stand-in for the content."""
        return f"<{len(text)}>"

    async def close(self) -> None:
        """Count."""
        self.closed += 1


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
    """A full disk under the log is the asker's error, and the ledger has what was spent."""
    network = audited(bench, Notes(AuditError("Cannot write the audit log.")), bench.Says("triage"))

    with pytest.raises(AuditError):
        await network.ask(Request(text="triage"))
    await asyncio.sleep(0)
    assert len(bench.store.settled) == 1


async def test_an_asker_who_leaves(bench):
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
