"""An `answer` specialist with the encoder that ships and real documents: indexed, trained without data, asked."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from coterie import open_network
from coterie.cli.app import main
from coterie.types import Document, Label, Request

POLICIES = Path(__file__).parents[2] / "examples" / "lender" / "documents" / "policies"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A network whose one specialist reads the lender's policies."""
    network_folder = tmp_path_factory.mktemp("lender")
    shutil.copytree(POLICIES, network_folder / "policies")
    (network_folder / "coterie.toml").write_text(
        '[network]\ndefault_label = "internal"\n\n'
        '[specialists.ask]\ntask = "answer"\nknowledge = ["policies"]\n'
        'description = "Questions about the lender\'s terms and policies."\n\n'
        '[knowledge.policies]\npaths = ["policies"]\nlabel = "public"\n'
        'labels = { "policies/credit-policy.md" = "restricted" }\n'
    )
    assert main(["-C", str(network_folder), "index", "policies"]) == 0
    assert main(["-C", str(network_folder), "train"]) == 0
    return network_folder


def ask(folder: Path, text: str, clearance: Label | None = None):
    """One request through the router."""
    return asyncio.run(_asked(folder, Request(text=text, clearance=clearance)))


async def _asked(folder: Path, request: Request):
    network = await open_network(folder)
    try:
        return await network.ask(request)
    finally:
        await network.close()


def test_a_question_is_answered_with_its_place(folder):
    """The router finds the specialist by its documents, and the citation's offsets give the quote."""
    answer = ask(folder, "How long can I withdraw from a loan agreement after signing it?")

    (finding,) = answer.trace.findings
    assert finding.accepted
    assert "14 days" in answer.text
    citation = finding.citations[0]
    text = (POLICIES / Path(citation.document).name).read_text()
    assert text[citation.start : citation.end] == citation.text
    assert citation.heading.endswith("Changing your mind")


def test_what_no_document_says_is_not_answered(folder):
    """A question about what the lender does not offer gets no answer."""
    (finding,) = ask(folder, "What is the interest rate of a mortgage on a flat?").trace.findings

    assert not (finding.accepted and finding.citations)


def test_a_restricted_document_is_for_those_who_may_see_it(folder):
    """Nothing of the internal policy is shown to the usual caller."""
    text = "What share of net monthly income must all instalments together not exceed?"
    below, cleared = ask(folder, text), ask(folder, text, Label.RESTRICTED)

    documents = [{c.document for f in answer.trace.findings for c in f.citations} for answer in (below, cleared)]
    assert "policies/credit-policy.md" not in documents[0]
    assert "policies/credit-policy.md" in documents[1]


def test_the_weather_is_not_its_job(folder):
    """It is like nobody, so the documents are looked into; they neither answer nor have anything to be silent about."""
    trace = ask(folder, "What will the weather be like in Paris tomorrow?").trace

    assert "route.documents" in trace.route.reason.codes
    assert not any(finding.accepted for finding in trace.findings)


def test_a_long_document_that_comes_with_the_question(folder):
    """A contract is read from beginning to end: the clause that decides is quoted, or named as the nearest."""
    text = (POLICIES.parent / "contracts" / "outsourcing.txt").read_text(encoding="utf-8")
    request = Request(text="Which law governs the agreement?", document=Document(text=text, name="outsourcing"))
    answer = asyncio.run(_asked(folder, request))

    assert "governed by the laws of the State of Oklahoma" in " ".join(answer.text.split())
    finding = answer.trace.findings[-1]
    assert all(
        text[citation.start : citation.end] == citation.text for citation in (*finding.citations, *finding.evidence)
    )
    assert [stage.name for stage in answer.trace.stages][-4:] == ["plan", "read", "compose", "first text"]


def test_a_document_of_the_index(folder, capsys):
    """Named by index and name it is read whole; who may not see it is told that it is not there."""
    words = ["-C", str(folder), "ask", "Is a late fee charged during the pause?", "--index", "policies", "--document"]

    assert main([*words, "policies/hardship.md", "--json"]) == 0
    assert "no late fee is charged" in capsys.readouterr().out
    assert main([*words, "policies/credit-policy.md"]) == 2
    assert "No document 'policies/credit-policy.md'" in capsys.readouterr().err
