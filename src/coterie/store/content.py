"""Removes content from a trace: figures, names, labels and reasons stay, texts of the caller go.

Content is text that the caller wrote or that a model wrote for the caller: the texts of parts, findings and quotes,
and every string value that is not a label. Reasons are kept, but by a house rule a value inside a message is quoted
(`!r`): text in quotation marks is removed too, unless it is a name that the trace already has, and so are words that
repeat content. Each removed text leaves its length and no hash: the hash of a short text can be guessed. Verdicts stay
unchanged, since a policy sees no content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import TypeVar

from coterie.runtime.codec import replace
from coterie.text.folding import find_words
from coterie.types import (
    Citation,
    Decision,
    Evidence,
    Fact,
    Field,
    Finding,
    Label,
    Omission,
    Reason,
    Route,
    Scalar,
    Stage,
    Step,
    Trace,
    ViewRecord,
)
from coterie.types.reason import TEMPLATES, Value, quoted_in

_QUOTED = re.compile(
    r"""(?<!\w)(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|“[^”]*”|\u2018[^\u2019]*\u2019|«[^»]*»)(?!\w)""",
    re.DOTALL,
)
_WORD = re.compile(r"\w+")
_SIGNS = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}
_DROPPED = re.compile(r"\[\d+ characters, not kept\]")

_CONTENT_VALUES = frozenset(
    ("added", "answer", "document", "found", "guess", "places", "quote", "sentence", "value", "words")
)
"""Values of reasons that repeat what a person or a model wrote, unless they are names."""
_MOST_SCRUBBED = 50_000
"""Characters of one text that are searched for in sentences; a quote of a longer text is removed in any case."""
_LABELS = tuple(label.value for label in Label)
_FIGURES = frozenset({int, float, bool, NoneType})
_RUN = 3
"""Number of consecutive words that also occur in a content text and therefore count as a copy of it."""
_ACCOUNT = re.compile(r"(?:\D*\d){6}")
"""A name with this many digits may be the number of an account, a card or a telephone."""
_IDENTIFYING = re.compile(r"(?=.*\d)\w{4,}")
"""A single word of this length with a digit also counts as content: an account number, a year, a name with a digit."""


def without_content(trace: Trace, texts: Iterable[str] = ()) -> Trace:
    """Return the trace with every content text replaced by its length. Pure and idempotent.

    Args:
        trace: The trace to keep.
        texts: Texts of the request, where known: the sentences that are kept repeat none of them.
    """
    scrub = _Scrubber.of(trace, texts)
    return replace(
        trace,
        route=_route(trace.route, scrub),
        findings=tuple([_finding(finding, scrub) for finding in trace.findings]),
        views=tuple([_view(view, scrub) for view in trace.views]),
        rewritten=_length(trace.rewritten),
        decisions=tuple([_decision(decision, scrub) for decision in trace.decisions]),
        degraded=None if trace.degraded is None else scrub.reason(trace.degraded),
        steps=_noted(trace.steps, scrub),
        stages=_noted(trace.stages, scrub),
        egress=tuple([replace(crossing, text="") for crossing in trace.egress]),
    )


def _decision(decision: Decision, scrub: _Scrubber) -> Decision:
    """Keep names and figures; remove a question in words and an option that is not a short name, which are content."""
    options = decision.options
    if decision.zero_shot:  # else they are a specialist's labels
        options = tuple(map(_name, options))
    return replace(
        decision,
        question=_name(decision.question),
        options=options,
        instructions=_length(decision.instructions),
        reason=scrub.reason(decision.reason),
    )


def _name(text: str) -> str:
    """Return a name of few words that is neither an address nor an account number; of any other text the length."""
    return _length(text) if len(_WORD.findall(text)) > _RUN or "@" in text or _ACCOUNT.match(text) else text


_Noted = TypeVar("_Noted", Step, Stage)


def _noted(noted: tuple[_Noted, ...], scrub: _Scrubber) -> tuple[_Noted, ...]:
    """Remove content from steps or stages. The note of nearly all of them is a name, or empty."""
    names = scrub.names
    if all(not step.note or step.note in names for step in noted):
        return noted
    return tuple([replace(step, note=scrub(step.note)) for step in noted])


def _route(route: Route, scrub: _Scrubber) -> Route:
    reason = scrub.reason(route.reason)
    if not route.parts:
        return route if reason is route.reason else replace(route, reason=reason)
    parts = tuple([replace(part, text=_length(part.text), vector=None) for part in route.parts])
    return replace(route, parts=parts, reason=reason)


def _finding(finding: Finding, scrub: _Scrubber) -> Finding:
    labels = finding.form == "label"
    return replace(
        finding,
        text=_length(finding.text),
        value=finding.value if labels else _without_strings(finding.value),
        reason=scrub.reason(finding.reason),
        evidence=tuple([_evidence(evidence, scrub, labels=labels) for evidence in finding.evidence]),
        fields=tuple([_field(field, scrub) for field in finding.fields]),
        citations=tuple(map(_citation, finding.citations)),
        steps=_noted(finding.steps, scrub),
        facts=finding.facts if labels else tuple(map(_fact, finding.facts)),
    )


def _fact(fact: Fact) -> Fact:
    return replace(fact, value=_length(fact.value)) if isinstance(fact.value, str) else fact


def _citation(citation: Citation) -> Citation:
    """Keep the position of a citation; remove its quote, heading and document name, which are content."""
    text, document, heading = map(_length, (citation.text, citation.document, citation.heading))
    return replace(citation, text=text, document=document, heading=heading)


def _evidence(evidence: Evidence, scrub: _Scrubber, *, labels: bool) -> Evidence:
    """Keep name and weight of evidence, which are a reason's code; remove its words, which repeat the caller's text.

    A quote is named after a field or a label, or after its document, whose name is content.
    """
    if evidence.kind == "quote" and evidence.name not in scrub.names:
        return replace(evidence, name=_length(evidence.name), text=_length(evidence.text))
    if evidence.kind != "alternative":
        return replace(evidence, text=_length(evidence.text))
    return evidence if labels else replace(evidence, name=_length(evidence.name), text=_length(evidence.text))


def _field(field: Field, scrub: _Scrubber) -> Field:
    """Keep name, position and confidence of a field; remove its quote and value, which are content."""
    value = _length(field.value) if isinstance(field.value, str) else None
    return replace(field, value=value, text=_length(field.text), reason=scrub.reason(field.reason))


def _without_strings(value: Scalar | tuple[str, ...]) -> Scalar | tuple[str, ...]:
    if isinstance(value, tuple):
        return tuple(_length(item) for item in value)
    return _length(value) if isinstance(value, str) else value


def _view(view: ViewRecord, scrub: _Scrubber) -> ViewRecord:
    if not view.omitted and scrub.names.issuperset(view.seen):
        return view
    omitted = tuple(Omission(what=scrub(o.what), reason=scrub.reason(o.reason)) for o in view.omitted)
    seen = tuple(map(scrub, view.seen))
    return view if (seen, omitted) == (view.seen, view.omitted) else replace(view, seen=seen, omitted=omitted)


def _words(text: str) -> list[str]:
    """Return the words of a text, case-folded.

    ASCII text is split at its punctuation, which is three times as fast as searching for words.
    """
    folded = text.casefold()
    return folded.translate(_SIGNS).split() if folded.isascii() else list(find_words(_WORD, folded))


def _length(text: str) -> str:
    return text if not text or is_dropped(text) else f"[{len(text)} characters, not kept]"


@dataclass(frozen=True, kw_only=True)
class _Scrubber:
    """Takes content out of a sentence that is otherwise kept."""

    names: frozenset[str]
    """Names that may stay in quotation marks."""
    texts: tuple[str, ...]
    """All content texts."""

    @classmethod
    def of(cls, trace: Trace, texts: Iterable[str] = ()) -> _Scrubber:
        return cls(names=frozenset(_names(trace)), texts=(*_contents(trace), *texts))

    @cached_property
    def _contents(self) -> list[list[str]]:
        """The words of each text. They are computed on first use: for most traces no sentence is searched."""
        kept_texts = dict.fromkeys([text for text in self.texts if not is_dropped(text)])
        return [words for text in kept_texts if (words := _words(text[:_MOST_SCRUBBED]))]

    @cached_property
    def content(self) -> str:
        """All content as lower-case words with single spaces between and around them, one line per text."""
        return "\n".join([f" {' '.join(words)} " for words in self._contents])

    @cached_property
    def short(self) -> tuple[list[str], ...]:
        """The words of each content text that is shorter than a run."""
        return tuple([words for words in self._contents if len(words) < _RUN])

    def __call__(self, sentence: str) -> str:
        """Return the sentence without quoted values that are not names, and without copies of content."""
        if not sentence or sentence in self.names:
            return sentence
        sentence = _QUOTED.sub(self._unquote, sentence)
        words = list(_WORD.finditer(sentence))
        copied = self._copied([word[0].casefold() for word in words])
        for i in sorted(copied, reverse=True):
            end = words[i].end() if i + 1 not in copied else words[i + 1].start()
            mark = "…" if i - 1 not in copied else ""
            sentence = sentence[: words[i].start()] + mark + sentence[end:]
        return sentence

    def reason(self, reason: Reason) -> Reason:
        """Return the reason with its code, and with its values cleaned like the sentence."""
        if not reason.notes and all(type(value) in _FIGURES or value in self.names for value in reason.values.values()):
            return reason
        quoted, is_template = quoted_in(reason.code), reason.code in TEMPLATES
        values = {
            name: self._value(
                value, quoted=name in quoted or name in _CONTENT_VALUES or not (is_template or name == "text")
            )
            for name, value in reason.values.items()
        }
        return Reason(reason.code, *map(self.reason, reason.notes), **values)

    def _value(self, value: Value | Reason, *, quoted: bool) -> Value | Reason:
        if isinstance(value, Reason):
            return self.reason(value)
        if not isinstance(value, str):
            return value
        return self(value) if value in self.names or not quoted else _length(value)

    def _unquote(self, match: re.Match[str]) -> str:
        """Return a quoted name unchanged, and the length of any other quoted value."""
        value = match[0][1:-1]
        return match[0] if not value or value in self.names else _length(value)

    def _copied(self, words: list[str]) -> set[int]:
        """Return the indexes of the words that repeat content."""
        copied = {
            i
            for i, word in enumerate(words)
            if not word.isalpha() and _IDENTIFYING.fullmatch(word) and f" {word} " in self.content
        }
        for i in range(len(words) - _RUN + 1):
            if f" {' '.join(words[i : i + _RUN])} " in self.content:
                copied |= {*range(i, i + _RUN)}
        for text in self.short:
            for i in range(len(words)):
                if words[i : i + len(text)] == text:
                    copied |= {*range(i, i + len(text))}
        return {i for i in copied if words[i] not in self.names}


def _contents(trace: Trace) -> Iterator[str]:
    """Yield every content text of a trace."""
    yield from (part.text for part in trace.route.parts)
    if trace.rewritten:
        yield trace.rewritten
    for finding in trace.findings:
        yield from (evidence.text for evidence in finding.evidence if evidence.kind == "quote")
        yield from (
            text
            for citation in finding.citations
            for text in (citation.text, citation.document, citation.heading)
            if text
        )
        yield from (text for field in finding.fields for text in (field.text, field.value) if isinstance(text, str))
        if finding.form not in {"label", "number"}:
            yield finding.text
            yield from (fact.value for fact in finding.facts if isinstance(fact.value, str))


def _names(trace: Trace) -> Iterator[str]:
    """Yield every name of a trace that is the network's own."""
    yield from _LABELS
    yield from ("relayed", "since the request came in")  # notes that nearly every request has
    yield from trace.route.scores
    yield from trace.route.specialists
    yield from (name for step in trace.steps for name in (step.producer, step.engine))
    for finding in trace.findings:
        yield finding.specialist
        yield f"finding from {finding.specialist}"  # as a view says that it was shown
        yield from (fact.name for fact in finding.facts)
        yield from (field.name for field in finding.fields)
        yield from _evidence_names(finding)
        yield from (q[1:-1] for verdict in finding.verdicts for q in _QUOTED.findall(str(verdict.reason)))


def _evidence_names(finding: Finding) -> Iterable[str]:
    labels = finding.form == "label"
    chosen = finding.value if isinstance(finding.value, tuple) else (str(finding.value),)
    named = [e.name for e in finding.evidence if (labels or e.kind != "alternative") and e.kind != "quote"]
    return [*named, *chosen] if labels else named


def is_dropped(text: str) -> bool:
    """Return whether a text is the placeholder of a removed text."""
    return text.startswith("[") and _DROPPED.fullmatch(text) is not None
