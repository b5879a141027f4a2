"""Clients that live in an environment of their own (`scripts/clients_env`), against a real server before fakes.

LiteLLM's and LangChain's decision classes; `with_structured_output` in its three modes, Instructor, Pydantic AI,
Anthropic's and OpenAI's clients: JSON answers, refusals, forced tools and responses that go on.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from coterie.types import Option

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("COTERIE_CLIENTS_PYTHON", ROOT / ".venv" / "clients" / "bin" / "python"))
LABELS = ("card_lost", "card_found", "other")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="the clients' environment is not here: run scripts/clients_env"),
]


@pytest.fixture
def network(network):
    """With a triage that has three labels."""
    triage = network.specialists["triage"]
    triage.card = replace(triage.card, labels=LABELS, options=tuple(Option(name=label) for label in LABELS))
    return network


async def _run(script: str, *arguments: str) -> str:
    """What a script says; fails with it where the script does."""
    env = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": os.environ.get("HOME", ""),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    process = await asyncio.create_subprocess_exec(
        PYTHON, ROOT / "scripts" / script, *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_decision_classes(address):
    """`OpenAIDecisions` of LangChain, `litellm.decisions` and `litellm.systemone` read answers in their own types."""
    assert "answered" in await _run("decision_clients_check.py", address)


async def test_frameworks(address):
    """Each client's way to structured output gives the label, and an abstention is a refusal."""
    output = await _run("clients_check.py", address, *LABELS, "--text", "I lost my card", "--off-topic", "weather?")
    assert "FAILED" not in output
    assert output.count("ok    ") >= 16
