"""The detectors that come with Coterie, as they register."""

from __future__ import annotations

from pathlib import Path

from coterie.config.operation import PrivacySection
from coterie.privacy.contract import DetectorType
from coterie.privacy.detection import Detector


class PatternsType(DetectorType[PrivacySection]):
    """What has a form."""

    section = PrivacySection
    cannot_see = "names of persons and addresses, except in a field that is named for them"

    def open(self, section: PrivacySection, folder: Path) -> Detector:
        """The patterns."""
        from coterie.privacy.patterns import PatternDetector

        return PatternDetector()


class NamesType(DetectorType[PrivacySection]):
    """Names, places and organisations too."""

    section = PrivacySection
    cannot_see = (
        "some names and addresses, more of them in records without sentences and in Chinese and Japanese, and most of "
        "those in Korean, Arabic, Hebrew, Hindi and Thai"
    )

    def open(self, section: PrivacySection, folder: Path) -> Detector:
        """The classifier that comes with Coterie."""
        from coterie.privacy.tagger import NameTagger

        return NameTagger.bundled()


class PresidioType(DetectorType[PrivacySection]):
    """The patterns, and Microsoft Presidio."""

    section = PrivacySection
    cannot_see = "some names, and outside English most of them"

    def open(self, section: PrivacySection, folder: Path) -> Detector:
        """Presidio, from its extra."""
        from coterie.privacy.presidio import PresidioDetector

        return PresidioDetector()


PATTERNS, NAMES, PRESIDIO = PatternsType(), NamesType(), PresidioType()
