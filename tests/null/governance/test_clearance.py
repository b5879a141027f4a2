from itertools import product

import pytest

from coterie.governance.egress import ClearancePolicy
from coterie.testing import check_policy
from coterie.types import Flow, Label


async def test_contract():
    """It keeps the contract of a policy."""
    await check_policy(ClearancePolicy())


@pytest.mark.parametrize(("label", "clearance"), [*product(Label, Label)])
def test_rule(label, clearance):
    """Data may go where its label is at most the clearance, and nowhere else; the reason names both."""
    verdict = ClearancePolicy().judge(Flow(destination="cloud", label=label, clearance=clearance))
    assert verdict.allowed is (list(Label).index(label) <= list(Label).index(clearance))
    assert verdict.rule == "egress.clearance"
    assert label.value in str(verdict.reason)
    assert clearance.value in str(verdict.reason)
    assert "'cloud'" in str(verdict.reason)


def test_unknown_label():
    """A label nobody knows is no way out: it is an error, not a verdict."""
    with pytest.raises(ValueError, match="secret"):
        ClearancePolicy().judge(Flow(destination="cloud", label="secret", clearance=Label.RESTRICTED))


def test_labels_as_plain_strings():
    """A label that came as a plain string is the label of that name."""
    judge = ClearancePolicy().judge
    assert not judge(Flow(destination="cloud", label="restricted", clearance="public")).allowed
    assert judge(Flow(destination="cloud", label="public", clearance="internal")).allowed
