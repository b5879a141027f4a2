"""A store of the flywheel, a clock, and examples of one job."""

import pytest

from coterie.config.operation import FlywheelSection
from coterie.flywheel.deployments import Deployments, KnownJob
from coterie.flywheel.gates import judge_differences
from coterie.store.sqlite import SQLiteStore, connect
from coterie.testing import FakeClock
from coterie.types import CapturedExample, ComparedAnswer, ComparedStream, DifferingAnswer
from tests._support.audit import Notes

NOW = 1_700_000_000.0
LABELS = {"lost": "lost", "fee": "fee"}


def _without_fsync(path, busy_seconds):
    """A connection that does not wait for the disk: what is tested here is not what a cut of the power leaves."""
    connection = connect(path, busy_seconds)
    connection.execute("PRAGMA synchronous = off")
    return connection


@pytest.fixture
async def store(tmp_path):
    opened = await SQLiteStore.open(tmp_path / "db", session_days=30.0, keep_content=False, connect=_without_fsync)
    yield opened
    await opened.close()


@pytest.fixture
def section():
    return FlywheelSection(audits=6, audit_share=0.2, labels=50)


@pytest.fixture
async def books(store):
    made = Deployments(store=store.flywheel, audit=Notes(), clock=FakeClock(NOW))
    await made.put_job(KnownJob(id="j1", name="triage", labels=LABELS, found=NOW))
    return made


def examples(count, **changes):
    """Calls of the job, every third a fee."""
    return [
        CapturedExample(
            **{
                "id": f"e{i:05d}",
                "request": f"r{i}",
                "time": NOW + i,
                "job": "j1",
                "input": f"text {i}",
                "answer": "fee" if i % 3 == 0 else "lost",
                "policy": "model:large",
                "cost": 0.001,
                "caller": f"a{i % 7}",
                **changes,
            }
        )
        for i in range(count)
    ]


def compared(deployment, calls, *, differ=lambda i: False, accepted=lambda i: True):
    """A deployment's answers to them."""
    return [
        ComparedAnswer(
            deployment=deployment,
            example=call.id,
            time=call.time,
            answer=call.answer if not differ(i) else "other",
            same=not differ(i),
            accepted=accepted(i),
            confidence=0.5 + 0.4 * ((i * 7919) % 100) / 100,
        )
        for i, call in enumerate(calls)
    ]


def judge_stream(compared, answers, truths, *, margin, alpha):
    """The evidence of compared answers, in order of time, with what was given by example."""
    accepted = [row for row in compared if row.accepted and not row.failed]
    differing = tuple(
        DifferingAnswer(index, row.example, row.answer, answers.get(row.example, ""))
        for index, row in enumerate(compared)
        if row.accepted and not row.failed and not row.same
    )
    stream = ComparedStream(
        compared=len(compared),
        accepted=len(accepted),
        same=sum(row.same for row in accepted),
        failed=sum(row.failed for row in compared),
        differing=differing,
    )
    return judge_differences(stream, truths, margin=margin, alpha=alpha)
