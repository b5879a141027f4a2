"""Pseudonyms: typed placeholders for values that may not leave, such as `<PERSON_1>`.

Within a session a value always has the same pseudonym. Part of a name that only one person of the session has
is another form of that person's pseudonym: `<PERSON_1_2>` beside `<PERSON_1>`, and each is restored as it was
written. The mapping is in the memory of this process alone: it is never written down and never sent. It
disappears with the session, after an hour without use, or when too many other sessions were used since.
"""

from __future__ import annotations

import re
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from coterie.privacy.detection import Kind, lowered
from coterie.runtime.codec import replace
from coterie.structured.schema import VOCABULARY
from coterie.text.folding import PLAIN_SIGNS, shown
from coterie.types import Label, PseudonymValue, Request

LITERAL = "LITERAL"
"""Kind of text that looks like a pseudonym but is none."""
_MOST_VALUES = 10_000
_MOST_SESSIONS = 1_000
_IDLE = 3600.0
FEW = 32
"""Number of words up to which searching them one by one is faster than splitting a text into its words."""
_UNNAMED = re.compile(r"[^A-Z]+")
_TITLES = frozenset(
    {
        *("mr", "mrs", "ms", "mx", "miss", "sir", "dr", "prof", "the"),
        *("herr", "frau", "hr", "fr", "mme", "mlle", "monsieur", "madame", "sr", "sra", "signor", "signora"),
    }
)
_POSSESSIVE = re.compile(r"['\u2019]s?$")
_WORD = re.compile(r"\w+")
_BETWEEN_DIGITS = re.compile(r"(?<=[0-9])[ ()/-]+(?=[0-9])")


class TooManyValues(Exception):
    """A session has more values than the limit of kept pseudonyms."""


class SessionPseudonyms:
    """The pseudonyms of one session; several threads may use them at once."""

    def __init__(self) -> None:
        self._values: dict[str, PseudonymValue] = {}
        self._by_name: dict[tuple[str, int, int], PseudonymValue] = {}
        self._people: dict[str, set[int]] = {}
        """Numbers of persons by the words of the names that they have first."""
        self._forms: dict[int, int] = {}
        """How many forms each of them has."""
        self._by_word: dict[str, list[str]] = {}
        """Keys of `_values` by the first word in each: what a text has no word of, it need not be searched for."""
        self._next: dict[str, int] = {}
        self._lock = threading.Lock()

    def of(self, kind: str, text: str, label: Label) -> PseudonymValue:
        """Return a value with its pseudonym, an existing one or the next. Raises `TooManyValues`."""
        kind, key = _UNNAMED.sub("_", kind.upper()).strip("_") or "VALUE", normal(text)
        with self._lock:
            value = self._values.get(key)
            if value is None:
                if len(self._values) >= _MOST_VALUES:
                    raise TooManyValues(f"the session has {_MOST_VALUES:,} values, and no more are kept")
                value = self._named(kind, text, label)
                first = _WORD.search(lowered(shown(text)))
                self._by_word.setdefault(first[0] if first else "", []).append(key)
            elif label < value.label:
                value = replace(value, label=label)
            self._values[key] = self._by_name[value.name] = value
        return value

    def _named(self, kind: str, text: str, label: Label) -> PseudonymValue:
        """Return a new value: another form of a person's name, if it is part of one person's alone, or a new one."""
        words = frozenset(map(self._without_genitive, _words_of(text))) if kind == Kind.PERSON else frozenset()
        whole = set[int].intersection(*(self._people.get(word, set()) for word in words)) if words else set()
        if len(whole) == 1:
            (number,) = whole
            form = self._forms[number] = self._forms[number] + 1
            return PseudonymValue(kind=kind, number=number, text=text, label=label, form=form)
        number = self._next[kind] = self._next.get(kind, 0) + 1
        for word in words:
            self._people.setdefault(word, set()).add(number)
        if words:
            self._forms[number] = 1
        return PseudonymValue(kind=kind, number=number, text=text, label=label)

    def _without_genitive(self, word: str) -> str:
        """Return a word of a name without a genitive or plural `s`, if that is a known name: `annas` becomes `anna`."""
        bare = word.removesuffix("s")
        return bare if word not in self._people and bare in self._people else word

    def find(self, kind: str, number: int, form: int = 0) -> PseudonymValue | None:
        """Return the value of a pseudonym; None if it stands for nothing."""
        return self._by_name.get((kind, number, form))

    def values(self) -> Sequence[PseudonymValue]:
        """Return all values."""
        with self._lock:
            return tuple(self._values.values())

    def near(self, text: str) -> Sequence[PseudonymValue]:
        """Return the values whose first word occurs in a text. The time grows with the text, not with the session."""
        with self._lock:
            few = len(self._by_word) <= FEW
            words = [word for word in self._by_word if word in text] if few else {"", *_WORD.findall(text)}
            return [self._values[key] for word in words for key in self._by_word.get(word, ())]

    def kinds(self) -> frozenset[str]:
        """Return the kinds of the known values."""
        return frozenset(self._next)


