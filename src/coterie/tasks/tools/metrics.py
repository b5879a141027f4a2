"""Evaluates calls against the right ones: the function, the whole call, and texts that no function fits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from coterie.learning.dataset import Row
from coterie.learning.evaluation import Evaluation, judge_labels, share
from coterie.runtime.codec import parse_json
from coterie.structured.functions import stored_calls
from coterie.tasks.tools.rows import ARGUMENTS
from coterie.tasks.tools.section import NO_FUNCTION
from coterie.text.words import plain
from coterie.types import Finding


def judge(rows: Sequence[Row], findings: Sequence[Finding], *, seed: int = 0) -> Evaluation:
    """Return the figures of the function, accepted or not, as for a classifier, and in `others` five more.

    `exact_calls`: of rows with a function, the share whose function and arguments are right. `accepted_exact`: of
    accepted calls, the share of right ones. `no_function_recall`: of rows that no function fits, the share for which
    none is chosen. `no_call`: of these, the share for which no call is accepted. `function_right`: of rows with a
    function, the share whose function is chosen.
    """
    whole = judge_labels(rows, findings, seed=seed)
    pairs = list(zip(rows, findings, strict=True))
    calls = [(row, finding) for row, finding in pairs if row.labels != (NO_FUNCTION,)]
    none = [finding for row, finding in pairs if row.labels == (NO_FUNCTION,)]
    exact = np.array([is_exact(row, finding) for row, finding in calls], dtype=bool)
    made = np.array([(f.accepted and f.value != NO_FUNCTION, is_exact(r, f)) for r, f in pairs], dtype=bool)
    chosen = np.array([(finding.value,) == row.labels for row, finding in calls], dtype=bool)
    figures = {
        "function_right": share(chosen, seed),
        "exact_calls": share(exact, seed),
        "accepted_exact": share(made[made[:, 0], 1] if len(made) else made, seed),
        "no_function_recall": share(np.array([f.value == NO_FUNCTION for f in none], dtype=bool), seed),
        "no_call": share(np.array([f.value == NO_FUNCTION or not f.accepted for f in none], dtype=bool), seed),
    }
    numbers = {name: figure.value for name, figure in figures.items() if figure.value == figure.value}
    return replace(whole, others={**whole.others, **numbers})


def is_exact(row: Row, finding: Finding) -> bool:
    """Return whether a finding is the call of a row, ignoring white space and case of texts."""
    with suppress(ValueError, KeyError, TypeError):
        (call,) = stored_calls(finding.text)
        given = parse_json(str(row.columns[ARGUMENTS]))
        return row.labels == (call.name,) and _plain(dict(call.arguments)) == _plain(given)
    return False


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return plain(value) if isinstance(value, str) else value
