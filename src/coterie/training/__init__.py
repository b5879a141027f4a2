"""Making specialists from data: every rung trained, calibrated, measured, the cheapest sufficient one stored."""

from ._answer_corpus import AnswerCorpus, Asked, gather_corpus
from ._answer_fit import Fitted, deal, features_of, fit_scorer
from ._asked import AskedModel, find_asked
from ._candidates import Candidate, Choice, Figure
from ._chain import ChainFit, fit_chain
from ._job import MEASURES, TextEncoder
from ._names import TrainedNames, fit_names, train_names
from ._progress import Progress, Silent
from ._rung_chain import ChosenStop, choose_stop
from ._rungs import TrainedRungs, possible_rungs, train_rungs
from ._train import CHECKPOINTS_FOLDER, HELD_OUT, TrainedSpecialist, TrainingReport, train

__all__ = [
    "CHECKPOINTS_FOLDER",
    "HELD_OUT",
    "MEASURES",
    "AnswerCorpus",
    "Asked",
    "AskedModel",
    "Candidate",
    "ChainFit",
    "Choice",
    "ChosenStop",
    "Figure",
    "Fitted",
    "Progress",
    "Silent",
    "TextEncoder",
    "TrainedNames",
    "TrainedRungs",
    "TrainedSpecialist",
    "TrainingReport",
    "choose_stop",
    "deal",
    "features_of",
    "find_asked",
    "fit_chain",
    "fit_names",
    "fit_scorer",
    "gather_corpus",
    "possible_rungs",
    "train",
    "train_names",
    "train_rungs",
]
