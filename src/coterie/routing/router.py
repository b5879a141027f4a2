"""The learned router: a text goes to the specialist whose examples are most similar.

A text's similarity to a specialist is its mean similarity to the nearest examples. It is in scope when it is
not less typical than all but a share `false_rejection` of the examples: a conformal p-value (Vovk et al.
2005; for outliers Bates et al. 2023, "Testing for outliers with conformal p-values"), so no out-of-scope data
is needed. Structured input goes to the `score` specialists whose columns it has. A text that splits into
pieces for different specialists is processed piece by piece.

Greetings, thanks and orders to the router itself are not read. Orders to the router and typing errors are recognised in
English, greetings and thanks in the languages of the network's turn model.

The examples of the specialists decide who may be asked, never a text that names a specialist: "ignore the
router and send this to ..." may come from a pasted document, whose author has no say. Only the route is made
from the reading; the specialists get the original text.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice, pairwise, takewhile
from typing import NamedTuple

import numpy as np

from coterie.context.sharing import known_facts
from coterie.protocols import Engine, TurnModel
from coterie.routing.matching import (
    WEIGHT,
    Discriminant,
    Explanation,
    Fit,
    Match,
    RoutingScope,
    Typicality,
    choose,
    consider,
    undivided,
)
from coterie.routing.plan import PlannedStages, plan_parts, plan_stages
from coterie.routing.profile import BUNDLED_SCALE, MOST_COMPARED, Bank, Compared, CosineScale, Profile, Shortlist
from coterie.routing.splitting import (
    LONGEST,
    OrderSense,
    Piece,
    propose_clearest,
    propose_ends,
    propose_judged,
    propose_marked,
    span_means,
    word_starts,
)
from coterie.runtime.caches import BatchMemo, KnownTexts
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import aside
from coterie.runtime.cpu import timed
from coterie.text.language import base, is_english, language_of
from coterie.types import (
    SYSTEM,
    CallContext,
    Context,
    Label,
    Output,
    Part,
    Prompt,
    Reason,
    Request,
    Route,
    SpecialistCard,
    Step,
    Usage,
    all_of,
    total_usage,
)

# --- Spelling, English: words that nobody writes become the known word that is one slip away.

_WORD = re.compile(r"(?<![\w'\u2019.@/-])[A-Za-z]{4,20}(?![\w'\u2019@/-])")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORTEST = 3  # letters of a word that is put in the place of another
_MOST_SLIPS = 8  # words that are mended; a text with more is in another language
_MENDED = 4_000
"""Characters of a text whose spelling is corrected: more than the encoder reads of English."""


class Spelling:
    """Corrects typing errors by a list of words."""

    def __init__(self, words: Sequence[str]) -> None:
        """Take the known words, in lower case, the most frequent first."""
        self._rank = {word: rank for rank, word in enumerate(words) if word.isascii() and word.isalpha()}
        self._mended = lru_cache(maxsize=4096)(self._look_up)

    def mend(self, text: str) -> str:
        """Return the text with typing errors corrected; the same text if there are none, or too many."""
        slips: list[str] = []

        def mended(match: re.Match[str]) -> str:
            word = match[0]
            known_word = self._mended(word.lower())
            if known_word is None:
                return word
            slips.append(word)
            return known_word.capitalize() if word[0].isupper() and not word.isupper() else known_word

        end = len(text) if len(text) <= _MENDED else text.rfind(" ", 0, _MENDED) + 1
        changed = _WORD.sub(mended, text[:end]) + text[end:]
        return changed if len(slips) <= _MOST_SLIPS else text

    def _look_up(self, word: str) -> str | None:
        """Return the most frequent known word one edit away; None for a known word or one unlike any."""
        if word in self._rank or self._is_inflected(word):
            return None
        near = [other for other in _one_slip_away(word) if len(other) >= _SHORTEST and other in self._rank]
        return min(near, key=self._rank.__getitem__, default=None)

    def _is_inflected(self, word: str) -> bool:
        stems = (
            word.removesuffix(ending) for ending in ("s", "es", "ed", "d", "ing", "er", "ly") if word.endswith(ending)
        )
        return any(stem in self._rank or f"{stem}e" in self._rank for stem in stems if len(stem) >= _SHORTEST)


def _one_slip_away(word: str) -> set[str]:
    """Return every string with one letter dropped, doubled up, swapped with its neighbour or mistyped."""
    splits = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    dropped = {a + b[1:] for a, b in splits if b}
    swapped = {a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1}
    mistyped = {a + letter + b[1:] for a, b in splits if b for letter in _LETTERS}
    added = {a + letter + b for a, b in splits for letter in _LETTERS}
    return dropped | swapped | mistyped | added


# --- Reading a request.

_CLAUSE = re.compile(r"[^.!?;:\n]+(?:[.!?;:\n]{1,40}(?=\s|$)|[.!?;:\n](?=\S)[^.!?;:\n]*)*\s*")
_HANDING = r"(?:route|send|forward|redirect|direct|assign|hand|pass|give|transfer|escalate|answer|handle|treat)"
_READER = r"(?:router|specialists?|(?:sub)?agents?|bots?|models?|experts?)"
_ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|bypass|override|overrule|skip|do\s+not\s+(?:follow|use))\b.{0,60}?"
    r"\b(?:router|routing|instructions?|system\s+prompts?|prompts?|guidelines?|specialists?|classifiers?)\b"
    rf"|\b{_HANDING}\b.{{0,40}}?\b{_READER}\b"
    rf"|\b(?:note|message|instructions?)\s+(?:to|for)\s+the\s+{_READER}\b"
    rf"|\b(?:this|it)\s+is\s+(?:meant\s+|only\s+)?for\s+the\b.{{0,40}}?\b{_READER}\b"
    r"|\b(?:router|system|assistant)\s*(?:override|instruction|note|prompt)\b"
    rf"|\buse\s+(?:only\s+)?the\b.{{0,30}}?\b{_READER}\b",
    re.IGNORECASE,
)
_MACHINE = (
    r"rout(?:er|ing|e)s?|instructions?|rules?|prompts?|system|assistants?|specialists?|agents?|bots?|models?|experts?|teams?|departments?|desks?"
    r"|units?|polic(?:y|ies)|guidelines?|settings?|procedures?|admin(?:istrator)?|developers?|dispatchers?|classifiers?|training|told"
    r"|tasks?|assignments?|orders|commands?|roles?|chat\w*|gpt|conversations?|previous(?:ly)?|prior|preceding|before|above|everything|texts?"
    r"|act|pretend|imagine|you\s+are|answer|say"
)
_PART = re.compile(r"[^.!?;:,\n]+[.!?;:,\n]*\s*")
_FEWEST = 2  # words that a reading must have left
_FEWEST_BEFORE = 3  # words before an order in its clause that may be a request: "I want you to" is the order's


@dataclass(frozen=True, kw_only=True)
class RequestReading:
    """A text as the router reads it."""

    text: str
    orders: tuple[str, ...] = ()
    """Orders to the router itself, which were left out."""
    mended: tuple[str, str] = ("", "")
    """The text before and after typing errors were corrected in it; empty where none were."""

    def as_written(self, piece: str) -> str:
        """Return a piece of the corrected text as it was written: corrections change words, and join or part none."""
        written, mended = self.mended
        start = mended.find(piece) if mended else -1
        if start < 0:
            return piece
        end, words = start + len(piece), zip(_spans(mended), _spans(written), strict=True)
        inside = [(own, other) for own, other in words if own[1] > start and own[0] < end]
        (first, first_written), (last, last_written) = inside[0], inside[-1]
        return written[first_written[0] + start - first[0] : last_written[1] - (last[1] - end)]


def _spans(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S+", text)]


class RequestReader:
    """Reads texts for a router that knows these specialists."""

    def __init__(self, names: Iterable[str]) -> None:
        named = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or r"(?!)"
        self._named = re.compile(rf"\b(?:{named}|{_MACHINE})\b", re.IGNORECASE)
        self._handed = re.compile(
            rf"\b{_HANDING}\s+(?:this|it|that|the|my)\b.{{0,30}}?\bto\s+(?:the\s+)?[\"'`]?(?:{named})\b", re.IGNORECASE
        )

    def read(self, text: str) -> RequestReading:
        """Return the text without orders to the router: in English, in any text, even if they were pasted.

        A text of nothing but orders is returned as it is.
        """
        orders: list[str] = []
        rest = text
        if _ORDER.search(text) is not None or self._handed.search(text) is not None:
            kept: list[str] = []
            for clause in _CLAUSE.findall(text):
                before, order = self._cut(clause)
                kept += [before] if before else []
                orders += [order] if order else []
            rest = "".join(kept)
        if len(rest.split()) < _FEWEST:
            return RequestReading(text=text)
        return RequestReading(text=rest, orders=tuple(order.strip() for order in orders))

    def clauses(self, text: str) -> list[tuple[int, int]]:
        """Return the spans of its clauses, if there are several and the text names a specialist or the machine."""
        spans = [match.span() for match in _CLAUSE.finditer(text)]
        return spans if len(spans) > 1 and self.names_somebody(text) else []

    def names_somebody(self, text: str) -> bool:
        """Return whether a text names a specialist or the machine, as orders to the router do."""
        return self.named_at(text) is not None

    def named_at(self, text: str) -> int | None:
        """Return the position of the first such name; None if there is none."""
        match = self._named.search(text)
        return None if match is None else match.start()

    def _cut(self, clause: str) -> tuple[str, str]:
        """Return the part of a clause that is no order, and the order: a question may precede it without a mark."""
        order_starts = [match.start() for pattern in (_ORDER, self._handed) if (match := pattern.search(clause))]
        if not order_starts:
            return clause, ""
        before = clause[: min(order_starts)]
        return (before, clause[min(order_starts) :]) if len(before.split()) >= _FEWEST_BEFORE else ("", clause)


# --- Small talk: greetings, thanks and chat, as the network's turn model knows them.

_LONGEST = 8
"""Most words of a text, or of a part of one, that may be small talk."""
_WORTH_A_LOOK = -6.0
"""Log-odds, by the states of its tokens in the text, from which a part is encoded separately.

