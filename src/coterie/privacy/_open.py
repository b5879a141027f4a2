"""The detector that a network's file names."""

from __future__ import annotations

from coterie.config import PrivacySection

from ._found import Detector
from ._names import NameDetector
from ._patterns import PatternDetector
from ._presidio import PresidioDetector


def open_detector(section: PrivacySection) -> Detector:
    """Load what `[privacy]` names.

    Raises:
        ExtraMissing: it needs a package.
        ArtefactRefused: the model's file is not what its checksum says.
    """
    if section.detector == "presidio":
        return PresidioDetector()
    return NameDetector.bundled() if section.detector == "names" else PatternDetector()
