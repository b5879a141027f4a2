"""What a detector's plug-in is: ours register through the entry point `coterie.detectors` as anybody's do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Generic, TypeVar

from coterie.config.operation import PrivacySection
from coterie.privacy.detection import Detector
from coterie.runtime.plugins import PluginGroup

P = TypeVar("P", bound=PrivacySection)


class DetectorType(ABC, Generic[P]):
    """One kind of detector of personal data and secrets."""

    section: type[P]
    """Checks a `[privacy]` table that names it."""
    cannot_see: str = ""
    """What it is known to miss, for whoever reads what it leaves: `coterie privacy find` says so."""

    @abstractmethod
    def open(self, section: P, folder: Path) -> Detector:
        """The detector; a path in the section is read from the network's folder.

        Raises:
            ExtraMissing, ArtefactRefused: what it needs is not here.
        """


DETECTOR_TYPES: PluginGroup[DetectorType[Any]] = PluginGroup("coterie.detectors", DetectorType, "detector")
"""Every kind of detector by its name."""


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
