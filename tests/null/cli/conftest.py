"""The command line run in this process, over a network of stand-ins and a real store."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from coterie.cli.app import main
from coterie.config.file import load_config
from coterie.governance.audit import open_audit
from coterie.limits.limits import open_limits
from coterie.network.network import Network
from coterie.protocols import Specialist
from coterie.store.sqlite import SQLiteStore
from coterie.testing import EchoEngine, FakeOpenAIServer, ServerReply, make_finding
from coterie.types import Delta, Finding, Output, Part, Route, SpecialistCard, Step, TaskKind, Usage, worded

CONFIG = """\
[network]
name = "shop"   # a comment

[specialists.triage]
task = "classify"
data = "data/triage.csv"
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys) -> Callable[..., Result]:
    """Runs one command line: `run("ask", "hello")`."""

    def run(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Result(code=code, out=captured.out, err=captured.err)

    return run


@pytest.fixture
def folder(tmp_path) -> Path:
    """A network's folder with one specialist and its data."""
    folder = tmp_path / "shop"
    (folder / "data").mkdir(parents=True)
    (folder / "coterie.toml").write_text(CONFIG)
    _write_rows(folder / "data" / "triage.csv")
    return folder


@pytest.fixture
def write_rows() -> Callable[..., Path]:
    """Writes a CSV file with two labels: `write_rows(path, per_label=12)`."""
    return _write_rows


def _write_rows(path: Path, *, per_label: int = 12) -> Path:
    """A CSV file with `text,label` and two labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    things = {"delivery": "parcel", "refund": "money"}
    rows = [f"where is my {thing} number {n},{label}" for label, thing in things.items() for n in range(per_label)]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


class Speaker:
    """A specialist that reads 1,000 characters and says its answer word by word, or abstains; or raises its error."""

    def __init__(self, name: str, answer: str | None, *, error: Exception | None, task: TaskKind = "classify"):
        form = "label" if task == "classify" else "text"
        self.card = SpecialistCard(name=name, task=task, form=form, description="", rung="lexical", version="1")
        self.answer, self.error = answer, error

    async def consult(self, task, view, *, call=None) -> Finding:
        if self.error:
            raise self.error
        step = Step(producer=self.card.name, engine="linear", usage=Usage(milliseconds=1.0, joules=0.25))
        return make_finding(
            self.answer,
            specialist=self.card.name,
            text=self.answer or "",
            confidence=0.91,
            accepted=self.answer is not None,
            reason=worded("sure enough" if self.answer else "confidence 0.2 is below the threshold 0.8"),
            label=task.label,
            steps=(step,),
            truncated=len(task.text) > 1000,
        )

    async def speak(self, task, view, *, call=None) -> AsyncIterator[Delta | Finding]:
        finding = await self.consult(task, view, call=call)
        for piece in re.findall(r"\S+\s*", self.answer or ""):
            yield Delta(text=piece)
        yield finding


class OneRouter:
    """Sends everything to one specialist, or nowhere."""

    def __init__(self, name: str | None):
        self.name = name

    async def route(self, request, context, *, call=None) -> Route:
        if self.name is None:
            return Route(parts=(), reason=worded("nothing like what any specialist was trained on"))
        return Route(
            parts=(Part(text=request.text, stages=((self.name,),), score=0.9),), reason=worded(f"{self.name} fits")
        )


class FlatMeter:
    """A cent a step."""

    def price(self, step: Step) -> Step:
        return replace(step, usage=replace(step.usage, cost=Decimal("0.01")))

    def counterfactual(self, request, answered: str, steps=(), *, named="") -> Decimal | None:
        return Decimal("0.5")


@pytest.fixture
def network(folder, monkeypatch) -> Callable[..., list[bool]]:
    """Puts a network of stand-ins behind `open_network`; the store is the folder's real one.

    `network("its answer")` is a `triage` that says so, None one that abstains; it gives the list of closings.
    """
    closed: list[bool] = []

    def install(
        answer: str | None = "Your parcel is on its way.",
        *,
        error: Exception | None = None,
        routed: bool = True,
        reader: Specialist | None = None,
        task: TaskKind = "classify",
    ) -> list[bool]:
        specialist = Speaker("triage", answer, error=error, task=task)

        async def open_network(
            path: Path, *, warm: bool = False, empty: bool = False, encoder: object = None, config: object = None
        ) -> Network:
            assert path == folder
            install.config = config
            config = config or load_config(folder)
            store = await SQLiteStore.open(
                folder / "state" / "coterie.db", session_days=1, keep_content=True, clock=time.time
            )
            return _Closing(
                specialists={specialist.card.name: specialist},
                router=OneRouter(specialist.card.name if routed else None),
                store=store,
                meter=FlatMeter(),
                encoder=EchoEngine("encoder"),
                turns=Leaning(),
                reader=reader,
                audit=open_audit(config.audit, folder),
                limits=open_limits(config.budgets, folder),
                closed=closed,
            )

        monkeypatch.setattr("coterie.assembly.open_network", open_network)
        return closed

    return install


class Leaning:
    """Says that every question after the first leans on the one before."""

    languages = talk_languages = frozenset({"en"})
    least_leaning = 0.5

    def leans(self, text: str, before: Sequence[str]) -> float:
        """Sure."""
        return 0.9

    def talk(self, vectors: Any) -> Any:
        """Nothing is."""
        return [False] * len(vectors)

    def missing(self, text: str, question: str) -> tuple[list[str], list[float]]:
        """Nothing."""
        return [], []

    def substituted(self, text: str, now: Output, question: str, output: Output) -> str | None:
        """Nothing."""
        return None


class _Closing(Network):
    """A network that notes that it was closed."""

    def __init__(self, *, closed: list[bool], **parts: Any):
        super().__init__(**parts)
        self._closed = closed

    async def close(self) -> None:
        await super().close()
        self._closed.append(True)


@pytest.fixture
def server():
    """A server that calls everything a refund, in a thread of its own; gives its address."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    started: list[FakeOpenAIServer] = []
    done = asyncio.Event()

    async def serve():
        async with FakeOpenAIServer(default=ServerReply(text="refund")) as fake:
            started.append(fake)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield started[0]
    loop.call_soon_threadsafe(done.set)
    thread.join(10)
    loop.close()
