"""The values that a store keeps, as JSON and back."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.runtime.codec import dumps, loads
from coterie.store.erasure import ErasureScope, Mention
from coterie.testing import check_flywheel_store
from coterie.testing.contracts import example
from coterie.types import (
    ComparedAnswer,
    Evidence,
    Fact,
    Field,
    Finding,
    GivenLabel,
    Label,
    Message,
    Reason,
    Route,
    Trace,
    Usage,
    worded,
)

from .conftest import TRACE

texts = st.text(st.characters(exclude_categories=()), max_size=20)
scalars = st.one_of(texts, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())
reasons = st.recursive(
    st.builds(
        lambda code, values: Reason(code, **values), texts, st.dictionaries(st.text("abcxyz", min_size=1), scalars)
    ),
    lambda inner: st.builds(lambda code, why, notes: Reason(code, *notes, why=why), texts, inner, st.lists(inner)),
    max_leaves=4,
)
findings = st.builds(
    Finding,
    specialist=texts,
    value=st.one_of(scalars, st.lists(texts, max_size=3).map(tuple)),
    text=texts,
    confidence=st.floats(0, 1),
    accepted=st.booleans(),
    reason=reasons,
    label=st.sampled_from(Label),
    evidence=st.lists(
        st.builds(Evidence, kind=st.just("reason"), name=texts, text=texts, weight=st.floats(-9, 9)), max_size=2
    ).map(tuple),
    fields=st.lists(
        st.builds(
            Field,
            name=texts,
            value=scalars,
            text=texts,
            start=st.none() | st.integers(0),
            end=st.none() | st.integers(0),
            confidence=st.floats(0, 1),
            accepted=st.booleans(),
            reason=reasons,
        ),
        max_size=2,
    ).map(tuple),
    facts=st.lists(st.builds(Fact, name=texts, value=scalars, confidence=st.floats(0, 1)), max_size=2).map(tuple),
    steps=st.just(TRACE.steps),
)


@given(findings)
def test_any_finding_round_trips(finding):
    """Whatever a finding holds, it comes back equal, and its JSON is plain ASCII."""
    text = dumps(finding)

    assert text.isascii()
    assert loads(Finding, text) == finding


def test_whole_trace_round_trips():
    """A trace with every part filled comes back equal."""
    assert loads(Trace, dumps(TRACE)) == TRACE


def test_value_from_before_a_field_existed():
    """A field that a stored value lacks takes its default; one that is no more is passed over."""
    assert loads(Usage, '{"tokens_in": 3, "gone": 1}', unknown="ignore") == Usage(tokens_in=3)


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "null", "{", '{"role": "user"}'])
def test_not_this_kind(text):
    """JSON that is no value of the kind is refused."""
    with pytest.raises((TypeError, ValueError)):
        loads(Message, text)


def test_unknown_enum_member():
    """A label that does not exist is refused."""
    data = json.loads(dumps(TRACE)) | {"label": "cosmic"}
    with pytest.raises(ValueError, match="cosmic"):
        loads(Trace, json.dumps(data))


def test_mapping():
    """Scores keep their numbers."""
    assert loads(Route, dumps(Route(parts=(), reason=worded("r"), scores={"a": 0.5}))).scores == {"a": 0.5}


# --- The flywheel's tables: their contract, what capture costs nothing of, and erasure that names versions.


async def test_the_contract(open_store):
    """Two connections to one file see one order, and of two writers of a record one is refused."""
    first, second = await open_store(), await open_store()
    await check_flywheel_store(first.flywheel, second.flywheel)


async def test_erasure_takes_examples_and_names_the_versions_that_saw_them(open_store):
    """By tenant and by mention; comparisons and labels go with them, and other people's examples stay."""
    store = await open_store()
    tables = store.flywheel
    await tables.add_examples(
        [
            example(1),
            example(2, prompt=(("user", "I am Ann  Berg."),), tenant="other"),
            example(3, answer="for ann berg", tenant="third"),
        ],
        [ComparedAnswer(deployment="d", example="e0002", time=1.0, answer="ann berg")],
    )
    await tables.put_label(GivenLabel(example="e0002", origin="person", by="x", value="y", time=1.0))
    await tables.note_training("job-1", "a" * 16, ["e0001", "e0002"])
    await tables.note_training("job-2", "b" * 16, ["e0003"])

    erased = await store.erase_all(ErasureScope(mention=Mention(["Ann Berg"])))
    assert (erased.examples, erased.saw) == (("e0002", "e0003"), (("job-1", "a" * 16), ("job-2", "b" * 16)))
    assert set(await tables.examples_of(["e0001", "e0002", "e0003"])) == {"e0001"}
    assert await tables.comparisons("d") == []
    assert await tables.labels() == []

    assert (await store.holdings(ErasureScope(tenant="acme"))).examples == ("e0001",)
    (exported,) = await store.requests(ErasureScope(tenant="acme"))
    assert exported["examples"][0]["answer"] == "card_lost"


async def test_examples_are_deleted_with_their_requests_time(open_store):
    """What retention says of requests holds for captured calls, those of logs included."""
    store = await open_store()
    await store.flywheel.add_examples([example(1), example(2, request=""), replace(example(3), request="", time=9e9)])
    assert await store.flywheel.drop_examples(before=2e9) == 2
    assert [captured.id for captured in await store.flywheel.examples()] == ["e0003"]