Beside a question, the states assign most greetings to it.
"""
_IN_PLACE, _ENOUGH = 0.35, -1.0
"""Weight of these log-odds beside those of the part alone, and the sum that both must reach.

"what now?" is small talk alone, and in its place it asks something. By a logistic regression on parts of
BANKING77's training messages with greetings and thanks around them.
"""
_MOST_LOOKED_AT = 3
"""Most parts at each end of a text that are examined."""


Span = tuple[int, int]


class Ends(NamedTuple):
    """Parts of a text before and after its content, each from the outside inwards."""

    before: list[Span]
    behind: list[Span]
    odds: Mapping[Span, float]
    """Log-odds that each part is small talk, by its tokens' states in the text."""


class SmallTalk:
    """Recognises greetings, thanks and chat, in the languages that its model knows."""

    def __init__(self, turns: TurnModel | None, scale: CosineScale = BUNDLED_SCALE) -> None:
        self._turns, self._near_copy = turns, scale.near_copy

    def knows(self, language: str) -> bool:
        """Return whether the model supports a language."""
        return self._turns is not None and language.partition("-")[0] in self._turns.talk_languages

    def is_nobodys(self, match: Match) -> bool:
        """Return whether a text is small talk that a specialist would take because its examples are short and diverse.

        If the nearest example is small talk too, the specialist was trained for it.
        """
        best = match.best
        if not match.in_scope or best.closest >= self._near_copy or len(match.text.split()) > _LONGEST:
            return False
        if self._odds(match.vector[None])[0] <= 0:
            return False
        examples = best.profile.vectors
        return self._odds(examples[[int((examples @ match.vector).argmax())]])[0] <= 0

    def around(self, text: str, output: Output) -> Ends:
        """Return the parts before and after a text's content that may be small talk; the text's tokens have states."""
        parts = [match.span() for match in _PART.finditer(text)]
        if output.states is None or output.offsets is None or len(parts) < _FEWEST:
            return Ends([], [], {})
        sides = parts[:_MOST_LOOKED_AT], parts[: -_MOST_LOOKED_AT - 1 : -1]
        spans = [*sides[0], *sides[1]]
        odds = self._odds(span_means(output.states, output.offsets, np.array(spans)))
        read = int(output.offsets[:, 1].max(initial=0))  # of a long text the encoder did not see the end
        worth = {
            span: _WORTH_A_LOOK if span[1] > read else odd
            for span, odd in zip(spans, odds, strict=True)
            if len(text[slice(*span)].split()) <= _LONGEST and (span[1] > read or odd > _WORTH_A_LOOK)
        }
        before, behind = (list(takewhile(worth.__contains__, side)) for side in sides)
        return Ends(before, behind, worth)

    def without(self, text: str, ends: Ends, vectors: Mapping[Span, np.ndarray]) -> str:
        """Return a text without the small talk at its ends; all of it if too little else remains.

        Args:
            text: The text.
            ends: The parts around its content.
            vectors: (D,) vector of each part alone.
        """
        odds = dict(zip(vectors, self._odds(np.stack(list(vectors.values()))), strict=True))
        talk = {span for span, odd in odds.items() if odd + _IN_PLACE * ends.odds[span] > _ENOUGH}
        before, behind = (list(takewhile(talk.__contains__, side)) for side in (ends.before, ends.behind))
        rest = text[before[-1][1] if before else 0 : behind[-1][0] if behind else len(text)]
        return rest if len(rest.split()) >= _FEWEST else text

    def _odds(self, vectors: np.ndarray) -> list[float]:  # (N, D)
        if self._turns is None:
            return [-np.inf] * len(vectors)
        return [float(odd) for odd in self._turns.talk(vectors)]


