"""Personal data of a prompt: its label, the pseudonyms that replace it, and its values restored in a reply."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from coterie.governance.pseudonyms import FEW, LITERAL, changed_json, changed_schema
from coterie.privacy.detection import Detector, Kind, PersonalData, label_of, lowered
from coterie.privacy.patterns import CutValue, find_between
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import still_wanted
from coterie.text.folding import fold, shown
from coterie.types import Label, Message, Prompt, Pseudonyms, PseudonymValue, Question

# --- Labels of personal data and secrets in texts.

_QUICK = 500
"""Characters that a detector without its own `quick` is assumed to search quickly."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """The personal data and secrets found in some texts, by kind."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """Counts of the kinds that require a label; a town or a date alone does not."""

    @property
    def label(self) -> Label:
        """The lowest label that texts with these findings may have; `public` if nothing was found."""
        return max((label_of(kind) or Label.PUBLIC for kind in self.counts), default=Label.PUBLIC)

    @property
    def label_without_pii(self) -> Label:
        """The lowest label once the personal data is removed. Secrets are not personal data and stay."""
        return Label.RESTRICTED if Kind.SECRET in self.counts else Label.PUBLIC

    def __or__(self, other: Sighting) -> Sighting:
        """Merge two sightings of the same texts: each kind has the larger of both counts."""
        return Sighting(counts=Counter(self.counts) | Counter(other.counts))

    def __str__(self) -> str:
        return in_words(self.counts)


@dataclass(frozen=True, kw_only=True)
class Look:
    """The findings of a detector in some texts, computed once and used several times."""

    texts: Sequence[str]
    """The distinct texts, none of them empty, in their order."""
    found: Sequence[tuple[PersonalData, ...]]
    """The findings in each text."""
    cut: Sequence[CutValue]
    """Values that are split over several texts."""

    @classmethod
    def at(
        cls, detector: Detector, texts: Iterable[str], *, searched: Mapping[str, tuple[PersonalData, ...]] | None = None
    ) -> Look:
        """Search some texts: each by itself, and for values that are split over several.

        Args:
            detector: Finds personal data and secrets in a text.
            texts: The texts, in their order.
            searched: Its findings in texts that it has searched before.
        """
        read = list(filter(None, dict.fromkeys(texts)))
        searched = searched or {}
        personal_data = [searched[text] if text in searched else detector.find(text) for text in read]
        return cls(texts=read, found=personal_data, cut=find_between(read, personal_data))

    def sighting(self, *, ignore: Callable[[str], bool] | None = None) -> Sighting:
        """Return the findings that count, by kind.

        Args:
            ignore: Returns whether a value does not count; None counts every value. Secrets always count.
        """
        counts: Counter[str] = Counter()

        def is_seen(kind: str, values: Iterable[str]) -> bool:
            counted = kind == Kind.SECRET or ignore is None or not all(map(ignore, values))
            return counted and label_of(kind) is not None

        for text, item in (
            (text, personal_item) for text, own in zip(self.texts, self.found, strict=True) for personal_item in own
        ):
            counts[str(item.kind)] += is_seen(item.kind, [text[item.start : item.end]])
        for value in self.cut:
            counts[str(value.kind)] += is_seen(value.kind, [self.texts[i][a:b] for i, a, b, _ in value.pieces])
        return Sighting(counts=+counts)


def sight(detector: Detector, texts: Iterable[str], *, ignore: Callable[[str], bool] | None = None) -> Sighting:
    """Search some texts, in their order, for personal data and secrets; `ignore` as in `Look.sighting`."""
    return Look.at(detector, texts).sighting(ignore=ignore)


def worth_a_thread(detector: Detector, texts: Iterable[str]) -> bool:
    """Return whether searching these texts takes long enough to do it in a thread, so that others are served meanwhile.

    The limit is about five milliseconds: a detector states as `quick` how many characters take so long.
    """
    return sum(map(len, texts)) > getattr(detector, "quick", _QUICK)


def in_words(counts: Mapping[str, int]) -> str:
    """Return counts as text, the most frequent first: `2 PERSON, 1 IBAN`."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


# --- Restoring values in place of their pseudonyms.

