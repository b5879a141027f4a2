"""A prompt with pseudonyms in place of the personal data in it: in every field that has words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from coterie.governance.personal import in_words
from coterie.governance.pseudonyms import LITERAL
from coterie.governance.restore import pattern_of
from coterie.privacy.context import lowered
from coterie.privacy.detection import Detector, Kind, PersonalData, label_of
from coterie.types import Label, Message, Prompt, Pseudonyms, PseudonymValue

NOTICE = (
    "Marks such as <{kind}_1> stand for values that you are not shown. Treat each as the value itself, and where you "
    "mention one, write its mark exactly as it is."
)
_EDGE = 64
"""Characters beside a pseudonym that are looked at again."""
_PASSES = 4
"""Times that what is left between pseudonyms is looked at again."""


class Undisguisable(Exception):
    """Something of a prompt would still show; the message says what."""


@dataclass(frozen=True, kw_only=True)
class Disguised:
    """A prompt as it may be sent."""

    prompt: Prompt
    values: tuple[PseudonymValue, ...]
    """What the pseudonyms in it stand for."""

    def __str__(self) -> str:
        counts = Counter(value.kind for value in self.values if value.kind != LITERAL)
        total = sum(counts.values())
        return f"{total} value{'' if total == 1 else 's'}" + (f" ({in_words(counts)})" if total else "")


def disguise(prompt: Prompt, detector: Detector, pseudonyms: Pseudonyms, *, label: Label) -> Disguised:
    """Put pseudonyms into a prompt.

    Args:
        prompt: What was to be sent.
        detector: Finds what may not.
        pseudonyms: The session's; they grow.
        label: Whoever may see texts of this label may see the values.

    Raises:
        Undisguisable: something would still show.
        TooManyValues: the session has too many.
    """
    work = _Work(detector=detector, pseudonyms=pseudonyms, label=label)
    for text in texts_of_prompt(prompt):
        work.learn(text)
    hidden = changed(prompt, work.hide, vector=None, label=label, impersonal=None)
    if work.used and hidden.messages:
        notice = NOTICE.format(kind=next(iter(work.used.values())).kind)
        names = {each.name for each in work.used.values()}
        again = (each for each in work.used.values() if each.form and (each.kind, each.number, 0) in names)
        notice += "".join(f" {each.pseudonym} is <{each.kind}_{each.number}>, named otherwise." for each in again)
        hidden = replace(hidden, messages=(Message(role="system", text=notice), *hidden.messages))
    return Disguised(prompt=hidden, values=tuple(work.used.values()))


def texts_of_prompt(prompt: Prompt) -> list[str]:
    """Every text of a prompt, in whatever field."""
    texts: list[str] = []

    def note(text: str) -> str:
        texts.append(text)
        return text

    _fields(prompt, note)
    return texts


def changed(prompt: Prompt, change: Callable[[str], str], **more: Any) -> Prompt:  # noqa: ANN401 - any field
    """The prompt with each of its texts changed, and other fields set."""
    return replace(prompt, **_fields(prompt, change), **more)


def _fields(prompt: Prompt, change: Callable[[str], str]) -> dict[str, Any]:
    """All fields with words, each text in them changed: the one place that knows them."""
    return {
        "text": change(prompt.text),
        "columns": None if prompt.columns is None else _walk(prompt.columns, change),
        "messages": tuple(_said(message, change(message.text)) for message in prompt.messages),
        "json_schema": None if prompt.json_schema is None else _walk(prompt.json_schema, change),
        "grammar": None if prompt.grammar is None else change(prompt.grammar),
        "adapter": None if prompt.adapter is None else change(prompt.adapter),
        "choices": tuple(map(change, prompt.choices)),
        "stop": tuple(map(change, prompt.stop)),
    }


def _said(message: Message, text: str) -> Message:
    return message if text == message.text else replace(message, text=text)


def _walk(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - JSON is anything
    """JSON with each text in it changed, names included; a number that is changed becomes a text."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_walk(name, change): _walk(each, change) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(each, change) for each in value]
    if value is None or isinstance(value, bool):
        return value
    text = change(str(value))
    return value if text == str(value) else text


