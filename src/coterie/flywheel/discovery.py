"""Find the jobs in recorded calls to a large model: templates, then shapes of answers, then what answers depend on.

1. A *template* is what many prompts have in common word for word, wherever it stands in a line. Shingles (runs of
   words) that many calls share are grouped by the calls that hold them, from the most shared to the least. A system
   prompt that several jobs share is refined by what each job adds. What a template leaves is the *input*.
2. The *shape* of a template's answers: a closed set of labels, lists of such, a JSON object, a number, or free text.
3. Two templates are wordings of one job if their answers have the same shape and depend on the inputs in the same way:
   a classifier that learnt the answers of the one foresees those of the other. Equal label sets alone do not show it:
   two yes-or-no questions about the same e-mails are two jobs.
4. A call without a template belongs to the job whose labels hold its answer and whose inputs are like its own.

Nothing here knows a language: words are runs of letters and digits, and all digits are alike.

A template is stored as the runs of words that its calls share, so that another process can read it.
"""

from __future__ import annotations

import heapq
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from coterie.logs.rows import folded
from coterie.text.numerals import as_decimal, narrow

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.naive_bayes import ComplementNB

RUN = 4
"""Number of words of a run."""
_HEAD, _TAIL = 500, 250
"""Words of eight characters that are read at the beginning and the end of a message, around an input."""
_PLACEHOLDER = r"<[A-Z_]+_\d+>"
"""What stands in stored texts for personal data. It is one word: calls that only share its kind share no text."""
_WORD = re.compile(rf"{_PLACEHOLDER}|[^\W\d_]+|\d+|[^\w\s]|_")
_HELD = 0.5
"""Least share of a template's runs in a prompt of it, since a phrase of users may contain its piece, too."""
_STANDING_IN = re.compile(rf"[<_>]|{_PLACEHOLDER}")
"""Words that stand for personal data, or parts of such words in older templates: no new prompt has them."""
_STOOD_FOR = re.compile(_PLACEHOLDER)
_LONGEST_NAME = 12
"""Most words and signs that one placeholder stands for, such as those of an address."""
_DIGITS = re.compile(r"\d+")

Prompt = Sequence[tuple[str, str]]
"""Messages by role and text."""


def pieces_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield the beginning and the end of a text, with their positions: the middle of long documents is not read."""
    head, tail = 8 * _HEAD, 8 * _TAIL
    if len(text) <= head + tail:
        yield 0, text
    else:
        yield 0, text[:head]
        yield len(text) - tail, text[-tail:]


def words_of(prompt: Prompt) -> list[str]:
    """Return the words of a prompt, the role before each message. All digits are equal."""
    words: list[str] = []
    for role, text in prompt:
        words.append(f"<{role}>")
        for _, piece in pieces_of(text):
            words += _WORD.findall(_DIGITS.sub("0", piece))
    return words


def places_of(prompt: Prompt) -> list[tuple[int, int, int]]:
    """Return the message, start and end of each word of `words_of`."""
    positions: list[tuple[int, int, int]] = []
    for message, (_, text) in enumerate(prompt):
        positions.append((message, 0, 0))
        for at, piece in pieces_of(text):
            positions += [(message, at + word.start(), at + word.end()) for word in _WORD.finditer(piece)]
    return positions


def runs_of(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the runs of words."""
    return zip(*(words[i:] for i in range(RUN)), strict=False)


