"""Replay of recorded outcomes: which model a routing policy would have chosen, and what that would have cost.

No model is asked. A row's prediction never saw the row: it is learned from a training file, or from the other folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from coterie.errors import DataError
from coterie.policy.cost_quality import Aim
from labs.outcomes.chain_replay import can_chain, check_frontier, replay_chains, replay_frontier
from labs.outcomes.curve import Domain, Point, Recovery, domains_of, played_point, recovery, walked_point
from labs.outcomes.exchange_rate import Calibration, Setting, decide, fit_rate, rates
from labs.outcomes.features import PromptFeatures, fit_features
from labs.outcomes.profile import profile_of_rows
from labs.outcomes.table import OutcomeTable

FOLDS = 5
FEWEST = 20
"""Rows from which outcomes are worth a replay."""
_DRAWS = 200


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a file of outcomes says of routing policies."""

    rows: int
    models: tuple[str, ...]
    learned_from: str
    generalist: str
    curve: tuple[Point, ...]
    """From the dearest exchange rate to the one at which money does not matter."""
    baselines: tuple[Point, ...]
    chosen: Point | None
    """The routing policy for the aim; None where no aim was given."""
    reason: str
    """Why it was chosen."""
    recovery: Recovery | None
    """Of two models: the figures of RouteLLM."""
    recovery_interval: tuple[float, float] | None = None
    """95% interval of the average recovered share."""
    warnings: tuple[str, ...] = ()
    chains: tuple[Point, ...] = ()
    """Where every model said how sure it was: chains that ask the cheapest first, from the dearest chain on."""
    chosen_chain: Point | None = None
    chain_reason: str = ""
    frontier: tuple[Point, ...] = ()
    """Where it was asked for: the best policy for each sum of money, a chain, a single model or a coin between two."""
    chosen_frontier: Point | None = None
    """The policy for a budget."""
    frontier_reason: str = ""
    frontier_excess: float | None = None
    """The most by which the frontier is behind the best single model at equal cost."""
    domains: tuple[Domain, ...] = ()
    """Every model's quality by domain, where rows name theirs; most rows first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Played:
    """Predictions of rows that they did not learn from, and each row's routing policy where an aim was given."""

    predicted: np.ndarray  # (N, M)
    costs: np.ndarray  # (N, M) expected money
    settings: tuple[Setting | None, ...]  # (N,)


class Shown(NamedTuple):
    """Outcomes with the features of their prompts."""

    outcomes: OutcomeTable
    rows: np.ndarray  # (N, F)

    def take(self, places: np.ndarray) -> Shown:
        """Some of them."""
        return Shown(self.outcomes.take(places), self.rows[places])


def replay(
    outcomes: OutcomeTable,
    vectors: np.ndarray,
    *,
    aim: Aim | None = None,
    train: OutcomeTable | None = None,
    train_vectors: np.ndarray | None = None,
    generalist: str | None = None,
    with_frontier: bool = False,
    seed: int = 0,
) -> Replay:
    """Play outcomes again.

    Args:
        outcomes: What happened.
        vectors: (N, D) the prompts' encodings.
        aim: What the routing policy is chosen for; without one the curve alone is drawn.
        train: OutcomeTable to learn from instead of the other folds.
        train_vectors: Their encodings.
        generalist: The model whose quality counts as 1; else the dearest one, or the best where no price is known.
        with_frontier: Play the frontier of chains and single models as well; minutes for many rows and models.
        seed: Of folds and words.

    Raises:
        DataError: there are too few rows, fewer than two models, the training file knows other models, or the frontier
            is wanted and something that it needs is not on record.
        InputError: the budget does not pay for the cheapest model.
    """
    _check(outcomes, train)
    if train is not None:
        outcomes = replace(outcomes, models=train.models)
    if with_frontier:
        check_frontier(outcomes, train, fold_of(outcomes.prompts, seed))
    training = [] if train is None or train_vectors is None else [(train.prompts, train_vectors)]
    texts, places = zip(*[(outcomes.prompts, vectors), *training], strict=True)
    features = fit_features([text for prompts in texts for text in prompts], np.vstack(places), seed=seed)
    strong = outcomes.column_of(generalist) if generalist else _dearest(train or outcomes)
    player = Player(features=features, generalist=strong, aim=aim, seed=seed)
    shown = _shown(outcomes, vectors, features)
    if train is None or train_vectors is None:
        played, source = player.cross_fit(shown), f"the other {FOLDS - 1} folds"
    else:
        played = player.play(_shown(train, train_vectors, features), shown)
        source = f"{len(train):,} rows of the training file"
    summary = _summary(outcomes, played, source, player, train or outcomes)
    replayed = _with_chains(outcomes, train, aim, seed, summary)
    return _with_frontier(outcomes, train, aim, seed, replayed) if with_frontier else replayed


