"""The detectors that come with Coterie, registered as plug-ins."""

from __future__ import annotations

from pathlib import Path

from coterie.config.operation import PrivacySection
from coterie.privacy.contract import DetectorType
from coterie.privacy.detection import Detector


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
        from coterie.privacy.presidio import PresidioDetector

        return PresidioDetector()


PATTERNS, NAMES, PRESIDIO = PatternsType(), NamesType(), PresidioType()
