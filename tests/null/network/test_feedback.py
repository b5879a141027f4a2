"""A right value that is no label of the specialist is refused, with the nearest ones named."""

from types import SimpleNamespace

import pytest

from coterie.errors import InputError
from coterie.network.stages import check_value
from coterie.types import Feedback

TRACE = SimpleNamespace(findings=[SimpleNamespace(specialist="triage"), SimpleNamespace(specialist="clauses")])
LABELS = {"triage": ("password", "Parcel"), "clauses": ("audit",)}


def check(value, *, specialist="triage", labels=LABELS):
    """As the command and the endpoint do."""
    feedback = Feedback(trace_id="t", time=0.0, tenant="default", specialist=specialist, value=value)
    check_value(feedback, TRACE, lambda name: labels.get(name, ()))


@pytest.mark.parametrize("value", [None, "password", ("password", "Parcel")])
def test_a_label_is_taken(value):
    """One, several, or none."""
    check(value)


@pytest.mark.parametrize("value", ["pasword", "PASSWORT", ("Parcel", "pasword")])
def test_near_labels_are_named(value):
    """A misspelled label is refused with the one that was meant."""
    with pytest.raises(InputError) as caught:
        check(value)
    assert "'password'" in caught.value.hint


def test_anybodys_label_is_taken_of_the_whole_answer():
    """Left out, any specialist that found something may be meant; but no label of nobody."""
    check("audit", specialist="")
    with pytest.raises(InputError):
        check("nothing like it", specialist="")


def test_free_values_are_taken():
    """A specialist without labels may be told anything."""
    check("whatever is right", labels={})
    check("whatever is right", specialist="", labels={"triage": ("password",)})


@pytest.mark.parametrize("value", ["pasword", "Password", ("Parcel", "pasword")])
def test_a_misspelt_label_of_an_answer_that_somebody_wrote(value):
    """Where one with labels and one without took part, what is nearly a label is one misspelt, unless it says whose."""
    labels = {"triage": ("password", "Parcel")}
    with pytest.raises(InputError) as caught:
        check(value, specialist="", labels=labels)
    assert "'password'" in caught.value.hint
    check("password", specialist="", labels=labels)
    check(value, specialist="clauses", labels=labels)