LONGEST_HELD = 96
"""Most characters that are held back: more than any form of a pseudonym has."""
_DIGITS = re.compile(r"[0-9]{1,6}")
_OPEN = ("<", "&lt;", "&amp;lt;", "&#60;", "&#x3c;", "%3c", "\\<", "\\u003c", "[", "\\[")
_CLOSE = (">", "&gt;", "&amp;gt;", "&#62;", "&#x3e;", "%3e", "\\>", "\\u003e", "]", "\\]")
_UNDERSCORE = ("_", "\\_", "\\\\_", "&#95;")
_GAP = (*_UNDERSCORE, " ", "-")
_BLANK = (" ", "\n", "\t", "\u00a0")
"""Characters allowed between the bracket and the kind."""
_CASES = (
    *("s", "es", "n", "en", "ns", "ens", "er", "a", "u", "y", "i", "e", "em", "ie", "om", "owi", "ego", "emu", "ova"),
    *(
        "ov",
        "ovi",
        "in",
        "un",
        "de",
        "den",
        "dan",
        "nin",
        "nun",
        "lle",
        "lla",
        "lta",
        "ssa",
        "sta",
        "ta",
        "an",
        "ra",
        "nak",
    ),
)
"""Case endings of languages in Latin script, and their placeholders: `<PERSON_1en>`, `<PERSON_1'in>`."""
_ENDINGS = ("'", "\u2019", *(f"{sign}{case}" for sign in ("", "'", "\u2019") for case in _CASES))
"""Endings that a model may put into the brackets after the number."""
_IN_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z]")
"""A position within a word, where no pseudonym begins."""
_FLAT = re.compile(r"&#95;|[^a-z]")


def _any(forms: Collection[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(forms, key=len, reverse=True)))})"


@lru_cache(maxsize=256)
def pattern_of(kinds: frozenset[str]) -> re.Pattern[str]:
    """Return a pattern that finds pseudonyms of these kinds: in brackets of any form, or bare with an underscore.

    Groups: `kind`, `number`, `form` and `ending` of a pseudonym in brackets, else `bare`, `bare_number` and
    `bare_form`.
    """
    spelled = (_any(_GAP).join(map(re.escape, kind.split("_"))) for kind in sorted(kinds, key=len, reverse=True))
    names, digits = "|".join(spelled) or "(?!)", _DIGITS.pattern
    form, bare_form = (rf"(?:{_any(_UNDERSCORE)}(?P<{name}>[0-9]{{1,3}}))?" for name in ("form", "bare_form"))
    inside = rf"{_any(_BLANK)}?(?P<kind>{names}){_any(_GAP)}?(?P<number>{digits}){form}(?P<ending>{_any(_ENDINGS)})?"
    bare = rf"(?<![A-Za-z0-9_])(?P<bare>{names}){_any(_UNDERSCORE)}(?P<bare_number>{digits}){bare_form}(?![0-9])"
    return re.compile(
        f"{_any(_OPEN)}{inside}{_any(_CLOSE)}|{bare}", re.IGNORECASE | re.ASCII
    )  # no dotless i, no long s


