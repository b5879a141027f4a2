"""Contract check of the flywheel's store."""

from __future__ import annotations

from dataclasses import replace

from coterie.protocols import FlywheelStore
from coterie.testing.contracts import require
from coterie.types import CapturedExample, ComparedAnswer, FlywheelChanged, FlywheelRecord, GivenLabel, Label

_TIME = 1_700_000_000.0


def example(number: int, **changes: object) -> CapturedExample:
    """An example whose every field has a value of its own."""
    made = CapturedExample(
        id=f"e{number:04d}",
        request=f"r{number}",
        time=_TIME + number,
        tenant="acme",
        label=Label.CONFIDENTIAL,
        prompt=(("system", "Name the intent\u2028."), ("user", f'"{number}" 猫')),
        answer="card_lost",
        cost=0.002,
        milliseconds=12.5,
        policy="model:large",
        propensity=0.99,
        confidence=0.7,
        in_scope=0.5,
        caller=f"a{number % 3}",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def check_flywheel_store(store: FlywheelStore, other: FlywheelStore) -> None:
    """Check the clauses of `protocols.FlywheelStore`.

    Args:
        store: An empty one.
        other: The same data, opened a second time.
    """
    require("it has the methods", isinstance(store, FlywheelStore))
    await _check_examples(store, other)
    await _check_opinions(store, other)
    await _check_records(store, other)
    dropped = await store.drop_examples(before=_TIME + 3)
    require(
        "older examples are dropped", dropped == 3 and set(await store.examples_of(["e0002", "e0003"])) == {"e0003"}
    )
    require("and what was about them", [each.example for each in await other.comparisons("d1")] == ["e0003"])
    left = {each.job: (each.calls, each.callers, each.first) for each in await other.volumes()}
    require("and they are counted no more", left == {"j1": (1, 1, _TIME + 3), "": (3, 3, _TIME + 4)})


async def _check_examples(store: FlywheelStore, other: FlywheelStore) -> None:
    made = [example(number) for number in range(6)]
    await store.add_examples(made)
    await store.add_examples([replace(made[0], answer="other"), example(6, id="e0005b", time=_TIME + 5, cost=None)])
    found = list(await other.examples())
    require("examples come back as they were, oldest first", found[:6] == made and found[6].id == "e0005b")
    require("pages join", list(await store.examples(after=(made[2].time, made[2].id), limit=2)) == made[3:5])
    require("equal times are in order of ids", (await store.examples(after=(_TIME + 5, "e0005")))[0].id == "e0005b")
    require("the newest are oldest first", [e.id for e in await store.newest(limit=2)] == ["e0005", "e0005b"])
    await store.assign([(each.id, "j1", 2, f"text {each.id}") for each in made[:4]])
    mine = await other.examples(job="j1")
    require("assigned examples are the job's", [e.input for e in mine] == [f"text e000{i}" for i in range(4)])
    require("the others are of none", [e.id for e in await store.newest(job="")] == ["e0004", "e0005", "e0005b"])
    (largest, rest) = await store.volumes()
    require("volumes count calls and callers", (largest.job, largest.calls, largest.callers) == ("j1", 4, 3))
    require("unknown costs are counted apart", (rest.unpriced, round(rest.cost, 6)) == (1, 0.004))
    require("volumes know first and last", (largest.first, largest.last) == (_TIME, _TIME + 3))
    require("what was not found is left out", set(await store.examples_of(["e0001", "x"])) == {"e0001"})


async def _check_opinions(store: FlywheelStore, other: FlywheelStore) -> None:
    compared = [
        ComparedAnswer(deployment="d1", example=f"e000{i}", time=_TIME + i, answer="lost", accepted=i > 1, same=i > 2)
        for i in range(4)
    ]
    await store.add_examples([], compared)
    await store.add_examples([], [replace(compared[0], answer="late")])
    require("comparisons come back in order", list(await other.comparisons("d1")) == compared)
    require("and by pages", list(await store.comparisons("d1", after=(_TIME + 1, "e0001"), limit=1)) == compared[2:3])
    require("differences are accepted", [each.example for each in await store.differences("d1")] == ["e0002"])
    require("as is what is unsure", [each.example for each in await store.unsure("d1")] == ["e0003"])
    require("coverage is counted", tuple(await store.coverage("d1")) == (4, 2))
    stream = await other.stream("d1")
    require("a stream is counted", (stream.compared, stream.accepted, stream.same, stream.failed) == (4, 2, 1, 0))
    require("and says where answers differ", stream.differing == ((2, "e0002", "lost", "card_lost"),))
    sure = await store.confidences("d1", since=_TIME + 2)
    require("confidences are those of a time", [tuple(each) for each in sure] == [("e0002", 0.0, 0), ("e0003", 0.0, 1)])
    (light,) = await store.newest(job="j1", limit=1, texts=False)
    require("texts are left out", (light.prompt, light.input, light.id) == ((), "", "e0003"))
    seen = GivenLabel(example="e0002", origin="person", by="ann", value="lost", time=_TIME)
    await store.put_label(seen)
    require("a labelled difference is none", not list(await store.differences("d1")))
    await store.drop_label(seen)
    ann = GivenLabel(example="e0001", origin="person", by="ann", value="lost", time=_TIME + 9, purpose="audit")
    require("a label is kept", await store.put_label(ann))
    require("its second replaces it", await store.put_label(replace(ann, value=None, time=_TIME + 10)))
    require("a label of nothing is refused", not await store.put_label(replace(ann, example="gone")))
    found = list(await other.labels(job="j1"))
    require("labels of people are counted", await store.given(since=_TIME + 10) == 1)
    require("from a time on", await store.given(since=_TIME + 11) == 0)
    require("labels are those of the job", found == [replace(ann, value=None, time=_TIME + 10)])
    require("a label is taken back once", await store.drop_label(ann) and not await store.drop_label(ann))
    await store.note_training("triage", "0" * 16, ["e0001", "e0002"])
    await store.note_training("triage", "0" * 16, ["e0002"])
    require("nobody complained", dict(await store.complaints()) == {})


async def _check_records(store: FlywheelStore, other: FlywheelStore) -> None:
    before = await store.revision()
    first = FlywheelRecord(
        kind="deployment", id="d1", job="j1", time=_TIME, body={"state": "shadow", "n": [1, None, "猫"]}
    )
    await store.put(first, FlywheelRecord(kind="transition", id="t1", job="j1", time=_TIME))
    require("writing shows", await other.revision() > before)
    stored = await other.record("deployment", "d1")
    require("a record comes back with its first revision", stored == replace(first, revision=1))
    require("records are those of a time", list(await other.records("deployment", since=_TIME)) == [stored])
    require("and no earlier ones", not await other.records("deployment", since=_TIME + 1))
    require("records are by kind and job", not await store.records("deployment", job="j2"))
    if stored is None:
        raise AssertionError("it was there")
    await other.put(replace(stored, body={"state": "canary"}))
    for late in (stored, replace(first, revision=0)):
        try:
            await store.put(FlywheelRecord(kind="transition", id="t2"), replace(late, body={"state": "retired"}))
        except FlywheelChanged:
            continue
        raise AssertionError("who comes second is refused")
    require("and nothing of that is written", await store.record("transition", "t2") is None)
    (kept,) = await store.records("deployment", job="j1")
    require("the first stands", (kept.body, kept.revision) == ({"state": "canary"}, 2))