def covered(prompt: Prompt, inside: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the stretches of messages that runs cover: message, start, end.

    Args:
        prompt: Messages.
        inside: Whether each run is the template's. Shape (R,).
    """
    words = np.zeros(len(inside) + RUN, dtype=bool)
    for i in np.flatnonzero(inside).tolist():
        words[i : i + RUN] = True
    places = places_of(prompt)
    spans: list[tuple[int, int, int]] = []
    previous = -2
    for i in np.flatnonzero(words).tolist():
        message, start, end = places[i]
        if i == previous + 1 and spans and spans[-1][0] == message:
            spans[-1] = (message, spans[-1][1], end)
        else:
            spans.append((message, start, end))
        previous = i
    return spans


def left_over(prompt: Prompt, stretches: Sequence[tuple[int, int, int]]) -> str:
    """Return a prompt without the given stretches."""
    held: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for message, start, end in stretches:
        held[message].append((start, end))
    left = []
    for message, (_, text) in enumerate(prompt):
        at = 0
        for start, end in [*held[message], (len(text), len(text))]:
            left.append(text[at:start].strip())
            at = end
    return "\n".join(piece for piece in left if any(map(str.isalnum, piece)))


def _is_hidden(words: Sequence[str]) -> bool:
    return any(map(_STOOD_FOR.fullmatch, words))


@dataclass(frozen=True, kw_only=True)
class Template:
    """The common text of the calls of one wording."""

    piece: str
    """Raw text that distinguishes it from other templates: in most of its calls, in few others."""
    runs: tuple[tuple[str, ...], ...]
    """Runs of words that nearly all its calls hold."""
    _known: frozenset[tuple[str, ...]] = field(init=False, compare=False, repr=False)
    _telling: frozenset[tuple[str, ...]] = field(init=False, compare=False, repr=False)
    _around: frozenset[tuple[tuple[str, ...], tuple[str, ...]]] = field(init=False, compare=False, repr=False)
    """Words before and after each placeholder."""

    def __post_init__(self) -> None:
        known_runs = frozenset(map(tuple, self.runs))
        object.__setattr__(self, "_known", known_runs)
        telling = frozenset(run for run in known_runs if not any(map(_STANDING_IN.fullmatch, run)))
        object.__setattr__(self, "_telling", telling or known_runs)
        places = [(run, at) for run in known_runs for at in (1, 2) if _STOOD_FOR.fullmatch(run[at])]
        around = {(run[:at], run[at + 1 :]) for run, at in places}
        object.__setattr__(self, "_around", frozenset(sides for sides in around if not any(map(_is_hidden, sides))))

    def held_by(self, runs: AbstractSet[tuple[str, ...]]) -> int:
        """Return how many of the template's runs a prompt holds; 0 if they are too few for one of its calls."""
        held = len(self._telling & runs)
        return held if held >= _HELD * len(self._telling) else 0

    def lacked_by(self, runs: AbstractSet[tuple[str, ...]]) -> frozenset[tuple[str, ...]]:
        """Return the template's runs that a prompt lacks: some, if its instructions were changed."""
        return self._telling - runs

    def input_of(self, prompt: Prompt, runs: Sequence[tuple[str, ...]] | None = None) -> str:
        """Return a prompt without the template; the prompt's runs may be given."""
        runs = list(runs_of(words_of(prompt))) if runs is None else runs
        inside = np.asarray([run in self._known for run in runs], dtype=bool)
        if self._around:
            self._fill_in(words_of(prompt), inside)
        return left_over(prompt, covered(prompt, inside))

    def _fill_in(self, words: Sequence[str], inside: np.ndarray) -> None:  # (W,), (R,) bool
        """Count what stands where the template has personal data: a name in the instructions is no input.

        Stored prompts, of which the template was learnt, have a placeholder there; a new one has the name itself.
        """
        for before, after in self._around:
            for at in range(len(before), len(words)):
                if words[at - 1] != before[-1] or tuple(words[at - len(before) : at]) != before:
                    continue
                for end in range(at + 1, min(at + _LONGEST_NAME, len(words)) + 1):
                    if tuple(words[end : end + len(after)]) == after:
                        inside[at - 1 : max(at, end - 2)] = True
                        break


def changes_of(prompt: Prompt, templates: Sequence[Template]) -> frozenset[tuple[str, ...]]:
    """Return the runs of the nearest template that a prompt lacks; none if it is of none of the templates.

    Any word that is added, taken out or replaced in the instructions breaks some runs, in front of the first message
    and behind the system message, too.
    """
    runs = frozenset(runs_of(words_of(prompt)))
    lacking = (template.lacked_by(runs) for template in templates if template.held_by(runs))
    return min(lacking, key=len, default=frozenset())


@dataclass(frozen=True)
class Recogniser:
    """Assigns a prompt to a job: one substring search per template, and the finest of those that match."""

    templates: Sequence[tuple[str, int, Template]]
    """Job, number of the wording, and template."""

    def job_of(self, prompt: Prompt) -> tuple[str, int, str] | None:
        """Return job, wording and input of a prompt; None if no template matches or nothing is left."""
        text = "\n".join(text for _, text in prompt)
        fitting = [template for template in self.templates if template[2].piece and template[2].piece in text]
        runs = list(runs_of(words_of(prompt))) if fitting else []
        distinct = set(runs)
        held = [template[2].held_by(distinct) for template in fitting]
        if not any(held):
            return None
        job, number, template = fitting[int(np.argmax(held))]
        left = template.input_of(prompt, runs)
        return (job, number, left) if left else None


# --- Find the jobs in recorded calls to a large model: templates, then shapes of answers, then what answers depend on.

Shape = Literal["labels", "lists", "json", "number", "text"]

_BREAKS = re.compile(rf"{_PLACEHOLDER}|\d+")
"""Varying parts of a template: numbers, and placeholders of personal data."""
_TOKEN = r"(?u)\w+"  # noqa: S105 - a pattern
_LEARNT = 8_000
"""Calls from which templates are learnt; the other calls are matched against them."""
_FEWEST_LEARNT = 10
"""Fewest calls of a template among the learnt calls of a longer log: fewer are chance."""
_CONSTANT = 0.95
"""Share of a template's calls that hold a shingle of it; below 1 because of names and dates."""
_FEWEST_SHINGLES = 3
"""Fewest shingles of a template: six words in a row."""
_COVERED = 0.5
"""Share of a template's calls that finer templates must cover to replace it; otherwise they are phrases of inputs."""
_FENCE = re.compile(r"\s*(?:```[a-z]*)?\s*(\[.*\])\s*(?:```)?\s*", re.DOTALL)
"""Pattern of an answer that is only a list, with or without a fence."""
_FOLDS = 3
_CHANCE, _TELLING = 1e-6, 0.3
"""Limits for words of a template that predict the answers: the largest p-value, and the smallest Cramer's V."""
_NAMED, _LEARNABLE, _AS_WELL = 0.5, 0.3, 0.8
"""Share of answers that what two wordings share names, or that both have; agreement above chance with which answers can
be foreseen from texts, and part of it that is left without being told the wording, if they ask one question."""
_SHOWN = 10_000
"""Calls between two progress reports."""
_OPENS = 40
"""Characters of an answer within which a JSON object or list must begin."""
_LONGEST_LIST = 2_000
"""Longest answer in characters that may be a list of labels."""
BETWEEN = re.compile(r"\s*(?:,(?!\d)|[;|\n])\s*(?:[-*•]\s+)?")
BULLET = re.compile(r"\s*[-*•]\s+")
"""What stands between labels in a text, and before the first one of a bulleted list."""
FEWEST = 3
"""Times that an answer comes back, or a label of lists; with fewer it is taken for a slip of the model."""
_CLOSED, _SEVERAL = 0.8, 0.1
"""Share of answers that are made of what comes back, if these are a closed set; of lists those with not one label."""
_LOOKED_AT = 2_000
"""Answers, spread over all, that say whether the others need be read as lists."""
_SHORT = 200
"""Characters of answers that are remembered with what they are compared by: most come again."""
_ONE_LENGTH = 0.95
"""Share of lists with equally many labels from which their order may tell something."""
_INPUTS = 600
"""Inputs of a template that are compared with those of others."""


@dataclass(frozen=True, kw_only=True)
class RecordedCall:
    """One recorded call. `prompt` holds the messages before the answer, by role and text."""

    prompt: tuple[tuple[str, str], ...]
    answer: str
    caller: str = ""
    cost: float | None = None
    """Cost in the network's currency; None for unknown."""
    model: str = ""
    """Name of the answering model in the log."""
    tokens: tuple[int, int] | None = None
    """Tokens of prompt and answer; None where they were not counted."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The shape of a job's answers."""

    shape: Shape
    labels: dict[str, int] = field(default_factory=dict)
    """Answers that come back, with their numbers; of lists, their labels; of a JSON object, its keys."""


@dataclass(frozen=True, kw_only=True)
class FoundJob:
    """Calls with the same task."""

    calls: tuple[int, ...]
    """Positions among all calls, in order."""
    templates: tuple[str, ...]
    """The constant text of each wording; empty if the job has none."""
    answers: Answers
    callers: int
    cost: float | None
    """Cost of all its calls; None if it is unknown for one of them."""
    inputs: tuple[str, ...]
    """Example inputs: the prompts without the template."""
    wordings: tuple[Template, ...] = ()
    """The same templates as values, with which they are recognised."""

    @property
    def task(self) -> str:
        """The task of a specialist that could replace the model."""
        named = {"labels": "classify", "lists": "classify", "json": "extract", "number": "score", "text": "generate"}
        return named[self.answers.shape]


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """The jobs, largest first, and the calls that belong to none."""

    jobs: tuple[FoundJob, ...]
    rest: tuple[int, ...]
    template_of: Callable[[int], int]
    """Function from a call's position to the number of its wording among those of its job; -1 for none."""
    input_of: Callable[[int], str]
    """Function from a call's position to its input: the prompt without the template, as a specialist gets it."""


def discover(
    calls: Sequence[RecordedCall],
    *,
    support: int = 20,
    callers: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> Discovery:
    """Find the jobs in calls.

    Args:
        calls: The calls, in order of time.
        support: Fewest calls of a template.
        callers: Fewest callers of a reported job: a single person's calls are private.
        progress: Called with the number of further processed calls.

    Raises:
        ValueError: `support` is below 2.
    """
    if support < 2:
        raise ValueError(f"support must be at least 2, found {support}")
    step = max(1, -(-len(calls) // _LEARNT))
    sample = [calls[i] for i in range(0, len(calls), step)]
    learnt = _Templates.learn(sample, support=max(min(support, _FEWEST_LEARNT), support // step))
    homes, merged = _recognised(calls, learnt, support, progress)
    left_out = [learnt.leave_what_tells(group, homes, calls) for group in merged]
    if any(left_out):
        homes, merged = _recognised(calls, learnt, support, lambda _: None)
    template_numbers = homes.tolist()
    loose = np.flatnonzero(np.isin(homes, [t for group in merged for t in group.templates], invert=True))
    _take_in(calls, loose.tolist(), merged)
    jobs = [group.job(calls, learnt) for group in merged if group.members]
    shown = sorted((job for job in jobs if job.callers >= callers), key=lambda job: -len(job.calls))
    taken = {i for job in shown for i in job.calls}
    rest = tuple(i for i in range(len(calls)) if i not in taken)
    numbers = {t: index for group in merged for index, t in enumerate(t for t in group.templates if t >= 0)}
    return Discovery(
        jobs=tuple(shown),
        rest=rest,
        template_of=lambda i: numbers.get(template_numbers[i], -1),
        input_of=lambda i: learnt.input_of(template_numbers[i], calls[i]),
    )


def _recognised(
    calls: Sequence[RecordedCall], learnt: _Templates, support: int, progress: Callable[[int], None]
) -> tuple[np.ndarray, list[TemplateGroup]]:
    """Return the template of each call (N,), and the templates with enough calls, grouped by job."""
    numbers: list[int] = []
    recognise = learnt.recogniser()
    for begin in range(0, len(calls), _SHOWN):
        some = calls[begin : begin + _SHOWN]
        numbers += map(recognise, some)
        progress(len(some))
    homes = np.asarray(numbers)
    groups = [TemplateGroup.of(calls, np.flatnonzero(homes == t), learnt, t) for t in range(len(learnt.constants))]
    return homes, _merge([group for group in groups if len(group.members) >= support], learnt)


# --- Templates ------------------------------------------------------------------------------------------


def _shingles(words: Sequence[str]) -> list[int]:
    """Return hashes of the runs of words."""
    return list(map(hash, runs_of(words)))


@dataclass
class _Templates:
    """Templates by number: the shingles that all calls of a template share."""

    constants: list[frozenset[int]]
    members: list[list[int]]
    """Calls of the sample, by template."""
    sample: Sequence[RecordedCall]
    pieces: list[str] = field(default_factory=list)
    """Texts by which the templates are recognised, once there is a recogniser."""

    @classmethod
    def learn(cls, sample: Sequence[RecordedCall], *, support: int) -> _Templates:
        """Group calls by the shingles that they share."""
        held, shingles = _features_of([_shingles(words_of(call.prompt)) for call in sample], support)
        weights = Counter({feature: len(members) for feature, members in shingles.items()})
        templates = cls([], [], sample)
        for constant, members in _split(list(range(len(held))), held, frozenset(), support, weights):
            if _size(constant, weights) >= _FEWEST_SHINGLES:
                templates.constants.append(frozenset(shingle for feature in constant for shingle in shingles[feature]))
                templates.members.append(members)
        return templates

    def leave_what_tells(self, job: TemplateGroup, homes: np.ndarray, calls: Sequence[RecordedCall]) -> bool:
        """Remove from a job's wordings the words that its answers depend on; return whether there were any.

        "Channel: phone" occurs in many prompts word for word, and is no wording: it is a part of the input with few
        values. A call's real wording, chosen by the developer, does not predict its answer.

        Args:
            job: The templates, and their calls.
            homes: The template of each call. Shape (N,).
            calls: All calls.
        """
        templates = [t for t in job.templates if t >= 0]
        if len(templates) < 2 or job.answers.shape not in {"labels", "lists", "json"}:
            return False
        within: dict[int, set[int]] = defaultdict(set)
        for t in templates:
            for shingle in self.constants[t]:
                within[shingle].add(t)
        at, answers = homes[job.members], np.asarray([fold(calls[i].answer) for i in job.members])
        sets = {frozenset(members) for members in within.values() if len(members) < len(templates)}
        telling = {positions for positions in sets if _tells(np.isin(at, list(positions)), answers)}
        kept = {t: frozenset(s for s in self.constants[t] if frozenset(within[s]) not in telling) for t in templates}
        if not telling or any(len(members) < _FEWEST_SHINGLES for members in kept.values()):
            return False
        firsts: dict[frozenset[int], int] = {}
        for t in templates:
            first = firsts.setdefault(kept[t], t)
            self.constants[t] = kept[t] if first == t else frozenset()
            if first != t:
                self.members[first] = [*self.members[first], *self.members[t]]
                self.members[t] = []
        return True

    def recogniser(self) -> Callable[[RecordedCall], int]:
        """Return a function from a call to its template's number, -1 for none.

        A template is recognised by a piece of raw text that its calls hold and others do not, together with the
        longest one that they hold: a phrase of users may distinguish a template, but does not define one.
        """
        texts = ["\n".join(text for _, text in call.prompt) for call in self.sample]
        telling = [self._pieces(t, texts) for t in range(len(self.constants))]
        pieces = self.pieces = [piece for piece, _ in telling]
        order = sorted((t for t, piece in enumerate(pieces) if piece), key=lambda t: -len(self.members[t]))
        template_of_text = {i: t for t, members in enumerate(self.members) for i in members}
        exact = {texts[i]: t for i, t in template_of_text.items()}

        def recognise(call: RecordedCall) -> int:
            text = "\n".join(text for _, text in call.prompt)
            if (number := exact.get(text)) is not None:
                return number
            return max(
                (t for t in order if all(piece in text for piece in telling[t])),
                key=lambda t: len(self.constants[t]),
                default=-1,
            )  # the finest of those that fit

        return recognise

    def _pieces(self, t: int, texts: Sequence[str]) -> tuple[str, str]:
        """Return the constant text that separates a template best, and the longest in nearly all its calls.

        The first is in most of its calls, and in few others.
        """
        members = self.members[t]
        if not members:
            return "", ""
        own, others = [texts[i] for i in members[:200]], [texts[i] for i in self._others(t)]
        best, longest = (0.0, 0, ""), ""
        for piece in dict.fromkeys(piece for i in members[:5] for piece in self._runs(t, self.sample[i])):
            inside = sum(piece in text for text in own) / len(own)
            outside = sum(piece in text for text in others) / max(1, len(others))
            best = max(best, (round(inside - outside, 2), len(piece), piece))
            longest = max(longest, piece if inside >= _CONSTANT else "", key=len)
        return (best[2], longest) if best[0] >= 0.5 else ("", "")

    def _others(self, t: int) -> list[int]:
        """Return some calls of the other templates, except those that refine this one: they hold its text too."""
        own = self.constants[t]
        other = (u for u, constant in enumerate(self.constants) if len(own & constant) < 0.9 * len(own))
        return [i for u in other for i in self.members[u][:50]]

    def _runs(self, t: int, call: RecordedCall) -> Iterable[str]:
        """Yield pieces of a call's text that the template covers, split at digits, which differ between calls."""
        for message, start, end in _covered(call, self.constants[t]):
            yield from (piece for piece in _BREAKS.split(call.prompt[message][1][start:end]) if len(piece) >= 12)

    def input_of(self, t: int, call: RecordedCall) -> str:
        """Return the prompt without the template; without a template, the last message."""
        if t < 0:
            return call.prompt[-1][1] if call.prompt else ""
        return left_over(call.prompt, _covered(call, self.constants[t]))

    def shared(self, a: TemplateGroup, b: TemplateGroup) -> str | None:
        """The words that the templates of two groups share, as `_words` writes them; None if they are few."""
        both = [frozenset().union(*(self.constants[t] for t in group.templates if t >= 0)) for group in (a, b)]
        held = both[0] & both[1]
        if len(held) < _FEWEST_SHINGLES:
            return None
        call = self.sample[self.members[a.templates[0]][0]]
        return "".join(f" {_words(call.prompt[m][1][start:end])} " for m, start, end in _covered(call, held))

    def template(self, t: int) -> Template:
        """Return a template as a value."""
        constant = self.constants[t]
        runs = dict.fromkeys(
            run
            for i in self.members[t][:5]
            for run in runs_of(words_of(self.sample[i].prompt))
            if hash(run) in constant
        )
        return Template(piece=self.pieces[t], runs=tuple(runs))


def _tells(inside: np.ndarray, answers: np.ndarray) -> bool:  # (N,) bool, (N,) str
    """Return whether being inside predicts the answer: a large Cramer's V that is hardly chance."""
    from scipy.stats import chi2_contingency  # noqa: PLC0415 - serving needs none of it

    names, codes = np.unique(answers, return_inverse=True)
    table = np.stack([np.bincount(codes[inside == side], minlength=len(names)) for side in (False, True)])
    table = table[:, table.sum(axis=0) >= _FOLDS]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return False
    test = chi2_contingency(table, correction=False)
    return bool(test.pvalue < _CHANCE and test.statistic >= _TELLING**2 * table.sum())


def _covered(call: RecordedCall, constant: frozenset[int]) -> list[tuple[int, int, int]]:
    """Return the stretches of messages that constant shingles cover: message, start, end."""
    inside = [shingle in constant for shingle in _shingles(words_of(call.prompt))]
    return covered(call.prompt, np.asarray(inside, dtype=bool))


def _features_of(calls: Sequence[Sequence[int]], support: int) -> tuple[list[frozenset[int]], dict[int, list[int]]]:
    """Return the frequent shingles of each call as features, and the shingles of each feature.

    Shingles of exactly the same calls are one feature: a list of labels in a template is hundreds of shingles.
    """
    sets = [frozenset(call) for call in calls]
    counts = Counter(shingle for features in sets for shingle in features)
    chance = random.Random(0)  # noqa: S311 - it names sets
    where: dict[int, int] = defaultdict(int)
    for features in sets:
        bits = chance.getrandbits(64)
        for shingle in features:
            if counts[shingle] >= support:
                where[shingle] ^= bits
    together: dict[int, list[int]] = defaultdict(list)
    for shingle, feature in where.items():
        together[feature].append(shingle)
    return [frozenset(where[shingle] for shingle in features if shingle in where) for features in sets], dict(together)


def _size(features: Iterable[int], weights: Mapping[int, int]) -> int:
    return sum(weights[feature] for feature in features)


def _split(
    members: list[int],
    held: Sequence[frozenset[int]],
    above: frozenset[int],
    support: int,
    weights: Mapping[int, int],
) -> list[tuple[frozenset[int], list[int]]]:
    """Split calls into templates: those of the most shared feature first, and so on; finer ones below each."""
    parts: list[tuple[frozenset[int], list[int]]] = []
    left, tried = members, set(above)
    while len(left) >= support:
        counts = Counter(feature for i in left for feature in held[i] if feature not in tried)
        group: list[int] = []
        for feature, n in heapq.nlargest(50, counts.items(), key=lambda item: (item[1], item[0])):
            if n < support:
                break
            inside = [i for i in left if feature in held[i]]
            within = Counter(feature for i in inside for feature in held[i])
            constant = frozenset(feature for feature, k in within.items() if k >= _CONSTANT * n)
            own = {feature for feature in constant - above if counts[feature] <= 1.25 * n}
            enough = _size(own, weights) >= _FEWEST_SHINGLES
            tried |= own if enough else {feature}
            if not enough:
                continue
            # A phrase of one template may stand in a few calls of others, which hold little else of it.
            of_it = [i for i in inside if _size(own & held[i], weights) >= _HELD * _size(own, weights)]
            if len(of_it) >= support:
                group = of_it
                parts += _refined(group, constant, held, support, weights)
                break
        if not group:
            break
        kept = set(group)
        left = [i for i in left if i not in kept]
    return parts


def _refined(
    members: list[int],
    constant: frozenset[int],
    held: Sequence[frozenset[int]],
    support: int,
    weights: Mapping[int, int],
) -> list[tuple[frozenset[int], list[int]]]:
    """Return the finer templates of a template's calls and the rest if they cover most calls; else the template."""
    finer = _split(members, held, constant, support, weights)
    taken = {i for _, group in finer for i in group}
    if len(taken) < _COVERED * len(members):
        return [(constant, members)]
    left = [i for i in members if i not in taken]
    return [*finer, (constant, left)] if len(left) >= support else finer


# --- Answers ---------------------------------------------------------------------------------------------


def answers_of(answers: Sequence[str]) -> Answers:
    """Determine the shape of answers."""
    objects = [tuple(answer_object) for answer in answers[:2000] if (answer_object := json_object(answer)) is not None]
    if len(objects) >= 0.5 * len(answers[:2000]):
        counts = Counter(key for keys in objects for key in keys)
        return Answers(shape="json", labels={k: n for k, n in counts.most_common() if n >= 0.2 * len(objects)})
    some = answers[:: max(1, len(answers) // _LOOKED_AT)]  # whether it is worth while
    if _usual_length(some) > 1 and ranked(answers):
        return Answers(shape="text")
    if lists_of(some) and (labels_of_lists := lists_of(answers)):
        return Answers(shape="lists", labels=labels_of_lists)
    folded = Counter(map(fold, answers))
    back = {label: n for label, n in folded.most_common() if n >= FEWEST and len(label) <= 200}
    if sum(back.values()) >= _CLOSED * len(answers) and len(back) <= max(2, len(answers) // 5):
        return Answers(shape="labels", labels=back)
    if sum(_is_number(answer) for answer in answers) >= 0.9 * len(answers):
        return Answers(shape="number")
    return Answers(shape="text")


def fold(answer: str) -> str:
    """An answer as labels are compared, without the asterisks of Markdown around it; an object by its values.

    A list of plain values counts as a set, also as text: labels of one text come in any order.
    """
    return _fold_again(answer) if len(answer) <= _SHORT else _fold(answer)


def _fold(answer: str) -> str:
    if "{" in answer[:_OPENS] and (answer_object := json_object(answer)) is not None:
        return json.dumps(_folded_values(answer_object), ensure_ascii=False, sort_keys=True)
    found_items = items_in(answer)
    if found_items is not None and len(found_items) != 1:
        return ", ".join(sorted(map(_folded_text, found_items))) or "[]"
    return _folded_text(found_items[0] if found_items else answer)


_fold_again = lru_cache(maxsize=1 << 14)(_fold)


def _folded_text(value: object) -> str:
    return folded(str(value).strip(" *"))


def items_in(answer: str) -> tuple[Any, ...] | None:
    """The labels of a list: of JSON plain values, in a fence or not, or a text with marks between them.

    A text without such a mark is a list of one; None for an object, a list of other things, or no list at all.
    """
    if len(answer) > _LONGEST_LIST or not answer.strip():
        return None
    if "[" in answer[:_OPENS] and (fenced := _FENCE.fullmatch(answer)) is not None:
        try:
            value = json.loads(fenced[1])
        except (ValueError, RecursionError):
            return None
        return tuple(value) if all(isinstance(item, str | int | float | None) for item in value) else None
    if "{" in answer or "[" in answer:
        return None
    bullet = BULLET.match(answer)
    return tuple(filter(None, map(str.strip, BETWEEN.split(answer[bullet.end() :] if bullet else answer))))


def lists_of(answers: Sequence[str]) -> dict[str, int] | None:
    """The labels that lists are made of, folded, with their numbers; None if answers are better taken whole.

    Labels recombine: there are more different sets than labels. "Health, Safety" beside "Legal" is one label with a
    comma, and the few answers in which a model could not decide make no lists.
    """
    sets = [frozenset(map(_folded_text, items)) for answer in answers if (items := items_in(answer)) is not None]
    counts = Counter(label for labels in sets for label in labels)
    frequent = {label: n for label, n in counts.most_common() if n >= FEWEST and len(label) <= 200}
    made = [labels for labels in sets if labels <= frequent.keys()]
    several = sum(len(labels) != 1 for labels in made)
    closed = len(made) >= _CLOSED * len(answers) and len(frequent) <= max(2, len(answers) // 5)
    return frequent if closed and several >= _SEVERAL * len(made) and len(set(made)) > len(frequent) else None


def ranked(answers: Iterable[str]) -> bool:
    """Whether the order of lists may tell something: most are of one length, and a set comes in several orders."""
    distinct = Counter(answers)
    if _usual_length(distinct.elements()) < 2:
        return False
    orders: dict[str, set[str]] = defaultdict(set)
    for answer in distinct:
        if values := items_in(answer):
            orders[fold(answer)].add(json.dumps(list(map(_folded_text, values))))
    return any(len(orders_of_set) > 1 for orders_of_set in orders.values())


def _usual_length(answers: Iterable[str]) -> int:
    """The length of nearly all lists, if there is one; else 0."""
    lengths = Counter(len(values) for answer in answers if (values := items_in(answer)))
    ((length, times),) = lengths.most_common(1) or [(0, 0)]
    return length if times >= _ONE_LENGTH * lengths.total() else 0


def _folded_values(value: object) -> object:
    """Texts of a value as labels are compared; a list of plain values as a set."""
    if isinstance(value, dict):
        return {key: _folded_values(item) for key, item in value.items()}
    if isinstance(value, list):
        if any(isinstance(item, dict | list) for item in value):
            return [_folded_values(item) for item in value]
        return fold(json.dumps(value))
    return fold(value) if isinstance(value, str) else value


def json_object(answer: str) -> dict[str, Any] | None:
    """Return the JSON object in an answer, also in a fence; None if there is none."""
    start, end = answer.find("{"), answer.rfind("}")
    if start < 0 or end < start or len(answer) > 20_000:
        return None
    try:
        value = json.loads(answer[start : end + 1])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_number(answer: str) -> bool:
    """Whether an answer is one number, as any language writes it: `-1.5e3`, `12.500,00`, `1 200`, `12 %`."""
    figures = narrow(answer).strip().rstrip("%").strip()
    try:
        float(figures)
    except ValueError:
        return any(as_decimal(figures.lstrip("-\N{MINUS SIGN}"), sign) is not None for sign in ".,")
    return True


# --- Jobs ------------------------------------------------------------------------------------------------


_CLOSED_SHAPES = frozenset({"labels", "lists"})


@dataclass
class TemplateGroup:
    """Calls of one template, or of several that are wordings of one job."""

    members: list[int]
    templates: list[int]
    answers: Answers
    inputs: list[str]
    """Inputs of some members, spread over all."""
    outcomes: list[str]
    """Answers of these members, folded."""

    @classmethod
    def of(cls, calls: Sequence[RecordedCall], members: np.ndarray, templates: _Templates, t: int) -> TemplateGroup:
        """Gather the calls of a template."""
        some = members[np.linspace(0, len(members) - 1, min(_INPUTS, len(members))).astype(int)] if len(members) else []
        return cls(
            members=members.tolist(),
            templates=[t],
            answers=answers_of([calls[i].answer for i in members]) if len(members) else Answers(shape="text"),
            inputs=[templates.input_of(t, calls[i]) for i in some],
            outcomes=[fold(calls[i].answer) for i in some],
        )

    def job(self, calls: Sequence[RecordedCall], templates: _Templates) -> FoundJob:
        """Return the job of these calls."""
        costs = [calls[i].cost for i in self.members]
        known_costs = [cost for cost in costs if cost is not None]
        return FoundJob(
            calls=tuple(sorted(self.members)),
            templates=tuple(_shown(templates, t) for t in self.templates if t >= 0),
            answers=answers_of([calls[i].answer for i in self.members]),
            callers=len({calls[i].caller for i in self.members}),
            cost=sum(known_costs) if len(known_costs) == len(costs) else None,
            inputs=tuple(dict.fromkeys(self.inputs[:: max(1, len(self.inputs) // 5)])),
            wordings=tuple(templates.template(t) for t in self.templates if t >= 0),
        )


def _shown(templates: _Templates, t: int) -> str:
    """Return the constant text of a template, with `…` for varying parts."""
    constant = templates.constants[t]
    example = templates.sample[templates.members[t][0]]
    pieces = [example.prompt[m][1][a:b] for m, a, b in _covered(example, constant) if b > a]
    return " … ".join(pieces)


def _merge(groups: list[TemplateGroup], templates: _Templates) -> list[TemplateGroup]:
    """Merge wordings of one job, the largest first."""
    merged: list[TemplateGroup] = []
    for group in sorted(groups, key=lambda group: -len(group.members)):
        same = next(
            (earlier for earlier in merged if _same_job(earlier, group) or _one_question(earlier, group, templates)),
            None,
        )
        if same is None:
            merged.append(group)
            continue
        same.members += group.members
        same.templates += group.templates
        same.inputs, same.outcomes = same.inputs + group.inputs, same.outcomes + group.outcomes
        same.answers = Answers(
            shape=same.answers.shape, labels=dict(Counter(same.answers.labels) + Counter(group.answers.labels))
        )
    return merged


def _same_job(a: TemplateGroup, b: TemplateGroup) -> bool:
    """Return whether two groups have the same task."""
    ours, theirs = set(a.answers.labels), set(b.answers.labels)
    if a.answers.shape in _CLOSED_SHAPES:  # too few calls may hide that the answers of a wording are a closed set
        shared_outcomes = sum(_holds(a.answers, outcome) for outcome in b.outcomes)
        return shared_outcomes >= 0.8 * len(b.outcomes) and _transfers(a, b)
    if a.answers.shape != b.answers.shape:
        return False
    if a.answers.shape == "json":
        return len(ours & theirs) >= 0.7 * len(ours | theirs)
    return _alike(a, b)


def _one_question(a: TemplateGroup, b: TemplateGroup, templates: _Templates) -> bool:
    """Whether what both share asks the question, so that what they differ in is a part of their inputs.

    A heading of a document or a note's channel stands in many prompts word for word, and other answers go with it. Then
    the shared part names the answers, or both have some; and a classifier of both, who is told nothing of the heading,
    foresees answers about as well as one of each. Who cannot, because one text has two answers, sees two questions.
    """
    if not {a.answers.shape, b.answers.shape} <= _CLOSED_SHAPES or (shared := templates.shared(a, b)) is None:
        return False
    ours, theirs = _told(a.answers, a.outcomes), _told(b.answers, b.outcomes)
    in_both = np.intersect1d(ours, theirs)
    named = [np.mean([f" {_words(outcome)} " in shared for outcome in side.tolist()]) for side in (ours, theirs)]
    if min(named) < _NAMED and (
        len(in_both) < 2 or min(np.isin(ours, in_both).mean(), np.isin(theirs, in_both).mean()) < _NAMED
    ):
        return False
    x, y = _features([*a.inputs, *b.inputs]), np.concatenate([ours, theirs])
    side = np.arange(len(y)) < len(ours)
    own = _kappa(y, np.concatenate([_foreseen(x[side], y[side]), _foreseen(x[~side], y[~side])]))
    return own >= _LEARNABLE and _kappa(y, _foreseen(x, y)) >= _AS_WELL * own


def _naive_bayes() -> ComplementNB:
    from sklearn.naive_bayes import ComplementNB  # noqa: PLC0415 - serving needs none of it

    return ComplementNB()


def _foreseen(x: csr_matrix, y: np.ndarray) -> np.ndarray:  # (N, F), (N,) -> (N,)
    """What a classifier of rows says of each of them, out of fold; of rare answers nothing."""
    from sklearn.model_selection import cross_val_predict  # noqa: PLC0415 - serving needs none of it

    names, counts = np.unique(y, return_counts=True)
    kept = np.isin(y, names[counts >= _FOLDS])
    predicted = np.full(len(y), "", dtype=object)
    several = len(set(y[kept])) > 1
    predicted[kept] = cross_val_predict(_naive_bayes(), x[kept], y[kept], cv=_FOLDS) if several else y[kept]
    return predicted.astype(str)


def _words(text: str) -> str:
    return " ".join(words_of((("", text),))[1:]).casefold()


def _holds(answers: Answers, outcome: str) -> bool:
    """Whether an answer, folded, is one of a closed set, or a list of its labels."""
    if answers.shape == "lists":
        return outcome == "[]" or all(label in answers.labels for label in outcome.split(", "))
    return outcome in answers.labels


def _told(answers: Answers, outcomes: Sequence[str]) -> np.ndarray:
    """Answers by which wordings are compared: of lists the rarest label that each has."""
    if answers.shape != "lists":
        return np.asarray(outcomes)
    labels = answers.labels
    return np.asarray([min(outcome.split(", "), key=lambda label: labels.get(label, 0)) for outcome in outcomes])


def _features(texts: Sequence[str]) -> csr_matrix:
    """Return hashed words and word pairs. Shape (N, 2**14)."""
    from sklearn.feature_extraction.text import HashingVectorizer  # noqa: PLC0415 - serving needs none of it

    vectoriser = HashingVectorizer(n_features=2**14, ngram_range=(1, 2), alternate_sign=False, token_pattern=_TOKEN)
    return vectoriser.transform([text[:4000] for text in texts])


def _transfers(a: TemplateGroup, b: TemplateGroup) -> bool:
    """Return whether a classifier of `a`'s answers predicts those of `b` about as well as its own.

    Its agreement above chance must be half of that on its own inputs. Where nothing can be learnt from the
    inputs, their similarity decides.
    """
    ours, theirs = _told(a.answers, a.outcomes), _told(a.answers, b.outcomes)
    counts = Counter(ours.tolist())
    kept = np.asarray([counts[label] >= _FOLDS for label in ours])
    here = np.isin(theirs, ours[kept])
    if len(set(ours[kept])) < 2 or not here.any():
        return _alike(a, b)
    x, y = _features([t for t, k in zip(a.inputs, kept, strict=True) if k]), ours[kept]
    own = _kappa(y, _foreseen(x, y))
    if own < 0.2:
        return _alike(a, b)
    foreseen = _naive_bayes().fit(x, y).predict(_features(b.inputs))
    return _kappa(theirs[here], foreseen[here]) >= 0.5 * own


def _kappa(truth: np.ndarray, foreseen: np.ndarray) -> float:
    """Return the agreement above chance (Cohen's kappa); 0 where only one answer occurs."""
    names = sorted({*truth.tolist(), *foreseen.tolist()})
    chance = sum(float((truth == name).mean() * (foreseen == name).mean()) for name in names)
    return (float((truth == foreseen).mean()) - chance) / (1 - chance) if chance < 1 else 0.0


def _alike(a: TemplateGroup, b: TemplateGroup) -> bool:
    """Return whether inputs and answers of two groups cannot be distinguished by their words."""
    size = min(len(a.inputs), len(b.inputs), 500)
    texts = [*a.inputs[-size:], *b.inputs[-size:]]
    if a.answers.shape == "text":
        texts = [
            f"{text}\n{answer[:500]}"
            for text, answer in zip(texts, [*a.outcomes[-size:], *b.outcomes[-size:]], strict=True)
        ]
    side = np.repeat(["a", "b"], size)
    return size >= _FOLDS and _kappa(side, _foreseen(_features(texts), side)) < 0.4


def _take_in(calls: Sequence[RecordedCall], loose: list[int], groups: list[TemplateGroup]) -> None:
    """Assign calls to the job whose labels include their answer and whose inputs are similar to theirs.

    It is used for calls without a template, and for calls whose template is only common text of free-text calls, such
    as a system prompt of all calls of a company.
    """
    closed = [group for group in groups if group.answers.shape in _CLOSED_SHAPES]
    free = [group for group in groups if group.answers.shape == "text"]
    members = [*loose, *(i for group in free for i in group.members)]
    homes = {
        outcome: [g for g, group in enumerate(closed) if _holds(group.answers, outcome)]
        for outcome in {fold(calls[i].answer) for i in members}
    }
    candidates = [(i, at) for i in members if (at := homes[fold(calls[i].answer)])]
    if not candidates:
        return
    texts = [text for group in closed for text in group.inputs[:600]]
    side = np.repeat(np.arange(len(closed)), [len(group.inputs[:600]) for group in closed])
    likely = np.ones((len(candidates), 1))
    if len(closed) > 1:
        model = _naive_bayes().fit(_features(texts), side)
        likely = model.predict_proba(_features(["\n".join(t for _, t in calls[i].prompt) for i, _ in candidates]))
    moved = set()
    for (i, at), row in zip(candidates, likely, strict=True):
        best = max(at, key=row.__getitem__)
        if row[best] >= 1 / len(closed):
            closed[best].members.append(i)
            moved.add(i)
    for group in free:
        group.members = [i for i in group.members if i not in moved]