def _summary(outcomes: OutcomeTable, played: Played, source: str, player: Player, learned: OutcomeTable) -> Replay:
    """What was played, in figures; the baselines are chosen by the outcomes that are `learned`."""
    recovered, span = _recovery(outcomes, played, player.seed)
    aim, choices = str(player.aim), None if player.aim is None else _choices(outcomes, played)
    return Replay(
        rows=len(outcomes),
        models=outcomes.models,
        learned_from=source,
        generalist=outcomes.models[player.generalist],
        curve=tuple(_curve(outcomes, played)),
        baselines=tuple(_baselines(outcomes, player.generalist, learned)),
        chosen=None if choices is None else played_point(aim, outcomes, choices),
        reason=next((setting.reason for setting in played.settings if setting), ""),
        recovery=recovered,
        recovery_interval=span,
        warnings=tuple(_warnings(outcomes)),
        domains=tuple(domains_of(outcomes, choices, aim)),
    )


def _with_chains(
    outcomes: OutcomeTable, train: OutcomeTable | None, aim: Aim | None, seed: int, replayed: Replay
) -> Replay:
    """The replay with what chains come to, where confidences are on record."""
    folds = fold_of(outcomes.prompts, seed)
    if not (can_chain(outcomes, None if train else folds) and (train is None or can_chain(train, None))):
        return replayed
    played = replay_chains(outcomes, train, folds=folds, aim=aim, generalist=replayed.generalist, seed=seed)
    points = [walked_point("chain", walk, outcomes.models) for walk in played.curve]
    return replace(
        replayed,
        chains=tuple(point for i, point in enumerate(points) if not i or point != points[i - 1]),
        chosen_chain=None if played.chosen is None else walked_point(f"{aim}, chain", played.chosen, outcomes.models),
        chain_reason=played.reason,
    )


