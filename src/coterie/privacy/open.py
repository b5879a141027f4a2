"""The detector that a network's file names."""

from __future__ import annotations

from pathlib import Path

from coterie.config.privacy import PrivacySection
from coterie.privacy.detection import Detector
from coterie.privacy.names import NameDetector, load_model
from coterie.privacy.patterns import PatternDetector
from coterie.privacy.presidio import PresidioDetector


def open_detector(section: PrivacySection, folder: Path = Path()) -> Detector:
    """Load what `[privacy]` names.

    Args:
        section: The setting.
        folder: The network's, from which a path in it is read.

    Raises:
        ExtraMissing: it needs a package.
        ArtefactRefused: the model's file is not what its checksum says.
    """
    if section.detector == "presidio":
        return PresidioDetector()
    if section.detector == "names":
        return NameDetector(load_model(folder / section.model)) if section.model else NameDetector.bundled()
    return PatternDetector()
