"""The values that a store keeps, as JSON and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.runtime.codec import dumps, loads
from coterie.types import Evidence, Fact, Field, Finding, Label, Message, Reason, Route, Trace, Usage, worded

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