class Restorer:
    """Restores the values in one answer: piece by piece, or as a whole."""

    def __init__(
        self, find: Callable[[str, int, int], PseudonymValue | None], kinds: Collection[str], *, as_json: bool = False
    ) -> None:
        """Take the pseudonyms.

        Args:
            find: Returns the value of a kind, number and form, if it may be shown; else None.
            kinds: The kinds of the pseudonyms in use.
            as_json: The answer is JSON: values are escaped as in its strings.
        """
        self._find, self._as_json = find, as_json
        self._pattern = pattern_of(frozenset(kinds))
        self._shapes = _shapes_of(frozenset(kinds))
        self._words = {kind.partition("_")[0].lower() for kind in kinds}
        self._held = ""
        self._before = ""  # the character that was given out last: a word does not begin in its middle

    def whole(self, text: str) -> str:
        """Return a whole answer with its values restored."""
        return self._pattern.sub(self._put_back, text) if self._may_hold(text) else text

    def feed(self, piece: str) -> str:
        """Take the next piece; return the restored text that can no longer change."""
        text = self._before + self._held + piece
        return self._give(text, self._certain(text))

    def end(self) -> str:
        """Return the text that was held back, restored."""
        text = self._before + self._held
        return self._give(text, len(text))

    def _may_hold(self, text: str) -> bool:
        """Return whether a text may contain pseudonyms: False only if it contains no kind's first word."""
        return any(map(text.lower().__contains__, self._words))

    def _certain(self, text: str) -> int:
        """Return the position up to which nothing can become a pseudonym any more."""
        begin = max(len(self._before), len(text) - LONGEST_HELD)
        small = text[begin:].lower()
        if len(small) != len(text) - begin:  # a letter that is two in lower case: each by itself
            small = "".join(letter.lower()[0] for letter in text[begin:])
        # What may still become a pseudonym has only signs that pseudonyms have, up to the end.
        first = len(small)
        while first and small[first - 1] in self._shapes.signs:
            first -= 1
        for index in range(first, len(small)):
            if small[index] not in self._shapes.firsts:
                continue
            at = begin + index
            if at and _IN_WORD.match(text, at - 1):
                continue
            if any(_may_become(small[index:], form) for form in self._shapes.forms):
                return at
        return len(text)

    def _give(self, text: str, cut: int) -> str:
        """Return the text before `cut`, restored; the rest is held back."""
        position, pieces = len(self._before), []
        for match in self._pattern.finditer(text, position) if self._may_hold(text) else ():
            if match.end() > cut:
                cut = min(cut, max(match.start(), position)) if match.start() < cut else cut
                break
            pieces += [text[position : match.start()], self._put_back(match)]
            position = match.end()
        pieces.append(text[position:cut])
        self._held, self._before = text[cut:], text[:cut][-1:]
        return "".join(pieces)

    def _put_back(self, match: re.Match[str]) -> str:
        kind = self._shapes.kinds[_FLAT.sub("", (match["kind"] or match["bare"]).lower())]
        number, form = match["number"] or match["bare_number"], match["form"] or match["bare_form"]
        value = self._find(kind, int(number), int(form or 0))
        if value is None:
            return match[0]
        text = json.dumps(value.text, ensure_ascii=False)[1:-1] if self._as_json else value.text
        return text + (match["ending"] or "")


# --- What may still become a pseudonym.


class _Shapes(NamedTuple):
    """The forms of pseudonyms of some kinds, in lower case."""

    kinds: Mapping[str, str]
    """Kinds by their letters alone."""
    forms: Sequence[Sequence[tuple[str, ...]]]
    firsts: frozenset[str]
    """Characters that a pseudonym may begin with."""
    signs: frozenset[str]
    """All characters that a pseudonym may contain."""


@lru_cache(maxsize=256)
def _shapes_of(kinds: frozenset[str]) -> _Shapes:
    forms = [form for kind in sorted(kinds) for form in _forms_of(kind)]
    return _Shapes(
        kinds={_FLAT.sub("", kind.lower()): kind for kind in kinds},
        forms=forms,
        firsts=frozenset(part[0] for form in forms for part in form[0]),
        signs=frozenset("0123456789").union(*(part for form in forms for parts in form for part in parts)),
    )


def _forms_of(kind: str) -> list[list[tuple[str, ...]]]:
    """Return the forms of a kind's pseudonyms, in brackets and bare: alternatives in lower case, `()` for a number."""
    words = [part for word in kind.lower().split("_") for part in (_GAP, (word,))][1:]
    opened: list[tuple[str, ...]] = [_OPEN, ("", *_BLANK), *words, (*_GAP, ""), ()]
    bare: list[tuple[str, ...]] = [*words, _UNDERSCORE, ()]
    form: list[tuple[str, ...]] = [_UNDERSCORE, ()]
    closed: list[tuple[str, ...]] = [(*_ENDINGS, ""), _CLOSE]
    return [[*opened, *closed], [*opened, *form, *closed], bare, [*bare, *form]]


def _may_become(text: str, form: Sequence[tuple[str, ...]]) -> bool:
    """Return whether a text is an incomplete beginning of this form."""
    if not form:
        return False
    if not text:
        return True
    if not form[0]:
        number = _DIGITS.match(text)
        return number is not None and (number.end() == len(text) or _may_become(text[number.end() :], form[1:]))
    return any(
        _may_become(text[len(pseudonym) :], form[1:]) if text.startswith(pseudonym) else pseudonym.startswith(text)
        for pseudonym in form[0]
    )


# --- Disguising.

