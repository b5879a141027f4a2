"""What a chain of rungs comes to, and what it takes, at each stop that it might have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from coterie.evaluation import Interval
from coterie.training import Candidate, Figure

from ._result import ChainPoint, Per1000, RungRow


def chain_curve(candidates: Sequence[Candidate], rows: Sequence[RungRow]) -> tuple[ChainPoint, ...]:
    """A point a stop, from none on; nothing where no chain was asked for.

    What it takes is the sum of what its rungs take where they are asked: by held-out rows, and by what each rung takes
    alone.
    """
    chain = next((each for each in candidates if each.rung == "chain"), None)
    if chain is None:
        return ()
    about: Mapping[str, Any] = chain.notes
    alone = {row.rung: row.per_1000 for row in rows}
    costs = [alone[rung] for rung in about["chain"]]
    return tuple(
        ChainPoint(
            stop=point["stop"],
            taken=point["stop"] == about["stop"]["value"],
            figure=Figure(point["accuracy"], Interval(*point["interval"])),
            asked=dict(zip(about["chain"], point["asked"], strict=True)),
            answered=dict(zip(about["chain"], point["answered"], strict=True)),
            per_1000=_summed(costs, point["asked"]),
        )
        for point in about["curve"]
    )


def _summed(costs: Sequence[Per1000], asked: Sequence[float]) -> Per1000:
    """What rungs take that are asked so often; unknown where that of one is."""
    pairs = [(each, share) for each, share in zip(costs, asked, strict=True) if share]
    joules = [None if each.joules is None else each.joules * share for each, share in pairs]
    money = [None if each.money is None else each.money * Decimal(str(share)) for each, share in pairs]
    return Per1000(
        joules=None if None in joules else sum(each for each in joules if each is not None),
        money=None if None in money else sum((each for each in money if each is not None), Decimal(0)),
    )
