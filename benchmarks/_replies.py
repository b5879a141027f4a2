"""The lender's `reply` specialist made, asked about BANKING77 test messages, and timed."""

from __future__ import annotations

import csv
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import tomlkit

from _data import LENDER
from _specialists import champion, percentile_interval
from coterie.config.file import LlamaModel, load_config
from coterie.config.section import FILE_NAME
from coterie.config.specialists import SpecialistSection
from coterie.engines.llama import LlamaEngine
from coterie.learning.job import Progress
from coterie.models.catalogue import locate
from coterie.specialists.parts import ADAPTER_FILE
from coterie.tasks.generate.model import GenerateSpecialist
from coterie.tasks.versions import load_specialist
from coterie.text.segmentation import split_sentences
from coterie.training.train import train
from coterie.types import SYSTEM, CallContext, ContextView, Delta, Entry, Fact, Finding, Label, Output, Prompt, Task

MESSAGES, HELP, PAIRS = "data/triage.test.csv", "data/help.jsonl", "data/reply.pairs.csv"
FEWEST = 20  # pieces of a draft that has a pace
_FATES = {
    "accept.grounded": "stands",
    "accept.replaced_from": "replaced later",
    "accept.source_complete": "added to",
}
"""What became of a draft, by the code of the reason for the reply."""
QUIET = 0.15  # cores that others may use on average during a reply whose times count


class Clocked:
    """An engine with a stopwatch: when its stream's pieces came."""

    def __init__(self, engine: LlamaEngine) -> None:
        self.name, self.clearance = engine.name, engine.clearance
        self.engine = engine
        self.times: list[float] = []

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:
        """The engine's outputs."""
        return await self.engine.run(batch, call=call)

    async def close(self) -> None:
        """Close the engine."""
        await self.engine.close()

    async def stream(self, prompt: Prompt, *, call: CallContext = SYSTEM) -> AsyncIterator[Delta | Output]:
        """The engine's stream, each piece noted."""
        self.times = []
        async with aclosing(cast("AsyncGenerator[Delta | Output]", self.engine.stream(prompt, call=call))) as events:
            async for event in events:
                if isinstance(event, Delta):
                    self.times.append(time.perf_counter())
                yield event


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One message answered."""

    intent: str
    asked: str
    finding: Finding
    first_token: float
    """Seconds until the model's first piece, seen or not."""
    first_text: float
    """Seconds until the first text that the caller sees."""
    seconds: float
    pace: float
    """Tokens a second from the first piece to the last."""
    pieces: int
    """Pieces the model gave."""
    others: float
    """Cores that anybody else used meanwhile, on average."""

    @property
    def fate(self) -> str:
        """What became of the draft."""
        return _FATES.get(self.finding.reason.code, "replaced at once")


def sample(seed: int) -> list[tuple[str, str]]:
    """(message, intent) rows of the test file in the order they are asked: one of each intent, then the others."""
    with (LENDER / MESSAGES).open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    random.Random(seed).shuffle(rows)  # noqa: S311 - a sample, not a secret
    firsts = list({intent: (text, intent) for text, intent in rows}.values())
    return [*firsts, *(row for row in rows if row not in firsts)]


def make(
    folder: Path, *, pairs: Path | None = None, progress: Progress | None = None
) -> tuple[SpecialistSection, LlamaModel]:
    """Make the lender's `reply` in a folder of its own, its model tuned on pairs where there are some."""
    config = load_config(LENDER)
    section = config.specialists["reply"]
    wanted = section.model_dump(include={"task", "model", "reads"}) | {"data": str(LENDER / str(section.data))}
    wanted |= {"pairs": str(pairs)} if pairs else {}
    model = config.models[str(section.model)]
    models = {str(section.model): model.model_dump(exclude_none=True)}
    (folder / FILE_NAME).write_text(
        tomlkit.dumps({"specialists": {"reply": wanted}, "models": models}), encoding="utf-8"
    )
    train(folder, progress=progress)
    if not isinstance(model, LlamaModel):
        sys.exit(f"The lender's reply is written by {model.engine!r}; this benchmark measures a model in this process.")
    return load_config(folder).specialists["reply"], model


async def measure(
    folder: Path, section: SpecialistSection, model: LlamaModel, *, seed: int, n: int, spare: float
) -> tuple[list[Reply], dict[str, Any]]:
    """Ask about rows, one after the other, once the model is loaded and warm.

    Args:
        folder: Where the specialist was made.
        section: Its section.
        model: What writes its drafts.
        seed: Of the sample.
        n: Messages, and replies in quiet that are wanted.
        spare: Seconds that may be spent on further messages for them.
    """
    version = champion(folder, "reply")
    adapters = {"reply": version.folder / ADAPTER_FILE} if ADAPTER_FILE in version.files else {}
    llama = LlamaEngine.configured("smollm2", model, locate(model, folder), adapters=adapters)
    engine = Clocked(llama)
    reply = load_specialist("reply", section, version, encoder=engine, models={str(section.model): engine})
    assert isinstance(reply, GenerateSpecialist), "its task is `generate`"  # noqa: S101
    try:
        start = time.perf_counter()
        await llama.load()
        loaded = time.perf_counter()
        await reply.warm(slots=model.parallel)
        cold = {"load_seconds": loaded - start, "warm_seconds": time.perf_counter() - loaded}
        replies: list[Reply] = []
        end = time.monotonic() + spare
        for row in sample(seed):
            if len(replies) >= n and (len(quiet(replies)) >= n or time.monotonic() > end):
                break
            wait_for_quiet(end)
            replies.append(await answer(reply, engine, *row))
        return replies, cold | model.model_dump(exclude_none=True)
    finally:
        await engine.close()