NOTICE = (
    "Marks such as <{kind}_1> stand for values that you are not shown. Treat each as the value itself, and where you "
    "mention one, write its mark exactly as it is."
)
_EDGE = 64
"""Characters beside a pseudonym that are examined again."""
_WORD, _WHITE_SPACE = re.compile(r"\w+"), re.compile(r"\s{2,}|[^\S ]")
_PASSES = 4
"""Times that the text between pseudonyms is examined again."""


class Undisguisable(Exception):
    """Part of a prompt cannot be replaced by a pseudonym; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Disguised:
    """A prompt whose personal data is replaced by pseudonyms."""

    prompt: Prompt
    values: tuple[PseudonymValue, ...]
    """The values that its pseudonyms stand for."""

    def __str__(self) -> str:
        counts = Counter(value.kind for value in self.values if value.kind != LITERAL)
        total = sum(counts.values())
        return f"{total} value{'' if total == 1 else 's'}" + (f" ({in_words(counts)})" if total else "")


def disguise(
    prompt: Prompt, detector: Detector, pseudonyms: Pseudonyms, *, label: Label, look: Look | None = None
) -> Disguised:
    """Replace the personal data in a prompt by pseudonyms.

    Args:
        prompt: The prompt that was to be sent.
        detector: Finds the personal data.
        pseudonyms: The session's pseudonyms, to which new ones are added.
        label: The clearance for this label suffices to see the values.
        look: The detector's findings in the prompt's texts, if it has searched them already.

    Raises:
        Undisguisable: part of the personal data would still show.
        TooManyValues: the session has too many values.
    """
    look = look or Look.at(detector, texts_of_prompt(prompt))
    work = _Work(detector=detector, pseudonyms=pseudonyms, label=label)
    work.learn(look)
    hidden = changed(prompt, work.hide, vector=None, instruction="", label=label, label_without_pii=None)
    if work.used and hidden.messages:
        notice = NOTICE.format(kind=next(iter(work.used.values())).kind)
        names = {value.name for value in work.used.values()}
        again = (value for value in work.used.values() if value.form and (value.kind, value.number, 0) in names)
        notice += "".join(f" {value.pseudonym} is <{value.kind}_{value.number}>, named otherwise." for value in again)
        hidden = replace(hidden, messages=(Message(role="system", text=notice), *hidden.messages))
    return Disguised(prompt=hidden, values=tuple(work.used.values()))


def texts_of_prompt(prompt: Prompt) -> list[str]:
    """Return every text of a prompt, from all of its fields."""
    texts: list[str] = []

    def note(text: str) -> str:
        texts.append(text)
        return text

    _fields(prompt, note)
    return texts


def changed(prompt: Prompt, change: Callable[[str], str], **more: Any) -> Prompt:  # noqa: ANN401 - any field
    """Return the prompt with each of its texts changed, and other fields set."""
    return replace(prompt, **_fields(prompt, change), **more)


def _fields(prompt: Prompt, change: Callable[[str], str]) -> dict[str, Any]:
    """Return all fields that contain texts, each text changed: the one place that knows these fields."""
    return {
        "text": change(prompt.text),
        "columns": None if prompt.columns is None else changed_json(prompt.columns, change),
        "messages": tuple(
            _with_text(message, _in_parts(message.text, prompt.instruction, change)) for message in prompt.messages
        ),
        "json_schema": None if prompt.json_schema is None else changed_schema(prompt.json_schema, change),
        "questions": tuple(_changed_question(question, change) for question in prompt.questions),
        "grammar": None if prompt.grammar is None else change(prompt.grammar),
        "adapter": None if prompt.adapter is None else change(prompt.adapter),
        "choices": tuple(map(change, prompt.choices)),
        "stop": tuple(map(change, prompt.stop)),
    }


def _in_parts(text: str, instruction: str, change: Callable[[str], str]) -> str:
    """Return a text changed; where it begins with the instruction, the instruction and the rest one by one."""
    if not instruction or not text.startswith(instruction):
        return change(text)
    return change(instruction) + change(text[len(instruction) :])


def _with_text(message: Message, text: str) -> Message:
    return message if text == message.text else replace(message, text=text)


def _changed_question(question: Question, change: Callable[[str], str]) -> Question:
    options = tuple(
        replace(option, name=change(option.name), description=change(option.description)) for option in question.options
    )
    return replace(question, options=options, instructions=change(question.instructions), name=change(question.name))


@dataclass(kw_only=True)
class _Work:
    detector: Detector
    pseudonyms: Pseudonyms
    label: Label
    used: dict[str, PseudonymValue] = field(default_factory=dict)
    """Values by their pseudonym."""
    _found: dict[str, tuple[PersonalData, ...]] = field(default_factory=dict)
    _pieces: dict[str, list[tuple[int, int, PseudonymValue]]] = field(default_factory=dict)
    """By text, the spans that are pieces of a value split over several texts."""
    _named: dict[tuple[str, str], PseudonymValue] = field(default_factory=dict)
    _hidden: dict[str, str] = field(default_factory=dict)
    """Results by text: a question often stands in a prompt twice."""

    def learn(self, look: Look) -> None:
        """Assign pseudonyms to everything found, before any text is changed: a value may stand in other texts too."""
        texts = look.texts
        for text, personal_data in zip(texts, look.found, strict=True):
            self._found[text] = _hideable(personal_data)
        for text in texts:
            for item in self._found[text]:
                self._of(item.kind, text[item.start : item.end])
        for value in look.cut:
            if value.kind == Kind.SECRET:
                raise Undisguisable("a secret has no pseudonym")
            written = " ".join(texts[index][start:end] for index, start, end, _ in value.pieces)
            pseudonym = self._of(value.kind, written)
            for index, start, end, _ in value.pieces:
                self._pieces.setdefault(texts[index], []).append((start, end, pseudonym))

    def hide(self, text: str) -> str:
        if text not in self._hidden:
            self._hidden[text] = self._hide(text)
        return self._hidden[text]

    def _hide(self, text: str) -> str:
        """Return a text with its personal data replaced, without the cache.

        Of two overlapping findings a detector names one. The rest of the other stands beside the pseudonym, so the
        edges of the remaining text are examined again, as long as something is found there.
        """
        if not text:
            return text
        parts = list(self._split(text, self._spans(text)))
        for _ in range(_PASSES):
            last = len(parts) - 1
            again = [
                piece
                for index, part in enumerate(parts)
                for piece in self._once_more(part, after=index > 0, before=index < last)
            ]
            if again == parts:
                return "".join(self._use(part) if isinstance(part, PseudonymValue) else part for part in parts)
            parts = again
        raise Undisguisable("what is left between the pseudonyms still looks like personal data")

    def _once_more(self, part: str | PseudonymValue, *, after: bool, before: bool) -> Iterator[str | PseudonymValue]:
        """Examine the edges of a part after or before a pseudonym again; yield the parts that result."""
        if isinstance(part, PseudonymValue) or not (after or before) or part.isspace():
            yield part
            return
        whole = len(part) <= 2 * _EDGE
        edges = [part] if whole else [part[:_EDGE]] * after + [part[-_EDGE:]] * before
        yield from self._split(part, self._spans(part)) if any(map(self._find, edges)) else (part,)

    def _of(self, kind: str, written: str) -> PseudonymValue:
        """Return the session's pseudonym for a value, from a cache."""
        value = self._named.get((kind, written))
        if value is None:
            value = self._named[kind, written] = self.pseudonyms.of(kind, written, self.label)
        return value

    def _use(self, value: PseudonymValue) -> str:
        self.used[value.pseudonym] = value
        return value.pseudonym

    def _find(self, text: str) -> tuple[PersonalData, ...]:
        if text not in self._found:
            still_wanted()
            self._found[text] = _hideable(self.detector.find(text))
        return self._found[text]

    def _spans(self, text: str) -> list[tuple[int, int, PseudonymValue]]:
        """Return spans with values: findings, known values of the session, and text that looks like a pseudonym."""
        spans = [(item.start, item.end, self._of(item.kind, text[item.start : item.end])) for item in self._find(text)]
        spans += self._pieces.get(text, ())
        folded = fold(text)
        small = lowered(text if folded is None else folded.text)
        known_places = _places([value for value in self.pseudonyms.near(small) if value.kind != LITERAL], small)
        spans += (
            known_places
            if folded is None
            else [(*folded.span(start, end), value) for start, end, value in known_places]
        )
        kinds = frozenset({*self.pseudonyms.kinds(), LITERAL})
        if not any(kind.partition("_")[0].lower() in small for kind in kinds):
            return spans  # nothing that looks like one
        for match in pattern_of(kinds).finditer(text):
            spans.append((match.start(), match.end(), self.pseudonyms.of(LITERAL, match[0], self.label)))
        return spans

    @staticmethod
    def _split(text: str, spans: list[tuple[int, int, PseudonymValue]]) -> Iterator[str | PseudonymValue]:
        """Yield the text in pieces, with values in place of spans; the longest of overlapping spans counts."""
        taken: list[tuple[int, int, PseudonymValue]] = []
        used = bytearray(len(text))  # 1 where a span was taken
        for start, end, value in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
            # None that was taken is shorter, so one that overlaps covers an end of this one.
            if end > start and not (used[start] or used[end - 1]):
                taken.append((start, end, value))
                used[start:end] = b"\1" * (end - start)
        position = 0
        for start, end, value in sorted(taken, key=lambda span: span[0]):
            if position < start:
                yield text[position:start]
            yield value
            position = end
        if position < len(text):
            yield text[position:]


