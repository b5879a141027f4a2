"""The detector `plates`: registration plates of vehicles, with all that Coterie's own patterns find."""

from __future__ import annotations

import re
from pathlib import Path

from coterie.config.operation import PrivacySection
from coterie.privacy.detection import PersonalData, settle
from coterie.privacy.kinds import DetectorType
from coterie.privacy.patterns import PatternDetector

PLATE = "VEHICLE_PLATE"
_PLATES = re.compile(
    r"(?<![\w-])(?:"
    r"[A-ZÄÖÜ]{1,3}-[A-Z]{1,2} ?[1-9][0-9]{0,3}[EH]?"  # Germany: B-AB 1234
    r"|[A-Z]{2}-[0-9]{3}-[A-Z]{2}"  # France and Italy in its long form: AB-123-CD
    r"|[A-Z]{2}[0-9]{2} [A-Z]{3}"  # United Kingdom: AB12 CDE
    r"|[0-9]{4} [B-DF-HJ-NP-TV-Z]{3}"  # Spain: 1234 BCD
    r")(?![\w-])"
)


class PlateDetector:
    """Plates, and what the patterns find."""

    def __init__(self) -> None:
        self._patterns = PatternDetector()

    def find(self, text: str) -> tuple[PersonalData, ...]:
        """What is in a text."""
        plates = [
            PersonalData(kind=PLATE, start=match.start(), end=match.end(), score=0.9)
            for match in _PLATES.finditer(text)
        ]
        return settle([*plates, *self._patterns.find(text)])


class PlatesType(DetectorType[PrivacySection]):
    """The detector, as it registers."""

    section = PrivacySection

    def open(self, section: PrivacySection, folder: Path) -> PlateDetector:
        """The detector."""
        return PlateDetector()


DETECTOR = PlatesType()
