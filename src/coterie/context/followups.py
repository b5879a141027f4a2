"""Follow-up questions made standalone: "and what is the fee for that?" gets back what it is about.

Who says no more than another time or number asks the earlier question again with that in it (`asked_again`). Otherwise
what it is about is put behind it in brackets: what the last question was found to be about (the label that a classifier
was sure of), or what it names. Put in front, or as a whole, the earlier question would drown the one that is asked
(`docs/history/log.md`). Pure functions of values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

from coterie.text.numerals import cardinals, english_ordinals
from coterie.types import Context, Entry, FindingSummary, Label, Message, label_without_pii

# --- English words that say nothing of what a question is about.

_POINTING = "it its this that these those they them their theirs mine one ones there"
_PERSONAL = """
i me my myself you your yours yourself we us our ours he him his she her hers who whom
"""
_BEING = """
is are was were be been isn't aren't wasn't weren't must may might can could will would should has does do did
"""
_DETERMINING = """
a an the my your our his her their its some any another no this that these those which
"""
_PLACING = "about at by for from in of on to with against after before"
_JUDGING = "possible necessary important normal allowed free"
_EMPTY = "been seems seemed looks looked appears appeared matter matters"
_JOINING = "to for that if whether when"
_ASKING = "how what when where which whose who why"
_RELATIVE = "today tomorrow tonight yesterday"
_WEEK = """
monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri weekday weekend
mondays tuesdays wednesdays thursdays fridays saturdays sundays weekdays weekends
"""
_YEAR_VOCABULARY = "january february march april may june july august september october november december"
_DAY = "morning afternoon evening night mornings afternoons evenings nights"
_HOUR = "noon midday midnight"
_MEASURED = "minute minutes hour hours day days week weeks month months year years people persons person times"
_COUNTED = """
half quarter pair double twice once last next later earlier early late sooner same date time o'clock oclock am pm past
"""
_SETTLED = """
instead actually rather maybe perhaps sorry sure correct exactly right free available open left possible works work fine
under above below
"""
_COMMON = """
a an the and or but nor so if then than as at by for from in into of off on onto out over per through to up down with
without about after again against before between during until till since while because though although
am is are was were be been being do does did done doing have has had having can could will would shall should may
might must cannot not no yes any some all both each every other another more most much many few little less least
only just even still yet already also too very really quite rather ever never always often usually normally now
today here how what when where which whose why whether please thanks thank hello hi hey ok okay well kindly
isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't can't couldn't won't wouldn't shouldn't
it's that's what's how's there's i'm i've i'd i'll you're they're let's
get got gets getting let make makes made go goes going went come comes came take takes took taken taking
know want wants need needs like tell say says said see give gives gave think mean means happen happens happened
great perfect bye goodbye cheers sorry possible able thing things something anything everything nothing way ways lot
"""

POINTERS = frozenset(_POINTING.split())
"""Words that stand for something; whether they do is seen in their place."""
PEOPLE = frozenset(_PERSONAL.split())
BE = frozenset(_BEING.split())
"""What stands beside a "there" that stands for nothing."""
DETERMINERS = frozenset(_DETERMINING.split())
"""A thing is named behind them."""
ARTICLES = frozenset({"a", "an", "the", "any", "what", "which"})
PREPOSITIONS = frozenset(_PLACING.split())
EMPTY_SUBJECT = frozenset(_EMPTY.split())
"""Behind an "it" that stands for nothing."""
JUDGEMENTS = frozenset(_JUDGING.split())
"""The same, if what is judged follows: "is it possible to ..."."""
CLAUSE = frozenset(_JOINING.split())
"""What an "it" that stands for nothing announces begins with one."""
FUNCTION = frozenset(_COMMON.split())
"""Words that a question has whatever it is about."""
ASKING = frozenset(_ASKING.split())
COUNTS = frozenset(cardinals("en", 99)) | frozenset(english_ordinals()) | {"hundred", "dozen"}
"""Numbers in words."""
RELATIVE_DAYS = frozenset(_RELATIVE.split())
DAYS = frozenset(_WEEK.split()) | RELATIVE_DAYS
MONTHS = frozenset(_YEAR_VOCABULARY.split())
PARTS = frozenset(_DAY.split())
CLOCK = frozenset(_HOUR.split())
"""Hours with a name."""
UNITS = frozenset(_MEASURED.split())
"""What a number may count without saying what is asked for."""
TIMES = COUNTS | DAYS | MONTHS | PARTS | CLOCK | UNITS | frozenset(_COUNTED.split())
"""Words for when and for how many; so are numbers in figures."""
SETTLED = frozenset(_SETTLED.split())
"""What is said beside a time or a number without saying more: "on Monday instead", "is ten free?"."""

# --- Whether a question depends on earlier ones: it points at something that it does not name, or leaves it out.
#
# Rules on words, English only: no model is asked. They were written on the development half of
# `benchmarks/followups`.

DETAIL = "it says no more than when or how many"
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_OPENER = re.compile(
    r"^(?:(?:ok(?:ay)?|thanks|thank you|great|hm+|so|oh|well)[,.!]?\s+)*"
    r"(?:and|but|or|also|plus|what about|how about|same for|likewise|what if)\b[\s,]*",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\bwhat\b.{0,8}\b(?:time|day|date|month|year)\b.*\b(?:is\s+it|today|now)\b", re.IGNORECASE)
"""Asks what time or day it is: this "it" stands for nothing."""
_LONGEST = 16  # words; a longer text says what it is about
_READ = 2_000
"""Characters of a question that are read. A longer text depends on nothing."""
_LONGEST_OPENED, _MOST_OPENED = 8, 3  # words, and those that say something, of one that goes on with "and"
_LONGEST_BARE = 6  # words of one that leaves out what it is about: "is there a limit?"
_MOST_BEFORE = 3  # words that say something before a word that points outside the text
_FEW = 4  # words that say something, of a question that is given back with all of them
_LONGEST_DETAIL = 10  # words of one that says no more than when or how many


def follow_up_reason(text: str) -> str:
    """How a text depends on what was said before, in words; empty if it stands alone."""
    words = words_of(text) if len(text) <= _READ else ()
    if not words or len(words) > _LONGEST or _CLOCK.search(text):
        return ""
    if is_detail(words):
        return DETAIL
    content = [is_content(word) for word in words]
    for place, word in enumerate(words):
        if word in POINTERS and _points(words, content, place):
            return f"{word!r} stands for something that it does not name"
    opener = _OPENER.match(text)
    if opener and len(words) <= _LONGEST_OPENED and sum(content) <= _MOST_OPENED:
        return f"it goes on with {opener[0].strip(' ,')!r}"
    bare = len(words) <= _LONGEST_BARE and sum(content) == 1 and _bare(words, content)
    nothing = not any(content) and not POINTERS.intersection(words) and ASKING.intersection(words)
    return "it leaves out what it is about" if bare or nothing else ""


def is_detail(words: Sequence[str]) -> bool:
    """Whether words say no more than when or how many: "at seven instead", "for two hours", "is Monday free?"."""
    about = words[0] in {"what", "how"} and words[1:2] == ["about"]  # else it asks for one: "what day is it?"
    if len(words) > _LONGEST_DETAIL or ASKING.intersection(words[about:]):
        return False
    said = [word for word in words if is_content(word)]
    times = [word for word in said if word in TIMES or word[0].isdigit()]
    return bool(times) and all(word in SETTLED for word in said if word not in times)


def words_of(text: str) -> list[str]:
    """The words of a text in small letters."""
    return [word.lower().replace("\u2019", "'") for word in _WORD.findall(text)]


def is_content(word: str) -> bool:
    """Whether a word says what a text is about."""
    return not (word in FUNCTION or word in POINTERS or word in PEOPLE)


def subject_of(text: str) -> str:
    """What a question that stands alone is about, in its own words.

    What it asks the aspect of, if it does ("the symptoms of ..."), else all words that say something, of many only the
    things it names behind an article or the like.
    """
    words = words_of(text)
    content = [is_content(word) for word in words]
    for place, word in enumerate(words):
        aspect = word in {"of", "for", "related"} and any(content[:place])
        if aspect and sum(content[:place]) <= _MOST_BEFORE and any(content[place + 1 :]):
            return _joined(words[place + 1 :], content[place + 1 :])
    if sum(content) <= _FEW:
        return _joined(words, content)
    named = [place > 0 and each and words[place - 1] in DETERMINERS for place, each in enumerate(content)]
    for place in range(1, len(words)):
        named[place] = named[place] or (named[place - 1] and content[place])
    return _joined(words, named if any(named) else content)


def _joined(words: Sequence[str], wanted: Sequence[bool]) -> str:
    return " ".join(dict.fromkeys(word for word, want in zip(words, wanted, strict=True) if want))


def _points(words: Sequence[str], content: Sequence[bool], place: int) -> bool:
    """Whether a pointer means something outside the text: nothing that it may mean was named before it."""
    last = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    belongs = last in PREPOSITIONS and place > 1  # "the fee for that" means something else than the fee
    if _named(words[:place], content) > belongs or sum(content[:place]) > _MOST_BEFORE:
        return False
    match words[place]:
        case "there":
            return after not in BE | DETERMINERS and last not in BE
        case "that" | "this" | "these" | "those":
            alone = last in BE and sum(content[place:]) == 1  # "is that rare", not "is that card valid"
            follows = bool(after) and (is_content(after) or after in PEOPLE | DETERMINERS)
            return alone or (not follows and (not place or not content[place - 1] or not after))
        case "one" | "ones":
            return after != "of" and not (after and is_content(after))
        case "it" | "its":
            return belongs or not _means_nothing(words[place + 1 :], content[place + 1 :])
        case _:
            return True


def _means_nothing(after: Sequence[str], content: Sequence[bool]) -> bool:
    """Whether an "it" before these words stands for nothing: "it looks like ...", "does it cost anything to top up"."""
    if after and (after[0] in EMPTY_SUBJECT or (after[0] in JUDGEMENTS and CLAUSE & set(after[1:2]))):
        return True
    return sum(content) > 1 and any(word in CLAUSE for word in after)


def _named(words: Sequence[str], content: Sequence[bool]) -> int:
    """How many things the words name: those that begin behind an article or the like."""
    return sum(word in DETERMINERS and content[place + 1] for place, word in enumerate(words[:-1]))


def _bare(words: Sequence[str], content: Sequence[bool]) -> bool:
    """Whether its one word that says something is a thing's ("the rate", "any fees"), and nobody's in particular."""
    place = content.index(True)
    return place > 0 and words[place - 1] in ARTICLES and not PEOPLE & set(words)


# --- A question asked again of another time or number: "open on Sunday?", "and on Monday?" is "open on Monday?".
#
# Rules on words, for English. What is said beside a time or a number of the same kind is kept as it stood.

_TOKEN = re.compile(r"\d+(?:[:.]\d+)?(?:st|nd|rd|th|am|pm)?\b|[^\W_]+(?:['\u2019][^\W_]+)*", re.IGNORECASE)
_PLACE = frozenset(
    {
        "on",
        "at",
        "in",
        "by",
        "for",
        "from",
        "until",
        "till",
        "before",
        "after",
        "since",
        "during",
        "to",
        "under",
        "over",
        "above",
        "below",
    }
)
_BESIDE = frozenset({"the", "about", "around"})
"""May stand between such a word and the time."""
_WHICH = frozenset({"next", "last", "this", "every"})
_HOURS = frozenset({"at", "from", "until", "till", "before", "after", "by"})
"""A number behind one is an hour, unless a unit follows."""
_NAMED = {"day": DAYS, "part": PARTS, "clock": CLOCK}
_YEAR = re.compile(r"\d{4}")
_NOT = frozenset({"not", "no", "except", "but"})
_CORRECTION = re.compile(r"\s*(?:no|nope|sorry)\s*[,.;!]", re.IGNORECASE)
"""Before what is meant instead: "no, Sunday"."""


class Moment(NamedTuple):
    """A time or a number in a text."""

    kind: str
    """`day`, `month`, `part` of a day, `clock`, or `count`."""
    place: int
    """Where the words that lead to it begin ("on the"); where it begins itself if there are none."""
    start: int
    end: int
    relative: bool
    """It takes no word before it: "tomorrow", "next Monday"."""


def asked_again(earlier: str, detail: str) -> str:
    """The earlier question with the times and numbers of another one in the place of its own.

    Args:
        earlier: A question.
        detail: What says no more than when or how many.

    Returns:
        The question; empty if it has nothing of that kind, or several things, so that it is not clear what is replaced.
    """
    whole = earlier.strip()
    said, known = moments(detail), moments(whole)
    corrected = _CORRECTION.match(detail)
    words = {token[0].lower() for token in _TOKEN.finditer(detail, corrected.end() if corrected else 0)}
    if words & _NOT or _unsaid(detail, said) or len({each.kind for each in said}) < len(said):
        return ""
    pairs = [(new, [old for old in known if old.kind == new.kind]) for new in said]
    if any(len(same) > 1 for _, same in pairs) or not any(same for _, same in pairs):
        return ""
    added = "".join(f" {detail[new.place : new.end]}" for new, same in pairs if not same)
    places = [(same[0], new) for new, same in pairs if same]
    for old, new in sorted(places, key=lambda pair: pair[0].start, reverse=True):  # from the end: places stay
        whole = _replaced(whole, old, detail, new)
    body = whole.rstrip("?!. ")
    return f"{body}{added}{whole[len(body) :]}"


def moments(text: str) -> list[Moment]:
    """The times and numbers in a text, in its order."""
    tokens = list(_TOKEN.finditer(text))
    words = [token[0].lower() for token in tokens]
    found: list[Moment] = []
    at = 0
    while at < len(words):
        kind, length = _kind(words, at)
        if kind:
            first = at
            while first and words[first - 1] in _WHICH and kind in {"day", "month", "part"}:
                first -= 1
            lead = first
            while lead and words[lead - 1] in _BESIDE:
                lead -= 1
            lead = lead - 1 if lead and words[lead - 1] in _PLACE else first
            last = tokens[at + length - 1]
            relative = words[at] in RELATIVE_DAYS or first < at
            found.append(Moment(kind, tokens[lead].start(), tokens[first].start(), last.end(), relative))
        at += max(length, 1)
    return found


def _kind(words: Sequence[str], at: int) -> tuple[str, int]:
    word = words[at]
    if word in MONTHS:
        return _month(words, at)
    if _is_number(word):
        return _number(words, at)
    return next((kind for kind, named in _NAMED.items() if word in named), ""), 1


def _month(words: Sequence[str], at: int) -> tuple[str, int]:
    after = (*words[at + 1 : at + 2], "")[0]
    if after[:1].isdigit() and not _YEAR.fullmatch(after):
        return "day", 2
    verb = words[at] in {"may", "march"} and not _led(words, at)
    return ("", 1) if verb else ("month", 1)


def _number(words: Sequence[str], at: int) -> tuple[str, int]:
    word, after = words[at], (*words[at + 1 : at + 3], "", "")
    if after[0] in MONTHS or (after[0] == "of" and after[1] in MONTHS):
        return "day", 2 + (after[0] == "of")
    half_of_day = after[0] in {"am", "pm", "o'clock", "oclock"}
    if after[0] in UNITS:
        return "count", 2
    clock = half_of_day or word.endswith(("am", "pm")) or ":" in word or _led(words, at) in _HOURS
    return ("clock" if clock else "count"), 1 + half_of_day


def _led(words: Sequence[str], at: int) -> str:
    """The word that leads to a time; empty if none does."""
    while at and words[at - 1] in _BESIDE:
        at -= 1
    return words[at - 1] if at and words[at - 1] in _PLACE else ""


def _is_number(word: str) -> bool:
    return word in COUNTS or word[:1].isdigit()


def _unsaid(detail: str, said: Sequence[Moment]) -> bool:
    """Whether words for times or numbers are left that are none of these: "an hour later"."""
    inside = set(chain.from_iterable(range(each.start, each.end) for each in said))
    left = (token[0].lower() for token in _TOKEN.finditer(detail) if token.start() not in inside)
    return any(word in UNITS or word in {"later", "earlier", "same", "late", "sooner", "early"} for word in left)


def _replaced(whole: str, old: Moment, detail: str, new: Moment) -> str:
    """The text with one moment in the place of another, with the word before it that fits."""
    leads_old, leads_new = old.place < old.start, new.place < new.start
    begin = old.place if (leads_old and (leads_new or new.relative)) else old.start
    taken = new.place if (leads_old and leads_new) or old.relative else new.start
    return f"{whole[:begin]}{detail[taken : new.end]}{whole[old.end :]}"


_REMEMBERED = 8  # questions that are looked back to
_LONGEST_WHOLE = 16  # words of an earlier question that is given back whole


class Turn(NamedTuple):
    """One earlier question."""

    question: str
    found: str
    """The label that a classifier was sure of, in words; empty if none was."""
    label: Label
    """Sensitivity of both."""
    label_without_pii: Label
    """The same without personal data."""


@dataclass(frozen=True, kw_only=True)
class RewrittenQuery:
    """A question that depended on an earlier one, as it stands on its own."""

    text: str
    label: Label
    """Sensitivity of what it was given back."""
    label_without_pii: Label
    """The same without personal data."""
    reason: str
    """How it leant."""


def rewrite_query(text: str, context: Context) -> RewrittenQuery | None:
    """The question on its own, or None where it stands alone already or there is nothing to depend on.

    It depends on the newest question that was classified, that stands alone itself or had nothing to depend on, of the
    last eight.
    """
    reason = follow_up_reason(text)
    if not reason:
        return None
    turn = _topic(turns_of(context))
    if turn is None:
        return None
    return RewrittenQuery(
        text=_whole(text, reason, turn), label=turn.label, label_without_pii=turn.label_without_pii, reason=reason
    )


def _whole(text: str, reason: str, turn: Turn) -> str:
    """A question that depends on a turn, as it stands on its own."""
    detail = reason == DETAIL
    again = asked_again(turn.question, text) if detail else ""
    return again or f"{text.strip()} ({_about(turn, detail=detail)})"


def _about(turn: Turn, *, detail: bool) -> str:
    """What a question that depends on an earlier one is about.

    Args:
        turn: The earlier one.
        detail: It says no more than when or how many: then the earlier question drowns nothing, as it is what is
            asked, at another time.
    """
    if detail and len(words_of(turn.question)) <= _LONGEST_WHOLE:
        return turn.question.strip().rstrip(".?!")
    if not turn.found:
        return subject_of(turn.question)
    # One word ("book", "cancel") may be a label of several specialists.
    words = turn.found.split()
    further = subject_of(turn.question).split() if len(words) == 1 else []
    return " ".join([*words, *(word for word in further if word not in words)])


def _topic(turns: Sequence[Turn]) -> Turn | None:
    """The newest question that says what is talked about, as it stands on its own.

    That is one that was classified, that depended on none before it, or that asked the one before it again.
    """
    topic: Turn | None = None
    for turn in turns:
        reason = follow_up_reason(turn.question) if topic else ""
        if topic is None or not reason:
            topic = turn if turn.found or subject_of(turn.question) else topic
        elif turn.found or (reason == DETAIL and asked_again(topic.question, turn.question)):
            topic = Turn(
                _whole(turn.question, reason, topic),
                turn.found or topic.found,
                max(turn.label, topic.label),
                max(turn.label_without_pii, topic.label_without_pii),
            )
    return topic


def turns_of(context: Context) -> Sequence[Turn]:
    """The beginnings of the caller's last questions, oldest first, each with what was found for it."""
    turns: list[Turn] = []
    asked = (at for at in range(len(context.entries) - 1, -1, -1) if _is_question(context.entries[at]))
    for entry in context.entries[min(islice(asked, _REMEMBERED), default=0) :]:
        match entry.content:
            case Message(role="user", text=text):
                turns.append(Turn(text[:_READ], "", entry.label, label_without_pii(entry)))
            case FindingSummary(form="label", accepted=True, text=found) if turns and not turns[-1].found:
                last = turns[-1]
                label, bare = max(last.label, entry.label), max(last.label_without_pii, label_without_pii(entry))
                turns[-1] = Turn(last.question, _words(found), label, bare)
    return turns


def _is_question(entry: Entry) -> bool:
    return isinstance(entry.content, Message) and entry.content.role == "user"


def _words(found: str) -> str:
    """A label as words: `card_arrival` is "card arrival"."""
    return re.sub(r"[\W_]+", " ", found).strip()
