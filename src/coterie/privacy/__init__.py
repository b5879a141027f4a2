"""Personal data and secrets in text: what a detector finds, and the label that it asks for. It knows no policy."""

from ._found import Detector, Kind, PersonalData, label_of, least_label, settle
from ._patterns import PatternDetector

__all__ = ["Detector", "Kind", "PatternDetector", "PersonalData", "label_of", "least_label", "settle"]
