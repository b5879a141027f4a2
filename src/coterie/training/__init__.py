"""Making specialists from data: every rung trained, calibrated, measured, the cheapest sufficient one stored."""

from ._asked import AskedModel, find_asked
from ._candidates import Candidate, Choice, Figure
from ._job import MEASURES, TextEncoder
from ._progress import Progress, Silent
from ._rungs import TrainedRungs, possible_rungs, train_rungs
from ._train import HELD_OUT, TrainedSpecialist, TrainingReport, train

__all__ = [
    "HELD_OUT",
    "MEASURES",
    "AskedModel",
    "Candidate",
    "Choice",
    "Figure",
    "Progress",
    "Silent",
    "TextEncoder",
    "TrainedRungs",
    "TrainedSpecialist",
    "TrainingReport",
    "find_asked",
    "possible_rungs",
    "train",
    "train_rungs",
]
