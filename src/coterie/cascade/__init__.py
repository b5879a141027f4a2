"""How much machinery a prompt gets: outcomes on record, what they predict, and the dial between quality and money.

The modules are imported when something of them is asked for: learning needs scikit-learn, a running network does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face

if TYPE_CHECKING:
    from ._chain import Chain, Chains, ChosenChain, Confidence, choose_chain, describe_chain, fit_confidence
    from ._curve import Point, Recovery, area_under_error, recovery, worst_excess
    from ._dial import Aim, Calibration, Setting, decide, turn
    from ._features import PromptFeatures, fit_features
    from ._frontier import Policy, frontier
    from ._keep import Judged, Line, keep_from
    from ._network_dial import NetworkDial, generalist_by_domain, generalist_quality
    from ._outcomes import Attempt, Outcome, Outcomes, read_outcomes
    from ._page import replay_page
    from ._points import Domain
    from ._profile import OutcomeProfile, fit_profile, profile_of_rows
    from ._purse import BudgetedEngine, Price, Purse, allowance
    from ._replay import Player, Replay, Shown, replay
    from ._risk import mean_p_value
    from ._spot import SPOT_CHECKS_FILE, SpotChecks, collect, dump_checks, is_chosen, load_checks
    from ._stops import STOPS, RungOutcomes, promised_stop, shown_stops

__all__ = [
    "SPOT_CHECKS_FILE",
    "STOPS",
    "Aim",
    "Attempt",
    "BudgetedEngine",
    "Calibration",
    "Chain",
    "Chains",
    "ChosenChain",
    "Confidence",
    "Domain",
    "Judged",
    "Line",
    "NetworkDial",
    "Outcome",
    "OutcomeProfile",
    "Outcomes",
    "Player",
    "Point",
    "Policy",
    "Price",
    "PromptFeatures",
    "Purse",
    "Recovery",
    "Replay",
    "RungOutcomes",
    "Setting",
    "Shown",
    "SpotChecks",
    "allowance",
    "area_under_error",
    "choose_chain",
    "collect",
    "decide",
    "describe_chain",
    "dump_checks",
    "fit_confidence",
    "fit_features",
    "fit_profile",
    "frontier",
    "generalist_by_domain",
    "generalist_quality",
    "is_chosen",
    "keep_from",
    "load_checks",
    "mean_p_value",
    "profile_of_rows",
    "promised_stop",
    "read_outcomes",
    "recovery",
    "replay",
    "replay_page",
    "shown_stops",
    "turn",
    "worst_excess",
]

_HOMES = {
    "SPOT_CHECKS_FILE": "_spot",
    "STOPS": "_stops",
    "Aim": "_dial",
    "Attempt": "_outcomes",
    "BudgetedEngine": "_purse",
    "Calibration": "_dial",
    "Chain": "_chain",
    "Chains": "_chain",
    "ChosenChain": "_chain",
    "Confidence": "_chain",
    "Domain": "_points",
    "Judged": "_keep",
    "Line": "_keep",
    "NetworkDial": "_network_dial",
    "Outcome": "_outcomes",
    "OutcomeProfile": "_profile",
    "Outcomes": "_outcomes",
    "Player": "_replay",
    "Point": "_curve",
    "Policy": "_frontier",
    "Price": "_purse",
    "PromptFeatures": "_features",
    "Purse": "_purse",
    "Recovery": "_curve",
    "Replay": "_replay",
    "RungOutcomes": "_stops",
    "Setting": "_dial",
    "Shown": "_replay",
    "SpotChecks": "_spot",
    "allowance": "_purse",
    "area_under_error": "_curve",
    "choose_chain": "_chain",
    "collect": "_spot",
    "decide": "_dial",
    "describe_chain": "_chain",
    "dump_checks": "_spot",
    "fit_confidence": "_chain",
    "fit_features": "_features",
    "fit_profile": "_profile",
    "frontier": "_frontier",
    "generalist_by_domain": "_network_dial",
    "generalist_quality": "_network_dial",
    "is_chosen": "_spot",
    "keep_from": "_keep",
    "load_checks": "_spot",
    "mean_p_value": "_risk",
    "profile_of_rows": "_profile",
    "promised_stop": "_stops",
    "read_outcomes": "_outcomes",
    "recovery": "_curve",
    "replay": "_replay",
    "replay_page": "_page",
    "shown_stops": "_stops",
    "turn": "_dial",
    "worst_excess": "_curve",
}

__getattr__ = lazy_face(__name__, _HOMES)
