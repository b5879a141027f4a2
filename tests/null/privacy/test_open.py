"""The detector that a network's file names."""

import importlib.util
import sys

import pytest

from coterie.config.file import parse_config
from coterie.config.operation import PrivacySection
from coterie.errors import ConfigError, ExtraMissing
from coterie.privacy.contract import open_detector
from coterie.privacy.patterns import PatternDetector
from coterie.privacy.presidio import PresidioDetector
from coterie.privacy.tagger import NameTagger
from coterie.testing import check_detector

PRESIDIO = importlib.util.find_spec("presidio_analyzer") is not None


def test_default():
    """Without a section what has a form is found."""
    assert isinstance(open_detector(parse_config("").privacy), PatternDetector)


def test_names():
    """Names can be asked for, with nothing installed; what is not known is refused."""
    assert isinstance(open_detector(PrivacySection(detector="names")), NameTagger)
    with pytest.raises(ConfigError, match="There is no detector"):
        parse_config('[privacy]\ndetector = "magic"')


def test_presidio_is_missing(monkeypatch):
    """Without Presidio it is said what to install."""
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(ExtraMissing, match="presidio"):
        PresidioDetector()


@pytest.mark.parametrize("name", ["patterns", "names"])
async def test_detectors_keep_the_contract(name):
    """Ours do what the protocol says."""
    await check_detector(open_detector(PrivacySection(detector=name)))


@pytest.mark.slow
@pytest.mark.skipif(not PRESIDIO, reason="coterie[presidio] is not installed")
@pytest.mark.filterwarnings("ignore")
async def test_presidio_keeps_the_contract():
    """Presidio's names and our secrets are found together, at their places, and nothing is fetched."""
    detector = open_detector(PrivacySection(detector="presidio"))
    text = "My name is David Johnson\x00 and my password=hunter2, mail bob@example.com"
    spans = [(span.kind, text[span.start : span.end]) for span in detector.find(text)]

    await check_detector(detector)
    assert ("SECRET", "hunter2") in spans
    assert ("EMAIL", "bob@example.com") in spans
    assert ("PERSON", "David Johnson") in spans
    assert detector.find("") == ()
