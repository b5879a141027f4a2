"""The detector that a network's file names."""

from __future__ import annotations

from pathlib import Path

from coterie.config.privacy import PrivacySection
from coterie.privacy.contract import DETECTOR_TYPES
from coterie.privacy.detection import Detector


def open_detector(section: PrivacySection, folder: Path = Path()) -> Detector:
    """Load what `[privacy]` names.

    Args:
        section: The setting.
        folder: The network's, from which a path in it is read.

    Raises:
        ExtraMissing: it needs a package.
        ArtefactRefused: the model's file is not what its checksum says.
    """
    return DETECTOR_TYPES.load(section.detector).open(section, folder)
