"""Making specialists from data: every rung trained, calibrated, measured, the cheapest sufficient one stored."""

from ._progress import Progress, Silent
from ._train import TrainedSpecialist, TrainingReport, train

__all__ = ["Progress", "Silent", "TrainedSpecialist", "TrainingReport", "train"]
