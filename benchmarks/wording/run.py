"""What a model words from found passages: is what they say let through, and what they do not say kept back?

    python benchmarks/wording/run.py

The pages of `../answer/pages.json` become an index, as a user makes it, with a specialist whose answers a model words
(rung `llm`). The model is a local server that says what `wordings.json` has for the question: once what the page says
in other words, once something near that it does not say. Counted is what the specialist then says.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "answer"))

from _index import SPECIALIST, make_network, of_pages
from _pages import FILE, read_pages

from _record import Record, arguments, sha256
from coterie import open_network
from coterie.learning.evaluation import bootstrap_mean
from coterie.testing import FakeOpenAIServer, ServerReply
from coterie.types import Request

CLAIM = "What a model words and the documents do not say is kept back; what they say in other words is said."
WORDINGS = Path(__file__).with_name("wordings.json")
MODEL = """

[models.wording]
engine = "openai"
base_url = "{url}"
name = "script"
clearance = "restricted"
"""


class Wording(NamedTuple):
    """A question, what its page says in other words, and something near that it does not say."""

    question: str
    right: str
    wrong: str


async def said(network_folder: Path, texts: Mapping[str, str], server: FakeOpenAIServer) -> list[bool]:
    """Whether each wording was said, of the questions whose quotation stands: for others no model is asked."""
    verdicts = []
    network = await open_network(network_folder)
    try:
        for question, text in texts.items():
            before = len(server.requests)
            answer = await network.ask(Request(text=question, specialist=SPECIALIST))
            if len(server.requests) > before:
                [finding] = answer.trace.findings
                verdicts.append(finding.accepted and finding.value == text)
    finally:
        await network.close()
    return verdicts


async def measure(wordings: Sequence[Wording], *, held_out: bool, folder: Path) -> dict[str, Any]:
    """Shares of the right and the wrong ones that were said."""
    texts: dict[str, str] = {}

    def speak(body: Mapping[str, Any]) -> ServerReply:
        prompt = str(body["messages"][-1]["content"])
        return ServerReply(text=texts[prompt.rsplit("Question: ", 1)[-1].strip()])

    network = make_network(folder, of_pages(read_pages(held_out=held_out)).documents)
    async with FakeOpenAIServer(default=speak) as server:
        file = network / "coterie.toml"
        section = f"[specialists.{SPECIALIST}]\n"
        written = file.read_text(encoding="utf-8").replace(
            section, section + 'model = "wording"\nrungs = ["embedding", "llm"]\ncalibration_calls = 0\n'
        )
        file.write_text(written + MODEL.format(url=server.base_url), encoding="utf-8")
        train = [sys.executable, "-m", "coterie", "-C", str(network), "train"]
        await asyncio.to_thread(subprocess.run, train, check=True, stdout=subprocess.DEVNULL)
        figures = {}
        for name in ("right", "wrong"):
            texts.update({wording.question: getattr(wording, name) for wording in wordings})
            figures[f"{name}_ones_said"] = _share(await said(network, texts, server))
    return figures


def _share(values: Sequence[bool]) -> dict[str, Any]:
    given = np.array(values, dtype=float)
    interval = bootstrap_mean(given, seed=0)
    return {"share": float(given.mean()), "interval": [interval.low, interval.high], "n": len(given)}


def main() -> None:
    """Measure and write the result file."""
    given = arguments(__doc__ or "", __file__).parse_args()
    record = Record(claim=CLAIM)
    record.data[FILE.name] = sha256(FILE)
    record.data[WORDINGS.name] = sha256(WORDINGS)
    stored = json.loads(WORDINGS.read_text(encoding="utf-8"))
    record.figures = {}
    # Which pages the reader was calibrated on has nothing to do with which wordings the check was developed on.
    for part, held_out in (("developed_on", True), ("held_out", False)):
        wordings = [Wording(*fields) for fields in stored[part]]
        with tempfile.TemporaryDirectory() as name:
            record.figures[part] = asyncio.run(measure(wordings, held_out=held_out, folder=Path(name)))
    record.write(given.out)


if __name__ == "__main__":
    main()
