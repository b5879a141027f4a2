"""The contract of a detector plug-in; bundled ones register through the entry point `coterie.detectors` like any."""

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
    """Model that validates a `[privacy]` table of this kind."""
    cannot_see: str = ""
    """What the detector is known to miss; `coterie privacy find` shows it."""

    @abstractmethod
    def open(self, section: P, folder: Path) -> Detector:
        """Return the detector; a path in the section is relative to the network's folder.

        Raises:
            ExtraMissing, ArtefactRefused: something the detector needs is missing.
        """


DETECTOR_TYPES: PluginGroup[DetectorType[Any]] = PluginGroup("coterie.detectors", DetectorType, "detector")
"""All detector plug-ins by name."""


def open_detector(section: PrivacySection, folder: Path = Path()) -> Detector:
    """Load the detector that `[privacy]` names.

    Args:
        section: The `[privacy]` section.
        folder: The network's folder, which paths in the section are relative to.

    Raises:
        ExtraMissing: the detector needs a package.
        ArtefactRefused: the checksum of the model's file is wrong.
    """
    return DETECTOR_TYPES.load(section.detector).open(section, folder)
