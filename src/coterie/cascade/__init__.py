"""How much machinery a prompt gets: outcomes on record, what they predict, and the dial between quality and money."""

from ._chain import Chain, Chains, ChosenChain, Confidence, choose_chain, describe_chain, fit_confidence
from ._curve import Point, Recovery, area_under_error, recovery
from ._dial import Aim, Calibration, Pick, Setting, decide, turn
from ._features import PromptFeatures, fit_features
from ._outcomes import Attempt, Outcome, Outcomes, read_outcomes
from ._profile import OutcomeProfile, fit_profile, profile_of_rows
from ._replay import Player, Replay, Shown, replay
from ._risk import mean_p_value

__all__ = [
    "Aim",
    "Attempt",
    "Calibration",
    "Chain",
    "Chains",
    "ChosenChain",
    "Confidence",
    "Outcome",
    "OutcomeProfile",
    "Outcomes",
    "Pick",
    "Player",
    "Point",
    "PromptFeatures",
    "Recovery",
    "Replay",
    "Setting",
    "Shown",
    "area_under_error",
    "choose_chain",
    "decide",
    "describe_chain",
    "fit_confidence",
    "fit_features",
    "fit_profile",
    "mean_p_value",
    "profile_of_rows",
    "read_outcomes",
    "recovery",
    "replay",
    "turn",
]
