"""The whole network under faults: requests, cancellations, servers and disks that fail, all drawn from one seed.

Its id is the seed. `COTERIE_SEED=17 python -m pytest tests/simulation` runs that one again, `--seeds 1000` so many.
"""

from __future__ import annotations

from collections import Counter

from .world import World

EVERY = {
    *("accepted", "abstained", "escalated", "left"),
    *("AuditError", "BudgetExceeded", "Overloaded", "ReleaseRefused", "StoreError", "UnknownSpecialist"),
    *("crash", "half", "statement", "torn", "unwritable"),
    *("egress.clearance", "egress.pseudonymised", "label.raised", "label.released"),
    *("degraded", "composed by the generalist", "conclude"),
    *("relayed", "decided", "captured", "erased", "jump"),
}
"""Outcomes, errors, faults, rules and stages that have to come up."""


def test_what_must_hold_holds(seed, tmp_path):
    """Whatever fails and whoever leaves: see the checks of `World`."""
    World(seed, tmp_path).run()


def test_a_seed_tells_the_same_story(tmp_path):
    """Two runs of a seed are alike to the last microsecond, so what fails can be looked at."""
    worlds = []
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        worlds.append(World(2, tmp_path / name))
        worlds[-1].run()

    assert worlds[0].history == worlds[1].history
    assert len(worlds[0].history) > 5


def test_everything_comes_up(tmp_path):
    """Every outcome, error and fault that the simulation is there for comes up in sixteen seeds."""
    seen: Counter[str] = Counter()
    for seed in range(1000, 1016):
        (tmp_path / str(seed)).mkdir()
        world = World(seed, tmp_path / str(seed))
        world.run()
        seen.update(world.seen)

    assert not {kind for kind in EVERY if not seen[kind]}
