"""What capture adds to a request: the flywheel's part before and after the answer, with the templates of 15 wordings.

    COTERIE_DATA=... python benchmarks/flywheel/capture.py

Thread CPU time of `enter` and `leave` for each of 2,000 calls of `run.py`; that of a shadow is `leave` alone, since it
runs behind the answer. Scrubbing and writing are behind it too, and are timed apart, a call. The store is searched for
what was planted.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from run import make_calls, read_jobs

from _record import Bar, Record, arguments
from coterie.config.operation import CaptureSection, FlywheelSection, PrivacySection
from coterie.errors import NotTrained
from coterie.flywheel.deployments import Deployment, Deployments, KnownJob
from coterie.flywheel.discovery import discover
from coterie.flywheel.live import LiveFlywheel
from coterie.privacy.kinds import open_detector
from coterie.protocols import Specialist
from coterie.store.sqlite import SQLiteStore
from coterie.types import Label, Principal

CLAIM = "Capture costs a request a fraction of a millisecond, and what names somebody never reaches the disk."
PLANTED = "Write to ann.berg@example.com or +49 30 901820, IBAN DE89370400440532013000, card 4111111111111111."


async def measure(record: Record, calls: int) -> dict[str, float]:
    """Capture calls, and time each."""
    _, _, made = make_calls(read_jobs(record), 1)
    discovery = discover(made[:4000])
    with tempfile.TemporaryDirectory() as name:
        store = await SQLiteStore.open(Path(name) / "db", session_days=30.0, keep_content=False)
        books = Deployments(store=store.flywheel)
        for number, job in enumerate(discovery.jobs):
            await books.put_job(KnownJob(id=f"j{number}", name=f"j{number}", templates=job.wordings))

        async def load(job: KnownJob, deployment: Deployment) -> Specialist:
            raise NotTrained(f"{job.name} {deployment.id}")

        live = await LiveFlywheel(
            books=books,
            section=FlywheelSection(),
            capture=CaptureSection(enabled=True, queue=100_000),
            detector=open_detector(PrivacySection(detector="names")),
            load=load,
            secret=b"benchmark",
        ).open()
        before, after = [], []
        behind = time.process_time()
        for number, call in enumerate(made[4000 : 4000 + calls]):
            messages = [{"role": role, "content": text} for role, text in call.prompt]
            messages[-1]["content"] += f" {PLANTED}"
            begun = time.thread_time()
            entered = live.enter(
                trace_id=f"t{number}",
                time=float(number),
                path="/chat/completions",
                content={"messages": messages},
                model="large",
                principal=Principal(),
                label=Label.INTERNAL,
            )
            middle = time.thread_time()
            if entered is not None:
                live.leave(entered, call.answer, model="large")
            before.append(middle - begun)
            after.append(time.thread_time() - middle)
            if number % 100 == 99:
                await live.settle()
        await live.settle()
        spent = time.process_time() - behind - sum(before) - sum(after)
        kept = live.counts["kept"]
        await live.close()
        await store.close()
        leaked = sum(
            path.read_bytes().count(value)
            for path in Path(name).rglob("*")  # noqa: ASYNC240 - a benchmark
            for value in (b"ann.berg", b"901820", b"DE8937", b"411111")
        )
    whole = (np.asarray(before) + np.asarray(after)) * 1000
    return {
        "templates": float(sum(len(job.wordings) for job in discovery.jobs)),
        "kept": float(kept),
        "p50_ms": float(np.percentile(whole, 50)),
        "p99_ms": float(np.percentile(whole, 99)),
        "behind_the_answer_p50_ms": float(np.percentile(np.asarray(after) * 1000, 50)),
        "scrubbing_and_writing_cpu_ms": spent / calls * 1000,
        "planted_values_on_the_disk": float(leaked),
    }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--calls", type=int, default=2_000)
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[1])
    figures = asyncio.run(measure(record, given.calls))
    record.figures = dict(figures)
    bars = [
        ("capture on the request, p50, ms of thread CPU", "p50_ms", 0.5),
        ("capture on the request, p99", "p99_ms", 1.5),
        ("a shadow on the answer, p50", "behind_the_answer_p50_ms", 0.1),
        ("planted values on the disk", "planted_values_on_the_disk", 0),
    ]
    record.bars = [Bar(what=what, measured=figures[key], limit=limit, at_most=True) for what, key, limit in bars]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
