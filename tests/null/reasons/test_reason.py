"""Reasons: codes with values, put into words in one place."""

import re
from pathlib import Path

import pytest

import coterie
from coterie.runtime.codec import dumps, loads, readable
from coterie.types import Omission, Reason, Verdict, all_of, worded
from coterie.types.reason import TEMPLATES, names_of

from . import golden

LIKE = Reason("fit.similarity", similarity=0.5)


def test_every_reason_in_words():
    """The words of every code are those of the golden file: `python tests/null/reasons/golden.py` writes it anew."""
    assert "\n".join(golden.lines()) + "\n" == golden.GOLDEN.read_text(encoding="utf-8")


def test_every_code_in_the_source_has_words():
    """A code that the package writes is in the table."""
    source = Path(coterie.__file__).parent
    used = {
        code
        for path in source.rglob("*.py")
        for code in re.findall(r'\bReason\(\s*"([a-z_.]+)"', path.read_text(encoding="utf-8"))
    }

    assert used - TEMPLATES.keys() == set()
    assert len(used) > 100


def test_words_come_of_code_and_values():
    """A reason within another is said in it, those behind it after it."""
    second = Reason("route.second", specialist="b", fit=LIKE)
    reason = Reason("route.like", specialist="a", nearest="x", fit=LIKE).noting(second)

    assert str(reason) == "a: like its example 'x', similarity 0.50; second: b, similarity 0.50"
    assert reason.codes == ("route.like", "fit.similarity", "route.second", "fit.similarity")
    assert reason == all_of([Reason("route.like", specialist="a", nearest="x", fit=LIKE), second])
    assert len({reason, reason.noting()}) == 1


@pytest.mark.parametrize("value", [None, ""])
def test_what_is_not_known_is_not_said(value):
    """A part in square brackets is left out where its value is missing or empty."""
    details = {"confidence": 0.5, "needed": 0.75, "decimals": 2}

    assert "that it is" not in str(Reason("abstain.below_threshold", guess=value, **details))
    assert "that it is" not in str(Reason("abstain.below_threshold", **details))
    assert "that it is 'x'" in str(Reason("abstain.below_threshold", guess="x", **details))


def test_a_value_with_signs_of_a_template():
    """What stands in a value is never taken for a part of the template."""
    assert str(Reason("route.pinned", specialist="[{code}]")) == "the request names '[{code}]'"


def test_a_code_of_somebody_else():
    """A plug-in's code comes with its words, or is shown with its values."""
    assert str(Reason("acme.too_late", text="it came too late")) == "it came too late"
    assert str(Reason("acme.too_late", hours=3)) == "acme.too_late (hours 3)"
    assert str(Reason("route.like", specialist="a")) == "route.like (specialist a)"  # of another version


def test_stored_and_read():
    """What is stored has no words; a text that was stored before there were codes is read as one."""
    verdict = Verdict(
        allowed=True, rule="r", reason=Reason("route.like", worded("y"), specialist="a", nearest="x", fit=LIKE)
    )

    assert "similarity 0" not in dumps(verdict)
    assert loads(Verdict, dumps(verdict)) == verdict
    assert loads(Verdict, '{"allowed":true,"rule":"r","reason":"it may"}').reason == worded("it may")


def test_for_readers():
    """For readers the words stay where they were; code and values stand beside them."""
    omission = Omission(what="fact x", reason=Reason("omit.retracted", by="a"))

    assert readable([omission]) == [
        {
            "what": "fact x",
            "reason": "retracted by a",
            "reason_code": "omit.retracted",
            "reason_values": {"by": "a"},
        }
    ]


def test_names_of_a_template():
    """The names of the values, those of formats included."""
    assert names_of("{a!r} {b:.{c}f}[ and {d:,}]") == ("a", "b", "d", "c")
