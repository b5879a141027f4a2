"""What a trace keeps when content is not to be kept: figures, names, labels and reasons, no text of the caller's.

Content is what the caller wrote or a model wrote for them: the texts of parts, findings and quotes, and every
string value that is no label. Reasons are kept, but by the house's rule a value inside a message is quoted
(`!r`): what stands in quotation marks goes too, unless it is a name the trace already has, and so do words that
repeat content. Each dropped text leaves its length and no hash: the hash of a short text can be guessed.
Verdicts stay as they are, since a policy sees no content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import TypeVar

from coterie.runtime.values import replace
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
from coterie.types.reason import Value
from coterie.types.wording import TEMPLATES, quoted_in

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
"""Values of reasons that repeat what somebody or a model wrote, unless they are names."""
_MOST_SCRUBBED = 50_000
"""Characters of one text that are looked for in sentences; a quote of a longer one is dropped where it stands."""
_LABELS = tuple(label.value for label in Label)
_FIGURES = frozenset({int, float, bool, NoneType})
_RUN = 3
"""So many words in a row that also stand in a content text are taken for a copy of it."""
_ACCOUNT = re.compile(r"(?:\D*\d){6}")
"""So many digits in a name may be an account's, a card's or a telephone's."""
_IDENTIFYING = re.compile(r"(?=.*\d)\w{4,}")
"""A single word that long with a digit in it is, too: an account number, a year, a name with one."""


def without_content(trace: Trace, texts: Iterable[str] = ()) -> Trace:
    """The trace with every content text replaced by its length. Pure; a second time changes nothing more.

    Args:
        trace: What is kept.
        texts: What came in with the request, where that is known: sentences that are kept repeat none of it.
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
        egress=tuple([replace(each, text="") for each in trace.egress]),
    )


def _decision(decision: Decision, scrub: _Scrubber) -> Decision:
    """Names and figures stay; what was asked in words is the caller's, and so is an option that is no short name."""
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
    """A name of few words that is no address and no account's number; of any other text the length."""
    return _length(text) if len(_WORD.findall(text)) > _RUN or "@" in text or _ACCOUNT.match(text) else text


_Noted = TypeVar("_Noted", Step, Stage)


def _noted(noted: tuple[_Noted, ...], scrub: _Scrubber) -> tuple[_Noted, ...]:
    """Steps or stages; nearly all have a note that is a name, or none."""
    names = scrub.names
    if all(not each.note or each.note in names for each in noted):
        return noted
    return tuple([replace(each, note=scrub(each.note)) for each in noted])


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
    """Its place stays; quote, heading and the document's name are what somebody wrote."""
    text, document, heading = map(_length, (citation.text, citation.document, citation.heading))
    return replace(citation, text=text, document=document, heading=heading)


def _evidence(evidence: Evidence, scrub: _Scrubber, *, labels: bool) -> Evidence:
    """Name and weight are a reason's code and stay; its words, like a quote's, repeat what the caller sent.

    A quote is named after a field or a label, or after its document, whose name is content.
    """
    if evidence.kind == "quote" and evidence.name not in scrub.names:
        return replace(evidence, name=_length(evidence.name), text=_length(evidence.text))
    if evidence.kind != "alternative":
        return replace(evidence, text=_length(evidence.text))
    return evidence if labels else replace(evidence, name=_length(evidence.name), text=_length(evidence.text))


def _field(field: Field, scrub: _Scrubber) -> Field:
    """Name, place and confidence stay; the quote and what it says are the caller's."""
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
    """Its words, folded. Plain text is cut at its signs, which is three times as fast as looking for words."""
    folded = text.casefold()
    return folded.translate(_SIGNS).split() if folded.isascii() else list(find_words(_WORD, folded))


def _length(text: str) -> str:
    return text if not text or is_dropped(text) else f"[{len(text)} characters, not kept]"


@dataclass(frozen=True, kw_only=True)
class _Scrubber:
    """Takes content out of a sentence that is otherwise kept."""

    names: frozenset[str]
    """What may stand in quotation marks."""
    texts: tuple[str, ...]
    """All content."""

    @classmethod
    def of(cls, trace: Trace, texts: Iterable[str] = ()) -> _Scrubber:
        return cls(names=frozenset(_names(trace)), texts=(*_contents(trace), *texts))

    @cached_property
    def _contents(self) -> list[list[str]]:
        """The words of each text: of most traces no sentence is looked through, so they are found when one is."""
        found = dict.fromkeys([text for text in self.texts if not is_dropped(text)])
        return [words for text in found if (words := _words(text[:_MOST_SCRUBBED]))]

    @cached_property
    def content(self) -> str:
        """All content as lower-case words with single spaces between and around them, a line each text."""
        return "\n".join([f" {' '.join(words)} " for words in self._contents])

    @cached_property
    def short(self) -> tuple[list[str], ...]:
        """The words of each content text that is too short to have a run."""
        return tuple([words for words in self._contents if len(words) < _RUN])

    def __call__(self, sentence: str) -> str:
        """The sentence without quoted values that are no names, and without copies of content."""
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
        """The reason with its code, and its values as the sentence would have them."""
        if not reason.notes and all(type(each) in _FIGURES or each in self.names for each in reason.values.values()):
            return reason
        quoted, known = quoted_in(reason.code), reason.code in TEMPLATES
        values = {
            name: self._value(value, quoted=name in quoted or name in _CONTENT_VALUES or not (known or name == "text"))
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
        """A quoted name as it is; of any other quoted value the length."""
        value = match[0][1:-1]
        return match[0] if not value or value in self.names else _length(value)

    def _copied(self, words: list[str]) -> set[int]:
        """Places of the words that repeat content."""
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
    """Every content text of a trace."""
    yield from (part.text for part in trace.route.parts)
    if trace.rewritten:
        yield trace.rewritten
    for finding in trace.findings:
        yield from (evidence.text for evidence in finding.evidence if evidence.kind == "quote")
        yield from (text for each in finding.citations for text in (each.text, each.document, each.heading) if text)
        yield from (text for field in finding.fields for text in (field.text, field.value) if isinstance(text, str))
        if finding.form not in {"label", "number"}:
            yield finding.text
            yield from (fact.value for fact in finding.facts if isinstance(fact.value, str))


def _names(trace: Trace) -> Iterator[str]:
    """Every name of a trace that is the network's own."""
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
    """Whether a text is only said to have been there, as it is not kept."""
    return text.startswith("[") and _DROPPED.fullmatch(text) is not None