def _hideable(personal_data: Iterable[PersonalData]) -> tuple[PersonalData, ...]:
    """Return the findings that have a label. Raises `Undisguisable` for a secret."""
    labelled = tuple(item for item in personal_data if label_of(item.kind) is not None)
    if any(item.kind == Kind.SECRET for item in labelled):
        raise Undisguisable("a secret has no pseudonym")
    return labelled


def _places(values: Sequence[PseudonymValue], text: str) -> Iterator[tuple[int, int, PseudonymValue]]:
    """Yield the spans where values stand as whole words, with any white space, in a folded text in lower case.

    Few values are searched one by one. With many, each word of the text is looked up among the values' first
    words, so that many take no longer than few. No regular expression is used: the library caches compiled ones,
    and a value must disappear with its session.
    """
    if not values:
        return
    whole = _flattened(text)
    flat = whole.text
    written = [(" ".join(lowered(shown(value.text)).split()), value) for value in values]
    for start, end, value in _each_place(written, flat) if len(values) <= FEW else _all_places(written, flat):
        if not _is_word(flat[start - 1 : start]) and not _is_word(flat[end : end + 1]):
            yield whole.place(start), whole.place(end - 1) + 1, value


_Written = Sequence[tuple[str, PseudonymValue]]


def _each_place(written: _Written, flat: str) -> Iterator[tuple[int, int, PseudonymValue]]:
    for words, value in written:
        start = flat.find(words) if words else -1
        while start >= 0:
            yield start, start + len(words), value
            start = flat.find(words, start + 1)