@dataclass(kw_only=True)
class _Work:
    """One prompt on its way into disguise."""

    detector: Detector
    pseudonyms: Pseudonyms
    label: Label
    used: dict[str, PseudonymValue] = field(default_factory=dict)
    """By pseudonym."""
    _found: dict[str, tuple[PersonalData, ...]] = field(default_factory=dict)

    def learn(self, text: str) -> None:
        """Give what is found in a text its pseudonyms, before any text is changed: each may stand in others too."""
        for each in self._find(text):
            self.pseudonyms.of(each.kind, text[each.start : each.end], self.label)

    def hide(self, text: str) -> str:
        """The text with pseudonyms.

        Of two things that overlap a detector names one. What is left of the other stands beside it, so the edges of
        what stays in clear are looked at again, as often as something is found there.
        """
        if not text:
            return text
        parts = list(self._split(text, self._spans(text)))
        for _ in range(_PASSES):
            last = len(parts) - 1
            again = [
                piece
                for place, part in enumerate(parts)
                for piece in self._once_more(part, after=place > 0, before=place < last)
            ]
            if again == parts:
                return "".join(self._use(part) if isinstance(part, PseudonymValue) else part for part in parts)
            parts = again
        raise Undisguisable("what is left between the pseudonyms still looks like personal data")

    def _once_more(self, part: str | PseudonymValue, *, after: bool, before: bool) -> Iterator[str | PseudonymValue]:
        """What becomes of a part that stands after a pseudonym, before one, or both, when its edges are looked at."""
        if isinstance(part, PseudonymValue) or not (after or before) or part.isspace():
            yield part
            return
        whole = len(part) <= 2 * _EDGE
        edges = [part] if whole else [part[:_EDGE]] * after + [part[-_EDGE:]] * before
        yield from self._split(part, self._spans(part)) if any(map(self._find, edges)) else (part,)

    def _use(self, value: PseudonymValue) -> str:
        self.used[value.pseudonym] = value
        return value.pseudonym

    def _find(self, text: str) -> tuple[PersonalData, ...]:
        """What may not be shown of a text."""
        if text not in self._found:
            found = (each for each in self.detector.find(text) if label_of(each.kind) is not None)
            self._found[text] = tuple(found)
            if any(each.kind == Kind.SECRET for each in self._found[text]):
                raise Undisguisable("a secret has no pseudonym")
        return self._found[text]

    def _spans(self, text: str) -> list[tuple[int, int, PseudonymValue]]:
        """Places and what stands there: what is found, what is known from elsewhere, what looks like a pseudonym."""
        spans = [
            (each.start, each.end, self.pseudonyms.of(each.kind, text[each.start : each.end], self.label))
            for each in self._find(text)
        ]
        small = lowered(text)
        for value in self.pseudonyms.near(small):
            if value.kind != LITERAL:
                spans += [(start, end, value) for start, end in _places(lowered(value.text), small)]
        kinds = frozenset({*self.pseudonyms.kinds(), LITERAL})
        if not any(kind.partition("_")[0].lower() in small for kind in kinds):
            return spans  # nothing that looks like one
        for match in pattern_of(kinds).finditer(text):
            spans.append((match.start(), match.end(), self.pseudonyms.of(LITERAL, match[0], self.label)))
        return spans

    @staticmethod
    def _split(text: str, spans: list[tuple[int, int, PseudonymValue]]) -> Iterator[str | PseudonymValue]:
        """The text in pieces, values in place of spans; of spans that overlap the longest counts."""
        taken: list[tuple[int, int, PseudonymValue]] = []
        for start, end, value in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
            if end > start and all(end <= other[0] or other[1] <= start for other in taken):
                taken.append((start, end, value))
        place = 0
        for start, end, value in sorted(taken, key=lambda span: span[0]):
            if place < start:
                yield text[place:start]
            yield value
            place = end
        if place < len(text):
            yield text[place:]


def _places(value: str, text: str) -> Iterator[tuple[int, int]]:
    """Where a value stands as words of its own, with any white space in it; both in lower case.

    No regular expression: the library keeps those it has compiled, and a value is to be gone with its session.
    """
    words = value.split()
    start = text.find(words[0]) if words else -1
    while start >= 0:
        end = _end_of(words, text, start)
        if end and not _is_word(text[start - 1 : start]) and not _is_word(text[end : end + 1]):
            yield start, end
        start = text.find(words[0], start + 1)


def _end_of(words: Sequence[str], text: str, place: int) -> int:
    """Where some words end that begin at a place, white space between them; 0 if they do not stand there."""
    for number, word in enumerate(words):
        gap = place
        while number and gap < len(text) and text[gap].isspace():
            gap += 1
        if not text.startswith(word, gap) or (number and gap == place):
            return 0
        place = gap + len(word)
    return place


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