async def answer(reply: GenerateSpecialist, engine: Clocked, text: str, intent: str) -> Reply:
    """One message with its true intent, as `triage` would have written it."""
    fact = Entry(
        content=Fact(name="intent", value=intent, confidence=1.0), producer="triage", label=Label.INTERNAL, time=0.0
    )
    start, used = time.perf_counter(), busy()
    spoken = reply.speak(Task(text=text), ContextView(entries=(fact,)))
    events = [(time.perf_counter() - start, event) async for event in spoken]
    (first, _), (_, finding) = events[0], events[-1]
    assert isinstance(finding, Finding), "speak ends with a finding"  # noqa: S101
    times = engine.times
    return Reply(
        intent=intent,
        asked=text,
        finding=finding,
        first_token=times[0] - start,
        first_text=first,
        seconds=events[-1][0],
        pieces=len(times),
        others=max(busy() - used, 0.0) / events[-1][0],
        pace=(len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else float("nan"),
    )


def figures(replies: Sequence[Reply]) -> dict[str, Any]:
    """Times, paces, and what became of the drafts."""
    fates = Counter(reply.fate for reply in replies)
    return {
        "n": len(replies),
        "times": {"in_quiet": times(quiet(replies)), "all": times(replies)},
        "drafts": {fate: count / len(replies) for fate, count in fates.most_common()},
        "drafts_that_stand": {
            "share": fates["stands"] / len(replies),
            "interval": wilson(fates["stands"], len(replies)),
        },
        "stated_in_full": np.mean([holds_all(reply) for reply in replies]).item(),
        "refused": [
            {"intent": reply.intent, "asked": reply.asked, "reason": str(reply.finding.reason)}
            for reply in replies
            if reply.fate != "stands"
        ],
    }


def times(replies: Sequence[Reply]) -> dict[str, Any]:
    """How long these replies took."""
    if not replies:
        return {"n": 0}
    usage = [step.usage for reply in replies for step in reply.finding.steps]
    return {
        "n": len(replies),
        "seconds_to_first_token": spread([reply.first_token for reply in replies]),
        "seconds_to_first_text": spread([reply.first_text for reply in replies]),
        "seconds_to_the_end": spread([reply.seconds for reply in replies]),
        "tokens_per_second": spread([reply.pace for reply in replies if reply.pieces >= FEWEST]),
        "tokens_out": spread([float(spent.tokens_out) for spent in usage]),
        "cpu_seconds": spread([spent.cpu_seconds for spent in usage]),
        "cores_used_by_others": spread([reply.others for reply in replies]),
    }


def holds_all(reply: Reply) -> bool:
    """Whether the reply holds every sentence of the help text, letter by letter."""
    (quote,) = reply.finding.evidence
    return all(sentence in reply.finding.text for sentence in split_sentences(quote.text))


def spread(values: Sequence[float]) -> Mapping[str, Any]:
    """Median with its interval, 95th percentile, worst."""
    array = np.array(values)
    return {
        "p50": float(np.percentile(array, 50)),
        "p50_interval": percentile_interval(array, 50),
        "p95": float(np.percentile(array, 95)),
        "max": float(array.max()),
    }


def wilson(successes: int, n: int) -> list[float]:
    """95% interval of a share (Wilson 1927)."""
    z = 1.959964
    share, spare = successes / n, z * z / n
    centre = (share + spare / 2) / (1 + spare)
    half = z * ((share * (1 - share) + spare / 4) / n) ** 0.5 / (1 + spare)
    return [centre - half, centre + half]


def quiet(replies: Sequence[Reply]) -> list[Reply]:
    """The replies whose times count."""
    return [reply for reply in replies if reply.others <= QUIET]


def wait_for_quiet(end: float) -> None:
    """Wait until nobody else has used the machine for a moment, at most until `end`."""
    while time.monotonic() < end:
        start, before = time.perf_counter(), busy()
        time.sleep(0.4)
        if (busy() - before) / (time.perf_counter() - start) <= QUIET:
            return


def busy() -> float:
    """CPU-seconds that this machine has spent on anybody else; 0 where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _idle, _wait, *rest = map(int, stat.read_text(encoding="ascii").splitlines()[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK") - time.process_time()
