"""Detector plug-ins: what one implements, and the detectors that come with Coterie.

Both register through the entry point `coterie.detectors`.
"""

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


# --- The detectors that come with Coterie, registered as plug-ins.


class PatternsType(DetectorType[PrivacySection]):
    """A detector of data with a fixed form."""

    section = PrivacySection
    cannot_see = "names of persons and addresses, except in a field that is named for them"

    def open(self, section: PrivacySection, folder: Path) -> Detector:
        """Return the patterns."""
        from coterie.privacy.patterns import PatternDetector

        return PatternDetector()


class NamesType(DetectorType[PrivacySection]):
    """A detector that also finds names, places and organisations."""

    section = PrivacySection
    cannot_see = (
        "some names and addresses, more of them in records without sentences and in Chinese and Japanese, and most of "
        "those in Korean, Arabic, Hebrew, Hindi and Thai"
    )

    def open(self, section: PrivacySection, folder: Path) -> Detector:
        """Return the bundled classifier."""
        from coterie.privacy.tagger import NameTagger

        return NameTagger.bundled()


class PresidioType(DetectorType[PrivacySection]):
    """A detector of the patterns and Microsoft Presidio."""

    section = PrivacySection
    cannot_see = "some names, and outside English most of them"

    def open(self, section: PrivacySection, folder: Path) -> Detector:
        """Return Presidio, from its extra."""
        from coterie.privacy.tagger import PresidioDetector

        return PresidioDetector()


PATTERNS, NAMES, PRESIDIO = PatternsType(), NamesType(), PresidioType()
