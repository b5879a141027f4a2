"""What a question asks for, by its words, and whether a text has such a thing: a price, a time, a person, a leave.

It knows English. A text that fits need not answer, and one that does not may: how much it counts is fitted.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_COUNT = r"(?:\d+|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|half)"
_MONTH = (
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|(?:jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.?)"
)
_TIME = rf"""\b\d{{1,2}}(?::\d\d)?\ ?(?:am|pm|a\.m\.|p\.m\.|o['\u2019]clock)\b|\b\d{{1,2}}:\d\d\b|\bnoon\b|\bmidnight\b
  |\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b|\b{_MONTH}\ \d|\b\d\d?\.?\ {_MONTH}|\b\d{{4}}-\d\d-\d\d\b
  |\b(?:weekdays?|weekends?|daily|holidays?|every\ (?:day|week|month|year|morning|evening))\b"""
_DURATION = rf"""\b{_COUNT}[\ -](?:\w+[\ -])?(?:second|minute|hour|day|night|week|month|quarter|year)s?\b
  |\b(?:once|twice|daily|weekly|monthly|yearly|immediately|at\ once)\b"""


class _Kind(NamedTuple):
    """One kind of thing that is asked for."""

    asked: re.Pattern[str]
    had: re.Pattern[str]


def _kind(asked: str, had: str, *, cased: bool = False) -> _Kind:
    flags = re.VERBOSE | (0 if cased else re.IGNORECASE)
    return _Kind(re.compile(asked, re.VERBOSE | re.IGNORECASE), re.compile(had, flags))


_KINDS = (
    _kind(
        r"\b(?:how\ much|prices?|costs?|fees?|charged?|charges|pay|expensive|cheap(?:er)?|rates?|rent)\b",
        r"""[\u20ac$\u00a3\u00a5]\s?\d
            |\b\d[\d.,]*\s?(?:\u20ac|%|euros?|eur|usd|dollars?|pounds?|gbp|chf|francs?|cents?|percent|per\ cent)
            |\b(?:usd|eur|gbp|chf)\s?\d|\b(?:free|no\ (?:charge|cost))\b|\bprice\b[^:\n]{0,20}:\s*\d""",
    ),
    _kind(
        r"""\bhow\ (?:long|soon|quickly|fast|early|far\ in\ advance|often|frequently)\b
            |\b(?:notice|period|duration|deadline)\b""",
        _DURATION,
    ),
    _kind(
        r"""\b(?:when|what\ (?:time|date|day|hours)|which\ (?:day|date|month|year)
            |(?:until|by|from|since)\ (?:when|what)|on\ (?:what|which)\ (?:day|date)s?|opening\ (?:hours|times))\b""",
        f"{_TIME}|{_DURATION}",
    ),
    _kind(
        r"""\bhow\ (?:many|old|far|big|tall|high|deep|wide|large|heavy|bright|loud|warm)\b
            |\b(?:max|min)imum\b|\b(?:limit|number|size|percentage|temperature)\b""",
        rf"\d|\b{_COUNT}\b|\b(?:no\ more|at\ most|at\ least|none)\b",
    ),
    _kind(
        r"\bwho(?:m|se)?\b|\bname\ of\b|\b(?:what|which)\ (?:doctor|person|company|firm|office)\b|\bin\ charge\b",
        r"""\b(?:Dr|Mr|Mrs|Ms|Prof)\b|(?<=[a-z,:;]\ )[A-Z]\w+\ [A-Z]\w+|:\s+[A-Z]\w+\ [A-Z]\w+
            |\b(?:[Oo]ffice|[Mm]anager|[Oo]wner|[Tt]enant|[Ll]andlord|[Ss]taff|[Dd]octor|[Dd]esk|[Tt]eam|[Dd]epartment
            |[Cc]aretaker|[Ss]ecretary|[Dd]irector|[Tt]eacher|[Cc]ompany|[Cc]ommittee|[Bb]oard|[Pp]arent)s?\b
            |\b\w+(?:holder|keeper|officer)s?\b|\w@\w""",
        cased=True,
    ),
    _kind(
        r"\bwhere\b|\baddress\b|\b(?:what|which)\ (?:room|floor|place|building|street|town|city|counter|page|menu)\b",
        r"""\b(?:in|at|on|beside|behind|near|opposite|next\ to|under|into|onto|to|from)\ (?:the|an?|our|your|[A-Z0-9])
            |\b(?:floor|street|road|square|lane|room|building|counter|desk|yard|cellar|entrance|page|menu)\b""",
        cased=True,
    ),
    _kind(
        r"\b(?:phone|telephone|call|ring|reach|contact|e-?mail)\b",
        r"(?<!\d)\+?\d[\d\ ()/-]{5,}\d|@\w|\b(?:call|ring|phone|telephone|extension|e-?mail|hotline)\b",
    ),
    _kind(
        r"""^(?:may|can|could|must|should|is\ it|am\ i|are\ we|do\ (?:i|we)\ (?:have|need))\b
            |\b(?:allowed|permitted|forbidden|possible|required|necessary|compulsory)\b""",
        r"""\b(?:may|must|can|cannot|allowed|forbidden|permitted|prohibited|not|no|only|never|nobody|nothing|except|unless
            |welcome|need|needs|required|consent|permission|free|possible|accepted?)\b|n['\u2019]t\b""",
    ),
    _kind(
        r"^(?:is|are|was|were|do|does|did|has|have|will)\b",
        r"""\b(?:is|are|was|were|has|have|will|we|not|no|only|never|included|available|offered|possible|there|every|all
            |yes)\b|n['\u2019]t\b""",
    ),
    _kind(
        r"^how\ (?:do|can|should|is|are|does)\b|\bwhat\ (?:should|must|do|can)\ (?:i|we)\ do\b",
        r"""\b(?:by|with|use|call|write|send|take|ask|must|if|put|press|tell|report|bring|go|close|leave|form|online|choose
            |click|open|please|need|needs)\b""",
    ),
)


def asked_for(question: str) -> tuple[int, ...]:
    """The kinds of thing that a question asks for, by number; none where its words do not say."""
    asked = " ".join(question.split())
    return tuple(number for number, kind in enumerate(_KINDS) if kind.asked.search(asked))


@lru_cache(maxsize=65_536)
def has_kind(text: str, kind: int) -> bool:
    """Whether a text has a thing of this kind."""
    return bool(_KINDS[kind].had.search(text))