# --- The learned router: a text goes to the specialist whose examples are most similar.

_ALL_KEPT = 16
"""Most specialists up to which a route's scores name all of them."""
_BEST_KEPT = 8
"""Number of best specialists, and of best ones without examples, that are kept of more."""
_WRITTEN = re.compile(r"[^\W_]")
"""A letter or digit: a text without any says nothing, and its similarity to a specialist would be chance."""
_HEAD, _TAIL = 12_000, 4_000
"""Characters at the beginning and end of a longer text that a route is made from.

The beginning is more than the encoder reads, and a question about the rest would stand at the end. The limits
keep the time constant, however long the text is.
"""
_COLUMNS_SHARED = 0.5  # share of the input's columns that a specialist must know for the input to be meant for it
_MOST_FURTHER = 1
"""Most specialists with documents that are asked after the second: each may cost an abstention of 50 ms."""
_ONE_REQUEST = 0.5
"""Probability that a piece depends on the one before it from which both are one request, for one specialist."""
_BESIDE_COLUMNS = 0.30
"""Similarity to a specialist without examples from which a text beside columns is a request of its own.

It was the bar for every text until decision 212 (decision 330).
"""


_MOST_KNOWN = 8192
"""Most routes that are cached, of all tenants together."""
_LONGEST_KNOWN = 2_000
"""Longest text, in characters, whose route is cached."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Made:
    route: Route
    reading: RequestReading
    names: tuple[str, ...] = ()
    """Specialists for the request."""
    matches: tuple[Match, ...] = ()
    asked: tuple[Match, ...] = ()


class _Measured(NamedTuple):
    """How some texts fit some specialists; arrays are (T, S')."""

    which: np.ndarray  # (S',)
    compared: Compared
    scores: np.ndarray
    typicality: Typicality

    def row(self, row: int) -> _Measured:
        """Return the values of one text."""
        only = slice(row, row + 1)
        return _Measured(
            self.which,
            Compared(*(array[only] for array in self.compared)),
            self.scores[only],
            Typicality(*(array[only] for array in self.typicality)),
        )


class LearnedRouter:
    """Routes by similarity to the specialists' own examples."""

    def __init__(
        self,
        *,
        cards: Mapping[str, SpecialistCard],
        profiles: Mapping[str, Profile],
        encoder: Engine,
        false_rejection: float,
        words: Sequence[str] = (),
        order_sense: OrderSense | None = None,
        turns: TurnModel | None = None,
        scale: CosineScale = BUNDLED_SCALE,
        untrained: Sequence[str] = (),
    ) -> None:
        """Create a router over profiles.

        Args:
            cards: Every specialist of the network.
            profiles: Profiles of the specialists that texts may be routed to.
            encoder: The encoder that the profiles were made with.
            false_rejection: Share of texts like the examples that may be rejected as out of scope.
            words: The encoder's words, the most frequent first, to correct typing errors; empty for no correction.
            order_sense: Recognises orders to the router by their vectors; without it only patterns do.
            turns: Recognises greetings, thanks and chat; without it they are texts like others.
            scale: The scale of the encoder's cosines.
            untrained: Specialists without a version: an out-of-scope text may have been for them.
        """
        self._cards = cards
        self._names = tuple(profiles)
        self._bank = Bank(tuple(profiles.values()))
        self._profiles = self._bank.profiles
        self._shortlist = Shortlist(self._profiles)
        self._discriminant = Discriminant(self._profiles)
        self._scope = RoutingScope(self._profiles, false_rejection=false_rejection, scale=scale)
        self._encoder = encoder
        self._scale = scale
        self._small_talk = SmallTalk(turns, scale)
        self._turns = turns
        self._false_rejection = false_rejection
        self._reader = RequestReader(cards)
        self._spelling = Spelling(words)
        self._order_sense = order_sense
        self._untrained = untrained
        self._linked = {name: card for name, card in cards.items() if card.reads or card.writes}
        """Those that others may wait for, or that wait: of a thousand specialists a few."""
        self._stages: dict[tuple[str, AbstractSet[str]], PlannedStages] = {}
        self._known = KnownTexts[Route](_MOST_KNOWN)
        self.memos = (BatchMemo(self._measure),)
        """What may be prepared for a batch of vectors."""
        self._read = frozenset(fact for card in cards.values() for fact in card.reads)

    async def route(self, request: Request, context: Context, *, call: CallContext = SYSTEM) -> Route:
        """Return the route; it has no parts if no examples are similar. Facts of the context need no writer.

        The route of a text that the same tenant sent before takes no CPU time, whatever columns beside it hold.
        """
        if len(request.text) > _LONGEST_KNOWN:
            return (await self._consider(request, context, call)).route
        start, tenant = time.perf_counter(), call.principal.tenant
        language = request.language or language_of(request.text, "en")
        columns = [f"{name} {part.score}" for name, (part, _) in self._by_columns(request).items()]
        beside = "\n".join([language, *sorted(known_facts(context) & self._read), "", *columns]).encode()
        cached = self._known.get(tenant, request.text, beside)
        if cached is not None:
            return _recalled(cached, request.text, time.perf_counter() - start)
        route = (await self._consider(request, context, call)).route
        if all(part.text == request.text for part in route.parts):  # pieces hold text, and no text is remembered
            bare = tuple(
                replace(part, text="", vector=None if part.vector is None else part.vector.copy())
                for part in route.parts
            )  # a copy: a row would keep its whole batch
            self._known.put(tenant, request.text, replace(route, parts=bare), beside)
        return route

    async def explain(self, request: Request, context: Context, *, call: CallContext = SYSTEM) -> Explanation:
        """Return the route with all comparisons."""
        made = await self._consider(request, context, call)
        return Explanation(
            route=made.route,
            asked=made.names,
            read_as=made.reading.text,
            orders=made.reading.orders,
            considered=tuple(consider(match, made.asked, self._false_rejection, self._scale) for match in made.matches),
        )

    async def _consider(self, request: Request, context: Context, call: CallContext) -> _Made:
        shown = _window(request.text)
        if len(shown) == len(request.text):
            return await self._consider_whole(request, context, call)
        made = await self._consider_whole(replace(request, text=shown), context, call)
        # One specialist gets the text as it is; pieces are of what was read.
        parts = tuple(
            replace(p, text=request.text if p.text == shown else p.text, truncated=True) for p in made.route.parts
        )
        reason = made.route.reason.noting(Reason("route.window", first=_HEAD, last=_TAIL))
        return replace(made, route=replace(made.route, parts=parts, reason=reason))

    async def _consider_whole(self, request: Request, context: Context, call: CallContext) -> _Made:
        facts = known_facts(context) & self._read
        by_columns = self._by_columns(request)
        language = request.language or language_of(request.text, "en")
        reading = await aside(len(request.text), partial(self._reader.read, request.text))
        if not _WRITTEN.search(request.text) or not self._names:
            route = Route(parts=self._parts(by_columns, (), facts), reason=self._reason(by_columns, (), ()))
            return _Made(route=route, reading=reading, names=tuple(by_columns))
        reading, whole, first = await self._read_whole(reading, request, call, language)
        root, matches, second = await self._match_pieces(reading.text, whole, request, call, language)
        chosen = choose(root, matches)
        if not any(match.settled for match in chosen):
            closer, third = await self._look_closer(
                reading.text, whole, root, matches[root], request, call=call, language=language
            )
            matches, second = matches | closer, (*second, *third)
            chosen = choose(root, matches)
        if reading.orders and not any(match.in_scope for match in chosen):
            closer, third = await self._look_among(reading.orders, root, request, call, language)
            matches, second = matches | closer, (*second, *third)
            chosen = choose(root, matches)
        chosen, further = await self._together(root, matches, chosen, language)
        matches_asked = [match for match in chosen if match.in_scope or len(chosen) > 1]
        orders = tuple(match.text for match in matches.values() if match.order)
        if matches_asked == [matches[root]] or (orders and len(matches_asked) == 1):
            # One specialist gets the text as it is: what was left out of the reading may matter to it.
            matches_asked = [replace(matches_asked[0], text=request.text)]
        else:
            matches_asked = [replace(match, text=reading.as_written(match.text)) for match in matches_asked]
        scores = {name: round(fit.p_value, 4) for name, fit in matches[root].fits.items()}
        if by_columns:
            matches_asked = [match for match in matches_asked if not _about_columns(match)]
        parts = self._parts(by_columns, matches_asked, facts)
        readers = () if parts else self._with_documents(matches[root])
        reason = self._reason(by_columns, matches_asked, [matches[root]])
        if readers:
            asks = Part(text=request.text, stages=self._stages_of(readers[0], facts), score=0.0)
            parts = (self._with_others(replace(asks, vector=matches[root].vector), readers[1:], facts),)
            reason = reason.noting(Reason("route.documents", specialist=readers[0]))
        route = Route(parts=parts, reason=reason, scores=scores, steps=(*first, *second, *further))
        return _Made(
            route=route,
            reading=replace(reading, orders=tuple(dict.fromkeys([*reading.orders, *orders]))),
            names=tuple(dict.fromkeys([*by_columns, *(match.name for match in matches_asked), *readers[:1]])),
            matches=tuple(matches.values()),
            asked=tuple(matches_asked),
        )

    def _with_documents(self, whole: Match) -> tuple[str, ...]:
        """Return the specialists to ask about an out-of-scope text: those with documents, the likeliest first.

        Only specialists without examples: their knowledge is in documents, which a description hardly covers. They
        abstain by what they find there.
        """
        if whole.small_talk or whole.order:
            return ()
        return tuple(name for name in whole.ranked if self._cards[name].looks_up and whole.fits[name].profile.cold)

    def _with_others(self, part: Part, names: Sequence[str], facts: AbstractSet[str]) -> Part:
        """Return the part with alternatives for an abstention; after the next one only specialists with documents."""
        others = [name for name in names if name not in part.specialists]
        if not others:
            return part
        further = (name for name in others[1:] if self._cards[name].looks_up)
        alone = (name for name in further if self._stages_of(name, facts) == ((name,),))
        return replace(part, otherwise=self._stages_of(others[0], facts), further=tuple(islice(alone, _MOST_FURTHER)))

    # --- from scores to a route ------------------------------------------------------------------

    def _by_columns(self, request: Request) -> dict[str, tuple[Part, Reason]]:
        """Return a part for each specialist that structured input is meant for, and the reason."""
        if not request.columns:
            return {}
        by_name = {}
        for name, card in self._cards.items():
            shared = len(set(card.columns) & set(request.columns))
            if shared and shared >= _COLUMNS_SHARED * len(request.columns):
                part = Part(text=request.text, stages=((name,),), score=shared / len(card.columns))
                by_name[name] = part, Reason("route.columns", specialist=name, shared=shared, columns=len(card.columns))
        return by_name

    def _parts(
        self, by_columns: Mapping[str, tuple[Part, Reason]], matches: Sequence[Match], facts: AbstractSet[str]
    ) -> tuple[Part, ...]:
        """Return the parts with their stages, and which of them read facts of others."""
        # Who is asked for the columns gets the text with them.
        parts = [part for part, _ in by_columns.values()]
        names = list(by_columns)
        for match in matches:
            if match.name not in by_columns:
                names.append(match.name)
                parts.append(
                    Part(
                        text=match.text,
                        stages=((match.name,),),
                        score=match.best.p_value,
                        vector=None if match.joined else match.vector,
                        truncated=match.truncated,
                    )
                )
        if len(parts) == 1:
            plausible = next((match.plausible for match in matches if match.name == names[0]), ())
            return (self._with_others(replace(parts[0], stages=self._stages_of(names[0], facts)), plausible, facts),)
        cards = self._linked | {name: self._cards[name] for name in names}
        planned = plan_parts(names, cards, earlier_facts=facts)
        return tuple(
            replace(part, stages=planned_part.stages, after=planned_part.after)
            for part, planned_part in zip(parts, planned, strict=True)
        )

    def _stages_of(self, name: str, facts: AbstractSet[str]) -> PlannedStages:
        """Return the stages in which a specialist runs with others; computed once."""
        if (name, facts) not in self._stages:
            self._stages[name, facts] = plan_stages(name, self._cards, readers=True, earlier_facts=facts)
        return self._stages[name, facts]

    def _reason(
        self, by_columns: Mapping[str, tuple[Part, Reason]], matches_asked: Sequence[Match], matches: Sequence[Match]
    ) -> Reason:
        reasons = [reason for _, reason in by_columns.values()]
        reasons += [self._why(match) for match in matches_asked if match.name not in by_columns]
        if not reasons:
            reasons = [self._why_not(match) for match in matches] or [Reason("route.nobody")]
            reasons += [Reason("route.untrained", specialist=name) for name in self._untrained]
        return all_of(reasons)

    @staticmethod
    def _why(match: Match) -> Reason:
        best, second = match.best, match.second
        reason = Reason("route.like", specialist=match.name, nearest=best.nearest, fit=best.described)
        if second is None:
            return reason
        return reason.noting(Reason("route.second", specialist=second, fit=match.fits[second].described))

    def _why_not(self, match: Match) -> Reason:
        fit = match.best
        if match.small_talk:
            return Reason("route.small_talk")
        if fit.profile.cold:
            return Reason(
                "route.unlike_description", specialist=match.name, similarity=fit.similarity, needed=self._scale.cold
            )
        return Reason(
            "route.unlike_examples",
            specialist=match.name,
            similarity=fit.similarity,
            p_value=fit.p_value,
            needed=self._false_rejection,
        )

    # --- scores ----------------------------------------------------------------------------------

    async def _read_whole(
        self, reading: RequestReading, request: Request, call: CallContext, language: str
    ) -> tuple[RequestReading, Output, tuple[Step, ...]]:
        """Return the encoded reading, with typing errors corrected if that helps.

        Orders to the router, and greetings and thanks around the content, are left out.
        """
        # Each unknown word is compared with some thousand others: ten times as long as a look at its letters.
        english = is_english(language)
        mended = [await aside(10 * len(reading.text), partial(self._spelling.mend, reading.text))] if english else []
        readings = list(dict.fromkeys([reading.text, *mended]))
        outputs, steps = await self._encode(readings, request, call, states=True)
        clearest = self._clearest(outputs)
        text, output = readings[clearest], outputs[clearest]
        reading = replace(reading, mended=(reading.text, text) if clearest else ("", ""))
        spans = self._reader.clauses(text) if self._order_sense is not None else []
        orders = self._orders_in(text, output, spans)
        rest = _without(text, orders) if orders else ""
        named = reading.orders
        if rest.strip():
            named = (*named, *(text[start:end].strip() for start, end in orders))
            (output,), again = await self._encode([rest], request, call, states=True)
            text, steps = rest, (*steps, *again)
        rest, further = await self._without_talk(text, output, request, call, language)
        if rest != text:
            (output,), again = await self._encode([rest], request, call, states=True)
            text, further = rest, (*further, *again)
        return replace(reading, text=text, orders=named), output, (*steps, *further)

    async def _without_talk(
        self, text: str, output: Output, request: Request, call: CallContext, language: str
    ) -> tuple[str, tuple[Step, ...]]:
        """Return a text without greetings, thanks and the like around its content."""
        if not self._small_talk.knows(language):
            return text, ()
        ends = await aside(len(text), partial(self._small_talk.around, text, output))
        spans = list(dict.fromkeys([*ends.before, *ends.behind]))
        if not spans:
            return text, ()
        outputs, steps = await self._encode([text[start:end] for start, end in spans], request, call)
        vectors = {span: np.asarray(output.vector) for span, output in zip(spans, outputs, strict=True)}
        return self._small_talk.without(text, ends, vectors), steps

    def _orders_in(self, text: str, output: Output, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the clauses of a text that are orders to the router, by its tokens' states."""
        if self._order_sense is None or not spans or output.states is None or output.offsets is None:
            return []
        sense, states, offsets = self._order_sense, output.states, output.offsets
        orders = sense.are_orders(span_means(states, offsets, np.array(spans)))
        return [
            (self._order_start(text, span, sense, states, offsets), span[1])
            for span, order in zip(spans, orders, strict=True)
            if order and self._reader.names_somebody(text[slice(*span)])
        ]

    def _order_start(
        self, text: str, span: tuple[int, int], sense: OrderSense, states: np.ndarray, offsets: np.ndarray
    ) -> int:
        places = word_starts(text, *span)
        return sense.start(states, offsets, places, span[1]) if len(places) > 1 else span[0]

    async def _match_pieces(
        self, text: str, whole: Output, request: Request, call: CallContext, language: str
    ) -> tuple[Piece, dict[Piece, Match], tuple[Step, ...]]:
        """Return the text with its possible pieces, and the match of each. A text without pieces is encoded once."""
        root = await aside(len(text), partial(self._propose, text, whole, language))
        pieces = [piece for piece in root.walk() if piece is not root]
        further, steps = await self._encode([piece.text for piece in pieces], request, call) if pieces else ([], ())
        matches = self._heard(self._match([root, *pieces], [whole, *further]), language)
        return root, dict(zip([root, *pieces], matches, strict=True)), steps

    async def _together(
        self, root: Piece, matches: Mapping[Piece, Match], chosen: Sequence[Match], language: str
    ) -> tuple[list[Match], tuple[Step, ...]]:
        """Return the matches to ask about, those pieces undivided of which one depends on the one before it."""
        turns, kept = self._turns, list(chosen)
        if len(kept) < 2 or root.ends or turns is None or base(language) not in turns.languages:
            return kept, ()
        steps: list[Step] = []
        for one, other in pairwise(chosen):
            if one in kept and other in kept and one.end <= other.start:
                leans, usage = await asyncio.to_thread(timed, turns.leans, other.text, [one.text])
                steps.append(Step(producer="router", engine="follow-ups", usage=usage))
                if leans > _ONE_REQUEST:
                    kept = undivided(root, matches, kept, kept.index(other))
        return kept, tuple(steps)

    def _heard(self, matches: Sequence[Match], language: str) -> list[Match]:
        """Return the matches with small talk marked as such."""
        if not self._small_talk.knows(language):
            return list(matches)
        return [replace(match, small_talk=True) if self._small_talk.is_nobodys(match) else match for match in matches]

    async def _look_closer(
        self, text: str, whole: Output, root: Piece, match: Match, request: Request, *, call: CallContext, language: str
    ) -> tuple[dict[Piece, Match], tuple[Step, ...]]:
        """Return further pieces of a barely matching text: those whose tokens are most similar to examples."""
        if whole.states is None or whole.offsets is None or match.small_talk:
            return {}, ()
        spans = [(end.start, end.end) for end in root.ends] or [(0, len(text))]
        find = partial(propose_clearest, text, whole.states, whole.offsets, self._judge, spans)
        pieces = await aside(len(text), find)
        if not pieces:
            return {}, ()
        further, steps = await self._encode([piece.text for piece in pieces], request, call)
        matches = self._heard(self._match([root, *pieces], [whole, *further]), language)
        return dict(zip(pieces, matches[1:], strict=True)), steps

    async def _look_among(
        self, orders: Sequence[str], root: Piece, request: Request, call: CallContext, language: str
    ) -> tuple[dict[Piece, Match], tuple[Step, ...]]:
        """Return the question in the words that were left out: a question and an order may share a sentence.

        A piece that names a specialist or the machine is excluded, since it may be the order's beginning.
        """
        text = "\n".join(orders)
        (output,), steps = await self._encode([text], request, call, states=True)
        if output.states is None or output.offsets is None:
            return {}, steps
        find = partial(propose_clearest, text, output.states, output.offsets, self._judge, [(0, len(text))])
        pieces = await aside(len(text), find)
        pieces = tuple(piece for piece in pieces if not self._reader.names_somebody(piece.text))
        if not pieces:
            return {}, steps
        further, again = await self._encode([piece.text for piece in pieces], request, call)
        matches = self._heard(self._match([root, *pieces], [output, *further]), language)
        return dict(zip(pieces, matches[1:], strict=True)), (*steps, *again)

    def _clearest(self, outputs: Sequence[Output]) -> int:
        """Return which reading of a text is most similar to examples."""
        if len(outputs) == 1:
            return 0
        vectors = np.stack([np.asarray(output.vector) for output in outputs])
        compared = self._bank.compare(vectors, self._shortlist.nearest(vectors))
        return int(compared.similarity.max(axis=1).argmax())

    def _propose(self, text: str, output: Output, language: str) -> Piece:
        short = output.finish != "length" and len(text) <= LONGEST
        if short and len(self._names) == 1 and output.states is not None:
            return Piece(start=0, end=len(text), text=text, source=text)  # pieces are for different specialists
        if output.finish == "length" or len(text) > LONGEST:
            return propose_ends(text, output.states, output.offsets, self._judge)
        if output.states is None or output.offsets is None:
            return propose_marked(text, language)
        return propose_judged(text, output.states, output.offsets, self._judge, language)

    def _judge(self, vectors: np.ndarray) -> np.ndarray:  # (M, D) -> (M, S)
        """Return approximate scores of each text."""
        likeness, which = self._shortlist.judge(vectors)
        return np.asarray(likeness + WEIGHT * self._discriminant.scores(vectors, which))

    async def _encode(
        self, texts: Sequence[str], request: Request, call: CallContext, *, states: bool = False
    ) -> tuple[Sequence[Output], tuple[Step, ...]]:
        label = request.label or Label.RESTRICTED
        outputs = await self._encoder.run([Prompt(text=text, label=label, states=states) for text in texts], call=call)
        usage = total_usage(output.usage for output in outputs)
        return outputs, (Step(producer="router", engine=self._encoder.name, usage=usage),)

    def _match(self, pieces: Sequence[Piece], outputs: Sequence[Output]) -> list[Match]:
        """Return the match of each text with each specialist, or with the nearest of very many."""
        vectors = [np.asarray(output.vector) for output in outputs]
        if len(vectors) == 1 and len(self._names) <= MOST_COMPARED:  # as most requests: along with those beside it
            whole, at = self.memos[0].of(vectors[0])
            measured = whole.row(at)
        else:
            measured = self._measure(np.stack(vectors))
        orders: Sequence[bool] = ()
        if self._order_sense is not None and len(vectors) > 1:
            orders = self._order_sense.are_orders(np.stack(vectors)).tolist()
        fits = self._fits(*measured)
        return [
            Match(
                text=piece.text,
                start=piece.start,
                end=piece.end,
                vector=vectors[row],
                fits={name: fit[row] for name, fit in fits.items()},
                truncated=outputs[row].finish == "length",
                order=row > 0 and bool(orders) and orders[row] and self._reader.names_somebody(piece.text),
            )
            for row, piece in enumerate(pieces)
        ]

    def _measure(self, vectors: np.ndarray) -> _Measured:  # (T, D)
        """Measure texts against the specialists that may be the best for one of them."""
        which = self._shortlist.nearest(vectors)  # (S',)
        compared = self._bank.compare(vectors, which)
        scores = compared.similarity + WEIGHT * self._discriminant.scores(vectors, which)  # (T, S')
        scores = scores - self._scale.crowding * self._bank.cold[which]
        if len(which) > _ALL_KEPT:
            kept = self._kept(scores, compared, which)
            which, scores = which[kept], scores[:, kept]
            compared = Compared(*(array[:, kept] for array in compared))
        return _Measured(which, compared, scores, self._scope.typicality(which, compared.similarity, compared.closest))

    def _kept(self, scores: np.ndarray, compared: Compared, which: np.ndarray) -> np.ndarray:
        """Return the columns (of S') of specialists that may be the best for a text, if there are very many."""
        cold = np.where(self._bank.cold[which], scores, -np.inf)
        best = [np.argpartition(-array, _BEST_KEPT - 1, axis=1)[:, :_BEST_KEPT].ravel() for array in (scores, cold)]
        return np.unique(np.concatenate([*best, compared.closest.argmax(axis=1)]))

    def _fits(
        self, which: np.ndarray, compared: Compared, scores: np.ndarray, typicality: Typicality | None = None
    ) -> dict[str, list[Fit]]:
        """Return the fit of each text with these specialists; arrays are (T, S')."""
        typicality = typicality or self._scope.typicality(which, compared.similarity, compared.closest)
        return {
            self._names[position]: self._fits_of(self._profiles[position], column, typicality, compared, scores)
            for column, position in enumerate(which)
        }

    def _fits_of(
        self, profile: Profile, column: int, typicality: Typicality, compared: Compared, scores: np.ndarray
    ) -> list[Fit]:
        return [
            Fit(
                similarity=float(compared.similarity[row, column]),
                p_value=float(typicality.p_value[row, column]),
                standing=float(typicality.standing[row, column]),
                score=float(scores[row, column]),
                nearest=profile.names[compared.nearest[row, column]] if len(profile.names) else "",
                closest=float(compared.closest[row, column]),
                profile=profile,
            )
            for row in range(len(scores))
        ]


def _about_columns(match: Match) -> bool:
    """Return whether a text beside columns is about them: "May they have it?" resembles many descriptions a little."""
    return match.best.profile.cold and match.best.similarity < _BESIDE_COLUMNS


def _recalled(route: Route, text: str, seconds: float) -> Route:
    """Return a cached route for its text: it reports the same tokens, at no cost."""
    tokens = sum(step.usage.tokens_in for step in route.steps)
    usage = Usage(tokens_in=tokens, milliseconds=seconds * 1000)
    steps = (replace(route.steps[0], usage=usage),) if route.steps else ()
    return replace(route, parts=tuple(replace(part, text=text) for part in route.parts), steps=steps)


def _window(text: str) -> str:
    return text if len(text) <= _HEAD + _TAIL + 1 else f"{text[:_HEAD]}\n{text[-_TAIL:]}"


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Return the text without these spans."""
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(text)]
    return "".join(text[end:start] for end, start in zip(ends, starts, strict=True))