def _with_frontier(
    outcomes: OutcomeTable, train: OutcomeTable | None, aim: Aim | None, seed: int, replayed: Replay
) -> Replay:
    """The replay with the frontier, and where a budget stands on it."""
    played = replay_frontier(outcomes, train, folds=fold_of(outcomes.prompts, seed), aim=aim, seed=seed)
    points = [walked_point("frontier", walk, outcomes.models) for walk in played.curve]
    chosen = played.chosen
    return replace(
        replayed,
        frontier=tuple(point for i, point in enumerate(points) if not i or point != points[i - 1]),
        chosen_frontier=None if chosen is None else walked_point(f"{aim}, frontier", chosen, outcomes.models),
        frontier_reason=played.reason,
        frontier_excess=played.excess,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Player:
    """Plays outcomes by what other outcomes teach."""

    features: PromptFeatures
    generalist: int
    """Column of the model whose quality counts as 1."""
    aim: Aim | None = None
    seed: int = 0

    def play(self, learned: Shown, shown: Shown) -> Played:
        """Rows predicted by a profile of others; the rate is set on predictions that those did not learn from."""
        profile = profile_of_rows(learned.outcomes, learned.rows, self.features)
        setting = None if self.aim is None else fit_rate(self.aim, self.calibration(learned))
        return Played(
            predicted=profile.predict_rows(shown.rows),
            costs=profile.expected_costs(shown.outcomes.prompts),
            settings=(setting,) * len(shown.outcomes),
        )

    def calibration(self, learned: Shown) -> Calibration:
        """What the rate is set by: outcomes, each predicted by those of the other folds."""
        inner = replace(self, aim=None, seed=self.seed + 1).cross_fit(learned)
        return Calibration(
            predicted=inner.predicted,
            costs=inner.costs,
            scores=learned.outcomes.scores,
            models=learned.outcomes.models,
            generalist=self.generalist,
        )

    def cross_fit(self, shown: Shown) -> Played:
        """Each fold predicted, and its rate set, by the others. Rows of the same prompt share a fold."""
        outcomes, folds = shown.outcomes, fold_of(shown.outcomes.prompts, self.seed)
        shape = (len(outcomes), len(outcomes.models))
        predicted, costs = np.zeros(shape), np.zeros(shape)
        settings: list[Setting | None] = [None] * len(outcomes)
        for fold in np.unique(folds):
            held = np.flatnonzero(folds == fold)
            part = self.play(shown.take(np.flatnonzero(folds != fold)), shown.take(held))
            predicted[held], costs[held] = part.predicted, part.costs
            for row, setting in zip(held, part.settings, strict=True):
                settings[row] = setting
        return Played(predicted=predicted, costs=costs, settings=tuple(settings))


def fold_of(prompts: Sequence[str], seed: int) -> np.ndarray:  # (N,)
    """A fold for each prompt: the same for the same text, wherever it stands."""
    digests = [sha256(f"{seed}\0{prompt}".encode("utf-8", "replace")).digest() for prompt in prompts]
    return np.array([int.from_bytes(digest[:8], "big") % FOLDS for digest in digests])


def _shown(outcomes: OutcomeTable, vectors: np.ndarray, features: PromptFeatures) -> Shown:
    return Shown(outcomes, features.of(outcomes.prompts, vectors))


def _check(outcomes: OutcomeTable, train: OutcomeTable | None) -> None:
    for table, what in ((outcomes, "the file"), (train, "the training file")):
        if table is not None and len(table) < FEWEST:
            raise DataError(f"A replay needs at least {FEWEST} rows; {what} has {len(table)}.")
    if len(outcomes.models) < 2:
        raise DataError(f"There is nothing to choose from: the only model is {outcomes.models[0]!r}.")
    if train is not None and set(train.models) != set(outcomes.models):
        raise DataError(
            f"The training file is of {sorted(train.models)}, the file of "
            f"{sorted(outcomes.models)}; they must be the same."
        )


def _dearest(outcomes: OutcomeTable) -> int:
    """The model whose outcomes cost most on average; where a price is unknown, the one that scores best."""
    if np.isnan(outcomes.costs).all(axis=0).any():
        return int(np.nanmean(outcomes.scores, axis=0).argmax())
    return int(np.nanmean(outcomes.costs, axis=0).argmax())


# --- Points --------------------------------------------------------------------------------------


def _curve(outcomes: OutcomeTable, played: Played) -> list[Point]:
    usable = ~np.isnan(outcomes.scores)
    points: list[Point] = []
    for rate in rates(played.costs):
        setting = Setting(rate=float(rate), always=0, reason="")
        point = played_point(f"rate {rate:.4g}", outcomes, decide(played.predicted, played.costs, setting, usable))
        if not points or point.shares != points[-1].shares:
            points.append(point)
    return points[::-1]


def _choices(outcomes: OutcomeTable, played: Played) -> np.ndarray:  # (N,)
    """The column that each row's routing policy takes; -1 for none."""
    usable = ~np.isnan(outcomes.scores)
    chosen = np.full(len(outcomes), -1)
    groups: dict[int, list[int]] = {}
    for row, played_setting in enumerate(played.settings):
        groups.setdefault(id(played_setting), []).append(row)
    for rows in groups.values():
        setting = played.settings[rows[0]]
        if setting is not None:
            chosen[rows] = decide(played.predicted[rows], played.costs[rows], setting, usable[rows])
    return chosen


def _baselines(outcomes: OutcomeTable, strong: int, learned: OutcomeTable) -> list[Point]:
    """Doing without routing: always the cheapest, always the generalist, the best one model, chance, and hindsight."""
    n = len(outcomes)
    means = np.where(
        np.isnan(learned.costs).all(axis=0), np.inf, np.nanmean(np.nan_to_num(learned.costs, nan=0.0), axis=0)
    )
    best = int(np.nanmean(learned.scores, axis=0).argmax())
    points = [played_point(f"largest: {outcomes.models[strong]}", outcomes, np.full(n, strong))]
    if np.isfinite(means).any():
        cheapest = int(means.argmin())
        low = played_point(f"cheapest: {outcomes.models[cheapest]}", outcomes, np.full(n, cheapest))
        points = [low, _halfway(low, points[0]), *points]
    scores = np.nan_to_num(outcomes.scores, nan=-1.0)
    costs = np.nan_to_num(outcomes.costs, nan=0.0)
    hindsight = (scores - 1e-6 * costs / max(float(costs.max()), 1e-300)).argmax(axis=1)
    return [
        *points,
        played_point(f"best single: {outcomes.models[best]}", outcomes, np.full(n, best)),
        played_point("oracle (hindsight)", outcomes, hindsight),
    ]


def _halfway(low: Point, high: Point) -> Point:
    """A coin between two models."""
    priced = low.per_1000 is not None and high.per_1000 is not None
    return Point(
        name="random (half each)",
        quality=(low.quality + high.quality) / 2,
        per_1000=((low.per_1000 or 0.0) + (high.per_1000 or 0.0)) / 2 if priced else None,
    )


def _recovery(outcomes: OutcomeTable, played: Played, seed: int) -> tuple[Recovery | None, tuple[float, float] | None]:
    """Of two models that were both asked everywhere: how well the order of predicted gains spends strong calls."""
    scores = outcomes.scores
    if len(outcomes.models) != 2 or np.isnan(scores).any():
        return None, None
    strong = int(scores.mean(axis=0).argmax())
    weak = 1 - strong
    if scores[:, strong].sum() <= scores[:, weak].sum():
        return None, None
    gain = played.predicted[:, strong] - played.predicted[:, weak]
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(_DRAWS):
        rows = random.integers(len(gain), size=len(gain))
        if scores[rows, strong].sum() > scores[rows, weak].sum():
            drawn.append(recovery(gain[rows], scores[rows, weak], scores[rows, strong]).apgr)
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (float("nan"), float("nan"))
    return recovery(gain, scores[:, weak], scores[:, strong]), (float(low), float(high))


def _warnings(outcomes: OutcomeTable) -> list[str]:
    warnings = []
    for column, name in enumerate(outcomes.models):
        asked_count, unpriced = int((~np.isnan(outcomes.scores[:, column])).sum()), np.isnan(outcomes.costs[:, column])
        if asked_count < len(outcomes):
            warnings.append(f"{name} was asked on {asked_count:,} of {len(outcomes):,} rows; it is chosen on no other")
        if unpriced.all():
            warnings.append(f"the price of {name} is unknown: it is never chosen where money counts")
        elif unpriced[~np.isnan(outcomes.scores[:, column])].any():
            warnings.append(f"{name} has rows without a cost: sums over them are unknown")
    return warnings