def _all_places(written: _Written, flat: str) -> Iterator[tuple[int, int, PseudonymValue]]:
    by_first_word: dict[str, dict[tuple[int, int], dict[str, PseudonymValue]]] = {}
    for words, value in written:
        if first := _WORD.search(words):
            by_first_word.setdefault(first[0], {}).setdefault((first.start(), len(words)), {})[words] = value
    for word in _WORD.finditer(flat):
        for (before, length), written_so in by_first_word.get(word[0], {}).items():
            start, end = word.start() - before, word.start() - before + length
            if start >= 0 and (pseudonym := written_so.get(flat[start:end])):
                yield start, end, pseudonym


class _Flat(NamedTuple):
    """A text with one blank for each run of white space."""

    text: str
    behind: Sequence[int]
    """Positions after each blank that replaces a run."""
    dropped: Sequence[int]
    """Characters left out up to each of these positions."""

    def place(self, at: int) -> int:
        """Return the position in the original text of the character at `at`."""
        gap = bisect_right(self.behind, at)
        return at + (self.dropped[gap - 1] if gap else 0)


def _flattened(text: str) -> _Flat:
    pieces, behind, dropped, at = list[str](), list[int](), list[int](), 0
    for gap in _WHITE_SPACE.finditer(text):
        pieces += [text[at : gap.start()], " "]
        at = gap.end()
        left_out = (dropped[-1] if dropped else 0) + len(gap[0]) - 1
        behind.append(at - left_out)
        dropped.append(left_out)
    return _Flat("".join([*pieces, text[at:]]), behind, dropped)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