class PseudonymBook:
    """The pseudonyms of the most recently used sessions."""

    def __init__(
        self, *, most: int = _MOST_SESSIONS, idle: float = _IDLE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create an empty book.

        Args:
            most: Most sessions that are kept.
            idle: Seconds without use after which a session is forgotten. A model remembers no pseudonym, so starting
                afresh is not noticed, and content erased elsewhere is not kept here.
            clock: Returns seconds on a monotonic clock.
        """
        self._most, self._idle, self._clock = most, idle, clock
        self._sessions: OrderedDict[tuple[str, str], tuple[float, SessionPseudonyms]] = OrderedDict()

    def of(self, tenant: str, session: str | None, *, begun: bool = True) -> SessionPseudonyms:
        """Return the pseudonyms of a tenant's session; without a session, new ones for this request alone.

        Args:
            tenant: The tenant of the session.
            session: The session's name; None for none.
            begun: The session has content. A session without content is new, erased or expired, and starts afresh.
        """
        if session is None:
            return SessionPseudonyms()
        if not begun:
            self.forget(tenant, session)
        now = self._clock()
        while self._sessions and next(iter(self._sessions.values()))[0] < now - self._idle:
            self._sessions.popitem(last=False)
        _, pseudonyms = self._sessions.pop((tenant, session), (now, SessionPseudonyms()))
        self._sessions[tenant, session] = now, pseudonyms
        if len(self._sessions) > self._most:
            self._sessions.popitem(last=False)
        return pseudonyms

    def forget(self, tenant: str, session: str) -> None:
        """Forget a session's pseudonyms. Requests under way keep theirs until they are answered."""
        self._sessions.pop((tenant, session), None)


def _words_of(name: str) -> frozenset[str]:
    """Return the words of a name that tell persons apart: no titles, possessives or single letters."""
    words = (_POSSESSIVE.sub("", word).strip(".,") for word in normal(name).split())
    return frozenset(word for word in words if len(word) > 1 and word not in _TITLES)


def normal(text: str) -> str:
    """Return one key for all spellings of a value.

    Case, white space, invisible characters, the form of digits, accents, apostrophes and hyphens do not count,
    nor do gaps between digits.
    """
    folded = shown(text).translate(PLAIN_SIGNS)
    if not folded.isascii():
        folded = unicodedata.normalize("NFKC", folded)
    return _BETWEEN_DIGITS.sub("", " ".join(folded.split()).casefold())


# --- The principal's own texts: a value in them is known to the principal.


class OwnTexts:
    """Every text that the principal of one request sent."""

    def __init__(
        self, texts: tuple[str, ...], findings: Mapping[str, tuple[Any, ...]] | None = None, by: object = None
    ) -> None:
        self._texts, self._findings, self._by = texts, findings or {}, by

    def found(self, detector: object, text: str) -> tuple[Any, ...] | None:
        """Return the findings of a detector that has searched this very text; None if it has not."""
        return self._findings.get(text) if detector is self._by else None

    def has(self, value: str) -> bool:
        """Return whether the principal wrote a value, in any spelling, and not within a word (`Ann` in `announced`)."""
        wanted, own_text = normal(value), self._joined_text
        start = own_text.find(wanted)
        while start >= 0:
            end = start + len(wanted)
            if not (_within_word(own_text[start - 1 : start + 1]) or _within_word(own_text[end - 1 : end + 1])):
                return True
            start = own_text.find(wanted, start + 1)
        return False

    @cached_property
    def _joined_text(self) -> str:
        return "\n".join(map(normal, self._texts))


_NAMED_PARTS = {"properties", "$defs", "definitions"}
_PARTS = {"items", "prefixItems", "additionalProperties", "anyOf", "oneOf", "allOf"}


def own_texts(texts: tuple[str, ...], findings: Mapping[str, tuple[Any, ...]], by: object) -> OwnTexts:
    """Return the sent texts in the form in which values are searched; stages of a request import no class.

    Args:
        texts: The texts.
        findings: What the detector `by` found in texts that it has searched, by text.
        by: The detector.
    """
    return OwnTexts(texts, findings, by)


def _within_word(pair: str) -> bool:
    """Return whether two characters are letters of one word.

    Digits may have lost the gap between them in `normal`, and letters without case belong to scripts that put no
    blanks between words.
    """
    return len(pair) == 2 and all(sign.isalpha() and sign.lower() != sign.upper() for sign in pair)


def texts_of(request: Request) -> Sequence[str]:
    """Return every text of a request but its document: turns, question, columns, functions, results, schema."""
    if not (request.history or request.tools or request.columns or request.schema):
        return (request.text,)  # as nearly all are; a request is asked for its texts some ten times
    texts = [turn.text for turn in request.history]
    if request.tools is not None:
        for function in request.tools.functions:
            texts += (function.name, function.description, *texts_of_schema(function.parameters))
        texts += [turn.text for turn in request.tools.since]
    return (*texts, request.text, *texts_of_json(request.columns), *texts_of_schema(request.schema))


def texts_of_json(value: object) -> Iterator[str]:
    """Yield the texts in JSON, names included; a number may be an account number, so it counts as text."""
    if isinstance(value, Mapping):
        value = [item for pair in value.items() for item in pair]
    if isinstance(value, list | tuple):
        for item in value:
            yield from texts_of_json(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def texts_of_schema(schema: object) -> list[str]:
    """Return the texts in a JSON schema; the names of its keywords are none."""
    texts: list[str] = []

    def note(text: str) -> str:
        texts.append(text)
        return text

    changed_schema(schema, note)
    return texts


def changed_json(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - JSON is anything
    """Return JSON with each text in it changed, names included; a number that is changed becomes a text."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {changed_json(name, change): changed_json(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [changed_json(item, change) for item in value]
    if value is None or isinstance(value, bool):
        return value
    text = change(str(value))
    return value if text == str(value) else text


def changed_schema(schema: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - JSON is anything
    """Return a JSON schema with each text in it changed; the names of its keywords stay as they are.

    A detector that takes `maxLength` for a name would otherwise make it a schema of something else.
    """
    if isinstance(schema, list | tuple):
        return [changed_schema(part, change) for part in schema]
    if not isinstance(schema, Mapping):
        return changed_json(schema, change)
    return {
        name if name in VOCABULARY else changed_json(name, change): _changed_keyword(name, part, change)
        for name, part in schema.items()
    }


def _changed_keyword(name: str, part: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - JSON is anything
    if name in _NAMED_PARTS and isinstance(part, Mapping):
        return {changed_json(key, change): changed_schema(inner, change) for key, inner in part.items()}
    return changed_schema(part, change) if name in _PARTS else changed_json(part, change)
