"""How a score that is being trained treats the groups of the protected attributes, which it does not use.

All figures are of training rows scored by models that had not seen them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coterie.data import Dataset
from coterie.evaluation import Fairness, Proxies, fairness, find_proxies, group_names

from ._scorecard import ColumnPlan

PROTECTED = "protected attribute"
"""How the reason begins for which such a column is left out."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Every protected attribute of the data: how its groups fare, and what gives it away."""

    fairness: tuple[Fairness, ...]
    proxies: tuple[Proxies, ...]

    def notes(self) -> dict[str, object]:
        """For the report."""
        return {
            "fairness": {each.column: each.to_json() for each in self.fairness},
            "proxies": {each.attribute: each.to_json() for each in self.proxies},
        }

    def warnings(self) -> tuple[str, ...]:
        """What somebody should look at."""
        below = [
            f"groups of {each.column!r} that are approved less than four fifths as often as the group approved most: "
            f"{', '.join(each.below)}"
            for each in self.fairness
            if each.below
        ]
        telling = [
            f"columns that tell {each.attribute!r} although it is not used: "
            + ", ".join(f"{proxy.column} ({proxy.group}: AUC {proxy.auc:.2f})" for proxy in each.telling)
            for each in self.proxies
            if each.telling
        ]
        return (*below, *telling)


def look_at_groups(
    data: Dataset,
    plan: ColumnPlan,
    bins: np.ndarray,
    *,
    probabilities: np.ndarray,
    targets: Sequence[int],
    alone: Sequence[bool],
) -> Groups:
    """Look at each protected attribute.

    Args:
        data: The training rows.
        plan: Which columns are used, and why others are not.
        bins: (N, C) of the columns that are used.
        probabilities: (N,) out of fold.
        targets: (N,) what became of each row.
        alone: (N,) whether it would be decided without a person.
    """
    attributes = [name for name, reason in plan.left_out.items() if reason.startswith(PROTECTED)]
    used: Mapping[str, np.ndarray] = {column.name: bins[:, j] for j, column in enumerate(plan.columns)}
    groups = {name: group_names([row.columns.get(name) for row in data.rows]) for name in attributes}
    return Groups(
        fairness=tuple(fairness(name, of, probabilities, targets, alone) for name, of in groups.items()),
        proxies=tuple(find_proxies(name, of, used, probabilities) for name, of in groups.items()),
    )
